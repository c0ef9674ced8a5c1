"""What goes wrong in the life of a metric, and what must happen then."""

from __future__ import annotations

import logging
import threading
from math import inf, nan
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import vitalsign
from tests.processes import run_script
from vitalsign import Counter, Enum, Gauge, Histogram, Info, Summary, generate_latest
from vitalsign.exceptions import MetricError
from vitalsign.metrics.exposition import generate_openmetrics, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

    Write = Callable[[Any], object]

KINDS = pytest.mark.parametrize(
    ("kind", "sample", "write"),
    [
        (Counter, "m_total", lambda child: child.inc()),
        (Gauge, "m", lambda child: child.inc()),
        (Histogram, "m_count", lambda child: child.observe(1)),
        (Summary, "m_count", lambda child: child.observe(1)),
    ],
    ids=["counter", "gauge", "histogram", "summary"],
)
"""Kinds of metrics that count, the sample that tells how often, and how to write once."""


def value_of(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Read one sample by prometheus_client's own means."""
    return registry.get_sample_value(name, labels)


# -- labels and names


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('say "hi"', r"say \"hi\""),
        ("C:\\new\\", r"C:\\new\\"),
        ("two\nlines", r"two\nlines"),
        ("\\n", r"\\n"),
        ("a,b} 7 # {", "a,b} 7 # {"),
        ("100 %s %d", "100 %s %d"),
        ("größe ☃ \N{OLD ITALIC LETTER A}", "größe ☃ \N{OLD ITALIC LETTER A}"),
        ("\udc80\ud800x", "??x"),
        ("", ""),
    ],
    ids=["quotes", "backslashes", "newlines", "backslash-n", "braces", "percent", "non-ASCII", "surrogates", "empty"],
)
def test_label_values(registry: CollectorRegistry, value: str, written: str) -> None:
    """Quotes, backslashes and newlines are escaped, what UTF-8 cannot carry is replaced: parsers read them back."""
    Counter("c", "c", ["a", "k"], registry=registry).labels("x", value).inc()
    Histogram("h", "h", ["k", "z"], buckets=[1], registry=registry).labels(value, "x").observe(1)
    Info("i", "i", registry=registry).info({"k": value})
    lines = generate_latest(registry).decode().split("\n")
    assert f'c_total{{a="x",k="{written}"}} 1.0' in lines
    assert f'h_bucket{{k="{written}",le="1.0",z="x"}} 1.0' in lines
    assert f'i_info{{k="{written}"}} 1.0' in lines
    told = value.encode("utf-8", "replace").decode()
    for parse, write in ((parse_text, generate_latest), (parse_openmetrics, generate_openmetrics)):
        read = [sample.labels["k"] for family in parse(write(registry).decode()) for sample in family.samples]
        assert set(read) == {told}


@pytest.mark.parametrize(
    ("kind", "label", "more"),
    [
        (Histogram, "le", {}),
        (Summary, "quantile", {}),
        (Enum, "m", {"states": ["up"]}),
        (Enum, "__x", {"states": ["up"]}),
        *[(kind, "__x", {}) for kind in (Counter, Gauge, Histogram, Summary, Info)],
    ],
)
def test_reserved_labels(registry: CollectorRegistry, kind: Any, label: str, more: dict[str, Any]) -> None:
    """A label name that the format or Prometheus needs for itself is refused, and the metric's name stays free."""
    with pytest.raises(MetricError, match=f"Label name '{label}' of {kind._kind} 'm' is reserved. Choose another."):
        kind("m", "m", ["a", label], registry=registry, **more)
    kind("m", "m", ["a"], registry=registry, **more)


def test_labels_reserved_elsewhere(registry: CollectorRegistry) -> None:
    """What is reserved for one kind is a label like others for the rest."""
    Counter("c", "c", ["le"], registry=registry).labels("x").inc()
    Histogram("h", "h", ["quantile"], registry=registry).labels("x").observe(1)
    assert value_of(registry, "c_total", le="x") == value_of(registry, "h_count", quantile="x") == 1


