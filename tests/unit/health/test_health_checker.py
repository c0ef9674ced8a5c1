"""Running checks: from event loops, threads and both at once."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from vitalsign.exceptions import HealthError, HealthGroupError, HealthLoopError
from vitalsign.health import Check, HealthChecker, Report, Result, Status

MakeChecker = Callable[..., HealthChecker]

REQUEST = contextvars.ContextVar("REQUEST", default="none")
LONG = 60.0
"""Seconds that no test waits for: what depends on them would hang, not flake."""


def run(health: HealthChecker, group: str = "readiness") -> Report:
    """Run a group on an event loop of its own."""
    return asyncio.run(health.run(group))


def message(report: Report) -> str:
    """Return the message of the only check of a report."""
    (check,) = report.checks
    return check.message


def counted(health: HealthChecker, *names: str, **settings: Any) -> dict[str, int]:
    """Add coroutine checks and plain checks in turn; return how often each has run, by name."""
    runs = dict.fromkeys(names, 0)

    def add(name: str, is_coroutine: bool) -> None:
        def look() -> None:
            runs[name] += 1

        async def look_async() -> None:
            runs[name] += 1
            await asyncio.sleep(0)

        health.add(Check(name, look_async if is_coroutine else look), **settings)

    for place, name in enumerate(names):
        add(name, place % 2 == 0)
    return runs


def test_both_faces_give_the_same_report(make_checker: MakeChecker) -> None:
    """A check of either kind gives the same result to run() and run_sync()."""
    health = make_checker(version="1.4.0", timeout=30.0, deadline=20.0, ttl=0.0)

    @health.check("plain")
    def plain() -> Result:
        return Result(Status.WARN, "slow", 3, "jobs")

    @health.check("coroutine", critical=False)
    async def coroutine() -> bool:
        return False

    for report in (run(health), health.run_sync()):
        assert (report.service, report.version, report.group) == ("shop", "1.4.0", "readiness")
        assert [(c.name, c.status, c.critical, c.message, c.value, c.unit) for c in report.checks] == [
            ("plain", "warn", True, "slow", 3, "jobs"),
            ("coroutine", "fail", False, "", None, ""),
        ]
        assert all(c.age is not None and c.duration is not None and c.time is not None for c in report.checks)


def test_200_callers_run_each_of_20_checks_once(health: HealthChecker) -> None:
    """200 callers at once on one loop share one run of each check."""
    runs = counted(health, *(f"check-{n}" for n in range(20)), ttl=LONG)

    async def storm() -> list[Report]:
        return await asyncio.gather(*(health.run() for _ in range(200)))

    reports = asyncio.run(storm())
    assert set(runs.values()) == {1}
    assert all(report.status is Status.PASS and len(report.checks) == 20 for report in reports)


def test_callers_at_once_share_a_run_without_any_lifetime(health: HealthChecker) -> None:
    """With a ttl of zero, those who come while a check runs wait for that run; who comes later gets another."""
    runs = counted(health, "coroutine", ttl=0.0)

    async def storm() -> None:
        await asyncio.gather(*(health.run() for _ in range(50)))
        await health.run()

    asyncio.run(storm())
    assert runs == {"coroutine": 2}


class Door:
    """Something on one event loop that opens from another thread."""

    def __init__(self) -> None:
        self.is_reached = Event()

    async def pass_through(self) -> None:
        """Wait until somebody opens."""
        self._loop, self._opened = asyncio.get_running_loop(), asyncio.Event()
        self.is_reached.set()
        await self._opened.wait()

    def open(self) -> None:
        """Let through who waits."""
        self._loop.call_soon_threadsafe(self._opened.set)


def test_threads_and_loops_share_one_run(health: HealthChecker) -> None:
    """A run that one loop carries answers callers on other loops and on plain threads."""
    door = Door()
    runs: list[str] = []

    @health.check("coroutine", ttl=0.0)
    async def coroutine() -> None:
        runs.append(threading.current_thread().name)
        await door.pass_through()

    with ThreadPoolExecutor(max_workers=7) as pool:
        first = pool.submit(run, health)
        assert door.is_reached.wait(LONG)
        others = [pool.submit(run, health) for _ in range(3)] + [pool.submit(health.run_sync) for _ in range(3)]
        _wait_for_rounds(health, "coroutine", 7)
        door.open()
        assert all(future.result().status is Status.PASS for future in (first, *others))
    assert len(runs) == 1


def _wait_for_rounds(health: HealthChecker, name: str, count: int) -> None:
    patience = Event()
    for _ in range(6_000):
        flight = health._runner.slots[name].flight
        if flight is not None and len(flight.rounds) == count:
            return
        patience.wait(0.01)
    raise AssertionError(f"no {count} callers wait for {name}")


def test_checks_run_at_the_same_time(health: HealthChecker) -> None:
    """Checks that can only finish together do finish, of whatever kind."""
    barrier = threading.Barrier(3, timeout=LONG)

    def meet() -> None:
        barrier.wait()

    for name in ("a", "b", "c"):
        health.add(Check(name, meet))
    assert health.run_sync().status is Status.PASS


def test_hanging_check_leaves_the_response_within_its_deadline(make_checker: MakeChecker, gate: Event) -> None:
    """A check that hangs for longer than the deadline is reported as not known; the others have their results."""
    health = make_checker(deadline=1.0, timeout=LONG)
    health.add(Check("hangs", gate.wait))
    health.add(Check("fine", lambda: None))
    report = run(health)
    assert [(check.name, check.status) for check in report.checks] == [("hangs", "unknown"), ("fine", "pass")]
    assert message(Report("shop", "", "readiness", report.checks[:1])) == "no result yet"
    assert report.status_code == 503


def test_last_known_result_is_served_with_its_age(make_checker: MakeChecker, gate: Event) -> None:
    """A check that passed and now takes longer than the deadline is reported as it was, with its growing age."""
    health = make_checker(deadline=LONG, timeout=LONG, ttl=0.0)
    slow = Event()
    health.add(Check("database", lambda: not slow.is_set() or gate.wait()))
    first = run(health).checks[0]
    slow.set()
    health._deadline = 0.1
    second, third = run(health).checks[0], run(health).checks[0]
    assert [check.status for check in (first, second, third)] == ["pass"] * 3
    assert first.time == second.time == third.time
    assert 0.1 <= (second.age or 0) < (third.age or 0)


def test_default_deadline_is_below_the_kubelets_second() -> None:
    """Without a setting, a report comes before the kubelet's default timeout of 1 s, with room for the network."""
    parameters = inspect.signature(HealthChecker).parameters
    assert parameters["deadline"].default <= 0.8
    assert parameters["timeout"].default <= parameters["deadline"].default


