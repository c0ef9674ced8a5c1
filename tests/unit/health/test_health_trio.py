"""Running checks on trio's loop: the same rules as on asyncio's."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import run_script
from vitalsign.exceptions import HealthLoopError
from vitalsign.health import Check, HealthChecker, Report, Status

trio = pytest.importorskip("trio")
trio_testing = pytest.importorskip("trio.testing")

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 60.0
"""Seconds that no test waits for."""

REQUEST = contextvars.ContextVar("REQUEST", default="none")


def test_both_kinds_of_check_run_under_trio(health: HealthChecker) -> None:
    """`await health.run()` works as on asyncio: coroutine checks on trio's loop, plain ones on threads."""
    seen: dict[str, Any] = {}

    @health.check("coroutine")
    async def coroutine() -> None:
        await trio.sleep(0)
        seen["loop of the check"] = trio.lowlevel.current_trio_token()

    @health.check("plain")
    def plain() -> None:
        seen["thread"] = threading.current_thread()

    async def application() -> Report:
        seen["loop"] = trio.lowlevel.current_trio_token()
        return await health.run()

    assert trio.run(application).status is Status.PASS
    assert seen["loop of the check"] is seen["loop"]
    assert seen["thread"] is not threading.main_thread()
    assert seen["thread"].daemon


def test_200_callers_under_trio_run_each_check_once(health: HealthChecker) -> None:
    """Callers at once share one run of each check."""
    runs: list[int] = []

    @health.check("database", ttl=LONG)
    async def database() -> None:
        runs.append(1)
        await trio.sleep(0)

    async def storm() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(health.run)

    trio.run(storm)
    assert len(runs) == 1


def test_coroutine_check_has_a_deadline_under_trio(make_checker: Callable[..., HealthChecker]) -> None:
    """A check is cancelled at its timeout, gets to clean up, and has failed; that is its result, not a broken run."""
    health = make_checker(timeout=0.05, deadline=LONG, ttl=LONG)
    cleaned: list[int] = []

    @health.check("slow")
    async def slow() -> None:
        try:
            await trio.sleep(LONG)
        finally:
            cleaned.append(1)

    (check,) = trio.run(health.run).checks
    assert (check.status, check.message, cleaned) == ("fail", "no answer within 0.05 s", [1])


def test_check_that_turns_its_cancellation_into_an_error_has_not_answered(
    make_checker: Callable[..., HealthChecker],
) -> None:
    """What a check raises while it is being cancelled is not what was wrong with it."""
    health = make_checker(timeout=0.05, deadline=LONG, ttl=LONG)

    @health.check("slow")
    async def slow() -> None:
        try:
            await trio.sleep(LONG)
        finally:
            raise OSError("broken off")

    assert trio.run(health.run).checks[0].message == "no answer within 0.05 s"


def test_stubborn_check_under_trio_has_failed_all_the_same(make_checker: Callable[..., HealthChecker]) -> None:
    """A check that shields itself from its cancellation does not get its timeout extended, nor a second run."""
    health = make_checker(timeout=0.05, deadline=LONG, ttl=0.0)
    runs: list[int] = []

    async def application() -> list[str]:
        over = trio.Event()

        @health.check("stubborn")
        async def stubborn() -> None:
            runs.append(1)
            with trio.CancelScope(shield=True):
                await over.wait()

        messages = [(await health.run()).checks[0].message for _ in range(2)]
        over.set()
        return messages

    assert trio.run(application) == ["no answer within 0.05 s"] * 2
    assert runs == [1]


def test_response_under_trio_keeps_its_deadline(make_checker: Callable[..., HealthChecker], gate: Event) -> None:
    """What has not answered by the deadline is reported as known, whatever hangs."""
    health = make_checker(timeout=LONG, deadline=0.1)
    health.add(Check("plain", gate.wait))
    health.check("coroutine")(trio.sleep_forever)
    assert [check.message for check in trio.run(health.run).checks] == ["no result yet"] * 2


def test_cancelled_caller_under_trio_does_not_cancel_the_shared_run(health: HealthChecker) -> None:
    """When one caller goes away, the run goes on for the others and is no failure."""
    reports: list[Report] = []

    async def application() -> None:
        started, go_on = trio.Event(), trio.Event()

        @health.check("database")
        async def database() -> None:
            started.set()
            await go_on.wait()

        async def first() -> None:
            with trio.CancelScope() as scope:
                scopes.append(scope)
                await health.run()

        async def second() -> None:
            reports.append(await health.run())

        scopes: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await started.wait()
            nursery.start_soon(second)
            await trio_testing.wait_all_tasks_blocked()
            scopes[0].cancel()
            await trio_testing.wait_all_tasks_blocked()
            go_on.set()

    trio.run(application)
    assert [report.status for report in reports] == [Status.PASS]


def test_run_that_ends_with_its_trio_loop_is_no_failure(make_checker: Callable[..., HealthChecker]) -> None:
    """When a run of trio ends in the middle of a check, that has no result, and the next loop, of any kind, runs it."""
    health = make_checker(timeout=LONG, deadline=0.1)
    ends = Event()

    @health.check("database")
    async def database() -> None:
        if not ends.is_set():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)

    assert trio.run(health.run).checks[0].status is Status.UNKNOWN
    ends.set()
    health._deadline = LONG  # the machine may be busy
    assert asyncio.run(health.run()).status is Status.PASS


