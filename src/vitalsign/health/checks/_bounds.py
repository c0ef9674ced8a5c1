"""Bounds: from where on a number is worth a warning, and from where on it is a failure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import Result, Status

__all__ = ["Bounds", "in_seconds", "positive_number", "warned_if_slow", "worst"]

_SEVERITY = {Status.PASS: 0, Status.WARN: 1, Status.FAIL: 2}


@dataclass(frozen=True, slots=True)
class Bounds:
    """
    Two bounds of one number.

    Attributes:
        warn: From here on it warns; None never does.
        fail: From here on it fails; None never does.
        falling: Whether less is worse: then a number below its bound is bad. Else one that reaches its bound is.
    """

    warn: float | None = None
    fail: float | None = None
    falling: bool = False

    @classmethod
    def of(cls, check: str, *, most: float = inf, falling: bool = False, **settings: float | None) -> Bounds:
        """
        Make bounds from two settings, the one that warns first.

        Args:
            check: Whose settings these are, for errors.
            most: The largest number that makes sense.
            falling: Whether less is worse.
            settings: Both by their names.

        Raises:
            HealthCheckError: One is no such number, or the warning would come after the failure.
        """
        (warn_name, warn), (fail_name, fail) = settings.items()
        for name, value in settings.items():
            if value is not None and not (_is_number(value, most) and (value > 0 or falling)):
                lower, upper = "of 0 or more" if falling else "above 0", "" if most == inf else f", at most {most:g}"
                raise HealthCheckError(
                    f"{name}={value!r} of check {check!r} makes no sense. Give a number {lower}{upper}, or None for no "
                    "such bound."
                )
        if warn is not None and fail is not None and (warn < fail if falling else warn > fail):
            raise HealthCheckError(
                f"Check {check!r} would fail ({fail_name}={fail!r}) before it warns ({warn_name}={warn!r}). "
                f"Give {warn_name} a {'higher' if falling else 'lower'} value than {fail_name}, or None."
            )
        return cls(warn, fail, falling)

    @property
    def are_none(self) -> bool:
        """Whether there is no bound at all."""
        return self.warn is None and self.fail is None

    def status(self, value: float) -> Status:
        """Judge *value*."""
        for bound, status in ((self.fail, Status.FAIL), (self.warn, Status.WARN)):
            if bound is not None and (value < bound if self.falling else value >= bound):
                return status
        return Status.PASS


def positive_number(check: str, setting: str, value: float) -> float:
    """
    Return *value* if it is a number above 0.

    Raises:
        HealthCheckError: It is none.
    """
    if not _is_number(value, inf) or value == 0:
        raise HealthCheckError(f"{setting}={value!r} of check {check!r} makes no sense. Give a number above 0.")
    return value


def in_seconds(seconds: float) -> str:
    """Write a time to three digits, or to the second."""
    return f"{seconds:.3g} s" if seconds < 1_000 else f"{seconds:.0f} s"


def worst(results: list[Result]) -> Result:
    """Return the result that says the worst, the first of equals."""
    return max(results, key=lambda result: _SEVERITY[result.status])


def warned_if_slow(result: Result, seconds: float, warn_after: float | None) -> Result:
    """Return *result*, or a warning instead of a pass where it took *warn_after* seconds or more."""
    if warn_after is None or seconds < warn_after or result.status is not Status.PASS:
        return result
    told = f"{result.message}, but " if result.message else ""
    return Result(
        Status.WARN, f"{told}took {in_seconds(seconds)}, {in_seconds(warn_after)} or more", seconds, "seconds"
    )


def _is_number(value: object, most: float) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return is_number and 0 <= value <= most  # type: ignore[operator]
