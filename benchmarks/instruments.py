"""Rows of the hot path: what one increment, one observation, one timed call costs."""

from __future__ import annotations

import timeit
from importlib import import_module
from typing import Any

from benchmarks.rows import SECONDS, Row, Target, beside

__all__ = ["FIRST_BUCKET", "LAST_BUCKET", "call_time", "rows"]

_CALLS = 5_000
_REPEATS = 100

FIRST_BUCKET = 0.003
LAST_BUCKET = 9.0


def rows() -> list[Row]:
    """Return the rows of this module."""
    return [
        Row("counter.inc", "bound counter, `inc()`", SECONDS, beside(inc), Target(factor=2)),
        Row("counter.labels", '`labels("GET", "/a", "200").inc()`', SECONDS, beside(labels_inc), Target(factor=4)),
        Row("histogram.first", "`observe()`, first bucket", SECONDS, beside(observe_first), Target(factor=2.5)),
        Row("histogram.last", "`observe()`, last bucket", SECONDS, beside(observe_last), Target(factor=3.5)),
        Row("timing.decorator", "`@track_time` on a plain function", SECONDS, beside(decorated), Target(factor=3.5)),
        Row("timing.with", "`with timer()`", SECONDS, beside(timed_block), Target(factor=2.5)),
    ]


def inc(library: str, short: bool) -> float:
    return call_time("child.inc()", {"child": _counter(library).labels("GET", "/a", "200")}, short)


def labels_inc(library: str, short: bool) -> float:
    return call_time('counter.labels("GET", "/a", "200").inc()', {"counter": _counter(library)}, short)


def observe_first(library: str, short: bool) -> float:
    return call_time(f"child.observe({FIRST_BUCKET})", {"child": _histogram(library)}, short)


def observe_last(library: str, short: bool) -> float:
    return call_time(f"child.observe({LAST_BUCKET})", {"child": _histogram(library)}, short)


def decorated(library: str, short: bool) -> float:
    """Time a call of an empty function with the decorator on it; prometheus_client's is `@h.time()`."""
    child = _histogram(library)
    decorator = import_module(library).track_time(child) if library == "vitalsign" else child.time()

    @decorator  # type: ignore[untyped-decorator]  # of whichever library
    def work() -> None:
        pass

    return call_time("work()", {"work": work}, short)


def timed_block(library: str, short: bool) -> float:
    """Time an empty block; prometheus_client's is `with h.time()`."""
    child = _histogram(library)
    if library == "vitalsign":
        return call_time("with timer(child): pass", {"child": child, "timer": import_module(library).timer}, short)
    return call_time("with child.time(): pass", {"child": child}, short)


def _counter(library: str) -> Any:
    registry = import_module("prometheus_client").CollectorRegistry()
    return import_module(library).Counter("requests", "Requests.", ["method", "route", "status"], registry=registry)


def _histogram(library: str) -> Any:
    registry = import_module("prometheus_client").CollectorRegistry()
    histogram = import_module(library).Histogram("latency", "Latency.", ["method", "route"], registry=registry)
    return histogram.labels("GET", "/a")


def call_time(statement: str, names: dict[str, Any], short: bool) -> float:
    """Return the seconds of one *statement*, the best of a few loops: what disturbs a loop only ever adds."""
    calls = _CALLS // 100 if short else _CALLS
    loop = timeit.Timer(statement, globals=names)
    loop.timeit(calls // 10)
    return min(loop.repeat(_REPEATS, calls)) / calls
