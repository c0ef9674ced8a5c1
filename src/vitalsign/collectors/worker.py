"""Workers: what became of the jobs that they took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from vitalsign._clock import monotonic, wall
from vitalsign.collectors._events import Declaring, EventCollector, harmless
from vitalsign.exceptions import CollectorOptionError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from vitalsign.metrics.instruments import Counter, Gauge, Histogram

__all__ = ["Job", "WorkerCollector"]

_guarded = harmless("collectors.worker")
_OUTCOMES = ("success", "failure", "retried", "cancelled")
_DURATION_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
_WAIT_BUCKETS = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)


@dataclass(frozen=True, slots=True)
class _Metrics:
    jobs: Counter
    duration: Histogram
    wait: Histogram
    in_progress: Gauge
    errors: Counter
    retries: Counter
    dead_letters: Counter
    active: Gauge
    heartbeat: Gauge


class WorkerCollector(EventCollector[_Metrics]):
    """
    Count the jobs of one worker by type and outcome, time them, and show that the worker is alive.

    ```python
    worker = WorkerCollector("pricing", queue="backtests").bind()
    with worker.job("backtest") as job:
        ...
    ```

    Args:
        worker: Value of the label `worker`: what the worker is for, not the host or process that it runs on.
        queue: Value of the label `queue`: where its jobs come from.
    """

    def __init__(self, worker: str, *, queue: str = "default") -> None:
        super().__init__({"worker": worker, "queue": queue})
        self.identity: tuple[str, str] = (worker, queue)

    def job(
        self, kind: str, *, enqueued_at: datetime | float | None = None, due_at: datetime | float | None = None
    ) -> Job:
        """
        Return a context manager, for `with` and `async with`, that is one job.

        Args:
            kind: Value of the label `type`: one of few, never a job's id.
            enqueued_at: When the job was put into the queue, as Unix time or an aware datetime: its wait is recorded.
            due_at: When it was meant to run, if that was later: the scheduled delay is no wait.
        """
        return Job(self, kind, enqueued_at, due_at)

    @_guarded
    def heartbeat(self) -> None:
        """Say that the worker is alive: `worker_heartbeat_timestamp_seconds` is now. Each job's start and end does."""
        if self.metrics is not None:
            self.metrics.heartbeat.labels(*self.identity).set(wall())

    @_guarded
    def set_active(self, active: bool) -> None:
        """Say whether the worker takes jobs: it does from `bind` on, and should say False while it drains."""
        if self.metrics is not None:
            self.metrics.active.labels(*self.identity).set(float(active))

    def _declare(self, declaring: Declaring) -> _Metrics:
        counter, gauge, histogram = declaring.counter, declaring.gauge, declaring.histogram
        return _Metrics(
            jobs=counter("worker_jobs", "Jobs that ended, by outcome: success, failure, retried, cancelled.",
                         "type", "outcome"),
            duration=histogram("worker_job_duration_seconds", "Time that jobs took.",
                               "type", buckets=_DURATION_BUCKETS),
            wait=histogram("worker_job_wait_seconds", "Time that jobs waited since they were enqueued, or due.",
                           "type", buckets=_WAIT_BUCKETS),
            in_progress=gauge("worker_jobs_in_progress", "Jobs that are running.", "type", mode="livesum"),
            errors=counter("worker_job_errors", "Exceptions that ended jobs, by class.", "type", "error"),
            retries=counter("worker_job_retries", "Jobs that are to be tried again.", "type"),
            dead_letters=counter("worker_job_dead_letters", "Jobs that were given up and set aside.", "type"),
            active=gauge("worker_active", "Whether the worker takes jobs (1) or not (0).", mode="livesum"),
            heartbeat=gauge("worker_heartbeat_timestamp_seconds", "Unix time of the worker's last sign of life.",
                            mode="max"),
        )  # fmt: skip

    def _after_bind(self) -> None:
        self.set_active(True)
        self.heartbeat()


class Job:
    """
    One job of a worker, from its start to its end; made by `WorkerCollector.job`.

    An exception is counted by its class and makes the outcome `failure`. What is no `Exception` (a cancelled
    coroutine, a worker that is told to exit) makes it `cancelled`, and is no error.
    """

    __slots__ = (
        "_due_at", "_enqueued_at", "_error", "_in_progress", "_labels", "_metrics", "_outcome", "_started", "_worker",
    )  # fmt: skip

    def __init__(
        self, worker: WorkerCollector, kind: str, enqueued_at: datetime | float | None, due_at: datetime | float | None
    ) -> None:
        self._worker = worker
        self._labels = (*worker.identity, kind)
        self._enqueued_at = enqueued_at
        self._due_at = due_at
        self._metrics: _Metrics | None = None
        self._in_progress: Gauge | None = None
        self._outcome: str | None = None
        self._error: str | None = None
        self._started = 0.0

    @_guarded
    def retried(self) -> None:
        """Say that the job will be tried again: its outcome is `retried`, also if an exception ends this try."""
        self._outcome = "retried"
        if metrics := self._live_metrics():
            metrics.retries.labels(*self._labels).inc()

    @_guarded
    def dead_lettered(self) -> None:
        """Say that the job was given up and set aside: its outcome is `failure`, also without an exception."""
        self._outcome = "failure"
        if metrics := self._live_metrics():
            metrics.dead_letters.labels(*self._labels).inc()

    @_guarded
    def failed(self, error: BaseException) -> None:
        """Say that the job failed by *error*, which was caught inside the block."""
        self._outcome = self._outcome or "failure"
        self._error = type(error).__name__

    def __enter__(self) -> Self:
        self._begin()
        self._record_wait()
        self._started = monotonic()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(monotonic() - self._started, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, error, traceback)

    def _live_metrics(self) -> _Metrics | None:
        # When the worker was unbound meanwhile its series are gone, and must not come back.
        return self._metrics if self._worker.metrics is self._metrics else None

    @_guarded
    def _begin(self) -> None:
        metrics = self._metrics = self._worker.metrics
        if metrics is None:
            return
        self._in_progress = metrics.in_progress.labels(*self._labels)
        self._in_progress.inc()
        metrics.retries.labels(*self._labels)  # series that rules add up exist before their first event
        metrics.dead_letters.labels(*self._labels)
        for outcome in _OUTCOMES:
            metrics.jobs.labels(*self._labels, outcome)
        self._worker.heartbeat()

    @_guarded
    def _record_wait(self) -> None:
        moments = [_timestamp(moment) for moment in (self._enqueued_at, self._due_at) if moment is not None]
        if self._metrics is not None and self._enqueued_at is not None:
            self._metrics.wait.labels(*self._labels).observe(max(0.0, wall() - max(moments)))

    @_guarded
    def _end(self, seconds: float, error: BaseException | None) -> None:
        if self._in_progress is not None:
            self._in_progress.dec()
        metrics = self._live_metrics()
        if metrics is None:
            return
        if isinstance(error, Exception):
            self.failed(error)
        elif error is not None:
            self._outcome = self._outcome or "cancelled"
        metrics.duration.labels(*self._labels).observe(seconds)
        metrics.jobs.labels(*self._labels, self._outcome or "success").inc()
        if self._error is not None:
            metrics.errors.labels(*self._labels, self._error).inc()
        self._worker.heartbeat()


def _timestamp(moment: datetime | float) -> float:
    if not isinstance(moment, datetime):
        return float(moment)
    if moment.tzinfo is None:
        raise CollectorOptionError(
            f"{moment!r} has no time zone, so it may be off by hours. Give an aware datetime or Unix time."
        )
    return moment.timestamp()
