"""Exemplars: given by hand, and found in the trace to which a write belongs, without a cost to the other writes."""

from __future__ import annotations

import gc
import json
import threading
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
from opentelemetry import trace
from prometheus_client.validation import disable_legacy_validation, enable_legacy_validation

from tests.processes import run_script
from vitalsign import Counter, Histogram, Summary, configure, generate_latest
from vitalsign._trace import REQUEST_HEADERS
from vitalsign.metrics import exemplars as module
from vitalsign.metrics.exemplars import allow_traces
from vitalsign.metrics.exposition import generate_openmetrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from prometheus_client import CollectorRegistry


def value_of(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Read one sample by prometheus_client's own means."""
    return registry.get_sample_value(name, labels)


def exemplars(registry: CollectorRegistry) -> dict[str, dict[str, str]]:
    """Return the labels of all exemplars, by the sample's name and `le`; a page would ask for new ones."""
    return {
        sample.name + sample.labels.get("le", ""): dict(sample.exemplar.labels)
        for family in registry.collect()
        for sample in family.samples
        if sample.exemplar
    }


def span(number: int, *, is_sampled: bool = True) -> AbstractContextManager[Any]:
    """Make a span with these ids the current one, as OpenTelemetry's SDK does."""
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if is_sampled else trace.TraceFlags.DEFAULT)
    return trace.use_span(trace.NonRecordingSpan(trace.SpanContext(number, number, False, flags)))


