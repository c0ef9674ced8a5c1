"""Heartbeats: of this process, by a file, by a function."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import run_script
from tests.unit.health.checks.upstreams import outcome
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import Check, Result, checks
from vitalsign.health.checks import _heartbeat

if TYPE_CHECKING:
    from pathlib import Path

    from vitalsign.health import HealthChecker


class Clock:
    """Both clocks, moved when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(_heartbeat, "_clock", SimpleNamespace(monotonic=lambda: self.now, wall=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Make the clock."""
    return Clock(monkeypatch)


def look(check: Check) -> Result:
    """Run the check's function."""
    result = check.func()
    assert isinstance(result, Result)
    return result


def test_worker_that_beats_passes(health: HealthChecker) -> None:
    """A worker of this process that has beaten passes; it is this service's own, so that the check is critical."""
    pulse = checks.heartbeat(name="consumer")
    pulse.beat()
    result = outcome(health, pulse)
    assert (result.status, result.critical, result.unit) == ("pass", True, "seconds")
    assert result.message.startswith("the last beat was ")


def test_heartbeat_may_decide_about_liveness(health: HealthChecker) -> None:
    """The check is none of a dependency, so liveness takes it; under another name it is still the one that beats."""
    pulse = checks.heartbeat()
    added = health.add(pulse, group="liveness", name="consumer")
    assert not added.is_external
    pulse.beat()
    assert health.run_sync("liveness").checks[0].message.startswith("the last beat was ")


@pytest.mark.parametrize(("seconds", "status"), [(0, "pass"), (29, "pass"), (30, "warn"), (59, "warn"), (60, "fail")])
def test_age_of_the_last_beat_decides(clock: Clock, seconds: float, status: str) -> None:
    """A worker whose last beat is too long ago warns, then fails; with the next beat it passes again."""
    pulse = checks.heartbeat(fail_age=60, warn_age=30)
    clock.now += 1_000
    pulse.beat()
    clock.now += seconds
    assert (look(pulse).status, look(pulse).value) == (status, seconds)
    pulse.beat()
    assert look(pulse).status == "pass"


def test_worker_that_has_never_beaten_fails_in_the_end(clock: Clock) -> None:
    """Without a first beat, the age is counted from when the check was made."""
    pulse = checks.heartbeat(fail_age=60)
    clock.now += 59
    assert look(pulse).status == "pass"
    clock.now += 1
    assert (look(pulse).status, look(pulse).message) == ("fail", "no beat yet, for 60 s")


# -- a file


def test_file_is_a_heartbeat_between_processes(tmp_path: Path) -> None:
    """A worker process beats by its own check of the same file, and the service sees it."""
    path = tmp_path / "beat"
    check = checks.heartbeat(path)
    assert look(check).message.startswith("no beat yet")
    run_script("import sys; from vitalsign.health import checks; checks.heartbeat(sys.argv[1]).beat()", str(path))
    assert (look(check).status, look(check).message[:13]) == ("pass", "the last beat")


def test_age_of_the_file_decides(clock: Clock, tmp_path: Path) -> None:
    """A file that nobody has touched for too long fails."""
    path = tmp_path / "beat"
    check = checks.heartbeat(path, fail_age=60)
    path.touch()
    os.utime(path, (clock.now - 61, clock.now - 61))
    assert (look(check).status, look(check).message) == ("fail", "the last beat was 61 s ago")


def test_file_that_never_comes_fails_in_the_end(clock: Clock, tmp_path: Path) -> None:
    """A file that is not there counts as no beat since the check was made."""
    check = checks.heartbeat(tmp_path / "missing", fail_age=60)
    assert look(check).status == "pass"
    clock.now += 60
    assert (look(check).status, look(check).message) == ("fail", "no beat yet, for 60 s")


# -- a function


@pytest.mark.parametrize("aware", [True, False])
def test_function_tells_the_last_beat(health: HealthChecker, aware: bool) -> None:
    """A function returns Unix time or an aware datetime; what it asks is elsewhere, so the check is not critical."""
    beat = datetime.now(UTC) - timedelta(seconds=100)
    check = checks.heartbeat(lambda: beat if aware else beat.timestamp(), fail_age=60)
    assert check.is_external
    result = outcome(health, check)
    assert (result.status, result.critical) == ("fail", False)
    assert isinstance(result.value, float)
    assert result.value >= 100


def test_coroutine_function_is_awaited(health: HealthChecker) -> None:
    """A function of an asynchronous client runs on the loop of whoever asks."""

    async def last_beat() -> float:
        await asyncio.sleep(0)
        return time.time()

    async def main() -> str:
        health.add(checks.heartbeat(last_beat))
        return (await health.run()).status

    assert asyncio.run(main()) == "pass"


def test_clock_that_is_ahead_a_little_passes_and_far_ahead_fails(clock: Clock) -> None:
    """A beat from the near future is one of now; one from the far future would never grow old, and fails."""
    ahead = [5.0]
    check = checks.heartbeat(lambda: clock.now + ahead[0], fail_age=60)
    assert (look(check).status, look(check).value) == ("pass", 0.0)
    ahead[0] = 3_600
    assert (look(check).status, look(check).message) == ("fail", "the last beat lies 3600 s in the future")


@pytest.mark.parametrize("answer", ["12:00", datetime(2026, 1, 1), float("inf")])  # that is the point
def test_answer_that_is_no_moment_fails(health: HealthChecker, answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A text, a datetime without zone or no finite number fails, and the log says what is expected."""
    assert outcome(health, checks.heartbeat(lambda: answer)).status == "fail"
    assert "aware datetime" in caplog.text


def test_function_leaves_nothing_to_beat() -> None:
    """beat() of a check that asks a function is an error."""
    with pytest.raises(HealthCheckError, match="beat\\(\\) has nothing to set"):
        checks.heartbeat(lambda: None).beat()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"fail_age": None}, "could never fail or warn"),
        ({"fail_age": 0}, "fail_age=0 of check 'heartbeat' makes no sense"),
        ({"fail_age": 5, "warn_age": 10}, "before it warns"),
        ({"source": 7}, "source of check 'heartbeat' is no function but 7"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], error: str) -> None:
    """What cannot be meant is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=error):
        checks.heartbeat(**settings)