@pytest.mark.parametrize("is_reversed", [False, True], ids=["", "reversed"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((Counter, "a"), (Gauge, "a_total")),
        ((Counter, "a"), (Gauge, "a_created")),
        ((Counter, "a"), (Gauge, "a")),
        ((Histogram, "a"), (Counter, "a_count")),
        ((Histogram, "a"), (Gauge, "a_bucket")),
        ((Summary, "a"), (Gauge, "a_sum")),
        ((Info, "a"), (Gauge, "a_info")),
    ],
)
@pytest.mark.parametrize("library", [vitalsign, prometheus_client], ids=["ours", "theirs"])
def test_names_that_clash(registry: CollectorRegistry, library: Any, one: Any, other: Any, is_reversed: bool) -> None:
    """A name that another metric's series have on the page is refused, in either order, beside either library."""
    first, second = (other, one) if is_reversed else (one, other)
    getattr(library, first[0].__name__)(first[1], "first", registry=registry)
    before = generate_latest(registry)
    with pytest.raises(ValueError, match=f"Metric {second[1]} .* cannot be registered: the name '.*' is taken by"):
        second[0](second[1], "second", registry=registry)
    assert generate_latest(registry) == before


# -- values


@pytest.mark.parametrize("value", [nan, inf, -inf, 1.7e308, -1.7e308, 5e-324, -0.0, -3, 2**70, True])
def test_nan_infinite_huge_and_negative_values(value: float) -> None:
    """Every kind takes, or refuses, every number as prometheus_client does, and shows it alike in both formats."""
    pages = []
    prometheus_client.disable_created_metrics()
    try:
        for library in (vitalsign, prometheus_client):
            registry = CollectorRegistry()
            refused = [_refuses(write, value) for write in _writes(library, registry) for _ in range(2)]
            pages.append([refused, generate_latest(registry), generate_openmetrics(registry)])
    finally:
        prometheus_client.enable_created_metrics()
    assert pages[0] == pages[1]
    assert len(pages[0][1].splitlines()) > 20


def _writes(library: Any, registry: CollectorRegistry) -> list[Callable[[float], object]]:
    """Return the ways to write a number into metrics of a library."""
    gauges = [library.Gauge(name, "g", registry=registry) for name in ("up", "down", "set")]
    wide, narrow = [
        library.Histogram(name, "h", buckets=bounds, registry=registry)
        for name, bounds in (("wide", [-1, 0, 1e300]), ("narrow", [1]))
    ]
    return [
        library.Counter("c", "c", registry=registry).inc,
        *(gauges[0].inc, gauges[1].dec, gauges[2].set),
        library.Summary("s", "s", registry=registry).observe,
        *(wide.observe, narrow.observe),
    ]


def _refuses(write: Callable[[float], object], value: float) -> bool:
    try:
        write(value)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("amount", [-1, -inf, -5e-324, -(10**400)])
def test_counters_refuse_negatives(registry: CollectorRegistry, amount: float) -> None:
    """A negative amount is refused at the first write and later, in a child too, and nothing is counted."""
    plain, child = Counter("c", "c", registry=registry), Counter("d", "d", ["k"], registry=registry).labels("x")
    for counter in (plain, child) * 2:
        for exemplar in (None, {"trace_id": "a"}):
            with pytest.raises(MetricError, match="can only be incremented by non-negative amounts"):
                counter.inc(amount, exemplar)
        counter.inc()
    assert value_of(registry, "c_total") == value_of(registry, "d_total", k="x") == 2
    assert b"trace_id" not in generate_openmetrics(registry)


def test_counters_refuse_negatives_where_processes_share(tmp_path: Path) -> None:
    """The other way to count, that of shared cells, refuses them as well."""
    script = """
        import sys
        from vitalsign import Counter, generate_latest
        from vitalsign.metrics import configure
        configure(processes=sys.argv[1])
        counter = Counter("c", "c")
        for _ in range(2):
            try:
                counter.inc(-1)
            except ValueError as error:
                print(str(error).partition(",")[0])
            counter.inc(2)
        print([line for line in generate_latest().decode().splitlines() if line.startswith("c_total")])
    """
    refusal = "Counters can only be incremented by non-negative amounts"
    assert run_script(script, str(tmp_path / "shared")).splitlines() == [refusal, refusal, "['c_total 4.0']"]