def ids(number: int) -> dict[str, str]:
    """Return the labels of an exemplar from such a span."""
    return {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave what is set for the process as it was."""
    monkeypatch.setattr(module, "_writes", module._WRITES_UNTRACED)
    yield
    allow_traces(True)


class TestGivenByHand:
    """Exemplars that the caller gives."""

    def test_show_in_openmetrics(self, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
        """A counter keeps its last exemplar, a histogram one for each bucket."""
        monkeypatch.setattr("time.time", lambda: 5.0)
        Counter("c", "c", registry=registry).inc(2, exemplar={"trace_id": "a"})
        histogram = Histogram("h", "h", registry=registry, buckets=[1])
        histogram.observe(0.5, {"trace_id": "b"})
        histogram.observe(3, {"trace_id": "c"})
        page = generate_openmetrics(registry).decode()
        assert 'c_total 2.0 # {trace_id="a"} 2.0 5.0\n' in page
        assert 'h_bucket{le="1.0"} 1.0 # {trace_id="b"} 0.5 5.0\n' in page
        assert 'h_bucket{le="+Inf"} 2.0 # {trace_id="c"} 3.0 5.0\n' in page

    @pytest.mark.parametrize(
        ("exemplar", "reason"),
        [
            ({"a": "x" * 128}, "too_long"),
            ({"ä" * 64: "x" * 65}, "too_long"),
            ({"a": 1}, "not_text"),
            ({1: "a"}, "not_text"),
            ("a=x", "not_text"),
            ({"__a": "x"}, "label_name"),
            ({"": "x"}, "label_name"),
        ],
    )
    @pytest.mark.parametrize(
        "write", [lambda r: Counter("c", "c", registry=r).inc, lambda r: Histogram("h", "h", registry=r).observe]
    )
    def test_that_cannot_be_shown_are_dropped(
        self, registry: CollectorRegistry, write: Any, exemplar: Any, reason: str
    ) -> None:
        """An exemplar that is too long, no text or reserved is dropped and counted; what it came with counts."""
        for _ in range(2):
            write(registry)(1, exemplar)
        counted = value_of(registry, "c_total") or value_of(registry, "h_count")
        assert counted == 2
        assert value_of(registry, "vitalsign_exemplars_dropped_total", reason=reason) == 2
        assert exemplars(registry) == {}

    def test_first_that_is_dropped_is_logged(
        self, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One warning for each reason names the metric, the labels and what is wrong with them."""
        monkeypatch.setattr("vitalsign.metrics.internal._reported", set())
        counter = Counter("shop_orders", "c", registry=registry)
        for labels in ({"order": "x" * 200}, {"order": "y" * 200}, {"__order": "x"}):
            counter.inc(1, labels)
        too_long, reserved = (record.getMessage() for record in caplog.records)
        assert "exemplar of shop_orders is dropped, since its label names and values have more than 128" in too_long
        assert "reserved" in reserved
        assert "{'__order': 'x'}" in reserved

    def test_of_128_characters_is_kept(self, registry: CollectorRegistry) -> None:
        """The limit counts characters of names and values, whatever their bytes."""
        Counter("c", "c", registry=registry).inc(1, {"a": "ä" * 127})
        assert f'# {{a="{"ä" * 127}"}} 1.0' in generate_openmetrics(registry).decode()

    def test_never_raises_though_it_cannot_be_counted(self, registry: CollectorRegistry) -> None:
        """Where another library holds the name of the counter of what is dropped, the write goes on all the same."""
        prometheus_client.Gauge("vitalsign_exemplars_dropped_total", "taken", registry=registry)
        Counter("c", "c", registry=registry).inc(1, {"": "x"})
        Counter("n", "n", registry=None).inc(1, {"": "x"})
        assert value_of(registry, "c_total") == 1

    @pytest.mark.parametrize(("name", "written"), [("trace.id", "trace_id"), ("7", "_"), ("0:", "_"), (":o)", "_o_")])
    def test_label_names_are_such_as_the_format_has(self, registry: CollectorRegistry, name: str, written: str) -> None:
        """The label names of an exemplar cannot be quoted: they are rewritten, or the page would be unreadable."""
        counter = Counter("c", "c", registry=registry)
        counter.inc(1, {name: "x"})
        (exemplar,) = (sample.exemplar for family in counter.collect() for sample in family.samples if sample.exemplar)
        assert exemplar.labels == {written: "x"}
        enable_legacy_validation()
        try:
            counter.inc(1, {name: "y"})
        finally:
            disable_legacy_validation()
        assert value_of(registry, "vitalsign_exemplars_dropped_total", reason="label_name") == 1
        assert value_of(registry, "c_total") == 2


class TestFromTraces:
    """Exemplars that writes find by themselves."""

    def test_first_write_within_a_sampled_span_bears_its_ids(self, registry: CollectorRegistry) -> None:
        """A counter has one exemplar, a histogram one for each bucket that a write fell into."""
        counter = Counter("c", "c", ["k"], registry=registry).labels("x")
        histogram = Histogram("h", "h", registry=registry, buckets=[1, 2])
        with span(7):
            counter.inc()
            histogram.observe(0.5)
            histogram.observe(1.5)
        with span(8):
            counter.inc()
            histogram.observe(0.6)
            histogram.observe(2.5)
        assert exemplars(registry) == {
            "c_total": ids(7), "h_bucket1.0": ids(7), "h_bucket2.0": ids(7), "h_bucket+Inf": ids(8),
        }  # fmt: skip

    def test_trace_of_the_request_does_too(self, registry: CollectorRegistry) -> None:
        """Without a span, the request's traceparent gives the ids."""
        token = REQUEST_HEADERS.set([(b"traceparent", b"00-%032x-%016x-01" % (7, 7))])
        try:
            Counter("c", "c", registry=registry).inc()
        finally:
            REQUEST_HEADERS.reset(token)
        assert exemplars(registry) == {"c_total": ids(7)}

    def test_write_outside_of_sampled_traces_has_none(self, registry: CollectorRegistry) -> None:
        """An unsampled trace is stored nowhere: its ids would lead to nothing."""
        counter = Counter("c", "c", registry=registry)
        counter.inc()
        with span(7, is_sampled=False):
            counter.inc()
        assert exemplars(registry) == {}
        assert value_of(registry, "c_total") == 2

    def test_page_asks_for_new_ones(self, registry: CollectorRegistry) -> None:
        """After an OpenMetrics page writes look for a trace again; buckets without one keep what they had."""
        histogram = Histogram("h", "h", registry=registry, buckets=[1, 2])
        for number in (7, 8):
            with span(number):
                histogram.observe(0.5)
                if number == 7:
                    histogram.observe(1.5)
            generate_openmetrics(registry)
        assert exemplars(registry) == {"h_bucket1.0": ids(8), "h_bucket2.0": ids(7)}

    def test_page_in_text_asks_for_none(self, registry: CollectorRegistry) -> None:
        """What is scraped in the older format, which shows no exemplars, does not look for new ones."""
        counter = Counter("c", "c", registry=registry)
        for number in (7, 8):
            with span(number):
                counter.inc()
            generate_latest(registry)
        assert exemplars(registry) == {"c_total": ids(7)}

    @pytest.mark.parametrize("is_traced", [True, False])
    def test_only_a_few_writes_are_slower(
        self, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, *, is_traced: bool
    ) -> None:
        """After each page a bounded number of writes looks for a trace: fewer where there has never been one."""
        looked: list[object] = []
        monkeypatch.setattr(module, "current_trace", lambda: looked.append(None))
        bound = module._WRITES if is_traced else module._WRITES_UNTRACED
        monkeypatch.setattr(module, "_writes", bound)
        counter = Counter("c", "c", registry=registry)
        histogram = Histogram("h", "h", registry=registry)
        for _ in range(2):
            for _ in range(1000):
                counter.inc()
                histogram.observe(1)
            generate_openmetrics(registry)
        counter.inc(0)
        assert 2 * 2 * bound < len(looked) <= 2 * 2 * bound + 4

    def test_one_sampled_trace_among_many_is_found(self, registry: CollectorRegistry) -> None:
        """Writes without a trace do not end the search, so a low rate of sampling is enough."""
        with span(1):
            Counter("first", "c", registry=registry).inc()  # from now on the process is known to have traces
        counter = Counter("c", "c", registry=registry)
        for _ in range(module._WRITES - 1):
            counter.inc()
        with span(7):
            counter.inc()
        assert exemplars(registry)["c_total"] == ids(7)

    def test_given_by_hand_goes_first(self, registry: CollectorRegistry) -> None:
        """An exemplar of the caller's own stands, within a trace too."""
        counter = Counter("c", "c", registry=registry)
        with span(7):
            counter.inc(1, {"order": "1"})
        assert exemplars(registry) == {"c_total": {"order": "1"}}

    def test_any_thread_finds_one(self, registry: CollectorRegistry) -> None:
        """Writes of other threads than the first look for a trace after a page too."""
        histogram = Histogram("h", "h", registry=registry, buckets=[1])

        def write(number: int) -> None:
            with span(number):
                histogram.observe(0.5)

        for number in (7, 8, 9):
            histogram.observe(5)
            thread = threading.Thread(target=write, args=[number])
            thread.start()
            thread.join()
            assert exemplars(registry)["h_bucket1.0"] == ids(number)
            generate_openmetrics(registry)
        assert value_of(registry, "h_count") == 6

    def test_summary_and_nan_have_no_place_for_one(self, registry: CollectorRegistry) -> None:
        """What no page can show an exemplar of is not slowed down to look for one."""
        summary, histogram = Summary("s", "s", registry=registry), Histogram("h", "h", registry=registry)
        with span(7):
            summary.observe(1)
            histogram.observe(float("nan"))
        assert exemplars(registry) == {}
        assert value_of(registry, "s_count") == 1

    def test_can_be_switched_off(self, registry: CollectorRegistry) -> None:
        """With exemplars=False nothing is looked for; those given by hand stay."""
        configure(exemplars=False)
        with span(7):
            Counter("c", "c", registry=registry).inc()
            Counter("d", "d", registry=registry).inc(1, {"order": "1"})
        assert exemplars(registry) == {"d_total": {"order": "1"}}
        configure(exemplars=True)
        generate_openmetrics(registry)
        with span(8):
            registry._names_to_collectors["c"].inc()  # type: ignore[attr-defined]
        assert exemplars(registry)["c_total"] == ids(8)

    @pytest.mark.parametrize(("value", "shown"), [("off", False), ("0", False), ("on", True), ("", True)])
    def test_environment_switches_off(self, value: str, shown: bool) -> None:
        """VITALSIGN_EXEMPLARS=off does the same without a call."""
        script = f"""
            import os
            os.environ["VITALSIGN_EXEMPLARS"] = {value!r}
            from vitalsign import Counter
            from vitalsign._trace import REQUEST_HEADERS, expect_requests
            from vitalsign.metrics.exposition import generate_openmetrics
            expect_requests()
            REQUEST_HEADERS.set([(b"traceparent", b"00-%032x-%016x-01" % (7, 7))])
            Counter("c", "c").inc()
            print("trace_id" in generate_openmetrics().decode())
        """
        assert run_script(script).strip() == str(shown)

    def test_context_that_fails_does_no_harm(
        self, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever OpenTelemetry's context raises is counted as our failure, and the write counts."""

        def fail() -> None:
            raise RuntimeError("no context")

        monkeypatch.setattr(trace, "get_current_span", fail)
        failures = prometheus_client.REGISTRY.get_sample_value
        before = failures("vitalsign_internal_errors_total", {"where": "exemplars"}) or 0
        Counter("c", "c", registry=registry).inc()
        assert value_of(registry, "c_total") == 1
        assert failures("vitalsign_internal_errors_total", {"where": "exemplars"}) == before + 1

    def test_what_is_no_number_is_refused_as_ever(self, registry: CollectorRegistry) -> None:
        """A write that fails leaves no exemplar behind, and the next one counts."""
        counter = Counter("c", "c", registry=registry)
        histogram = Histogram("h", "h", registry=registry, buckets=[1])
        write: Any
        with span(7):
            for write in (counter.inc, histogram.observe):
                with pytest.raises(TypeError):
                    write("1")
            assert exemplars(registry) == {}
            histogram.observe(1)
        assert exemplars(registry) == {"h_bucket1.0": ids(7)}
        assert (value_of(registry, "h_count"), value_of(registry, "h_sum")) == (1, 1)

    def test_removed_and_reset_children_lose_theirs(self, registry: CollectorRegistry) -> None:
        """A label set that is made anew has no exemplar of the old one; a reset counter finds a new one."""
        counter = Counter("c", "c", ["k"], registry=registry)
        with span(7):
            for key in "xyz":
                counter.labels(key).inc()
        generate_openmetrics(registry)
        counter.remove("x")
        counter.labels("x")
        counter.labels("y").reset()
        with span(8):
            counter.labels("y").inc()
        shown = {sample.labels["k"]: sample.exemplar for sample in counter.collect()[0].samples if sample.exemplar}  # type: ignore[index]
        assert {key: dict(exemplar.labels) for key, exemplar in shown.items()} == {"y": ids(8), "z": ids(7)}
        counter.clear()
        gc.collect()
        assert exemplars(registry) == {}


class TestNothingIsLost:
    """Counts are exact while children go on and off the lookout."""

    def test_threads_and_pages_at_once(self, registry: CollectorRegistry) -> None:
        """Eight threads write within and outside of traces while pages are made: every write counts."""
        counter = Counter("c", "c", registry=registry)
        histogram = Histogram("h", "h", registry=registry, buckets=[1, 2])
        start, is_over = threading.Barrier(9), threading.Event()
        seen: list[float] = []

        def write(number: int) -> None:
            start.wait()
            for turn in range(3_000):
                with span(number, is_sampled=turn % 2 == 0):
                    counter.inc()
                    histogram.observe(turn % 3 + 0.5)

        def scrape() -> None:
            start.wait()
            while not is_over.is_set():
                generate_openmetrics(registry)
                seen.append(counter._read())

        threads = [threading.Thread(target=write, args=[number]) for number in range(1, 9)]
        scraper = threading.Thread(target=scrape)
        for thread in (*threads, scraper):
            thread.start()
        for thread in threads:
            thread.join()
        is_over.set()
        scraper.join()
        assert value_of(registry, "c_total") == value_of(registry, "h_count") == 24_000
        assert value_of(registry, "h_sum") == 8_000 * (0.5 + 1.5 + 2.5)
        assert seen == sorted(seen)
        assert len(exemplars(registry)) == 4

    @pytest.mark.parametrize("is_shared", [False, True])
    def test_signal_handlers(self, tmp_path: Path, is_shared: bool) -> None:
        """A handler that counts, and sends its metrics on the lookout, in the middle of a lookout, lose nothing."""
        script = """
            import signal, sys
            from vitalsign import Counter, Histogram, configure
            from vitalsign._trace import REQUEST_HEADERS, expect_requests
            if sys.argv[1]:
                configure(processes=sys.argv[1])
            expect_requests()
            REQUEST_HEADERS.set([(b"traceparent", b"00-%032x-%016x-01" % (7, 7))])
            counter, histogram = Counter("c", "c"), Histogram("h", "h", buckets=[1])
            handled = counted = 0

            def look_out():
                counter._look_out()
                histogram._look_out()

            def handler(*_):
                global handled
                handled += 1
                counter.inc()
                histogram.observe(1)
                if handled % 3 == 0:
                    look_out()

            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            while handled < 2000:
                counted += 1
                counter.inc()
                histogram.observe(2)
                if counted % 50 == 0:
                    look_out()
            signal.setitimer(signal.ITIMER_REAL, 0)
            observed = [handled + 2 * counted, handled, counted]
            print([counter._read() == counted + handled, histogram._read() == observed])
        """
        assert run_script(script, str(tmp_path / "shared") if is_shared else "").strip() == "[True, True]"

    def test_fork_during_a_lookout(self) -> None:
        """A child that is forked while its metrics look for a trace goes on from what it inherited."""
        script = """
            import os
            from vitalsign import Counter, Histogram
            from vitalsign._trace import expect_requests
            expect_requests()
            counter, histogram = Counter("c", "c"), Histogram("h", "h", buckets=[1])
            counter.inc()
            histogram.observe(1)
            pid = os.fork()
            for _ in range(200):
                counter.inc()
                histogram.observe(2)
            if pid == 0:
                os._exit(counter._read() != 201 or histogram._read() != [401, 1, 200])
            print(os.waitpid(pid, 0)[1], counter._read(), histogram._read())
        """
        assert run_script(script).strip() == "0 201.0 [401.0, 1, 200]"


class TestManyProcesses:
    """Exemplars of processes that share their metrics."""

    def test_page_shows_those_of_others(self, tmp_path: Path) -> None:
        """A process that is never scraped finds new ones by itself, and whoever is scraped shows the latest."""
        script = """
            import json, os, re, sys, time
            from vitalsign.metrics.processes import freshness
            freshness.INTERVAL = 0.01
            from vitalsign import Counter, Histogram, configure
            from vitalsign._trace import REQUEST_HEADERS, expect_requests
            from vitalsign.metrics.exposition import generate_openmetrics
            configure(processes=sys.argv[1])
            expect_requests()
            counter, histogram = Counter("c", "c"), Histogram("h", "h", buckets=[1])
            counter.inc()
            stop, stopped = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(stopped)
                os.set_blocking(stop, False)
                number = 0
                while True:
                    number += 1
                    REQUEST_HEADERS.set([(b"traceparent", b"00-%032x-%016x-01" % (number, number))])
                    counter.inc()
                    histogram.observe(0.5)
                    time.sleep(0.001)
                    try:
                        if os.read(stop, 1) == b"":
                            os._exit(0)
                    except BlockingIOError:
                        pass

            def shown():
                page = generate_openmetrics().decode()
                return [re.search(pattern, page) for pattern in (
                    'c_total .*# .*trace_id="([0-9a-f]{32})"', 'h_bucket{le="1.0"} .*trace_id="([0-9a-f]{32})"')]

            seen = [set(), set()]
            end = time.monotonic() + 30
            while min(map(len, seen)) < 3 and time.monotonic() < end:
                for known, found in zip(seen, shown()):
                    known.update(found.groups() if found else ())
                time.sleep(0.01)
            os.close(stop); os.close(stopped)
            os.waitpid(pid, 0)
            after = [bool(found) for found in shown()]
            print(json.dumps([*(len(each) >= 3 for each in seen), *after]))
        """
        assert json.loads(run_script(script, str(tmp_path / "shared"))) == [True] * 4

    def test_counts_are_exact_and_what_was_found_before_is_taken_along(self, tmp_path: Path) -> None:
        """What a process has counted and found before it shares its metrics is shown, though it is on the lookout."""
        script = """
            import sys
            from vitalsign import Counter, Histogram, configure
            from vitalsign._trace import REQUEST_HEADERS, expect_requests
            from vitalsign.metrics.exposition import generate_openmetrics
            expect_requests()
            REQUEST_HEADERS.set([(b"traceparent", b"00-%032x-%016x-01" % (7, 7))])
            counter, histogram = Counter("c", "c"), Histogram("h", "h", buckets=[1])
            for _ in range(10):
                counter.inc()
                histogram.observe(1)
                generate_openmetrics()
            configure(processes=sys.argv[1])
            for _ in range(200):
                counter.inc()
                histogram.observe(1)
            page = generate_openmetrics().decode()
            print("c_total 210.0 # {" in page, 'h_bucket{le="1.0"} 210.0 # {' in page)
        """
        assert run_script(script, str(tmp_path / "shared")).strip() == "True True"
