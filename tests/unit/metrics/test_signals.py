"""Signal handlers that come in the middle of the engine's own work, wherever Python lets them in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tests.interruptions import at_once, interrupted
from tests.processes import run_script
from tests.servers import ROOT
from vitalsign import Counter, Gauge, Histogram, Summary, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


@pytest.mark.parametrize("others", [0, 1, 2], ids=["alone", "after another thread", "after two other threads"])
@KINDS
def test_signal_handler_in_the_middle_of_a_first_write(kind: Any, sample: str, write: Write, others: int) -> None:
    """Wherever a handler comes in, what it counts in the same series is there beside what it interrupted."""
    at, is_reached = 0, True
    while is_reached:
        registry = CollectorRegistry()
        metric = kind("m", "m", ["k"], registry=registry)

        def count(metric: Any = metric) -> None:
            write(metric.labels("x"))

        at_once(others, count)
        is_reached = interrupted(count, count, at)
        assert registry.get_sample_value(sample, {"k": "x"}) == others + 1 + is_reached, f"place {at}"
        at += 1
    assert at > 4


@pytest.mark.parametrize(
    "remove",
    [lambda m: m.clear(), lambda m: m.remove("x"), lambda m: m.remove_by_labels({"k": "x"})],
    ids=["clear", "remove", "remove_by_labels"],
)
@KINDS
def test_signal_handler_in_the_middle_of_a_removal(kind: Any, sample: str, write: Write, remove: Write) -> None:
    """What a handler counts goes with the removed series, or into a new one, and never into both."""
    at, is_reached = 0, True
    while is_reached:
        registry = CollectorRegistry()
        metric = kind("m", "m", ["k"], registry=registry)
        write(metric.labels("x"))

        def count(metric: Any = metric) -> None:
            write(metric.labels("x"))

        is_reached = interrupted(lambda metric=metric: remove(metric), count, at)  # type: ignore[misc]
        assert registry.get_sample_value(sample, {"k": "x"}) in (None, 1), f"place {at}"
        at += 1
    assert at > 3


def test_signal_handler_in_the_middle_of_a_reset(registry: CollectorRegistry) -> None:
    """A handler's increment comes before the reset, or after it: nothing of what was there before stays."""
    counter = Counter("c", "c", registry=registry)
    at, is_reached = 0, True
    while is_reached:
        counter.inc(5)
        is_reached = interrupted(counter.reset, counter.inc, at)
        assert registry.get_sample_value("c_total") in (0, 1), f"place {at}"
        at += 1
    assert at > 3


def test_signal_handler_in_the_middle_of_a_page() -> None:
    """A handler that counts, makes and removes label sets while the page is written leaves it whole."""
    at, is_reached = 0, True
    while is_reached:
        registry = CollectorRegistry()
        counter = Counter("c", "c", ["k"], registry=registry)
        histogram = Histogram("h", "h", ["k"], buckets=[1], registry=registry)
        counter.labels("x").inc(7)
        histogram.labels("x").observe(1)

        def handle(counter: Counter = counter, histogram: Histogram = histogram) -> None:
            counter.labels("new").inc()
            histogram.clear()
            histogram.labels("new").observe(1)

        pages: list[bytes] = []
        is_reached = interrupted(lambda to=pages, of=registry: to.append(generate_latest(of)), handle, at)  # type: ignore[misc]
        assert b'c_total{k="x"} 7.0\n' in pages[0]
        assert list(text_string_to_metric_families(pages[0].decode()))
        at += 1
    assert at > 30


def test_signal_handler_increments_while_the_main_thread_holds_the_lock() -> None:
    """A handler may write every kind of metric, known or new, in the middle of what the engine's lock guards."""
    script = """
        import os, signal
        from prometheus_client import CollectorRegistry
        from vitalsign import Counter, Enum, Gauge, Histogram, Info, Summary, generate_latest
        from vitalsign.metrics.shards import LOCK

        signal.alarm(30)  # a lock that is not re-entrant would hang
        registry = CollectorRegistry()
        counter, gauge = Counter("c", "c", ["k"], registry=registry), Gauge("g", "g", ["k"], registry=registry)
        histogram, summary = Histogram("h", "h", registry=registry), Summary("s", "s", registry=registry)
        info, enum = Info("i", "i", registry=registry), Enum("e", "e", states=["a", "b"], registry=registry)

        def handle(*_):
            counter.labels("new").inc(1, {"trace_id": "a"})
            gauge.labels("new").inc()
            gauge.labels("gone").set(1)
            gauge.remove("gone")
            histogram.observe(1, {"trace_id": "a"})
            summary.observe(1)
            info.info({"a": "b"})
            enum.state("b")

        signal.signal(signal.SIGUSR1, handle)
        for _ in range(2):
            with LOCK:
                os.kill(os.getpid(), signal.SIGUSR1)
        lines = generate_latest(registry).decode().splitlines()
        print([line for line in lines if line.startswith(("c_total", "g{", "h_count", "s_count", "i_info", "e{"))])
    """
    counted = ['c_total{k="new"} 2.0', 'g{k="new"} 2.0', "h_count 2.0", "s_count 2.0"]
    told = ['i_info{a="b"} 1.0', 'e{e="a"} 0.0', 'e{e="b"} 1.0']
    assert run_script(script) == f"{counted + told}\n"


def test_signal_handler_in_the_middle_of_a_first_write_where_processes_share(tmp_path: Path) -> None:
    """The same holds for cells in shared files, also for the first write of a forked child to what it inherited."""
    script = """
        import os, sys
        sys.path.insert(0, sys.argv[2])
        from tests.interruptions import at_once, interrupted
        from prometheus_client import REGISTRY
        from vitalsign import Counter, Gauge, Histogram, generate_latest
        from vitalsign.metrics import configure

        configure(processes=sys.argv[1])
        KINDS = {Counter: ("inc", "_total"), Gauge: ("inc", ""), Histogram: ("observe", "_count")}

        def shown(name):
            starts = [f'{name}{suffix}{{k="x"}} ' for _, suffix in KINDS.values()]
            (line,) = [line for line in generate_latest().decode().splitlines() if line.startswith(tuple(starts))]
            return float(line.rpartition(" ")[2])

        def in_child(attempt):
            pid = os.fork()
            if pid == 0:
                first.inc()  # which opens its files
                os._exit(attempt())
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        first = Counter("first", "c")
        first.inc()
        for others, is_forked in ((0, False), (1, False), (2, False), (2, True)):
            within = "cells.py" if is_forked else ""  # a fork for each place in the files' code would take minutes
            for kind, (method, _) in KINDS.items():
                at, is_reached = 0, True
                while is_reached:
                    name = f"m_{kind.__name__}_{others}_{is_forked}_{at}"
                    more = {"multiprocess_mode": "sum"} if kind is Gauge else {}
                    metric = kind(name, "m", ["k"], **more)
                    count = lambda: getattr(metric.labels("x"), method)(1)
                    at_once(others, count)

                    def attempt():
                        is_reached = interrupted(count, count, at, within=within)
                        is_right = shown(name) == others + 1 + is_reached
                        return is_reached + 2 * is_right

                    code = in_child(attempt) if is_forked else attempt()
                    if code < 2:
                        print(name)
                    is_reached = code % 2
                    REGISTRY.unregister(metric)
                    at += 1
    """
    assert run_script(script, str(tmp_path / "shared"), str(ROOT), timeout=110) == ""