@pytest.mark.parametrize(
    ("buckets", "error"),
    [
        ([2, 1], "not in sorted order"),
        ([1, inf, 2], "not in sorted order"),
        ([1, nan], "not in sorted order"),
        ([1, 2, 2, 3], "not distinct"),
        ([1, inf, inf], "not distinct"),
        ([inf], "at least two buckets"),
        ([], "at least two buckets"),
    ],
)
def test_histogram_bounds_unsorted_or_duplicated(registry: CollectorRegistry, buckets: list[float], error: str) -> None:
    """Such bounds are an error at the declaration, and leave nothing on the page."""
    with pytest.raises(MetricError, match=error):
        Histogram("h", "h", buckets=buckets, registry=registry)
    assert generate_latest(registry) == b""


@pytest.mark.parametrize("buckets", [[1, 2], [1, 2, inf], ("1", "2", "+Inf"), (1.0, 2.0, "Infinity")])
def test_histogram_bounds_with_or_without_infinity(registry: CollectorRegistry, buckets: Any) -> None:
    """The last bucket is +Inf, once, whether it is given or not."""
    histogram = Histogram("h", "h", buckets=buckets, registry=registry)
    for amount in (1, 2, 3, inf, -inf):
        histogram.observe(amount)
    assert histogram.spec.buckets == (1, 2, inf)
    assert [value_of(registry, "h_bucket", le=le) for le in ("1.0", "2.0", "+Inf")] == [2, 3, 5]
    assert generate_latest(registry).count(b"h_bucket{") == 3


def test_observe_nan(registry: CollectorRegistry) -> None:
    """NaN is in no bucket of a histogram, in a summary's count, and in both sums; what comes after counts."""
    histogram, summary = Histogram("h", "h", buckets=[1], registry=registry), Summary("s", "s", registry=registry)
    for amount in (0.5, nan, 2):
        histogram.observe(amount)
        summary.observe(amount)
    histogram.observe(nan, {"trace_id": "a"})
    assert [value_of(registry, "h_bucket", le=le) for le in ("1.0", "+Inf")] == [1, 2]
    assert (value_of(registry, "h_count"), value_of(registry, "s_count")) == (2, 3)
    assert repr(value_of(registry, "h_sum")) == repr(value_of(registry, "s_sum")) == "nan"
    assert b"trace_id" not in generate_openmetrics(registry)


