"""Results that are renewed in the background, and callers who need not wait for that."""

from __future__ import annotations

import asyncio
import sys
import threading
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.processes import run_script
from vitalsign.exceptions import HealthCheckError, HealthDependencyError, HealthLoopError
from vitalsign.health import Check, HealthChecker, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import CollectorRegistry

LONG = 60.0
"""Seconds that no test waits for: what depends on them would hang, not flake."""

SOON = 0.05
"""Seconds between two refreshes, where a test waits for several."""


class Probe:
    """A check that counts its runs, and tells when there have been enough."""

    def __init__(self, enough: int = 3) -> None:
        self.runs = 0
        self.enough = Event()
        self.threads: set[threading.Thread] = set()
        self.loops: set[object] = set()
        self._enough = enough

    def look(self) -> None:
        """Be a plain check."""
        self.threads.add(threading.current_thread())
        self.runs += 1
        if self.runs >= self._enough:
            self.enough.set()

    async def look_async(self) -> None:
        """Be a coroutine check."""
        self.loops.add(asyncio.get_running_loop())
        self.look()


@pytest.fixture
def started() -> Iterator[Callable[[HealthChecker], None]]:
    """Start checkers, and stop them when the test is over."""
    checkers: list[HealthChecker] = []

    def start(health: HealthChecker) -> None:
        checkers.append(health)
        health.start()

    yield start
    for health in checkers:
        health.stop()


def test_start_runs_checks_though_nobody_asks(
    make_checker: Callable[..., HealthChecker], started: Callable[[HealthChecker], None]
) -> None:
    """In the background each check, plain or coroutine, runs again and again, without any caller."""
    health = make_checker(timeout=30.0, ttl=0.0, refresh=SOON)
    plain, coroutine = Probe(), Probe()
    health.add(Check("plain", plain.look))
    health.add(Check("coroutine", coroutine.look_async))
    started(health)
    assert plain.enough.wait(LONG)
    assert coroutine.enough.wait(LONG)


def test_probes_are_served_from_the_last_results(
    make_checker: Callable[..., HealthChecker], started: Callable[[HealthChecker], None], gate: Event
) -> None:
    """While a refresh is on its way, and takes its time, callers have the last result at once, and run nothing."""
    health = make_checker(timeout=LONG, deadline=LONG, ttl=0.0, refresh=SOON)
    second = Event()
    runs: list[int] = []

    @health.check("slow")
    def slow() -> None:
        runs.append(1)
        if len(runs) > 1:
            second.set()
            gate.wait()

    started(health)
    assert second.wait(LONG)
    reports = [health.run_sync(), asyncio.run(health.run())]  # each would wait for the gate
    assert {report.status for report in reports} == {Status.PASS}
    assert len(runs) == 2


def test_callers_run_the_checks_themselves_when_the_refresh_is_late(make_checker: Callable[..., HealthChecker]) -> None:
    """What should have been renewed long ago is not believed for ever: callers do not depend on the background."""
    health = make_checker(timeout=0.5, deadline=LONG, ttl=0.0, refresh=10.0)
    probe = Probe()
    health.add(Check("database", probe.look))
    with health._runner.renewing(health._runner.renewal([])):  # it is switched on, and does nothing
        health.run_sync()
        health.run_sync()
        assert probe.runs == 1
        health._runner.slots["database"].stale_at -= 30.0
        health.run_sync()
    assert probe.runs == 2


def test_stop_ends_the_thread(make_checker: Callable[..., HealthChecker]) -> None:
    """After stop() nothing runs any more, callers have their own runs again, and start() begins anew."""
    health = make_checker(timeout=30.0, deadline=LONG, ttl=0.0, refresh=SOON)
    probe = Probe()
    health.add(Check("database", probe.look))
    for _ in range(2):
        health.start()
        health.start()
        assert [thread.name for thread in threading.enumerate()].count("vitalsign-health") == 1
        assert probe.enough.wait(LONG)
        health.stop()
        health.stop()
        assert "vitalsign-health" not in [thread.name for thread in threading.enumerate()]
        assert not health._runner.lasting
        probe.runs = 0
        probe.enough.clear()
    runs = probe.runs
    health.run_sync()
    assert probe.runs == runs + 1