@pytest.mark.parametrize("ask", [run, HealthChecker.run_sync])
def test_hanging_sync_check_has_one_run_in_flight(make_checker: MakeChecker, gate: Event, ask: Any) -> None:
    """A plain check that hangs fails at its timeout; however often one asks, it is not started again."""
    health = make_checker(timeout=0.05, deadline=LONG, ttl=0.0)
    runs: list[threading.Thread] = []

    @health.check("hangs")
    def hangs() -> None:
        runs.append(threading.current_thread())
        gate.wait()

    reports = [ask(health) for _ in range(5)]
    assert [message(report) for report in reports] == ["no answer within 0.05 s"] * 5
    assert [thread.daemon for thread in runs] == [True]


def test_hanging_check_that_comes_back_is_run_again(make_checker: MakeChecker, gate: Event) -> None:
    """Once its thread has ended, a check that hung gets a new run and can pass."""
    health = make_checker(timeout=0.05, deadline=LONG, ttl=0.0)
    threads: list[threading.Thread] = []

    @health.check("hangs")
    def hangs() -> None:
        threads.append(threading.current_thread())
        gate.wait()

    assert health.run_sync().status is Status.FAIL
    gate.set()
    threads[0].join(LONG)
    health._runner.slots["hangs"].timeout = LONG  # the machine may be busy
    assert health.run_sync().status is Status.PASS
    assert len(threads) == 2


