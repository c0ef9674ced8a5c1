"""What follows from results, and how it is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitalsign.health import CheckResult, Report, Status


def report(*checks: CheckResult, group: str = "readiness") -> Report:
    """Make a report of the shop."""
    return Report("shop", "1.4.0", group, checks)


@pytest.mark.parametrize(
    ("status", "critical", "overall", "code"),
    [
        ("pass", True, "pass", 200),
        ("warn", True, "warn", 200),
        ("fail", True, "fail", 503),
        ("unknown", True, "fail", 503),
        ("pass", False, "pass", 200),
        ("warn", False, "warn", 200),
        ("fail", False, "warn", 200),
        ("unknown", False, "warn", 200),
    ],
)
def test_degraded_answers_200_with_warn(status: str, critical: bool, overall: str, code: int) -> None:
    """Only a critical check that failed, or is not known, makes a service fail; the rest degrades it."""
    made = report(CheckResult("fine", Status.PASS), CheckResult("database", Status(status), critical))
    assert (made.status, made.status_code) == (overall, code)


def test_who_is_not_heard_of_is_not_dead() -> None:
    """For liveness, a critical check without a result degrades the service and does not fail it."""
    made = report(CheckResult("loop", Status.UNKNOWN), group="liveness")
    assert (made.status, made.status_code) == (Status.WARN, 200)


def test_no_checks_pass() -> None:
    """A group without checks has nothing against the service."""
    assert report().status is Status.PASS


CHECKS = st.builds(CheckResult, st.uuids().map(str), st.sampled_from(Status), st.booleans(), excused=st.booleans())


@given(st.lists(CHECKS, max_size=8))
def test_a_report_is_as_bad_as_its_worst_check(checks: list[CheckResult]) -> None:
    """A report passes exactly when all checks do, and fails exactly when one that matters has, or is not known."""
    made = report(*checks)
    assert (made.status is Status.PASS) == all(check.status is Status.PASS for check in checks)
    assert (made.status is Status.FAIL) == any(
        c.critical and not c.excused and c.status in ("fail", "unknown") for c in checks
    )


LAST = CheckResult(
    "disk", Status.WARN, False, "little room", 5, "bytes", time=1_700_000_000.25, age=1.23456789, duration=0.0025
)


def test_to_dict_tells_all_that_is_known() -> None:
    """The plain form names the service and each check, with times in UTC and seconds to the microsecond."""
    assert report(LAST).to_dict() == {
        "status": "warn",
        "service": "shop",
        "version": "1.4.0",
        "group": "readiness",
        "checks": {
            "disk": {
                "status": "warn",
                "critical": False,
                "message": "little room",
                "value": 5,
                "unit": "bytes",
                "time": "2023-11-14T22:13:20.250Z",
                "age_seconds": 1.234568,
                "duration_seconds": 0.0025,
            }
        },
    }


def test_health_json_has_the_keys_of_the_draft() -> None:
    """The health+json form uses the draft's names; what the draft lacks stands beside them."""
    assert report(LAST).to_health_json() == {
        "status": "warn",
        "version": "1.4.0",
        "serviceId": "shop",
        "checks": {
            "disk": [
                {
                    "status": "warn",
                    "observedValue": 5,
                    "observedUnit": "bytes",
                    "time": "2023-11-14T22:13:20.250Z",
                    "output": "little room",
                    "critical": False,
                    "ageSeconds": 1.234568,
                    "durationSeconds": 0.0025,
                }
            ]
        },
    }


def test_health_json_knows_three_words_only() -> None:
    """The draft has no 'unknown': a component without a result is a warning. Output is left out when passing."""
    made = report(CheckResult("a", Status.UNKNOWN), CheckResult("b", Status.PASS, message="fine"))
    components = made.to_health_json()["checks"]
    assert components == {"a": [{"status": "warn", "critical": True}], "b": [{"status": "pass", "critical": True}]}


def test_without_details_there_is_the_status_alone() -> None:
    """What strangers see names neither service nor checks, in either form."""
    assert report(LAST).to_dict(details=False) == {"status": "warn"}
    assert report(LAST).to_health_json(details=False) == {"status": "warn"}


def test_blank_facts_are_left_out() -> None:
    """No key of a check or service is there without a value; a measured zero is a value."""
    made = Report("shop", "", "full", (CheckResult("jobs", Status.PASS, value=0, age=0.0),))
    assert made.to_dict() == {
        "status": "pass",
        "service": "shop",
        "group": "full",
        "checks": {"jobs": {"status": "pass", "critical": True, "value": 0, "age_seconds": 0.0}},
    }


def test_strict_json_can_carry_it() -> None:
    """Both forms serialise without NaN and the like."""
    json.dumps([report(LAST).to_dict(), report(LAST).to_health_json()], allow_nan=False)
