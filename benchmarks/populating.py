"""Metrics with many children, written by many threads: what the rows of rendering and memory stand on."""

from __future__ import annotations

import threading
from importlib import import_module
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_threads", "populated"]

_OBSERVATIONS = 24
"""Of each child, by all threads together."""


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
    """
    Return a registry with a histogram of *children* label sets, each observed by all of *threads* threads.

    The observations look like latencies: spread over the buckets, with sums of many digits.
    """
    registry = import_module("prometheus_client").CollectorRegistry()
    histogram = import_module(library).Histogram(
        "http_request_duration_seconds", "Latency.", ["route"], registry=registry
    )
    bound = [histogram.labels(f"/route/{number}") for number in range(children)]
    random = Random(1)
    latencies = [random.lognormvariate(-3, 1.5) for _ in range(1009)]
    each = _OBSERVATIONS // threads

    def observe_all() -> None:
        for place, child in enumerate(bound):
            for step in range(each):
                child.observe(latencies[(place + 31 * step) % len(latencies)])

    in_threads(threads, observe_all)
    return registry
