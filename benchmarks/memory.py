"""Rows of memory: what a child costs, by how many threads write it, and what threads that come and go leave behind."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.populating import in_threads
from benchmarks.rows import BYTES, STATED, Row, Target, beside

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["rows"]

_CHILDREN = 2_000
_WORN_CHILDREN = 200
_WORN_OBSERVATIONS = 300
"""In each bucket: above 256, an int is an object of its own."""

_THREADS = 100_000
_LATENCIES = (0.003, 0.007, 0.02, 0.03, 0.06, 0.08, 0.2, 0.3, 0.6, 0.8, 2.0, 3.0, 6.0, 8.0, 20.0)
"""One in each of the default buckets."""


def rows() -> list[Row]:
    """Return the rows of this module."""
    return [
        *(row for kind in ("histogram", "counter") for row in _rows_of(kind)),
        Row(
            "memory.histogram.worn",
            f"bytes of a histogram child, 1 thread, {_WORN_OBSERVATIONS} observations in each bucket",
            BYTES,
            beside(worn),
        ),
        Row(
            "memory.threads.heap",
            "growth of the heap over 100,000 short-lived threads, each writes a counter and a histogram",
            BYTES,
            beside(heap_growth),
            Target(limit=10_000),
        ),
        Row(
            "memory.threads.rss",
            "growth of the process's resident memory over the same",
            BYTES,
            beside(resident_growth),
        ),
    ]


def _rows_of(kind: str) -> list[Row]:
    def row(key: str, title: str, measure: Callable[..., float], target: Target = STATED) -> Row:
        return Row(f"memory.{kind}.{key}", f"bytes of a {kind} child, {title}", BYTES, beside(measure), target)

    return [
        row("1", "1 thread", partial(child_size, kind, 1, False), Target(factor=2)),
        row("scraped", "1 thread, after a scrape", partial(child_size, kind, 1, True)),
        row("8", "8 threads", partial(child_size, kind, 8, False)),
        row("40", "40 threads", partial(child_size, kind, 40, False)),
        row("thread", "for each further thread, of 40", partial(further_thread, kind, 40)),
    ]


def child_size(kind: str, threads: int, scraped: bool, library: str, short: bool) -> float:
    """Return the bytes of a child, with its entry in the metric, written once by each of *threads* threads."""
    metric, registry, write = _metric(kind, library)
    children = _children(short)

    def fill() -> None:
        in_threads(threads, lambda: _write_all(metric, write, children))
        if scraped:
            import_module(library).generate_latest(registry)

    return _growth(fill) / children


def further_thread(kind: str, threads: int, library: str, short: bool) -> float:
    """Return the bytes of a child that each further thread adds."""
    metric, _, write = _metric(kind, library)
    children = _children(short)
    _write_all(metric, write, children)
    return _growth(lambda: in_threads(threads, lambda: _write_all(metric, write, children))) / children / (threads - 1)


def worn(library: str, short: bool) -> float:
    """Return the bytes of a histogram child that has lived: all buckets in use, counts past the shared small ints."""
    metric, _, _ = _metric("histogram", library)
    children = _WORN_CHILDREN // (100 if short else 1)

    def fill() -> None:
        for number in range(children):
            child = metric.labels(str(number))
            for latency in _LATENCIES:
                for _ in range(_WORN_OBSERVATIONS):
                    child.observe(latency)

    return _growth(fill) / children


def heap_growth(library: str, short: bool) -> float:
    return _growth(_short_lived_threads(library, short))


def resident_growth(library: str, short: bool) -> float:
    run = _short_lived_threads(library, short)
    process = import_module("psutil").Process()
    before: int = process.memory_info().rss
    run()
    gc.collect()
    return float(process.memory_info().rss - before)


def _short_lived_threads(library: str, short: bool) -> Callable[[], None]:
    """Return what runs the threads, one after the other; some have run already, so that first times are over."""
    counter, _, _ = _metric("counter", library)
    histogram, _, _ = _metric("histogram", library)
    hits, latency = counter.labels("a"), histogram.labels("a")

    def write() -> None:
        hits.inc()
        latency.observe(0.1)

    def run(count: int) -> None:
        for _ in range(count):
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()

    run(200)
    return partial(run, _THREADS // 100 if short else _THREADS)


def _metric(kind: str, library: str) -> tuple[Any, Any, Callable[[Any], object]]:
    """Return a metric with a label, its registry, and how to write a child of it."""
    registry = import_module("prometheus_client").CollectorRegistry()
    metric = getattr(import_module(library), kind.title())(kind, "Help.", ["route"], registry=registry)
    if kind == "histogram":
        return metric, registry, lambda child: child.observe(0.1)
    return metric, registry, lambda child: child.inc()


def _write_all(metric: Any, write: Callable[[Any], object], children: int) -> None:
    for number in range(children):
        write(metric.labels(str(number)))


def _children(short: bool) -> int:
    return _CHILDREN // 20 if short else _CHILDREN


def _growth(work: Callable[[], object]) -> float:
    """Return the bytes by which *work* makes the Python heap grow."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before
