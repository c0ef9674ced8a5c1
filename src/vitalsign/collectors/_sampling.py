"""Sampling off the scrape: measure at an interval, remember the last values, drop them when they are old."""

from __future__ import annotations

import logging
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vitalsign._clock import monotonic, wall
from vitalsign.collectors._families import counter, filled, gauge
from vitalsign.collectors._threads import current_pool
from vitalsign.exceptions import MetricError
from vitalsign.metrics.base import OWN_MAX_SERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client import Metric
    from prometheus_client.samples import Sample

    from vitalsign.collectors._threads import Appointment, ThreadPool

__all__ = ["Measuring", "Schedule"]

_log = logging.getLogger("vitalsign")
_LIFETIMES = 3  # intervals for which a value is believed

_UP = gauge(
    "vitalsign_collector_up", "Whether the collector's last sample succeeded in time (1) or not (0).", "collector"
)
_DURATION = gauge(
    "vitalsign_collector_sample_duration_seconds", "Time that the collector's last sample took.", "collector"
)
_SUCCESS = gauge(
    "vitalsign_collector_last_success_timestamp_seconds",
    "Unix time at which the collector's last successful sample ended.",
    "collector",
)
_ERRORS = counter(
    "vitalsign_collector_errors",
    "Samples that failed, by reason: error (an exception) or timeout (past the deadline).",
    "collector",
    "reason",
)


class Measuring(Protocol):
    """What takes the samples."""

    def sample(self) -> Iterable[Metric]:
        """Take one sample."""
        ...

    def close(self) -> None:
        """Free what sampling needed; called once, when no sample is in progress."""
        ...


class _Run:
    """One sample in the making. Settled once: by its end, or by the deadline."""

    __slots__ = ("settled", "started")

    def __init__(self) -> None:
        self.started = monotonic()
        self.settled = False


class _Reading(NamedTuple):
    taken: float
    samples: list[Sample]