@pytest.mark.parametrize("error", [RuntimeError("no"), TimeoutError("upstream"), ExceptionGroup("two", [OSError()])])
def test_check_that_crashes_under_trio_is_a_failed_check(health: HealthChecker, error: Exception) -> None:
    """Whatever a check raises makes it fail, under the exception's class; trio goes on."""

    @health.check("database")
    async def database() -> None:
        raise error

    assert trio.run(health.run).checks[0].message == f"raised {type(error).__name__}"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_process_exit_passes_through_under_trio(health: HealthChecker, stop: type[BaseException]) -> None:
    """Ctrl-C and sys.exit() in a coroutine check reach the caller as what they are; they are no result of the check."""

    @health.check("database")
    async def database() -> None:
        raise stop

    with pytest.raises(stop):
        trio.run(health.run)
    assert health._runner.slots["database"].last is None


def test_run_under_trio_does_not_inherit_the_callers_context(health: HealthChecker) -> None:
    """A shared run sees no context variable of the caller who happened to start it."""
    seen: list[str] = []

    @health.check("coroutine")
    async def coroutine() -> None:
        seen.append(REQUEST.get())

    async def application() -> None:
        REQUEST.set("4711")
        await health.run()

    trio.run(application)
    assert seen == ["none"]


def test_run_sync_on_trios_thread_is_refused(health: HealthChecker) -> None:
    """Blocking trio's loop is an error, too; on a worker thread it works."""
    health.add(Check("a", lambda: None))

    async def application() -> Report:
        with pytest.raises(HealthLoopError, match=r"Write 'await health.run\(\)'"):
            health.run_sync()
        report: Report = await trio.to_thread.run_sync(health.run_sync)
        return report

    assert trio.run(application).status is Status.PASS


def test_trio_as_a_guest_of_asyncio_is_trio(health: HealthChecker) -> None:
    """In trio's guest mode, where both loops run on one thread, a check runs on the loop of whoever asks."""
    seen: list[str] = []

    @health.check("library", ttl=0.0)
    async def library() -> None:
        seen.append("trio" if trio.lowlevel.in_trio_task() else "asyncio")

    async def host() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        trio.lowlevel.start_guest_run(
            health.run, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
        )
        (await done).unwrap()
        await health.run()

    asyncio.run(host())
    assert seen == ["trio", "asyncio"]


def test_refreshing_under_trio(make_checker: Callable[..., HealthChecker]) -> None:
    """Inside `refreshing()`, checks run again and again on trio's loop, and what is under way ends with it."""
    health = make_checker(timeout=LONG, deadline=LONG, ttl=0.0, refresh=0.05)
    events: list[str] = []

    async def application() -> None:
        enough = trio.Event()

        @health.check("database")
        async def database() -> None:
            events.append("run")
            if events.count("run") == 3:
                enough.set()
                try:
                    await trio.sleep_forever()
                finally:
                    events.append("check cleaned up")

        async with health.refreshing():
            await enough.wait()
            assert (await health.run()).status is Status.PASS  # of the run before
        events.append("pool closed")

    trio.run(application)
    assert events == ["run", "run", "run", "check cleaned up", "pool closed"]
    assert not health._runner.lasting
    assert health._runner.slots["database"].state is Status.PASS


def test_error_inside_refreshing_under_trio_is_not_wrapped(health: HealthChecker) -> None:
    """What the application raises comes out as it is, in no group."""

    async def application() -> None:
        async with health.refreshing():
            await trio.sleep(0)
            raise LookupError("the application's own")

    with pytest.raises(LookupError, match="the application's own"):
        trio.run(application)


def test_trio_is_not_loaded_where_it_does_not_run() -> None:
    """An application on asyncio does not get trio imported, installed or not."""
    run_script("""
        import asyncio, sys
        from vitalsign.health import HealthChecker

        health = HealthChecker("shop", deadline=30, timeout=30)

        @health.check("database")
        async def database():
            pass

        assert asyncio.run(health.run()).status == "pass"
        assert health.run_sync().status == "pass"
        assert "trio" not in sys.modules
        sys.modules["trio"] = None  # as where an import was barred
        assert asyncio.run(health.run()).status == "pass"
    """)


def test_threads_and_both_kinds_of_loop_share_one_run(health: HealthChecker) -> None:
    """A run that trio carries answers callers on asyncio and on plain threads."""
    reached, go_on = Event(), Event()
    runs: list[int] = []

    @health.check("database", ttl=LONG)
    async def database() -> None:
        runs.append(1)
        reached.set()
        await trio.to_thread.run_sync(go_on.wait)

    reports: list[Report] = []
    callers: list[Callable[[], Report]] = [
        lambda: trio.run(health.run),
        lambda: asyncio.run(health.run()),
        health.run_sync,
    ]
    threads = [threading.Thread(target=lambda call=call: reports.append(call())) for call in callers]  # type: ignore[misc]
    threads[0].start()
    assert reached.wait(LONG)
    for thread in threads[1:]:
        thread.start()
    flight = health._runner.slots["database"].flight
    while flight is not None and len(flight.rounds) < 3:
        Event().wait(0.01)
    go_on.set()
    for thread in threads:
        thread.join(LONG)
    assert [report.status for report in reports] == [Status.PASS] * 3
    assert runs == [1]
