"""A batch job: a block whose metrics are delivered when it ends, however it ends."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import logging
import os
import time
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from prometheus_client.metrics_core import GaugeMetricFamily

from vitalsign._clock import monotonic, wall
from vitalsign.exceptions import PushError, PushOptionError, PushRefusedError
from vitalsign.metrics.base import OWN_MAX_SERIES
from vitalsign.metrics.instruments import Counter
from vitalsign.metrics.internal import internal_error
from vitalsign.push._page import Page, checked_registry, checked_seconds
from vitalsign.push._termination import Termination

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Self

    from prometheus_client import Metric

__all__ = ["LAST_SUCCESS", "BatchJob"]

LAST_SUCCESS = "job_last_success_timestamp_seconds"
"""Name of the gauge that a failed run does not touch."""

_P = ParamSpec("_P")
_R = TypeVar("_R")
_log = logging.getLogger("vitalsign")


class Destination(Protocol):
    """
    Where the metrics of a job go.

    Attributes:
        kind: One of few words: it becomes a label.
        shown: Address or path, without credentials.
    """

    kind: str
    shown: str

    def deliver(self, page: Page, *, succeeded: bool, until: float) -> None:
        """
        Deliver *page* before *until*, by `time.monotonic()`.

        Raises:
            PushError: That did not work.
        """


class BatchJob:
    """
    One run of a job, as a context manager for `with` and `async with`, or as a decorator of functions and coroutines.

    At its end it adds these gauges to what is delivered, each where the registry has none of that name:
    `job_success` (1 or 0), `job_duration_seconds`, `job_last_run_timestamp_seconds` and, after a success,
    `job_last_success_timestamp_seconds`. An exception is a failure, and so is SIGTERM, Ctrl-C, a cancelled task and
    `sys.exit` with a status.

    It is made by `push_on_exit` and its like. As a context manager it is one run at a time; as a decorator it makes a
    run of each call.
    """

    def __init__(
        self, destination: Destination, job: str, *, registry: Any, job_metrics: bool, deadline: float
    ) -> None:
        self._destination = destination
        self._job = job
        self._registry = checked_registry(registry)
        self._job_metrics = job_metrics
        self._deadline = checked_seconds(deadline)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._has_failed = False
        self._started = monotonic()
        self._termination = Termination()

    def failed(self) -> None:
        """Say that the run has failed, where no exception leaves the block."""
        self._has_failed = True

    def __enter__(self) -> Self:
        self._begin()
        self._termination.watch()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() == self._pid:  # a forked child that leaves the block is not the job
            with self._termination.ending():
                self._end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() == self._pid:
            with self._termination.ending():
                await _off_the_loop(self._end, error)

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """
        Make each call of *function* a run.

        Raises:
            PushOptionError: It is a generator function, of which nobody knows when it ends.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise PushOptionError(
                f"{function!r} is a generator function, which ends when its consumer likes. Decorate what consumes it."
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: _P.args, **kwargs: _P.kwargs) -> Any:
                async with copy.copy(self):
                    return await function(*args, **kwargs)

            return cast("Callable[_P, _R]", run_async)

        @functools.wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            with copy.copy(self):
                return function(*args, **kwargs)

        return run

    def _end(self, error: BaseException | None) -> None:
        """Deliver the metrics; never raise."""
        until = time.monotonic() + self._deadline
        succeeded = not self._has_failed and _is_success(error)
        how_it_ended = list(self._how_it_ended(succeeded=succeeded)) if self._job_metrics else []
        outcome = "error"
        try:
            page = Page(self._registry, how_it_ended, deadline=self._deadline / 2)
            self._destination.deliver(page, succeeded=succeeded, until=until)
            outcome = "success"
        except PushError as problem:
            outcome = "refused" if isinstance(problem, PushRefusedError) else "failed"
            _log.error("The metrics of job %r are lost: %s The job itself is unharmed.", self._job, problem)
        except Exception as problem:  # noqa: BLE001  # the job must end as it would have without us
            internal_error("push", problem)
        _count(self._destination.kind, outcome)

    def _how_it_ended(self, *, succeeded: bool) -> Iterable[Metric]:
        now = wall()
        yield _gauge("job_success", "Whether the last run of the job succeeded (1) or not (0).", float(succeeded))
        yield _gauge("job_duration_seconds", "Time that the last run of the job took.", monotonic() - self._started)
        yield _gauge("job_last_run_timestamp_seconds", "Unix time of the end of the job's last run.", now)
        if succeeded:
            yield _gauge(LAST_SUCCESS, "Unix time of the end of the job's last run that succeeded.", now)


def _gauge(name: str, text: str, value: float) -> Metric:
    return cast("Metric", GaugeMetricFamily(name, text, value=value))


def _is_success(error: BaseException | None) -> bool:
    return error is None or (isinstance(error, SystemExit) and not error.code)


async def _off_the_loop(work: Callable[[BaseException | None], None], error: BaseException | None) -> None:
    """Call *work*, which does not raise, on another thread, so that the loop goes on; without an executor, here."""
    try:
        await asyncio.to_thread(work, error)
    except RuntimeError:  # of an event loop that is not asyncio's, or is being closed
        work(error)


def _count(kind: str, outcome: str) -> None:
    try:
        pushes = Counter(
            "vitalsign_pushes",
            "Deliveries at the end of jobs, by destination and outcome: success, refused, failed, error.",
            ["destination", "outcome"],
            max_series=OWN_MAX_SERIES,
        )
        pushes.labels(kind, outcome).inc()
    except Exception as error:  # noqa: BLE001  # the host may hold the name
        internal_error("push", error)
