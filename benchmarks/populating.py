"""Metrics with many children, written by many threads: what the rows of rendering and memory stand on."""

from __future__ import annotations

import threading
from importlib import import_module
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["HISTOGRAM", "OBSERVATIONS", "bound_children", "histogram", "in_threads", "observe_all", "populated"]

HISTOGRAM = "http_request_duration_seconds"
OBSERVATIONS = 24
"""Of each child, by all threads of a process together."""


def in_threads(count: int, work: Callable[[], object]) -> None:
    """
    Run *work* once in each of *count* threads that are all alive at once; the calling thread is the first of them.

    They take turns, so that what comes out does not depend on who is scheduled when.
    """
    end = threading.Event()

    def live(finished: threading.Event) -> None:
        work()
        finished.set()
        end.wait()

    work()
    threads = []
    for _ in range(count - 1):
        finished = threading.Event()
        thread = threading.Thread(target=live, args=(finished,))
        thread.start()
        finished.wait()
        threads.append(thread)
    end.set()
    for thread in threads:
        thread.join()


def populated(library: str, children: int, threads: int) -> Any:
    """Return a registry with a histogram of *children* label sets, each observed by all of *threads* threads."""
    registry = import_module("prometheus_client").CollectorRegistry()
    metric = histogram(library, registry=registry)
    bound = bound_children(metric, children)
    in_threads(threads, lambda: observe_all(bound, OBSERVATIONS // threads))
    return registry


def histogram(library: str, **options: Any) -> Any:
    """Declare the histogram."""
    return import_module(library).Histogram(HISTOGRAM, "Latency.", ["route"], **options)


def bound_children(metric: Any, count: int) -> list[Any]:
    """Return the first *count* children of the histogram."""
    return [metric.labels(f"/route/{number}") for number in range(count)]


def observe_all(bound: Iterable[Any], times: int = OBSERVATIONS) -> None:
    """
    Observe each child.

    The observations look like latencies: spread over the buckets, with sums of many digits.
    """
    random = Random(1)
    latencies = [random.lognormvariate(-3, 1.5) for _ in range(1009)]
    for place, child in enumerate(bound):
        for step in range(times):
            child.observe(latencies[(place + 31 * step) % len(latencies)])
