"""Processor time of this process."""

from __future__ import annotations

import os
from collections import deque
from time import process_time
from typing import TYPE_CHECKING, Literal, NamedTuple

from vitalsign import _clock
from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._bounds import Bounds, in_seconds, positive_number
from vitalsign.health.checks._cgroup import cpu_limit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["process_cpu"]

_SAMPLES_PER_WINDOW = 20


def process_cpu(
    *,
    warn: float | None = 0.9,
    fail: float | None = None,
    window: float = 30.0,
    of: Literal["limit", "core"] = "limit",
    name: str = "process_cpu",
) -> Check:
    """
    Check how busy this process keeps the processors. Never critical unless told otherwise: busy is not dead.

    A process that works at its limit is slow, and does its work; taking it out of service leaves the work to others,
    who are then busier still. So it only warns by default, and has no place in liveness.

    Args:
        warn: Share from which on it warns, 0.9 for 90 %.
        fail: Share from which on it fails.
        window: Seconds over which the share is taken, at least: as many as have passed since the check was last run, if
            that is longer. Until a process was watched for that long, it passes.
        of: What the share is of: `limit` is the processors that the process may use (of the machine, or of the control
            group that a container is); `core` is one processor, which is as much as Python code without subprocesses
            and C extensions gets on with. More than 1 is then possible.
        name: Of the check.

    Raises:
        HealthCheckError: A value makes no sense.
    """
    if of not in ("limit", "core"):
        raise HealthCheckError(f"of={of!r} of check {name!r} makes no sense. Give 'limit' or 'core'.")
    bounds = Bounds.of(name, warn=warn, fail=fail)
    meter = _Meter(bounds, positive_number(name, "window", window), cpu_limit if of == "limit" else _one_core)
    return Check(name, meter, critical=False, external=False)


class _Sample(NamedTuple):
    at: float
    spent: float


class _Meter:
    def __init__(self, bounds: Bounds, window: float, limit: Callable[[], float]) -> None:
        self._bounds = bounds
        self._window = window
        self._limit = limit
        self._begin()

    def __call__(self) -> Result:
        if self._pid != os.getpid():
            self._begin()  # a forked child has spent nothing yet
        now = _Sample(_clock.monotonic(), process_time())
        then = self._sample_before(now)
        seconds, limit = now.at - then.at, self._limit()
        share = (now.spent - then.spent) / seconds / limit if seconds > 0 else 0.0
        is_judged = seconds >= self._window
        status = self._bounds.status(share) if is_judged else Status.PASS
        message = f"{share:.0%} of {limit:g} processors over {in_seconds(seconds)}"
        told = message if is_judged else f"{message}, too short to judge by"
        return Result(status, told, round(share, 4), "ratio")

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._samples = deque([_Sample(_clock.monotonic(), process_time())])

    def _sample_before(self, now: _Sample) -> _Sample:
        """Return the newest sample that is a window old, or the oldest there is, and keep *now* for later."""
        samples = self._samples
        while len(samples) > 1 and now.at - samples[1].at >= self._window:
            samples.popleft()
        then = samples[0]
        if now.at - samples[-1].at >= self._window / _SAMPLES_PER_WINDOW:
            samples.append(now)
        return then


def _one_core() -> float:
    return 1.0
