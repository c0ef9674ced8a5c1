"""What is told about a service: the results of a group of checks, and what follows from them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from vitalsign.health._check import LIVENESS, Status

__all__ = ["CheckResult", "Report"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """
    The last known result of one check.

    Attributes:
        name: The check's name.
        status: Its status; unknown, if it has no result yet.
        critical: Whether its failing makes the service fail.
        message: One sentence for people. Never the text of an exception: that is only in the log.
        value: What was measured, if the check tells.
        unit: Unit of the value.
        time: When the result came, in seconds since 1970; None before the first.
        age: Seconds since then.
        duration: Seconds that the run took.
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

    def to_dict(self) -> dict[str, object]:
        """Return what is known, as JSON takes it; times as RFC 3339 in UTC."""
        return {
            "status": self.status.value,
            "critical": self.critical,
            **_without_blanks(
                message=self.message,
                value=self.value,
                unit=self.unit,
                time=_rfc3339(self.time),
                age_seconds=_rounded(self.age),
                duration_seconds=_rounded(self.duration),
            ),
        }

    def to_health_json(self) -> dict[str, object]:
        """Return what is known as a component of `application/health+json`."""
        # The format has no word for "not known yet".
        status = Status.WARN if self.status is Status.UNKNOWN else self.status
        return {
            "status": status.value,
            **_without_blanks(
                observedValue=self.value,
                observedUnit=self.unit,
                time=_rfc3339(self.time),
                output="" if status is Status.PASS else self.message,
            ),
            "critical": self.critical,
            **_without_blanks(ageSeconds=_rounded(self.age), durationSeconds=_rounded(self.duration)),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """
    How a service is doing, by one group of checks.

    Attributes:
        service: Name of the service.
        version: Its version, or empty.
        group: The group that was asked for.
        checks: The last known result of each check, in the order of their declaration.
    """

    service: str
    version: str
    group: str
    checks: tuple[CheckResult, ...]

    @property
    def status(self) -> Status:
        """
        Pass, warn or fail.

        A critical check that failed makes it fail, anything else that did not pass makes it warn. A critical check
        without a result counts as failed, except for liveness: who is not heard of yet is not dead.
        """
        blocking = {Status.FAIL} if self.group == LIVENESS else {Status.FAIL, Status.UNKNOWN}
        if any(check.critical and check.status in blocking for check in self.checks):
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
            **_without_blanks(version=self.version),
            "group": self.group,
            "checks": {check.name: check.to_dict() for check in self.checks},
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
            **_without_blanks(version=self.version),
            "serviceId": self.service,
            "checks": {check.name: [check.to_health_json()] for check in self.checks},
        }


def _without_blanks(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _rfc3339(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
