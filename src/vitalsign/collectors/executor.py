"""Thread pools: how much waits for a thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from vitalsign.collectors._families import filled, gauge
from vitalsign.collectors._sampled import SampledCollector
from vitalsign.exceptions import CollectorOptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

__all__ = ["ExecutorCollector"]

_WAITING = gauge("executor_queue_depth", "Calls that wait for a thread.", "executor")
_THREADS = gauge("executor_threads", "Threads that were started so far.", "executor")
_LIMIT = gauge("executor_max_threads", "Threads that there may be.", "executor")


class ExecutorCollector(SampledCollector):
    """
    Show how full a thread pool is: calls that wait mean that all its threads are busy.

    Args:
        executor: Value of the label `executor`.
        pool: The pool to watch.
        refresh: Seconds from one sample to the next.
        deadline: Seconds that a sample may take.

    Raises:
        CollectorOptionError: It is no ThreadPoolExecutor, or a time is not above 0.
    """

    def __init__(self, executor: str, pool: ThreadPoolExecutor, *, refresh: float = 5.0, deadline: float = 1.0) -> None:
        super().__init__(f"executor:{executor}", refresh=refresh, deadline=deadline)
        if not isinstance(pool, ThreadPoolExecutor):
            raise CollectorOptionError(f"Executor collector {executor!r} needs a ThreadPoolExecutor, not {pool!r}.")
        self._who = [executor]
        self._pool = pool

    def describe(self) -> Iterable[Metric]:
        """Return the metrics."""
        return [_WAITING(), _THREADS(), _LIMIT()]

    def collect(self) -> Iterable[Metric]:
        """Look at the pool now. It tells nothing about itself, so its private attributes must do."""
        yield filled(_WAITING, (self._who, self._pool._work_queue.qsize()))
        yield filled(_THREADS, (self._who, len(self._pool._threads)))
        yield filled(_LIMIT, (self._who, self._pool._max_workers))
