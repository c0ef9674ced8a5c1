"""Draining: readiness fails at once, waiting ends in time, and SIGTERM is held back."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.processes import run_script
from tests.servers import wait_until
from vitalsign.exceptions import HealthCheckError, HealthLoopError
from vitalsign.health import HealthChecker, Status
from vitalsign.health._lifecycle import Drain, Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeChecker = Callable[..., HealthChecker]


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def codes(health: HealthChecker) -> dict[str, int]:
    """Return what each group is answered with."""
    return {name: health.run_sync(name).status_code for name in ("liveness", "readiness", "startup", "full")}


def test_draining_fails_readiness_at_once_and_liveness_never(health: HealthChecker) -> None:
    """From the call on readiness fails, without waiting; the service is alive, and has started."""
    health.started()
    assert not health.is_draining
    drain = health.drain(3600)
    assert codes(health) == {"liveness": 200, "readiness": 503, "startup": 200, "full": 503}
    assert health.is_draining
    assert drain.seconds_left > 3000
    first = health.run_sync("readiness").checks[0]
    assert (first.name, first.status) == ("draining", Status.FAIL)


def test_draining_goes_before_what_the_checks_find(health: HealthChecker) -> None:
    """A service whose checks all pass is not ready while it drains."""
    health.check("fine")(lambda: None)
    health.drain()
    report = health.run_sync("readiness")
    assert [(check.name, check.status.value) for check in report.checks] == [("draining", "fail"), ("fine", "pass")]


def test_what_has_passed_counts() -> None:
    """A second drain waits for what is left since the first: a preStop hook and SIGTERM do not add up."""
    clock = Clock()
    lifecycle = Lifecycle(clock)
    first = lifecycle.drain(10)
    clock.now += 4
    assert (first.seconds_left, lifecycle.drain(10).seconds_left, lifecycle.drain(3).seconds_left) == (6, 6, 0)
    clock.now += 100
    assert first.seconds_left == 0


def test_drain_without_seconds_does_not_wait(health: HealthChecker) -> None:
    """By default nothing is waited for, by either way of waiting."""

    async def scenario() -> None:
        await health.drain()

    asyncio.run(scenario())
    health.drain().wait()


def test_await_leaves_the_loop_to_others(health: HealthChecker) -> None:
    """While one task waits for the drain, others go on; nobody waits past its end."""

    async def scenario() -> list[str]:
        seen = []

        async def wait() -> None:
            await health.drain(0.05)
            seen.append("drained")

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        seen.append("served")
        await task
        return seen

    assert asyncio.run(scenario()) == ["served", "drained"]


def test_wait_ends_when_its_time_is_over(health: HealthChecker) -> None:
    """A thread waits until the seconds have passed."""
    drain = health.drain(0.05)
    drain.wait()
    assert drain.seconds_left == 0


def test_waiting_is_cut_short_when_the_server_stops(health: HealthChecker) -> None:
    """Threads and tasks that wait are let go at once when the server stops, and nobody waits after that."""
    lifecycle = health._lifecycle

    async def scenario() -> None:
        drain = health.drain(3600)
        thread = threading.Thread(target=drain.wait)
        thread.start()
        task = asyncio.create_task(_wait(drain))
        await asyncio.sleep(0)
        await asyncio.to_thread(wait_until, lambda: len(lifecycle._bells) == 2, "two who wait")
        lifecycle.cut_short()
        await task
        thread.join()

    asyncio.run(scenario())
    assert lifecycle._bells == set()
    health.drain(3600).wait()
    assert health.drain(3600).seconds_left == 0


async def _wait(drain: Drain) -> None:
    await drain


def test_bell_may_ring_twice_and_on_a_closed_loop() -> None:
    """Whoever waited and has gone is not missed."""
    lifecycle = Lifecycle()
    rings: list[Any] = []

    class Bells(set[Any]):
        def add(self, ring: Any) -> None:
            rings.append(ring)
            super().add(ring)

    lifecycle._bells = Bells()

    async def scenario() -> None:
        await lifecycle.drain(0.01)

    asyncio.run(scenario())
    lifecycle.drain(0.01).wait()
    for ring in rings * 2:
        ring()
    assert len(rings) == 2


def test_wait_on_a_loops_thread_is_refused(health: HealthChecker) -> None:
    """Blocking an event loop is an error that names the call that does not."""

    async def scenario() -> None:
        health.drain(1).wait()

    with pytest.raises(HealthLoopError, match=r"Write 'await health\.drain"):
        asyncio.run(scenario())


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), "10", True])
def test_what_is_no_time_to_drain_is_refused(health: HealthChecker, seconds: Any) -> None:
    """A number that makes no sense is an error, and the service goes on as before."""
    for call in (health.drain, lambda drain: health.install_signal_handlers(drain=drain)):
        with pytest.raises(HealthCheckError, match="finite number of seconds"):
            call(seconds)
    assert not health.is_draining


def test_drain_is_logged_once(health: HealthChecker, caplog: pytest.LogCaptureFixture) -> None:
    """The log says once that the service drains."""
    with caplog.at_level(logging.INFO, "vitalsign.health"):
        health.drain()
        health.drain(1)
    assert [record.getMessage() for record in caplog.records] == ["shop drains: not ready any more, still serving."]


def test_info_says_what_runs_and_since_when(make_checker: MakeChecker) -> None:
    """Name, version, start and uptime are there for an endpoint of one's own."""
    info = make_checker(version="1.4.0").info()
    assert info.keys() == {"service", "version", "started", "uptime_seconds", "draining"}
    assert str(info["started"]).endswith("Z")
    assert "version" not in HealthChecker("bare", registry=None).info()


