"""Thread pools: executors and anyio's limiters, idle, busy and with calls that wait."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Semaphore
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from tests.servers import wait_until
from tests.unit.health.checks.upstreams import outcome
from vitalsign.exceptions import HealthCheckError, HealthLoopError
from vitalsign.health import Result, checks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from vitalsign.health import Check, HealthChecker


@contextmanager
def occupied(pool: ThreadPoolExecutor, calls: int, gate: Event) -> Iterator[None]:
    """Hand *pool* some calls that wait for the gate, and wait until all of its threads that can have one."""
    begun = Semaphore(0)

    def occupy() -> None:
        begun.release()
        gate.wait(30.0)

    futures = [pool.submit(occupy) for _ in range(calls)]
    for _ in range(min(calls, pool._max_workers)):
        begun.acquire()
    try:
        yield
    finally:
        gate.set()
        for future in futures:
            future.result()


def look(check: Check) -> Result:
    """Run the check's function."""
    result = check.func()
    assert isinstance(result, Result)
    return result


def test_idle_pool_passes(health: HealthChecker) -> None:
    """A pool with nothing to do passes; the check is not critical."""
    with ThreadPoolExecutor(2) as pool:
        result = outcome(health, checks.thread_pool(pool))
    assert (result.status, result.critical) == ("pass", False)
    assert result.message == "0 of 2 threads busy, 0 waiting"


def test_busy_pool_in_which_nothing_waits_passes(gate: Event) -> None:
    """A pool whose threads all work passes, unless told to warn of that."""
    with ThreadPoolExecutor(2) as pool, occupied(pool, 2, gate):
        assert look(checks.thread_pool(pool)).message == "2 of 2 threads busy, 0 waiting"
        assert look(checks.thread_pool(pool)).status == "pass"
        assert look(checks.thread_pool(pool, warn_busy=1.0)).status == "warn"
        assert look(checks.thread_pool(pool, fail_busy=0.5)).status == "fail"


def test_calls_that_wait_warn_or_fail(gate: Event) -> None:
    """Calls that wait for a thread warn, and fail from a number on that is given."""
    with ThreadPoolExecutor(1) as pool, occupied(pool, 4, gate):
        result = look(checks.thread_pool(pool))
        assert (result.status, result.value, result.unit) == ("warn", 3, "calls")
        assert look(checks.thread_pool(pool, fail_waiting=3)).status == "fail"
        assert look(checks.thread_pool(pool, warn_waiting=4)).status == "pass"


def test_threads_that_worked_are_idle_again(gate: Event) -> None:
    """After a rush, the threads that wait for work are not taken for busy, and one that works is."""
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            pool.submit(int)
        wait_until(lambda: "0 of 2 threads busy" in look(checks.thread_pool(pool)).message, "idle threads")
        with occupied(pool, 1, gate):
            assert look(checks.thread_pool(pool)).message == "1 of 2 threads busy, 0 waiting"


def test_pool_that_was_shut_down_fails(health: HealthChecker, caplog: pytest.LogCaptureFixture) -> None:
    """A pool that takes no more calls has failed, however idle it is."""
    with ThreadPoolExecutor(2) as pool:
        check = checks.thread_pool(pool)
    assert outcome(health, check).status == "fail"
    assert "the pool was shut down" in caplog.text


def test_limiter_of_anyio_is_looked_at(health: HealthChecker) -> None:
    """A limiter that is given shows borrowed tokens and the tasks that wait for one."""

    async def main() -> Result:
        limiter = anyio.CapacityLimiter(1)
        begun = asyncio.Event()

        async def borrow() -> None:
            async with limiter:
                begun.set()
                await asyncio.sleep(30)

        tasks = [asyncio.create_task(borrow()) for _ in range(3)]
        await begun.wait()
        await asyncio.sleep(0)
        found = look(checks.thread_pool(limiter))
        for task in tasks:
            task.cancel()
        return found

    result = asyncio.run(main())
    assert (result.status, result.message) == ("warn", "1 of 1 threads busy, 2 waiting")


def test_limiter_that_lets_nobody_through_is_full() -> None:
    """Where there are no threads at all, all of them are busy."""
    limiter = SimpleNamespace(total_tokens=0, statistics=lambda: SimpleNamespace(**EMPTY))
    assert look(checks.thread_pool(limiter, warn_busy=1.0)).status == "warn"  # type: ignore[arg-type]


EMPTY = {"borrowed_tokens": 0, "total_tokens": 0, "tasks_waiting": 0}


def test_threads_of_starlette_are_looked_at_by_default(health: HealthChecker, gate: Event) -> None:
    """Without a pool, the running loop's default limiter is taken, by which Starlette runs plain functions."""

    async def main() -> tuple[str, str]:
        health.add(checks.thread_pool(warn_busy=0.02))
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def work() -> None:
            loop.call_soon_threadsafe(begun.set)
            gate.wait(30.0)

        task = asyncio.create_task(anyio.to_thread.run_sync(work))
        await begun.wait()
        (result,) = (await health.run()).checks
        gate.set()
        await task
        return result.status, result.message

    assert asyncio.run(main()) == ("warn", "1 of 40 threads busy, 0 waiting")


def test_without_a_loop_a_pool_has_to_be_given() -> None:
    """Where no loop runs and no pool is given, the error says what to do."""
    with pytest.raises(HealthLoopError, match="lifespan, or give it pool="):
        checks.thread_pool()


@pytest.mark.parametrize("pool", [object(), 4, "pool"])
def test_what_is_no_pool_is_refused(pool: Any) -> None:
    """Anything else is an error that says what can be looked into."""
    with pytest.raises(HealthCheckError, match="Give a ThreadPoolExecutor, or a CapacityLimiter"):
        checks.thread_pool(pool)


@pytest.mark.parametrize(
    "settings", [{"warn_busy": 2}, {"warn_waiting": 5, "fail_waiting": 4}, {"fail_busy": -1}, {"warn_waiting": "1"}]
)
def test_bounds_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    """A share is from 0 to 1, and the warning comes first."""
    with ThreadPoolExecutor(1) as pool, pytest.raises(HealthCheckError, match="heck 'thread_pool'"):
        checks.thread_pool(pool, **settings)