def test_stop_does_not_wait_for_a_check_that_hangs(make_checker: Callable[..., HealthChecker], gate: Event) -> None:
    """A check that hangs keeps nobody from stopping."""
    health = make_checker(timeout=LONG)
    reached = Event()

    @health.check("hangs")
    def hangs() -> None:
        reached.set()
        gate.wait()

    health.start()
    assert reached.wait(LONG)
    health.stop()
    assert not health._runner.lasting


def test_check_that_is_added_later_is_refreshed_too(
    make_checker: Callable[..., HealthChecker], started: Callable[[HealthChecker], None]
) -> None:
    """Checks may be declared after start(), also before what they depend on."""
    health = make_checker(timeout=30.0, ttl=0.0, refresh=SOON)
    first, second = Probe(1), Probe(1)
    started(health)
    health.add(Check("first", first.look, depends_on=("second",)))
    health.add(Check("second", second.look))
    assert second.enough.wait(LONG)
    assert first.enough.wait(LONG)


def test_start_tells_about_dependencies_that_cannot_be(health: HealthChecker) -> None:
    """What is wrong with the dependencies of any check is an error at start."""
    health.add(Check("a", lambda: None, groups=("nightly",), depends_on=("b",)))
    with pytest.raises(HealthDependencyError):
        health.start()


@pytest.mark.parametrize("refresh", [0, -1.0, "10"])
def test_refresh_is_a_time(refresh: Any, registry: CollectorRegistry) -> None:
    """Seconds between refreshes are a number above 0."""
    with pytest.raises(HealthCheckError, match="refresh is"):
        HealthChecker("shop", refresh=refresh, registry=registry)


def test_refreshing_runs_coroutine_checks_on_the_applications_loop(make_checker: Callable[..., HealthChecker]) -> None:
    """Inside `refreshing()`, coroutine checks run on the loop that owns the application's pools, and end with it."""
    health = make_checker(timeout=30.0, deadline=LONG, ttl=0.0, refresh=SOON)
    probe, plain = Probe(), Probe()
    health.add(Check("database", probe.look_async))
    health.add(Check("disk", plain.look))

    async def application() -> object:
        async with health.refreshing():
            while not (probe.enough.is_set() and plain.enough.is_set()):  # noqa: ASYNC110  # set on threads
                await asyncio.sleep(0.01)
            assert (await health.run()).status is Status.PASS
        assert not health._runner.lasting
        assert [task.get_name() for task in asyncio.all_tasks() if "vitalsign" in task.get_name()] == []
        return asyncio.get_running_loop()

    assert {asyncio.run(application())} == probe.loops


def test_end_of_refreshing_cancels_what_is_under_way(make_checker: Callable[..., HealthChecker]) -> None:
    """At the end a coroutine check is cancelled and has cleaned up before its pool is closed; that is no failure."""
    health = make_checker(timeout=LONG)
    events: list[str] = []

    async def application() -> None:
        reached = asyncio.Event()

        @health.check("database")
        async def database() -> None:
            reached.set()
            try:
                await asyncio.sleep(LONG)
            finally:
                events.append("check cleaned up")

        async with health.refreshing():
            await reached.wait()
        events.append("pool closed")

    asyncio.run(application())
    assert events == ["check cleaned up", "pool closed"]
    assert health._runner.slots["database"].last is None


def test_refreshing_is_a_lifespan(make_checker: Callable[..., HealthChecker]) -> None:
    """`Starlette(lifespan=health.refreshing)` refreshes while the application runs."""
    health = make_checker(timeout=30.0, deadline=LONG, ttl=0.0, refresh=SOON)
    probe = Probe()
    health.add(Check("database", probe.look_async))
    app = Starlette(routes=health.routes(), lifespan=health.refreshing)
    with TestClient(app) as client:
        assert probe.enough.wait(LONG)
        assert client.get("/ready").status_code == 200
    assert not health._runner.lasting