# -- signals: each in a process of its own

START = """
import asyncio, os, signal, sys, threading, time
from vitalsign.health import HealthChecker

health = HealthChecker("shop", registry=None)
heard = []

def server(number, frame):
    heard.append(number)

def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, heard
        time.sleep(0.005)

signal.signal(signal.SIGTERM, server)
"""


def test_sigterm_turns_readiness_first_and_reaches_the_server_later() -> None:
    """On SIGTERM the service is unready at once, is alive, and the server's handler runs when the time is over."""
    run_script(
        START
        + """
assert health.install_signal_handlers(drain=0.3)
began = time.monotonic()
os.kill(os.getpid(), signal.SIGTERM)
assert health.run_sync("readiness").status_code == 503
assert health.run_sync("liveness").status_code == 200
assert heard == []
until(lambda: heard)
assert time.monotonic() - began >= 0.3
time.sleep(0.05)
assert heard == [signal.SIGTERM], heard
"""
    )


def test_second_sigterm_ends_the_wait_at_once() -> None:
    """Who sends SIGTERM again means it: the server hears of it now, once, and whoever waits is let go."""
    run_script(
        START
        + """
health.install_signal_handlers(drain=3600)
os.kill(os.getpid(), signal.SIGTERM)
waiting = threading.Thread(target=health.drain(3600).wait)
waiting.start()
assert heard == []
os.kill(os.getpid(), signal.SIGTERM)
assert heard == [signal.SIGTERM]
waiting.join(30)
assert not waiting.is_alive()
"""
    )


def test_sigint_is_left_to_the_server() -> None:
    """Ctrl-C is not held back, draining or not."""
    run_script(
        START
        + """
signal.signal(signal.SIGINT, server)
health.install_signal_handlers(drain=3600)
os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGINT)
assert heard == [signal.SIGINT]
"""
    )


def test_time_drained_before_the_signal_counts() -> None:
    """After a preStop hook that took as long, SIGTERM reaches the server at once."""
    run_script(
        START
        + """
health.install_signal_handlers(drain=0.05)
health.drain(0.05).wait()
os.kill(os.getpid(), signal.SIGTERM)
assert heard == [signal.SIGTERM]
"""
    )


def test_signal_without_a_server_ends_the_process_after_the_drain() -> None:
    """Where SIGTERM has its default action, the process ends by it, later."""
    run_script(
        """
import os, signal, subprocess, sys
program = '''
import os, signal, threading
from vitalsign.health import HealthChecker
health = HealthChecker("shop", registry=None)
assert health.install_signal_handlers(drain=0.2)
os.kill(os.getpid(), signal.SIGTERM)
print(health.run_sync("readiness").status_code, flush=True)
threading.Event().wait(30)
'''
done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
assert (done.returncode, done.stdout) == (-signal.SIGTERM, "503\\n"), done
"""
    )


def test_loop_goes_on_while_the_signal_is_held_back() -> None:
    """A handler that the server has set round its event loop gets the signal, and the loop goes on till then."""
    run_script(
        START
        + """
async def serve():
    ticks = 0
    health.install_signal_handlers(drain=0.2)
    os.kill(os.getpid(), signal.SIGTERM)
    while not heard:
        await asyncio.sleep(0.01)
        ticks += 1
    return ticks

assert asyncio.run(serve()) >= 3
"""
    )


