"""What is told about a service: the results of a group of checks, and what follows from them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from vitalsign.health._check import LIVENESS, Status

if TYPE_CHECKING:
    from vitalsign.health._changes import Change

__all__ = ["CheckResult", "Report", "rfc3339", "without_blanks"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """
    What is known of one check: its state, and its last result.

    Attributes:
        name: The check's name.
        status: Its state; unknown, if it has no result yet, or was not run.
        critical: Whether its failing makes the service fail.
        message: One sentence for people. Never the text of an exception: that is only in the log.
        value: What was measured, if the check tells.
        unit: Unit of the value.
        time: When the result came, in seconds since 1970; None before the first.
        age: Seconds since then.
        duration: Seconds that the run took.
        last_status: What the last run found, which a single run need not make the state; None before the first.
        consecutive_failures: How many runs in a row have failed by now.
        behind: The failed check for which this one was not run, or empty.
        excused: Whether it was not run for a check that is not critical, so that it does not make the service fail.
    """

    name: str
    status: Status
    critical: bool = True
    message: str = ""
    value: object = None
    unit: str = ""
    time: float | None = None
    age: float | None = None
    duration: float | None = None
    last_status: Status | None = None
    consecutive_failures: int = 0
    behind: str = ""
    excused: bool = False

    @property
    def blocks(self) -> bool:
        """Whether the service fails if this check has not passed."""
        return self.critical and not self.excused

    def to_dict(self) -> dict[str, object]:
        """Return what is known, as JSON takes it; times as RFC 3339 in UTC."""
        return without_blanks(
            status=self.status.value,
            critical=self.critical,
            message=self.message,
            value=self.value,
            unit=self.unit,
            time=rfc3339(self.time),
            age_seconds=_rounded(self.age),
            duration_seconds=_rounded(self.duration),
            last_status=self._other_last_status(),
            consecutive_failures=self.consecutive_failures or None,
            behind=self.behind,
        )

    def to_health_json(self) -> dict[str, object]:
        """Return what is known as a component of `application/health+json`."""
        has_nothing_to_say = self.status is Status.PASS and self._other_last_status() is None
        return without_blanks(
            # The format has no word for "not known yet".
            status=(Status.WARN if self.status is Status.UNKNOWN else self.status).value,
            observedValue=self.value,
            observedUnit=self.unit,
            time=rfc3339(self.time),
            output="" if has_nothing_to_say else self.message,
            critical=self.critical,
            ageSeconds=_rounded(self.age),
            durationSeconds=_rounded(self.duration),
            lastStatus=self._other_last_status(),
            consecutiveFailures=self.consecutive_failures or None,
            behind=self.behind,
        )

    def _other_last_status(self) -> str | None:
        last = self.last_status
        return None if last is None or last is self.status else last.value


@dataclass(frozen=True, slots=True)
class Report:
    """
    How a service is doing, by one group of checks.

    Attributes:
        service: Name of the service.
        version: Its version, or empty.
        group: The group that was asked for.
        checks: What is known of each check, in the order of their declaration.
        history: The last changes of state, the newest first; in the group `full` only.
    """

    service: str
    version: str
    group: str
    checks: tuple[CheckResult, ...]
    history: tuple[Change, ...] = ()

    @property
    def status(self) -> Status:
        """
        Pass, warn or fail.

        A critical check that failed makes it fail, anything else that did not pass makes it warn. A critical check
        without a result counts as failed, except for liveness, since who is not heard of yet is not dead, and except
        one that was not run because a check that is not critical has failed.
        """
        blocking = {Status.FAIL} if self.group == LIVENESS else {Status.FAIL, Status.UNKNOWN}
        if any(check.blocks and check.status in blocking for check in self.checks):
            return Status.FAIL
        return Status.PASS if all(check.status is Status.PASS for check in self.checks) else Status.WARN

    @property
    def status_code(self) -> int:
        """200 for pass and warn, 503 for fail."""
        return 503 if self.status is Status.FAIL else 200

    def to_dict(self, *, details: bool = True) -> dict[str, object]:
        """
        Return the report as JSON takes it.

        Args:
            details: Whether to name the service and its checks; without, there is the status alone, which is all that
                strangers should see.
        """
        if not details:
            return {"status": self.status.value}
        return {
            "status": self.status.value,
            "service": self.service,
            **without_blanks(version=self.version),
            "group": self.group,
            "checks": {check.name: check.to_dict() for check in self.checks},
            **({"history": [change.to_dict() for change in self.history]} if self.history else {}),
        }

    def to_health_json(self, *, details: bool = True) -> dict[str, object]:
        """
        Return the report in the form of `application/health+json` (draft-inadarei-api-health-check-06).

        Args:
            details: As for `to_dict`.
        """
        if not details:
            return {"status": self.status.value}
        return {
            "status": self.status.value,
            **without_blanks(version=self.version),
            "serviceId": self.service,
            "checks": {check.name: [check.to_health_json()] for check in self.checks},
        }


def without_blanks(**values: object) -> dict[str, object]:
    """Return what is neither None nor empty."""
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


@lru_cache(1_024)
def rfc3339(seconds: float | None) -> str | None:
    """Write a Unix time as RFC 3339 has it, in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
