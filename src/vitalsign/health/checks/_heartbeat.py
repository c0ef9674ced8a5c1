"""Signs of life: of a thread of this process, of another process by a file, or of anything that a function knows of."""

from __future__ import annotations

import os
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vitalsign import _clock
from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._bounds import Bounds, in_seconds
from vitalsign.health.checks._given import awaited, called, is_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Heartbeat", "heartbeat"]


class Heartbeat(Check):
    """A check that fails where nobody has called its `beat()` for too long."""

    __slots__ = ()

    def beat(self) -> None:
        """
        Say that the worker is alive: once in each turn of its loop, from any thread.

        Raises:
            HealthCheckError: A function tells when the last beat was, so there is nothing to call.
            OSError: The file cannot be written.
        """
        cast("_Probe", self.func).beat()


def heartbeat(
    source: str
    | os.PathLike[str]
    | Callable[[], float | datetime | Awaitable[float | datetime | None] | None]
    | None = None,
    *,
    fail_age: float | None = 60.0,
    warn_age: float | None = None,
    timeout: float | None = None,
    name: str = "heartbeat",
) -> Heartbeat:
    """
    Check that a worker gives signs of life.

    ```python
    pulse = checks.heartbeat(fail_age=60.0, name="consumer")
    health.add(pulse, group="liveness")
    pulse.beat()                            # in each turn of the consumer's loop
    ```

    Without a source, `beat()` is called in this process; with a path, `beat()` in another process, or `touch`, sets the
    time of a file. Both are critical: such a worker is this service's own. A function asks elsewhere, and is not.
    Until the first beat, the age is counted from when the check was made.

    Args:
        source: A file; or a function, plain or coroutine, that returns when the last beat was, as Unix time or an aware
            datetime, None for never.
        fail_age: Seconds since the last beat from which on it fails. Take several times the longest turn of the loop.
        warn_age: Seconds from which on it warns.
        timeout: Seconds for the function; None takes the checker's.
        name: Of the check.

    Raises:
        HealthCheckError: The source is neither, or an age makes no sense.
    """
    bounds = Bounds.of(name, warn_age=warn_age, fail_age=fail_age)
    if bounds.are_none:
        raise HealthCheckError(f"Check {name!r} could never fail or warn. Give fail_age=, warn_age= or both.")
    probe = _probe(name, source, bounds)
    is_elsewhere = callable(source)
    return Heartbeat(name, probe, critical=not is_elsewhere, timeout=timeout, external=is_elsewhere)


def _probe(name: str, source: Any, bounds: Bounds) -> Callable[[], object]:
    if source is None:
        return _Pulse(bounds)
    if isinstance(source, str | os.PathLike):
        return _File(bounds, Path(source))
    return _AsyncFunction(bounds, source) if is_async(name, "source", source) else _Function(bounds, source)


class _Probe:
    """What the kinds share: an age, and what it means."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.made = _clock.wall()

    def beat(self) -> None:
        raise HealthCheckError("A function tells when this worker's last beat was, so beat() has nothing to set.")

    def judge(self, age: float, *, has_beaten: bool) -> Result:
        status = self.bounds.status(age)
        if not has_beaten:
            return Result(status, f"no beat yet, for {in_seconds(age)}", round(age, 3), "seconds")
        return Result(status, f"the last beat was {in_seconds(age)} ago", round(age, 3), "seconds")

    def judge_moment(self, moment: object) -> Result:
        """Judge a beat by the time of day, by which another machine's clock may be ahead of ours."""
        now = _clock.wall()
        if moment is None:
            return self.judge(max(0.0, now - self.made), has_beaten=False)
        age = now - _unix_time(moment)
        if self.bounds.status(-age) is not Status.PASS:
            return Result(Status.FAIL, f"the last beat lies {in_seconds(-age)} in the future", round(age, 3), "seconds")
        return self.judge(max(0.0, age), has_beaten=True)


class _Pulse(_Probe):
    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds)
        self._since = _clock.monotonic()
        self._last: float | None = None

    def beat(self) -> None:
        self._last = _clock.monotonic()

    def __call__(self) -> Result:
        last = self._last
        since = self._since if last is None else last
        return self.judge(_clock.monotonic() - since, has_beaten=last is not None)


class _File(_Probe):
    def __init__(self, bounds: Bounds, path: Path) -> None:
        super().__init__(bounds)
        self._path = path

    def beat(self) -> None:
        self._path.touch()

    def __call__(self) -> Result:
        try:
            return self.judge_moment(self._path.stat().st_mtime)
        except FileNotFoundError:
            return self.judge_moment(None)


class _Told(_Probe):
    def __init__(self, bounds: Bounds, function: Callable[[], object]) -> None:
        super().__init__(bounds)
        self._function = function


class _Function(_Told):
    def __call__(self) -> Result:
        return self.judge_moment(called(self._function))


class _AsyncFunction(_Told):
    async def __call__(self) -> Result:
        return self.judge_moment(await awaited(self._function))


def _unix_time(moment: object) -> float:
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise TypeError("the last beat has no time zone, so it may be off by hours; return an aware datetime")
        return moment.timestamp()
    if not isinstance(moment, int | float) or not isfinite(moment):
        raise TypeError(f"the last beat is {type(moment).__name__}, neither Unix time nor an aware datetime")
    return moment