def test_handler_that_was_replaced_gets_no_signal() -> None:
    """When the server has gone and put the handler back that was there before it, nothing is hit by a late signal."""
    run_script(
        START
        + """
health.install_signal_handlers(drain=0.1)
os.kill(os.getpid(), signal.SIGTERM)
signal.signal(signal.SIGTERM, lambda *_: heard.append("late"))
health.drain(0.3).wait()
assert heard == []
"""
    )


def test_handler_that_was_put_before_ours_is_respected() -> None:
    """A library that chains to our handler has the signal come through it both times."""
    run_script(
        START
        + """
health.install_signal_handlers(drain=0.1)
ours = signal.getsignal(signal.SIGTERM)
def outer(number, frame):
    heard.append("outer")
    ours(number, frame)
signal.signal(signal.SIGTERM, outer)
os.kill(os.getpid(), signal.SIGTERM)
until(lambda: signal.SIGTERM in heard)
assert heard == ["outer", "outer", signal.SIGTERM]
"""
    )


def test_installed_twice_drains_once() -> None:
    """A second call, as from a lifespan that runs again, changes the time and adds no wait."""
    run_script(
        START
        + """
health.install_signal_handlers(drain=3600)
ours = signal.getsignal(signal.SIGTERM)
assert health.install_signal_handlers(drain=0)
assert signal.getsignal(signal.SIGTERM) is ours
os.kill(os.getpid(), signal.SIGTERM)
assert heard == [signal.SIGTERM]
"""
    )


def test_two_services_of_one_process_drain_at_the_same_time() -> None:
    """Both are unready at once, and the server hears of it after the longer of the two times."""
    run_script(
        START
        + """
other = HealthChecker("admin", registry=None)
health.install_signal_handlers(drain=0.2)
other.install_signal_handlers(drain=0.1)
began = time.monotonic()
os.kill(os.getpid(), signal.SIGTERM)
assert health.is_draining and other.is_draining
until(lambda: heard)
assert 0.2 <= time.monotonic() - began
assert heard == [signal.SIGTERM]
"""
    )


def test_forked_child_is_not_the_service() -> None:
    """A child of a worker, such as one of multiprocessing, ends on SIGTERM as if nothing held it back."""
    run_script(
        START
        + """
health.install_signal_handlers(drain=3600)
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(7 if heard == [signal.SIGTERM] and not health.is_draining else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert heard == []
"""
    )


def test_no_more_threads_hands_the_signal_on_at_once() -> None:
    """Where nothing can wait, the server stops as it would without us."""
    run_script(
        START
        + """
import _thread
def none(*_):
    raise RuntimeError("can't start new thread")
health.install_signal_handlers(drain=3600)
_thread.start_new_thread = none
os.kill(os.getpid(), signal.SIGTERM)
assert heard == [signal.SIGTERM]
"""
    )


def test_where_signals_cannot_be_held_back_the_log_says_why() -> None:
    """Off the main thread, on a loop that takes the signal, and where it is ignored, the log says so."""
    out = run_script(
        START
        + """
import logging
logging.basicConfig(format="%(message)s")
answers = []
thread = threading.Thread(target=lambda: answers.append(health.install_signal_handlers()))
thread.start()
thread.join()

async def on_loop():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.append, "loop")
    answers.append(health.install_signal_handlers())
    os.kill(os.getpid(), signal.SIGTERM)
    while not heard:
        await asyncio.sleep(0.01)
asyncio.run(on_loop())
signal.signal(signal.SIGTERM, signal.SIG_IGN)
answers.append(health.install_signal_handlers())
assert answers == [False] * 3
assert heard == ["loop"] and not health.is_draining
"""
    )
    assert [reason in out for reason in ("not the main thread", "through the event loop", "is ignored")] == [True] * 3
    assert out.count("shop cannot drain on SIGTERM") == 3


def test_drain_is_awaited_on_trio_too(health: HealthChecker) -> None:
    """On trio's loop the drain is waited for, and cut short, as on asyncio's."""

    async def scenario() -> None:
        await health.drain(0.01)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wait, health.drain(3600))
            await trio.testing.wait_all_tasks_blocked()
            health._lifecycle.cut_short()
        with pytest.raises(HealthLoopError, match="Write 'await health"):
            health.drain(1).wait()

    trio.run(scenario)
