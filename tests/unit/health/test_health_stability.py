"""States that withstand single results: fall, rise, minimum time in error, and how they are shown."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from vitalsign.exceptions import HealthCheckError
from vitalsign.health import Check, HealthChecker, Report, Result, Status
from vitalsign.health._stability import Rules, Stability

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

P, W, F = Status.PASS, Status.WARN, Status.FAIL


def states(rules: Rules, *results: Status, every: float = 1.0) -> list[Status]:
    """Return the state after each of *results*."""
    stability = Stability(rules)
    return [stability.observe(found, place * every) for place, found in enumerate(results)]


def test_fall_n_takes_n_failures_in_a_row() -> None:
    """With fall=3, two failures are nothing, also when they come again and again; the third in a row is an error."""
    assert states(Rules(fall=3), P, F, F, P, F, F, F) == [P, P, P, P, P, P, F]


def test_rise_m_takes_m_passes_in_a_row() -> None:
    """With rise=2, one pass does not end an error."""
    assert states(Rules(rise=2), F, P, F, P, P, P) == [F, F, F, F, P, P]


def test_minimum_time_in_error_outlasts_passes() -> None:
    """An error lasts as long as told, counted from its beginning, however well the check does meanwhile."""
    assert states(Rules(min_down=3.0), P, F, P, P, P, P) == [P, F, F, F, P, P]


def test_first_result_counts_at_once() -> None:
    """Before the first result there is no state that could flap: whatever comes first is believed."""
    assert states(Rules(fall=3, rise=3), F, P, P, P) == [F, F, F, P]
    assert states(Rules(fall=3, rise=3), P) == [P]


def test_degraded_is_no_failure() -> None:
    """A warning follows and ends at once, counts towards recovery, and ends a row of failures."""
    assert states(Rules(fall=2, rise=2), P, W, P, F, W, F, F, W, W) == [P, W, P, P, W, W, F, F, W]


def sequence(health: HealthChecker, name: str, *outcomes: Any, **settings: Any) -> list[Report]:
    """Add a check that returns *outcomes* in turn, and return a report after each run."""
    left = list(outcomes)
    health.add(Check(name, lambda: left.pop(0)), **settings)
    return [health.run_sync() for _ in outcomes]


def test_report_shows_the_state_and_the_raw_last_result(make_checker: Callable[..., HealthChecker]) -> None:
    """Details tell both the state and what the last run found, with the number of failures in a row."""
    health = make_checker(timeout=30.0, deadline=20.0, ttl=0.0, fall=2)
    reports = sequence(health, "database", True, Result("fail", "slow"), False, True)
    shown = [report.to_dict()["checks"]["database"] for report in reports]  # type: ignore[index]
    picked = [{key: each.get(key) for key in ("status", "last_status", "consecutive_failures")} for each in shown]
    assert picked == [
        {"status": "pass", "last_status": None, "consecutive_failures": None},
        {"status": "pass", "last_status": "fail", "consecutive_failures": 1},
        {"status": "fail", "last_status": None, "consecutive_failures": 2},
        {"status": "pass", "last_status": None, "consecutive_failures": None},
    ]
    assert shown[1]["message"] == "slow"
    assert [report.status_code for report in reports] == [200, 200, 503, 200]
    component = reports[1].to_health_json()["checks"]["database"][0]  # type: ignore[index]
    assert (component["status"], component["lastStatus"], component["consecutiveFailures"]) == ("pass", "fail", 1)
    assert component["output"] == "slow"


def test_rules_of_a_check_go_before_the_checkers(make_checker: Callable[..., HealthChecker]) -> None:
    """Fall, rise and minimum time come from the check, else from the checker."""
    health = make_checker(timeout=30.0, deadline=20.0, ttl=0.0, fall=3, rise=2, min_down=0.0)
    patient = sequence(health, "patient", True, False, False, False, True, True)
    hasty = sequence(health, "hasty", True, False, True, fall=1, rise=1)
    assert [report.checks[0].status for report in patient] == ["pass", "pass", "pass", "fail", "fail", "pass"]
    assert [report.checks[1].status for report in hasty] == ["pass", "fail", "pass"]

    @health.check("stays-down", min_down=3_600.0)
    def stays_down(outcomes: list[bool] = [False, True, True]) -> bool:  # noqa: B006
        return outcomes.pop(0)

    assert [health.run_sync().checks[2].status for _ in range(3)] == ["fail"] * 3


@pytest.mark.parametrize(
    "setting", [{"fall": 0}, {"rise": -1}, {"fall": 1.5}, {"rise": True}, {"min_down": -1.0}, {"min_down": "3"}]
)
def test_rules_that_make_no_sense_are_refused(setting: dict[str, Any], registry: CollectorRegistry) -> None:
    """Counts are whole numbers from 1, times are 0 or more; the error names the setting and its value."""
    ((name, value),) = setting.items()
    with pytest.raises(HealthCheckError, match=rf"^{name} of check 'a' is {value!r}; it must be"):
        Check("a", lambda: None, **setting)
    with pytest.raises(HealthCheckError, match=rf"^{name} is {value!r}; it must be"):
        HealthChecker("shop", registry=registry, **setting)


def test_unsettled_state_has_the_lifetime_of_failures(make_checker: Callable[..., HealthChecker]) -> None:
    """On its way down and up a check is asked as often as a failing one, though its result or its state passes."""
    health = make_checker(timeout=30.0, deadline=20.0, ttl=3_600.0, failure_ttl=0.0, fall=2, rise=2)
    reports = sequence(health, "database", False, True, True)
    assert [report.checks[0].status for report in reports] == ["fail", "fail", "pass"]
    assert health.run_sync().checks[0].status == "pass"  # and is not asked any more: there is no fourth outcome


def test_failure_that_does_not_count_yet_is_logged_as_such(
    make_checker: Callable[..., HealthChecker], caplog: pytest.LogCaptureFixture
) -> None:
    """A first failure of several is told with its traceback, as information; what changes the state is a warning."""
    health = make_checker(timeout=30.0, deadline=20.0, ttl=0.0, fall=2)
    outcomes = [False, True, True, False]

    @health.check("database")
    def database() -> None:
        if outcomes.pop():
            raise OSError("refused")

    with caplog.at_level(logging.INFO, "vitalsign.health"):
        for _ in range(4):
            health.run_sync()
    early, down, up = caplog.records
    assert (early.levelname, down.levelname, up.levelname) == ("INFO", "WARNING", "INFO")
    assert early.getMessage().startswith(
        "Health check 'database' of shop: fail (raised OSError), which does not count yet: its state is pass.\nTrace"
    )
    assert down.getMessage().startswith("Health check 'database' of shop: fail (raised OSError).\nTraceback")
    assert up.getMessage() == "Health check 'database' of shop passes again."