# -- threads


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@KINDS
def test_dying_thread_keeps_its_counts(registry: CollectorRegistry, kind: Any, sample: str, write: Write) -> None:
    """What was counted stays, whether its thread returns, exits or dies of an exception."""
    metric = kind("m", "m", ["k"], registry=registry)

    def die(error: type[BaseException] | None) -> None:
        write(metric.labels("x"))
        if error is not None:
            raise error

    deaths = [None, SystemExit, KeyError, KeyboardInterrupt]
    for _ in range(3):
        threads = [threading.Thread(target=die, args=[error]) for error in deaths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert value_of(registry, sample, k="x") == 3 * len(deaths)


@pytest.mark.slow
def test_100_000_short_lived_threads_cost_no_memory() -> None:
    """That many threads, one after the other, each of which counts, leave exact totals and no memory behind."""
    script = """
        import _thread, gc, tracemalloc
        from prometheus_client import CollectorRegistry
        from vitalsign import Counter, Gauge, Histogram

        registry = CollectorRegistry()
        counter, gauge = Counter("c", "c", ["k"], registry=registry), Gauge("g", "g", registry=registry)
        histogram = Histogram("h", "h", registry=registry)
        turn = _thread.allocate_lock()

        def work():
            counter.labels("x").inc()
            gauge.inc()
            histogram.observe(1)
            turn.release()

        def live_and_die(times):
            for _ in range(times):
                turn.acquire()
                _thread.start_new_thread(work, ())
            with turn:
                gc.collect()

        live_and_die(1_000)
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        live_and_die(99_000)
        after, _ = tracemalloc.get_traced_memory()
        totals = [registry.get_sample_value(*of) for of in (("c_total", {"k": "x"}), ("g",), ("h_count",))]
        assert totals == [100_000] * 3, totals
        assert after - before < 20_000, after - before
    """
    assert run_script(script, timeout=110) == ""


# -- removal


@pytest.mark.parametrize(
    "remove",
    [lambda m: m.clear(), lambda m: m.remove("x"), lambda m: m.remove_by_labels({"k": "x"})],
    ids=["clear", "remove", "remove_by_labels"],
)
@KINDS
def test_child_kept_after_its_removal(
    registry: CollectorRegistry, kind: Any, sample: str, write: Write, remove: Write
) -> None:
    """A handle that outlives its series writes for itself: not into the one made anew, nor into any other."""
    metric = kind("m", "m", ["k"], registry=registry)
    kept = metric.labels("x")
    write(kept)
    remove(metric)
    write(kept)
    assert value_of(registry, sample, k="x") is None
    write(metric.labels("y"))
    write(metric.labels("x"))
    for thread in [threading.Thread(target=write, args=[kept]) for _ in range(3)]:
        thread.start()
        thread.join()
    write(kept)
    assert (value_of(registry, sample, k="x"), value_of(registry, sample, k="y")) == (1, 1)


# -- the end


@KINDS
def test_interpreter_shutting_down(kind: Any, sample: str, write: Write) -> None:
    """What a finalizer writes after the last exit hook, when modules are being taken apart, is counted in silence."""
    method = "observe" if sample.endswith("_count") else "inc"
    script = f"""
        import atexit, os, sys
        from vitalsign import {kind.__name__}

        metric = {kind.__name__}("m", "m", ["k"])

        class Late:
            def __del__(self, write=os.write, metric=metric, collect=metric.collect):
                metric.labels("x").{method}(1)
                metric.labels("another").{method}(1)
                (family,) = collect()
                shown = [s.value for s in family.samples if s.name == "{sample}" and s.labels["k"] == "x"]
                write(1, f"{{shown}}\\n".encode())

        atexit.register(lambda: metric.labels("x").{method}(1))
        late, sys.modules["late too"] = Late(), Late()
    """
    assert run_script(script).splitlines() == ["[2.0]", "[3.0]"]


# -- the host holds a name of ours


def test_overflow_that_cannot_be_counted(registry: CollectorRegistry, caplog: pytest.LogCaptureFixture) -> None:
    """Where the host has given our name to a metric of its own, a label set too many is logged, and no error."""
    prometheus_client.Gauge("vitalsign_series_overflow_total", "The host's.", registry=registry)
    counter = Counter("c", "c", ["k"], max_series=1, registry=registry)
    where = {"where": "series overflow"}
    before = REGISTRY.get_sample_value("vitalsign_internal_errors_total", where) or 0
    with caplog.at_level(logging.ERROR, "vitalsign"):
        for value in "abc":
            counter.labels(value).inc()
    assert value_of(registry, "c_total", k="__overflow__") == 2
    assert REGISTRY.get_sample_value("vitalsign_internal_errors_total", where) == before + 2


# -- a page that is limited to some names


class Foreign:
    """A collector of the host's that tells its names."""

    def __init__(self, name: str, answer: Callable[[], object]) -> None:
        self.name = name
        self.answer = answer
        self.asked = 0

    def describe(self) -> list[Metric]:
        """Tell the name."""
        return [GaugeMetricFamily(self.name, "f")]

    def collect(self) -> Iterator[Metric]:
        """Answer late, or never."""
        self.asked += 1
        self.answer()
        yield GaugeMetricFamily(self.name, "f", value=1)


def test_limited_page_leaves_out_a_collector_that_raises(registry: CollectorRegistry) -> None:
    """Where a page is limited to some names, a collector that raises costs its own metrics only."""
    Counter("c", "c", registry=registry).inc()
    registry.register(Foreign("broken", lambda: 1 / 0))
    registry.register(Foreign("whole", int))
    page = generate_latest(registry.restricted_registry(["c_total", "broken", "whole"]))
    assert [line for line in page.splitlines() if line[:1] != b"#"] == [b"c_total 1.0", b"whole 1.0"]


def test_limited_page_leaves_out_a_collector_that_hangs(registry: CollectorRegistry) -> None:
    """Where a page is limited to some names, a collector that hangs is left out, and not asked again meanwhile."""
    may_go_on = threading.Event()
    hanging, unasked = Foreign("hanging", may_go_on.wait), Foreign("unasked", may_go_on.wait)
    Counter("c", "c", registry=registry).inc()
    registry.register(hanging)
    registry.register(unasked)
    try:
        for _ in range(3):
            page = b"".join(render(registry.restricted_registry(["c_total", "hanging"]), deadline=0.2))
            assert [line for line in page.splitlines() if line[:1] != b"#"] == [b"c_total 1.0"]
        assert (hanging.asked, unasked.asked) == (1, 0)
    finally:
        may_go_on.set()
