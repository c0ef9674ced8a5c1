"""What a check is, and what it may say: definitions only, nothing here runs one."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Literal

from vitalsign.exceptions import HealthCheckError, HealthDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["FULL", "LIVENESS", "READINESS", "STARTUP", "Check", "Result", "Status", "count", "judge", "positive"]

LIVENESS = "liveness"
READINESS = "readiness"
STARTUP = "startup"
FULL = "full"
"""Not a group of its own: every check of every group."""

_NAME = re.compile(r"[\w.:-]{1,64}").fullmatch
_MESSAGE_LIMIT = 1_000


class Status(StrEnum):
    """How a check, or a service, is doing. `UNKNOWN` is a check that has no result yet."""

    PASS = "pass"  # noqa: S105  # the word of the health+json format, not a password
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, init=False)
class Result:
    """
    What a check found, where a plain yes or no is not enough.

    Attributes:
        status: `pass`, `warn` (degraded, still answered 200) or `fail`.
        message: One sentence for people who may see details.
        value: What was measured.
        unit: Unit of the value.
    """

    status: Status
    message: str
    value: object
    unit: str

    def __init__(
        self,
        status: Status | Literal["pass", "warn", "fail"] = Status.PASS,
        message: str = "",
        value: object = None,
        unit: str = "",
    ) -> None:
        """
        Make a result.

        Args:
            status: `pass`, `warn` or `fail`.
            message: One sentence, of which 1,000 characters are kept. Keep hosts and credentials out of it.
            value: Anything but a string, a finite number, a bool or None becomes a string.
            unit: Such as bytes, seconds, jobs.

        Raises:
            HealthCheckError: The status is none of the three.
        """
        if status not in (Status.PASS, Status.WARN, Status.FAIL):
            raise HealthCheckError(f"{status!r} is no status of a result. Use 'pass', 'warn' or 'fail'.")
        object.__setattr__(self, "status", Status(status))
        object.__setattr__(self, "message", str(message)[:_MESSAGE_LIMIT])
        object.__setattr__(self, "value", _plain(value))
        object.__setattr__(self, "unit", unit)


@dataclass(frozen=True, slots=True)
class Check:
    """
    One thing to look at, and how much its failing matters.

    Attributes:
        name: 1 to 64 letters, digits and `_ . : -`: it becomes a label of metrics.
        func: Returns None or True (pass), False (fail) or a `Result`, or raises (fail). A coroutine function runs
            on the caller's event loop, any other on a thread of its own.
        groups: `liveness`, `readiness`, `startup`, or names of your own.
        critical: Whether its failing makes the service fail (503) or only degrades it (200, `warn`).
        timeout: Seconds for one run; None takes the checker's.
        ttl: Seconds that a passing result is served before the check runs again; None takes the checker's.
        failure_ttl: The same for any other result.
        external: Whether it looks at something outside of this process and its machine, which liveness may not;
            None: it does, unless it is in `liveness`.
        takes_timeout: Whether *func* is called with its timeout as the only argument.
        fall: Failures in a row until it counts as failed; None takes the checker's.
        rise: Results in a row that are no failures, until a failed check has recovered; None takes the checker's.
        min_down: Seconds that it counts as failed at least; None takes the checker's.
        depends_on: Names of the checks without which it cannot pass: while one of them fails, it is not run.

    Raises:
        HealthCheckError: A value makes no sense, or an external check is to decide about liveness.
    """

    name: str
    func: Callable[..., object] = field(repr=False)
    groups: tuple[str, ...] = (READINESS,)
    critical: bool = True
    timeout: float | None = None
    ttl: float | None = None
    failure_ttl: float | None = None
    external: bool | None = None
    takes_timeout: bool = False
    fall: int | None = None
    rise: int | None = None
    min_down: float | None = None
    depends_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_name(self.name, "a check", "'database'")
        object.__setattr__(self, "groups", _group_names(self.name, self.groups))
        _require_function(self.name, self.func)
        positive(f"timeout of check {self.name!r}", self.timeout)
        positive(f"ttl of check {self.name!r}", self.ttl, zero=True)
        positive(f"failure_ttl of check {self.name!r}", self.failure_ttl, zero=True)
        count(f"fall of check {self.name!r}", self.fall)
        count(f"rise of check {self.name!r}", self.rise)
        positive(f"min_down of check {self.name!r}", self.min_down, zero=True)
        object.__setattr__(self, "depends_on", _dependencies(self.name, self.depends_on))
        if self.external and LIVENESS in self.groups:
            raise HealthCheckError(
                f"Check {self.name!r} looks outside this process, so it cannot decide about liveness: while the "
                "dependency is down, every instance would be restarted. Leave it in 'readiness', or give "
                "external=False if what it looks at lives and dies with this process."
            )

    @property
    def is_external(self) -> bool:
        """Whether it looks at a dependency of the service."""
        return LIVENESS not in self.groups if self.external is None else self.external

    @property
    def is_coroutine(self) -> bool:
        """Whether its function must run on an event loop."""
        return inspect.iscoroutinefunction(self.func) or inspect.iscoroutinefunction(
            getattr(self.func, "__call__", None)  # noqa: B004  # the method itself is looked at
        )

    def call(self, timeout: float) -> object:
        """Call the function, with what it takes."""
        return self.func(timeout) if self.takes_timeout else self.func()


def judge(returned: object) -> Result:
    """
    Turn what a check returned into a result.

    Raises:
        TypeError: It is nothing that a check may return.
    """
    if isinstance(returned, Result):
        return returned
    if returned is None or returned is True:
        return Result(Status.PASS)
    if returned is False:
        return Result(Status.FAIL)
    if inspect.iscoroutine(returned):
        returned.close()
        raise TypeError("the check returned a coroutine that nobody awaited; declare it with 'async def'")
    raise TypeError(f"a check returns None, a bool or a Result, not {type(returned).__name__}")


def positive(what: str, seconds: float | None, *, zero: bool = False) -> None:
    """
    Require a finite number of seconds above zero, or None.

    Args:
        what: Name of the setting, for the error.
        seconds: Its value.
        zero: Whether zero is allowed too.

    Raises:
        HealthCheckError: It is something else.
    """
    if seconds is None:
        return
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and isfinite(seconds)
    if not is_number or seconds < 0 or (seconds == 0 and not zero):
        bound = "of 0 or more" if zero else "above 0"
        raise HealthCheckError(f"{what} is {seconds!r}; it must be a finite number of seconds {bound}.")


def count(what: str, number: int | None) -> None:
    """
    Require a whole number above zero, or None.

    Args:
        what: Name of the setting, for the error.
        number: Its value.

    Raises:
        HealthCheckError: It is something else.
    """
    if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 1):
        raise HealthCheckError(f"{what} is {number!r}; it must be a whole number of 1 or more.")


def _dependencies(check: str, names: str | Iterable[str]) -> tuple[str, ...]:
    names = (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))
    for name in names:
        _require_name(name, f"a check that {check!r} depends on", "'database'")
    if check in names:
        raise HealthDependencyError(
            f"Check {check!r} depends on itself, so it would never run. Take its name out of depends_on=.",
            checks=(check,),
        )
    return names


def _group_names(check: str, groups: str | Iterable[str]) -> tuple[str, ...]:
    names = (groups,) if isinstance(groups, str) else tuple(dict.fromkeys(groups))
    if not names:
        raise HealthCheckError(f"Check {check!r} is in no group, so nothing would run it. Give group='readiness'.")
    for name in names:
        _require_name(name, "a group", "'readiness'")
        if name == FULL:
            raise HealthCheckError(
                f"Check {check!r} cannot be put into 'full': that is all groups together, and holds it anyway. "
                "Give 'liveness', 'readiness', 'startup' or a name of your own."
            )
    return names


def _require_name(name: object, what: str, example: str) -> None:
    if not isinstance(name, str) or not _NAME(name):
        raise HealthCheckError(
            f"{name!r} cannot name {what}. Give 1 to 64 letters, digits and '_', '.', ':', '-', such as {example}."
        )


def _require_function(name: str, func: object) -> None:
    if not callable(func):
        raise HealthCheckError(f"Check {name!r} needs a function to call, not {func!r}.")
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        raise HealthCheckError(
            f"Check {name!r} is a generator function, which nothing would run. Use return, not yield."
        )


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and isfinite(value)):
        return value
    return str(value)
