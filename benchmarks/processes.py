"""Rows of many processes: what a call costs where they share, what a scrape adds up, what dead workers leave behind."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from benchmarks.instruments import FIRST_BUCKET, LAST_BUCKET, call_time
from benchmarks.rows import BYTES, FILES, SECONDS, Row, Target, beside
from benchmarks.workers import service, shared_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from benchmarks.workers import Service

__all__ = ["rows"]

_WORKERS = 8
_CHILDREN = 1_000
_REPEATS = 3
_DEAD = 200
_DEAD_CHILDREN = 50
"""Few, because prometheus_client takes its time to make them."""


def rows() -> list[Row]:
    """Return the rows of this module."""
    scrape = f"many processes: scrape of {_WORKERS} workers with {_CHILDREN:,} histogram children each"
    return [
        Row("processes.inc", "many processes: bound counter, `inc()`", SECONDS, beside(inc), Target(factor=5)),
        _observe_row("first", FIRST_BUCKET),
        _observe_row("last", LAST_BUCKET),
        Row("processes.scrape", scrape, SECONDS, beside(scrape_time), Target(factor=15)),
        Row(
            "processes.cold",
            f"{scrape}, first scrape of a process",
            SECONDS,
            beside(first_scrape_time),
            Target(factor=15),
        ),
        *_rows_of_the_dead(),
    ]


def _observe_row(bucket: str, value: float) -> Row:
    title = f"many processes: `observe()`, {bucket} bucket"
    return Row(f"processes.{bucket}", title, SECONDS, beside(partial(observe, value)), Target(factor=5))


def _rows_of_the_dead() -> list[Row]:
    """Return the rows of what workers leave; "no growth" allows for a tenth of our scrape, and one worker's files."""
    deaths = f"{_DEAD} more workers, with {_DEAD_CHILDREN} of the children each, that were killed"
    time, files, size = f"growth of a scrape's time by {deaths}", "growth of the files by them", "their size"
    return [
        Row("processes.dead.time", time, SECONDS, beside(time_growth), Target(limit=0.002)),
        Row("processes.dead.first", "first scrape after they died, all at once", SECONDS, beside(first_after_deaths)),
        Row("processes.dead.files", files, FILES, beside(files_growth), Target(limit=4)),
        Row("processes.dead.bytes", f"{files}, {size}", BYTES, beside(bytes_growth), Target(limit=200_000)),
    ]


def inc(library: str, short: bool) -> float:
    with shared_directory(library):
        counter = import_module(library).Counter("requests", "Requests.", ["method", "route", "status"])
        return call_time("child.inc()", {"child": counter.labels("GET", "/a", "200")}, short)


def observe(value: float, library: str, short: bool) -> float:
    with shared_directory(library):
        histogram = import_module(library).Histogram("latency", "Latency.", ["method", "route"])
        return call_time(f"child.observe({value})", {"child": histogram.labels("GET", "/a")}, short)


def scrape_time(library: str, short: bool) -> float:
    """Time scrapes after the first, between which every number changes; the best of them."""
    with _service(library, short) as running:
        return _steady_scrape_time(running, short)


def first_scrape_time(library: str, short: bool) -> float:
    with _service(library, short) as running:
        return running.scrape_time()


def time_growth(library: str, short: bool) -> float:
    return _growth(partial(_steady_scrape_time, short=short), library, short)


def first_after_deaths(library: str, short: bool) -> float:
    with _service(library, short) as running:
        running.scrape_time()
        _lose_workers(running, short)
        return running.scrape_time()


def files_growth(library: str, short: bool) -> float:
    return _growth(lambda running: len(_files(running)), library, short)


def bytes_growth(library: str, short: bool) -> float:
    return _growth(lambda running: sum(_files(running)), library, short)


def _service(library: str, short: bool) -> AbstractContextManager[Service]:
    return service(library, 2, _CHILDREN // 50) if short else service(library, _WORKERS, _CHILDREN)


def _growth(figure: Callable[[Service], float], library: str, short: bool) -> float:
    """Return by how much the deaths make *figure* grow."""
    with _service(library, short) as running:
        before = figure(running)
        _lose_workers(running, short)
        return figure(running) - before


def _lose_workers(running: Service, short: bool) -> None:
    running.lose_workers(_DEAD // 50 if short else _DEAD, _DEAD_CHILDREN // 10 if short else _DEAD_CHILDREN)


def _steady_scrape_time(running: Service, short: bool) -> float:
    running.scrape_time()
    times = []
    for _ in range(1 if short else _REPEATS):
        running.observe()
        times.append(running.scrape_time())
    return min(times)


def _files(running: Service) -> list[int]:
    """Return the sizes of the files once a scrape has tidied up what it tidies up."""
    running.scrape_time()
    return running.file_sizes()