class Schedule:
    """
    Measure at an interval on a daemon thread, one run at a time, and remember what was measured.

    A run that raises keeps what it returned before; a run past its deadline is given up, and what it returns later is
    thrown away, because nobody knows when that was measured. Values are forgotten when they have not been renewed for
    three intervals. A forked child begins anew, when it is first read there.

    Args:
        name: Of the collector, for the log and the label `collector`.
        measuring: Takes the samples.
        names: Metrics that it may return.
        refresh: Seconds from the start of one run to the start of the next.
        deadline: Seconds after which a run is given up.
    """

    def __init__(
        self, name: str, measuring: Measuring, *, names: frozenset[str], refresh: float, deadline: float
    ) -> None:
        self._name = name
        self._measuring = measuring
        self._names = names
        self._refresh = refresh
        self._deadline = deadline
        self._lifetime = _LIFETIMES * max(refresh, deadline)
        self._pool: ThreadPool | None = None
        self._run: _Run | None = None
        self._next: Appointment | None = None
        self._stopped = False
        self._answered = Event()
        self._readings: dict[str, _Reading] = {}
        self._up: bool | None = None
        self._seconds = 0.0
        self._settled_at = 0.0
        self._succeeded: float | None = None
        self._failures = {"error": 0, "timeout": 0}

    def start(self) -> None:
        """Begin to sample; returns at once."""
        pool = current_pool()
        with pool.lock:
            if self._pool is not pool and not self._stopped:
                self._pool = pool
                self._run = self._up = None  # what is there is the parent's, where this is a forked child
                self._readings = {}
                self._answered = Event()
                self._next = pool.at(monotonic(), self._take)

    def wait(self) -> None:
        """Wait until the first run has ended or is past its deadline."""
        self._answered.wait(self._deadline)

    def stop(self) -> None:
        """Stop sampling; a run in progress is left to end by itself, and its values are thrown away."""
        pool = current_pool()
        with pool.lock:
            self._stopped = True
            if self._next is not None:
                pool.cancel(self._next)
            if self._run is None:
                pool.at(monotonic(), self._measuring.close)

    def read(self, name: str) -> Sequence[Sample]:
        """Return the samples of the metric *name* as last measured, none if that is too long ago."""
        self._restart_after_fork()
        reading = self._readings.get(name)
        return reading.samples if reading and monotonic() - reading.taken <= self._lifetime else ()

    def vitals(self) -> Iterable[tuple[Metric, Callable[[], Iterable[Sample]]]]:
        """Return the metrics about the sampling itself, each with the function that tells its samples."""
        return [
            (_UP(), self._tell_up),
            (_DURATION(), self._tell_duration),
            (_SUCCESS(), self._tell_success),
            (_ERRORS(), self._tell_errors),
        ]

    def _restart_after_fork(self) -> None:
        if self._pool is not current_pool():
            self.start()

    def _tell_up(self) -> Iterable[Sample]:
        self._restart_after_fork()
        if self._up is None:
            return ()
        is_up = self._up and monotonic() - self._settled_at <= self._lifetime
        return filled(_UP, ([self._name], float(is_up))).samples

    def _tell_duration(self) -> Iterable[Sample]:
        return () if self._up is None else filled(_DURATION, ([self._name], self._seconds)).samples

    def _tell_success(self) -> Iterable[Sample]:
        return () if self._succeeded is None else filled(_SUCCESS, ([self._name], self._succeeded)).samples

    def _tell_errors(self) -> Iterable[Sample]:
        return filled(_ERRORS, *(([self._name, reason], count) for reason, count in self._failures.items())).samples

    def _take(self) -> None:
        """Take one sample and see to the next, on a thread of the pool."""
        pool = current_pool()
        with pool.lock:
            if self._stopped:
                return
            run = self._run = _Run()
        end = pool.at(run.started + self._deadline, partial(self._give_up, run))
        error: BaseException | None = None
        try:
            self._measure(run)
        except BaseException as raised:  # noqa: BLE001  # a collector that ends its thread is still only one that failed
            error = raised
        self._settle(run, error)
        pool.cancel(end)
        with pool.lock:
            self._run = None
            if self._stopped:
                pool.at(monotonic(), self._measuring.close)
            else:
                self._next = pool.at(max(run.started + self._refresh, monotonic()), self._take)

    def _measure(self, run: _Run) -> None:
        for metric in self._measuring.sample():
            if run.settled or self._stopped:
                return
            if metric.name not in self._names:
                raise MetricError(f"It returned the metric {metric.name!r}, which its describe() does not mention.")
            samples = [_checked(sample) for sample in metric.samples]
            self._readings[metric.name] = _Reading(run.started, samples[:OWN_MAX_SERIES])
            if len(samples) > OWN_MAX_SERIES:
                raise MetricError(
                    f"Metric {metric.name!r} has {len(samples)} series, more than the {OWN_MAX_SERIES} that one "
                    "collector may show; the rest is left out. A label probably carries ids: bound its values."
                )

    def _give_up(self, run: _Run) -> None:
        self._settle(run, TimeoutError(f"no answer within its deadline of {self._deadline:g} s"))

    def _settle(self, run: _Run, error: BaseException | None) -> None:
        with current_pool().lock:
            if run.settled:
                return
            run.settled = True
            was_up, self._up = self._up, error is None
            self._settled_at = monotonic()
            self._seconds = self._settled_at - run.started
            if error is None:
                self._succeeded = wall()
                self._readings = {n: reading for n, reading in self._readings.items() if reading.taken == run.started}
            else:
                self._failures["timeout" if self._seconds >= self._deadline else "error"] += 1
        if error is not None and was_up is not False and not self._stopped:
            _log.warning(
                "Collector %s failed to take a sample: vitalsign_collector_up is 0 and its last values are dropped "
                "after %g s. Further failures are only counted, until it recovers.",
                self._name, self._lifetime, exc_info=error,
            )  # fmt: skip
        self._answered.set()


def _checked(sample: Sample) -> Sample:
    """Return *sample* with nothing in it that could break a page: a None among the values would."""
    labels = {name: str(value) for name, value in sample.labels.items()}
    try:
        return sample._replace(labels=labels, value=float(sample.value))
    except (TypeError, ValueError) as error:
        raise MetricError(f"The value of {sample.name}{labels} is {sample.value!r}, not a number.") from error