def test_error_inside_refreshing_comes_out_as_it_is(make_checker: Callable[..., HealthChecker]) -> None:
    """The context does not wrap or swallow what the application raises, nor its cancellation."""
    health = make_checker()

    async def application() -> None:
        async with health.refreshing():
            raise LookupError("the application's own")

    with pytest.raises(LookupError, match="the application's own"):
        asyncio.run(application())

    async def cancelled() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()
        await task

    async def forever() -> None:
        async with health.refreshing():
            await asyncio.sleep(LONG)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert not health._runner.lasting


def test_refreshing_without_a_loop_is_refused(health: HealthChecker) -> None:
    """Where no event loop runs, the error names what works there."""
    with pytest.raises(HealthLoopError, match=r"health.start\(\) to refresh"):
        health.refreshing().__aenter__().send(None)  # type: ignore[attr-defined]


def test_refresh_survives_every_kind_of_check(
    make_checker: Callable[..., HealthChecker], started: Callable[[HealthChecker], None], gate: Event
) -> None:
    """Checks that raise, hang or quit do not end the background refresh of the others."""
    health = make_checker(timeout=SOON, ttl=0.0, refresh=SOON)
    probe = Probe(5)
    for name, func in {"raises": lambda: 1 / 0, "hangs": gate.wait, "quits": partial(sys.exit, 3)}.items():
        health.add(Check(name, func))
    health.add(Check("fine", probe.look, timeout=30.0))
    started(health)
    assert probe.enough.wait(LONG)


def test_refresh_that_fails_ends_and_callers_go_on(
    make_checker: Callable[..., HealthChecker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of ours in the background is logged, and callers run the checks themselves from then on."""
    health = make_checker(timeout=30.0, deadline=LONG, ttl=0.0)
    probe = Probe()
    health.add(Check("database", probe.look))
    seen: list[str] = []
    monkeypatch.setattr("vitalsign.health._refresh.internal_error", lambda where, _: seen.append(where))

    def broken(*_: object) -> None:
        raise OSError("ours")

    with monkeypatch.context() as patch:
        patch.setattr("vitalsign.health._refresh.attend_blocking", broken)
        health.start()
        thread = health._refresher._thread
        assert thread is not None
        thread.join(LONG)
    assert seen == ["health.refresh"]
    assert not health._runner.lasting
    health.stop()
    assert health.run_sync().status is Status.PASS


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_refresh_goes_on_in_a_forked_child() -> None:
    """Started before the fork, as with gunicorn's preload, it begins again in the child when that is first asked."""
    run_script("""
        import os, threading
        from vitalsign.health import HealthChecker

        health = HealthChecker("shop", timeout=30, deadline=30, ttl=0, refresh=0.05)
        ran = threading.Event()
        runs = 0

        @health.check("database")
        def database():
            global runs
            runs += 1
            if runs >= 3:
                ran.set()

        health.start()
        assert ran.wait(30)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                runs = 0
                ran = threading.Event()
                assert not health._runner.lasting
                assert health.run_sync().status == "pass"
                status = 0 if ran.wait(30) else 2
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        health.stop()
        assert status == 0, status
    """)


def test_process_ends_while_the_refresh_runs() -> None:
    """A process that forgot to stop, with a check that hangs, ends at once and quietly."""
    printed = run_script("""
        import threading
        from vitalsign.health import HealthChecker

        health = HealthChecker("shop", refresh=0.01)
        reached = threading.Event()

        @health.check("hangs")
        def hangs():
            reached.set()
            threading.Event().wait()

        @health.check("fine")
        async def fine():
            pass

        health.start()
        assert reached.wait(30)
    """)
    assert printed == ""
