"""Event loops: that move, are stuck, are closed; and what the log says of where."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import run_script
from tests.servers import wait_until
from tests.unit.health.checks.upstreams import outcome
from vitalsign.exceptions import HealthCheckError, HealthLoopError
from vitalsign.health import Result, checks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from vitalsign.health import Check, HealthChecker


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Keep an event loop running on a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def look(check: Check, timeout: float = 0.2) -> Result:
    """Run the check's function."""
    result = check.func(timeout)
    assert isinstance(result, Result)
    return result


def wait_for(check: Check, status: str) -> Result:
    """Run the check until it says *status*."""
    found: list[Result] = []

    def has_come() -> bool:
        found[:] = [look(check, 0.01)]
        return found[0].status == status

    wait_until(has_come, f"the check says {status}")
    return found[0]


def test_loop_that_moves_passes(health: HealthChecker) -> None:
    """A loop that runs what is due passes with its lag; the check is not critical, for busy is not dead."""
    with running_loop() as loop:
        result = outcome(health, checks.event_loop(loop, warn=20.0))
    assert (result.status, result.critical, result.unit) == ("pass", False, "seconds")
    assert isinstance(result.value, float)


def test_running_loop_is_taken(health: HealthChecker) -> None:
    """Inside a coroutine the loop need not be given."""

    async def main() -> str:
        health.add(checks.event_loop(warn=20.0))
        return (await health.run()).status

    assert asyncio.run(main()) == "pass"


def test_loop_that_is_stuck_warns_then_fails_and_then_only_warns(gate: Event) -> None:
    """A stuck loop fails for as long as it does not move; moving again, it warns while that is remembered."""
    with running_loop() as loop:
        check = checks.event_loop(loop, warn=0.1, fail=0.3, window=60.0, interval=0.01)
        try:
            loop.call_soon_threadsafe(gate.wait)
            failed = wait_for(check, "fail")
            assert failed.message.startswith("the event loop has not moved for ")
        finally:
            gate.set()
        warned = wait_for(check, "warn")
    assert "within the last 60 s" in warned.message
    assert isinstance(warned.value, float)
    assert warned.value >= 0.3


def test_loop_that_moves_again_does_not_fail(gate: Event) -> None:
    """A callback that has waited for long and was run at last is no failure any more, long before the next is sent."""
    with running_loop() as loop:
        check = checks.event_loop(loop, warn=None, fail=0.1, interval=3.0, log_stack=False)
        loop.call_soon_threadsafe(gate.wait)
        wait_for(check, "fail")
        gate.set()
        moved = threading.Event()
        loop.call_soon_threadsafe(moved.set)
        moved.wait()
        assert look(check).status != "fail"


def test_late_callback_is_forgotten_after_the_window(gate: Event) -> None:
    """A loop that was stuck passes again once the window is over."""
    with running_loop() as loop:
        check = checks.event_loop(loop, warn=0.3, window=0.2, interval=0.01, log_stack=False)
        try:
            loop.call_soon_threadsafe(gate.wait)
            wait_for(check, "warn")
        finally:
            gate.set()
        assert wait_for(check, "pass").message == ""


def stand_still(gate: Event) -> None:
    """Block the loop that calls it."""
    gate.wait(30.0) or connect(password="hunter2")  # this line stands in the log


def connect(password: str) -> None:
    """Stand for what would take it."""


def test_stack_of_a_stuck_loop_is_logged_once(gate: Event, caplog: pytest.LogCaptureFixture) -> None:
    """The log says where the loop is stuck, while it is, once, and without a password that stands there."""
    with running_loop() as loop:
        check = checks.event_loop(loop, warn=0.05, fail=None, interval=0.01, name="main-loop")
        look(check)
        try:
            for _ in range(3):
                loop.call_soon_threadsafe(stand_still, gate)
            wait_until(lambda: "in stand_still" in caplog.text, "the stack in the log")
            result = look(check)
        finally:
            gate.set()
        wait_for(check, "warn")
    assert caplog.text.count("The event loop of health check 'main-loop' has not moved") == 1
    assert "hunter2" not in caplog.text
    assert "stand_still" not in result.message


