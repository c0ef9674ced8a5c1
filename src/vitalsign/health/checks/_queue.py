"""A queue: how much waits in it, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import Check, Result
from vitalsign.health.checks._bounds import Bounds, in_seconds, worst
from vitalsign.health.checks._given import awaited, called, is_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["queue"]


def queue(
    depth: Callable[[], float | Awaitable[float]] | None = None,
    *,
    oldest_age: Callable[[], float | Awaitable[float | None] | None] | None = None,
    warn_depth: float | None = None,
    fail_depth: float | None = None,
    warn_age: float | None = None,
    fail_age: float | None = None,
    external: bool = True,
    timeout: float | None = None,
    name: str = "queue",
) -> Check:
    """
    Check how many jobs wait in a queue, and how long the oldest has. Not critical unless told otherwise.

    A long queue is a reason for more workers, seldom for one worker less. Functions that have to be awaited run on the
    event loop of whoever asks, others on the check's own thread.

    Args:
        depth: Returns how many jobs wait.
        oldest_age: Returns how many seconds the oldest has waited; None or 0 if none waits.
        warn_depth: Jobs from which on it warns.
        fail_depth: Jobs from which on it fails.
        warn_age: Seconds from which on it warns.
        fail_age: Seconds from which on it fails.
        external: Whether the queue is a broker's; False for one in this process.
        timeout: Seconds for both functions; None takes the checker's.
        name: Of the check.

    Raises:
        HealthCheckError: There is no function, or a bound that nothing measures, or one makes no sense.
    """
    measures = [
        _measure(name, "depth", depth, "jobs", Bounds.of(name, warn_depth=warn_depth, fail_depth=fail_depth)),
        _measure(name, "oldest_age", oldest_age, "seconds", Bounds.of(name, warn_age=warn_age, fail_age=fail_age)),
    ]
    given = [measure for measure in measures if measure is not None]
    if not given:
        raise HealthCheckError(f"Check {name!r} has nothing to ask. Give depth=, oldest_age= or both.")
    needs_loop = any(is_async(name, measure.setting, measure.function) for measure in given)
    probe = _AsyncProbe(given) if needs_loop else _Probe(given)
    return Check(name, probe, critical=False, timeout=timeout, external=external)


@dataclass(frozen=True, slots=True)
class _Measure:
    setting: str
    function: Callable[[], object]
    unit: str
    bounds: Bounds

    def judge(self, answer: object) -> Result:
        value = 0.0 if answer is None and self.unit == "seconds" else answer
        if not isinstance(value, int | float) or not isfinite(value):
            raise TypeError(f"{self.setting} returned {type(answer).__name__}, which is no number of {self.unit}")
        told = f"the oldest for {in_seconds(value)}" if self.unit == "seconds" else f"{value:g} waiting"
        return Result(self.bounds.status(value), told, value, self.unit)


def _measure(
    check: str, setting: str, function: Callable[[], object] | None, unit: str, bounds: Bounds
) -> _Measure | None:
    if function is not None:
        return _Measure(setting, function, unit, bounds)
    if not bounds.are_none:
        raise HealthCheckError(f"Check {check!r} has a bound for {unit} that nothing measures. Give {setting}= too.")
    return None


@dataclass(frozen=True, slots=True)
class _Probe:
    measures: list[_Measure]

    def __call__(self) -> Result:
        return _together([measure.judge(called(measure.function)) for measure in self.measures])


@dataclass(frozen=True, slots=True)
class _AsyncProbe:
    measures: list[_Measure]

    async def __call__(self) -> Result:
        return _together([measure.judge(await awaited(measure.function)) for measure in self.measures])


def _together(results: list[Result]) -> Result:
    decisive = worst(results)
    message = ", ".join(result.message for result in results)
    return Result(decisive.status, message, decisive.value, decisive.unit)