@pytest.mark.parametrize("ask", [run, HealthChecker.run_sync])
def test_coroutine_check_has_a_deadline(make_checker: MakeChecker, ask: Any) -> None:
    """A coroutine check is cancelled at its timeout, gets to clean up, and has failed."""
    health = make_checker(timeout=0.05, deadline=LONG, ttl=LONG)
    cleaned = Event()

    @health.check("slow")
    async def slow() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            cleaned.set()

    assert message(ask(health)) == "no answer within 0.05 s"
    assert cleaned.wait(LONG)


def test_coroutine_check_that_will_not_be_cancelled_has_failed_all_the_same(make_checker: MakeChecker) -> None:
    """A check that swallows its cancellation does not get its timeout extended, nor a second run beside it."""
    health = make_checker(timeout=0.05, deadline=LONG, ttl=0.0)
    runs: list[int] = []

    async def scenario() -> list[Report]:
        over = asyncio.Event()

        @health.check("stubborn")
        async def stubborn() -> None:
            runs.append(1)
            while not over.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await over.wait()

        reports = [await health.run(), await health.run()]
        over.set()
        return reports

    assert [message(report) for report in asyncio.run(scenario())] == ["no answer within 0.05 s"] * 2
    assert len(runs) == 1


def test_cancelled_caller_does_not_cancel_the_shared_run(health: HealthChecker) -> None:
    """When one caller goes away, the run goes on for the others and is no failure."""
    cancelled: list[bool] = []

    async def scenario() -> Report:
        started, go_on = asyncio.Event(), asyncio.Event()

        @health.check("database")
        async def database() -> None:
            started.set()
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        first, second = asyncio.create_task(health.run()), asyncio.create_task(health.run())
        await started.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go_on.set()
        return await second

    report = asyncio.run(scenario())
    assert (report.status, cancelled) == (Status.PASS, [])


def test_run_that_ends_with_its_loop_is_no_failure(make_checker: MakeChecker) -> None:
    """When an event loop ends in the middle of a run, the check has no result, and the next loop runs it anew."""
    health = make_checker(deadline=0.1, timeout=LONG)
    ends = Event()

    @health.check("database")
    async def database() -> None:
        if not ends.is_set():
            await asyncio.sleep(LONG)

    assert run(health).checks[0].status is Status.UNKNOWN
    ends.set()
    health._deadline = LONG  # the machine may be busy
    assert run(health).status is Status.PASS


def test_run_on_a_loop_that_was_closed_under_it_is_no_failure(make_checker: MakeChecker) -> None:
    """A loop that is closed without cancelling its tasks does not block the check for good."""
    health = make_checker(deadline=0.1, timeout=LONG)
    ends = Event()

    @health.check("database")
    async def database() -> None:
        if not ends.is_set():
            await asyncio.get_running_loop().create_future()

    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(health.run()).checks[0].status is Status.UNKNOWN
    loop.close()
    ends.set()
    health._deadline = LONG  # the machine may be busy
    assert run(health).status is Status.PASS
    gc.collect()


def test_waiter_on_another_loop_flies_what_was_broken_off(health: HealthChecker) -> None:
    """When the loop that carries a run ends, a caller elsewhere who waits for it starts the run again and gets it."""
    started, door = Event(), Door()
    runs: list[int] = []

    @health.check("database", ttl=0.0)
    async def database() -> None:
        runs.append(1)
        if len(runs) == 1:
            started.set()
            await asyncio.sleep(LONG)

    async def leave_when_told() -> None:
        task = asyncio.create_task(health.run())
        await door.pass_through()
        task.cancel()

    with ThreadPoolExecutor(max_workers=2) as pool:
        first = pool.submit(asyncio.run, leave_when_told())
        assert started.wait(LONG)
        assert door.is_reached.wait(LONG)
        second = pool.submit(run, health)
        _wait_for_rounds(health, "database", 2)
        door.open()
        assert second.result().status is Status.PASS
        first.result()
    assert len(runs) == 2