def test_loop_that_is_often_stuck_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Of two times in one minute that the loop is stuck, the log has the first."""
    with running_loop() as loop:
        check = checks.event_loop(loop, warn=0.05, fail=None, window=0.05, interval=0.01)
        look(check)
        for _ in range(2):
            gate = threading.Event()
            loop.call_soon_threadsafe(gate.wait, 30.0)
            wait_for(check, "warn")
            gate.set()
            wait_for(check, "pass")
    assert caplog.text.count("has not moved") == 1


def test_loop_that_does_not_run_is_one_that_does_not_move(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that nobody runs fails in the end; where it is stuck is not known."""
    loop = asyncio.new_event_loop()
    try:
        check = checks.event_loop(loop, warn=0.01, fail=0.05, interval=0.01)
        assert wait_for(check, "fail").message.startswith("the event loop has not moved for")
        wait_until(lambda: "It is in:\na thread that is not known" in caplog.text, "the log")
    finally:
        loop.close()


def test_stack_is_not_logged_where_that_is_switched_off(gate: Event, caplog: pytest.LogCaptureFixture) -> None:
    """With log_stack=False the log stays empty."""
    with running_loop() as loop:
        check = checks.event_loop(loop, warn=0.05, interval=0.01, log_stack=False)
        try:
            loop.call_soon_threadsafe(gate.wait)
            wait_for(check, "warn")
        finally:
            gate.set()
    assert caplog.text == ""


def test_closed_loop_fails_and_its_watcher_ends() -> None:
    """A loop that was closed fails, and the thread that watched it ends."""
    with running_loop() as loop:
        check = checks.event_loop(loop, interval=0.01, name="closing")
        look(check)
        watcher = next(thread for thread in threading.enumerate() if thread.name == "vitalsign-closing-watch")
    assert look(check) == Result("fail", "the event loop is closed")
    watcher.join(20.0)
    assert not watcher.is_alive()


def test_loop_is_watched_by_one_thread_from_the_first_run_on() -> None:
    """Making a check starts nothing; running it often starts one thread."""
    with running_loop() as loop:
        check = checks.event_loop(loop, interval=0.01, name="single")
        assert not [thread for thread in threading.enumerate() if "single" in thread.name]
        for _ in range(5):
            look(check)
        assert len([thread for thread in threading.enumerate() if "single" in thread.name]) == 1


def test_forked_child_watches_anew() -> None:
    """A child that was forked while the loop was watched has a watcher of its own."""
    printed = run_script(
        """
        import asyncio, os, threading
        from vitalsign.health import checks

        loop = asyncio.new_event_loop()
        check = checks.event_loop(loop, warn=20.0, interval=0.01)
        async def look():
            return (await asyncio.to_thread(check.func, 20.0)).status
        print(loop.run_until_complete(look()), flush=True)
        if pid := os.fork():
            os.waitpid(pid, 0)
        else:
            check.func(0.01)
            print(sum("watch" in thread.name for thread in threading.enumerate()), flush=True)
            os._exit(0)
        """
    )
    assert printed == "pass\n1\n"


def test_without_a_loop_there_is_nothing_to_watch() -> None:
    """Where no loop runs and none is given, the error says what to do."""
    with pytest.raises(HealthLoopError, match="Make it inside a coroutine, such as the application's lifespan, or"):
        checks.event_loop()


@pytest.mark.parametrize(
    "settings", [{"warn": 3, "fail": 2}, {"window": 0}, {"interval": -1}, {"warn": "0.5"}, {"warn": 0}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    """A value that cannot be meant is an error when the check is made."""
    with pytest.raises(HealthCheckError, match="which is no event loop of asyncio"):
        checks.event_loop(asyncio)  # type: ignore[arg-type]
    with running_loop() as loop, pytest.raises(HealthCheckError, match="heck 'event_loop'"):
        checks.event_loop(loop, **settings)
