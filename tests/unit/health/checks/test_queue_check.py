"""Queues: depth and age by functions of the host, plain and coroutine functions."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.health.checks.upstreams import outcome
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import checks

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from vitalsign.health import HealthChecker


@pytest.mark.parametrize(("depth", "status"), [(0, "pass"), (99, "pass"), (100, "warn"), (1_000, "fail")])
def test_depth_decides(health: HealthChecker, depth: int, status: str) -> None:
    """A queue passes, warns and fails by the number of jobs that wait; the check is not critical."""
    result = outcome(health, checks.queue(lambda: depth, warn_depth=100, fail_depth=1_000, name="mail"))
    assert (result.name, result.status, result.critical) == ("mail", status, False)
    assert (result.value, result.unit, result.message) == (depth, "jobs", f"{depth} waiting")


@pytest.mark.parametrize(
    ("age", "status"), [(None, "pass"), (0, "pass"), (59.9, "pass"), (60.0, "warn"), (600, "fail")]
)
def test_age_of_the_oldest_decides(health: HealthChecker, age: float | None, status: str) -> None:
    """A queue passes, warns and fails by the seconds that the oldest job has waited; None is none that waits."""
    result = outcome(health, checks.queue(oldest_age=lambda: age, warn_age=60, fail_age=600))
    assert (result.status, result.value, result.unit) == (status, age or 0.0, "seconds")


def test_worse_of_the_two_decides_and_both_are_told(health: HealthChecker) -> None:
    """With both functions, the worse result counts; the message has both numbers."""
    check = checks.queue(lambda: 7, oldest_age=lambda: 90.0, warn_depth=100, warn_age=60, fail_age=600)
    result = outcome(health, check)
    assert (result.status, result.value, result.unit) == ("warn", 90.0, "seconds")
    assert result.message == "7 waiting, the oldest for 90 s"


def test_depth_without_bounds_is_only_told(health: HealthChecker) -> None:
    """Without bounds, the check shows that the broker answers."""
    assert outcome(health, checks.queue(lambda: 10**6)).status == "pass"


def test_coroutine_functions_run_on_the_loop_of_whoever_asks(health: HealthChecker) -> None:
    """Functions of an asynchronous client are awaited on the application's loop, plain ones beside them called."""
    loops = []

    async def depth() -> int:
        loops.append(asyncio.get_running_loop())
        return 5

    async def main() -> str:
        health.add(checks.queue(depth, oldest_age=lambda: 1.0, warn_depth=5))
        (result,) = (await health.run()).checks
        assert loops == [asyncio.get_running_loop()]
        return result.status

    assert asyncio.run(main()) == "warn"


def test_partial_of_a_coroutine_function_is_awaited(health: HealthChecker) -> None:
    """A coroutine function with arguments filled in is one too."""

    async def depth(name: str) -> int:
        return len(name)

    assert outcome(health, checks.queue(partial(depth, "four"))).value == 4


def test_broker_that_is_down_fails_without_its_address(health: HealthChecker, caplog: pytest.LogCaptureFixture) -> None:
    """A function that raises fails the check; its text is in the log, passwords redacted, and not in the report."""

    def depth() -> int:
        raise ConnectionError("no answer from amqp://shop:hunter2@broker:5672/")

    result = outcome(health, checks.queue(depth))
    assert (result.status, result.message) == ("fail", "raised ConnectionError")
    assert "amqp://***@broker:5672/" in caplog.text
    assert "hunter2" not in caplog.text


def test_broker_that_hangs_fails_in_time(make_checker: Callable[..., HealthChecker], gate: Event) -> None:
    """A function that does not come back fails the check at its timeout."""
    result = outcome(make_checker(deadline=20.0), checks.queue(lambda: gate.wait(30.0), timeout=0.05))
    assert result.message == "no answer within 0.05 s"


@pytest.mark.parametrize("answer", ["7", None, float("nan"), [1]])
def test_answer_that_is_no_number_fails(health: HealthChecker, answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A depth that is no number fails the check, and the log says which function returned what."""
    assert outcome(health, checks.queue(lambda: answer)).status == "fail"
    assert f"depth returned {type(answer).__name__}, which is no number of jobs" in caplog.text


def test_awaitable_that_nobody_awaits_fails(health: HealthChecker, caplog: pytest.LogCaptureFixture) -> None:
    """A plain function that returns a coroutine fails, and the log says how to write it."""

    async def llen() -> int:
        return 1

    assert outcome(health, checks.queue(lambda: llen())).status == "fail"
    assert "declare it with 'async def'" in caplog.text


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({}, "has nothing to ask. Give depth=, oldest_age= or both"),
        ({"depth": 7}, "depth of check 'queue' is no function but 7"),
        ({"depth": int, "warn_age": 60}, "has a bound for seconds that nothing measures. Give oldest_age= too"),
        ({"oldest_age": int, "fail_depth": 60}, "has a bound for jobs that nothing measures. Give depth= too"),
        ({"depth": int, "warn_depth": 10, "fail_depth": 5}, "before it warns"),
        ({"depth": int, "warn_depth": -1}, "warn_depth=-1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], error: str) -> None:
    """What cannot be meant is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=error.replace(".", r"\.")):
        checks.queue(**settings)


def test_queue_of_this_process_is_not_outside() -> None:
    """A queue in memory is said to be no dependency, and may then decide about liveness."""
    assert not checks.queue(int, external=False).is_external
    assert checks.queue(int).is_external