@pytest.mark.parametrize("ask", [run, HealthChecker.run_sync])
@pytest.mark.parametrize("error", [RuntimeError("no"), TimeoutError("upstream"), asyncio.CancelledError()])
def test_check_that_crashes_is_a_failed_check(make_checker: MakeChecker, ask: Any, error: BaseException) -> None:
    """Whatever a check raises makes it fail, under the exception's class; the report is made all the same."""
    health = make_checker(timeout=30.0, deadline=20.0, ttl=0.0)

    async def coroutine() -> None:
        raise error

    def plain() -> None:
        raise error

    health.add(Check("coroutine", coroutine))
    health.add(Check("plain", plain, critical=False))
    report = ask(health)
    assert [check.status for check in report.checks] == ["fail", "fail"]
    assert {check.message for check in report.checks} == {f"raised {type(error).__name__}"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_process_exit_passes_through(health: HealthChecker, stop: type[BaseException]) -> None:
    """Ctrl-C and sys.exit() in a coroutine check end the program; they are no result of the check."""

    @health.check("database")
    async def database() -> None:
        raise stop

    with pytest.raises(stop):
        run(health)
    assert health._runner.slots["database"].last is None


def test_sys_exit_in_a_thread_is_a_failed_check(health: HealthChecker) -> None:
    """A plain check runs on a thread, where sys.exit() ends only the thread: the caller does not wait for it."""
    health.add(Check("quits", lambda: sys.exit(3)))
    assert message(run(health)) == "raised SystemExit"


def test_default_executor_is_never_used(health: HealthChecker) -> None:
    """Plain checks, hanging or not, take no thread from the loop's executor."""

    class Refusing(ThreadPoolExecutor):
        def submit(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("the default executor was used")

    health.add(Check("plain", lambda: None))

    async def scenario() -> Report:
        asyncio.get_running_loop().set_default_executor(Refusing())
        return await health.run()

    assert asyncio.run(scenario()).status is Status.PASS


def test_coroutine_checks_run_on_the_callers_loop(health: HealthChecker) -> None:
    """A coroutine check may use what belongs to the loop of the application."""
    loops: list[object] = []

    @health.check("database")
    async def database() -> None:
        loops.append(asyncio.get_running_loop())

    async def scenario() -> object:
        await health.run()
        return asyncio.get_running_loop()

    assert [asyncio.run(scenario())] == loops


def test_run_does_not_inherit_the_callers_context(health: HealthChecker) -> None:
    """A shared run belongs to nobody's request: it sees no context variable of the caller who happened to start it."""
    seen: list[str] = []

    @health.check("coroutine")
    async def coroutine() -> None:
        seen.append(REQUEST.get())

    @health.check("plain")
    def plain() -> None:
        seen.append(REQUEST.get())

    async def scenario() -> None:
        REQUEST.set("4711")
        await health.run()

    asyncio.run(scenario())
    assert seen == ["none", "none"]


def test_no_more_threads_is_a_failed_check(health: HealthChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives out no more threads, the checks fail and the caller gets a report."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    for name in ("a", "b"):
        health.add(Check(name, lambda: None))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert [check.message for check in health.run_sync().checks] == ["raised RuntimeError"] * 2


def test_interrupted_start_leaves_nothing_in_flight(health: HealthChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while checks are being started does not leave one that looks as if it hung for ever."""

    def interrupt(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    health.add(Check("plain", lambda: None))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            health.run_sync()
    assert health.run_sync().status is Status.PASS


def test_before_the_first_run_alive_200_ready_503_startup_503(make_checker: MakeChecker, gate: Event) -> None:
    """A service of which nothing is known yet is alive, not ready, and not started."""
    health = make_checker(deadline=0.05, timeout=LONG)
    for group in ("liveness", "readiness", "startup"):
        health.add(Check(group, gate.wait, groups=(group,)))
    health.started()
    codes = {group: run(health, group).status_code for group in ("liveness", "readiness", "startup", "full")}
    assert codes == {"liveness": 200, "readiness": 503, "startup": 503, "full": 503}


def test_startup_waits_for_started(health: HealthChecker) -> None:
    """Until the host says that it has started, startup fails and says why; readiness does not ask."""
    report = health.run_sync("startup")
    assert (report.status_code, message(report)) == (503, "health.started() has not been called yet")
    assert health.run_sync("readiness").status_code == 200
    health.started()
    health.started()
    assert health.run_sync("startup").status_code == 200


def test_startup_checks_decide_once_started(health: HealthChecker) -> None:
    """A started service whose startup check fails has not started."""
    health.add(Check("migrations", lambda: False, groups=("startup",)))
    health.started()
    assert health.run_sync("startup").status_code == 503


def test_full_is_every_check(health: HealthChecker) -> None:
    """The group 'full' holds the checks of all groups, own ones too, each once."""
    for name, groups in {"a": ("liveness", "readiness"), "b": ("startup",), "c": ("nightly",)}.items():
        health.add(Check(name, lambda: None, groups=groups))
    assert [check.name for check in health.run_sync("full").checks] == ["a", "b", "c"]
    assert [check.name for check in health.run_sync("nightly").checks] == ["c"]


def test_liveness_has_no_checks_of_its_own_accord(health: HealthChecker) -> None:
    """A failing check of readiness leaves the service alive."""
    health.add(Check("database", lambda: False))
    assert (health.run_sync("readiness").status_code, health.run_sync("liveness").status_code) == (503, 200)


@pytest.mark.parametrize("ask", [run, HealthChecker.run_sync])
def test_group_without_checks_is_an_error_that_names_the_others(health: HealthChecker, ask: Any) -> None:
    """A misspelt group is told from one without checks."""
    health.add(Check("a", lambda: None, groups=("nightly",)))
    with pytest.raises(HealthGroupError) as caught:
        ask(health, "readyness")
    assert str(caught.value) == (
        "No check of 'shop' is in a group 'readyness'. There are: liveness, readiness, startup, full, nightly."
    )
    assert isinstance(caught.value, LookupError)
    assert (caught.value.group, caught.value.known[-1]) == ("readyness", "nightly")


def test_run_sync_on_a_loops_thread_is_refused(health: HealthChecker) -> None:
    """Blocking an event loop is an error that names the call that does not."""
    health.add(Check("a", lambda: None))

    async def scenario() -> None:
        health.run_sync()

    with pytest.raises(HealthLoopError, match=r"Write 'await health.run\(\)'"):
        asyncio.run(scenario())
    assert issubclass(HealthLoopError, HealthError)
    assert issubclass(HealthLoopError, RuntimeError)


def test_run_without_a_known_loop_is_refused(health: HealthChecker) -> None:
    """On a loop of another kind, the error names the call that works there."""
    health.add(Check("a", lambda: None))
    call = health.run()
    with pytest.raises(HealthLoopError, match=r"call health.run_sync\(\) on a worker thread"):
        call.send(None)


def test_ttl_of_a_check_goes_before_the_checkers(make_checker: MakeChecker) -> None:
    """Lifetimes come from the check, else from the checker; one that is not given for failures is the ttl."""
    health = make_checker(ttl=3.0)
    patient = make_checker(ttl=3.0, failure_ttl=1.0)
    health.add(Check("a", lambda: None))
    health.add(Check("b", lambda: None, ttl=9.0))
    patient.add(Check("b", lambda: None, ttl=9.0))
    patient.add(Check("c", lambda: None, failure_ttl=0.0))
    lifetimes = [
        (slot.ttl, slot.failure_ttl) for checker in (health, patient) for slot in checker._runner.slots.values()
    ]
    assert lifetimes == [(3.0, 3.0), (9.0, 9.0), (9.0, 1.0), (3.0, 0.0)]


def test_change_is_logged_once_with_secrets_redacted(
    make_checker: MakeChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """A failing check logs its traceback when it begins to fail, not at each probe, and tells when it passes again."""
    health = make_checker(timeout=30.0, deadline=20.0, ttl=0.0)
    errors: list[Exception | None] = [None, *[OSError("postgresql://shop:hunter2@db/shop refused")] * 3, None, None]

    @health.check("database")
    def database() -> None:
        if error := errors.pop(0):
            raise error

    with caplog.at_level(logging.INFO, "vitalsign.health"):
        bodies = [str(health.run_sync().to_dict()) for _ in range(6)]
    failed, passed = caplog.records
    assert failed.getMessage().startswith("Health check 'database' of shop: fail (raised OSError).\nTraceback")
    assert "postgresql://***@db/shop refused" in failed.getMessage()
    assert passed.getMessage() == "Health check 'database' of shop passes again."
    assert "hunter2" not in caplog.text
    assert all("hunter2" not in body and "db/shop" not in body and "refused" not in body for body in bodies)


@pytest.mark.parametrize("ask", [run, HealthChecker.run_sync])
def test_check_that_returns_nonsense_is_a_failed_check(
    health: HealthChecker, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A check that returns what it may not has failed, and the log says what it may return."""
    health.add(Check("database", lambda: 5))
    assert message(ask(health)) == "raised TypeError"
    assert "a check returns None, a bool or a Result, not int" in caplog.text


def test_log_that_cannot_be_written_loses_no_result(health: HealthChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result stands although the log fails."""

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(logging.getLogger("vitalsign.health"), "warning", broken)
    health.add(Check("database", lambda: False))
    assert health.run_sync().status is Status.FAIL


def test_making_a_checker_starts_no_thread_and_waits_for_nobody(make_checker: MakeChecker) -> None:
    """Before somebody asks, nothing runs."""
    before = threading.active_count()
    health = make_checker()
    runs = counted(health, "a", "b")
    health.asgi()
    assert (threading.active_count(), runs) == (before, {"a": 0, "b": 0})


def in_new_process(program: str) -> subprocess.CompletedProcess[str]:
    """Run *program* in a Python of its own, for a minute at most."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )


def test_process_exits_at_once_though_a_check_hangs() -> None:
    """A hanging check, plain or coroutine, keeps no process from exiting, with its own exit code."""
    done = in_new_process("""
        import asyncio, sys, time
        from vitalsign.health import HealthChecker

        health = HealthChecker("shop", deadline=0.2)

        @health.check("plain")
        def plain():
            time.sleep(3600)

        @health.check("coroutine")
        async def coroutine():
            time.sleep(3600)

        print(health.run_sync().status_code)
        health.check("other")(plain)
        health._runner.slots.pop("coroutine")
        print(asyncio.run(health.run()).status_code)
        sys.exit(7)
    """)
    assert (done.returncode, done.stdout.split(), done.stderr) == (7, ["503", "503"], done.stderr)
    assert "Fatal" not in done.stderr


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_forked_child_does_not_wait_for_its_parents_runs() -> None:
    """A child forked while a check hangs in its parent runs the check anew, and no lock of the parent blocks it."""
    done = in_new_process("""
        import os, threading, warnings
        from vitalsign.health import HealthChecker

        warnings.simplefilter("ignore")
        health = HealthChecker("shop", deadline=0.2, timeout=3600)
        parent = os.getpid()

        @health.check("database")
        def database():
            if os.getpid() == parent:
                threading.Event().wait()

        assert health.run_sync().checks[0].status == "unknown"
        child = os.fork()
        if child == 0:
            health._deadline = 30
            os._exit(0 if health.run_sync().status == "pass" else 1)
        _, status = os.waitpid(child, 0)
        raise SystemExit(os.waitstatus_to_exitcode(status))
    """)
    assert done.returncode == 0, done.stderr


def test_import_loads_no_framework_registers_nothing_and_starts_nothing() -> None:
    """Importing the health package brings neither Starlette nor psutil, no metric and no thread."""
    done = in_new_process("""
        import sys, threading
        from prometheus_client import REGISTRY
        names = set(REGISTRY._names_to_collectors)
        import vitalsign.health
        assert not {"starlette", "psutil", "httpx"} & set(sys.modules)
        assert set(REGISTRY._names_to_collectors) == names
        assert threading.active_count() == 1
        health = vitalsign.health.HealthChecker("shop")
        health.asgi()
        assert "starlette" not in sys.modules
        vitalsign.health.checks.disk()
        assert "psutil" not in sys.modules
    """)
    assert done.returncode == 0, done.stderr
