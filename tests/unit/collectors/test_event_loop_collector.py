"""EventLoopCollector: a loop that is free, blocked, stuck, not started, closed."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.servers import wait_until
from vitalsign.collectors import EventLoopCollector
from vitalsign.exceptions import CollectorOptionError
from vitalsign.testing import CollectorContract, sample_value


@pytest.fixture
def loop():
    """Return an event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def value(registry):
    """Return a function that reads a series of the loop `main`."""
    return lambda name, **labels: sample_value(registry, name, loop="main", **labels)


class TestContract(CollectorContract):
    @pytest.fixture(autouse=True)
    def _loop(self, loop):
        self.loop = loop

    def make_collector(self, name):
        """Watch the running loop."""
        return EventLoopCollector(self.loop, name=name)


def test_free_loop_has_little_lag(registry, loop, value):
    """A loop with nothing to do runs each callback soon, and is never blocked."""
    with EventLoopCollector(loop, refresh=0.02).bind(registry):
        wait_until(lambda: (value("event_loop_lag_seconds_count") or 0) >= 5, "five callbacks")
        assert value("event_loop_lag_seconds_bucket", le="+Inf") >= 5
        assert value("event_loop_lag_seconds_sum") >= 0
        assert value("event_loop_tasks") == 0


def test_blocked_loop_shows_for_how_long(registry, loop, value):
    """A loop that is stuck is not down: it tells for how long, and afterwards that was one lag of that length."""
    go_on = threading.Event()
    with EventLoopCollector(loop, refresh=0.02).bind(registry):
        wait_until(lambda: value("event_loop_lag_seconds_count"), "a first callback")
        loop.call_soon_threadsafe(go_on.wait)
        wait_until(lambda: value("event_loop_blocked_seconds") > 0.3, "the loop to be seen blocked")
        count = value("event_loop_lag_seconds_count")
        assert sample_value(registry, "vitalsign_collector_up", collector="event_loop:main") == 1
        go_on.set()
        wait_until(lambda: value("event_loop_blocked_seconds") == 0, "the loop to be free")
        assert value("event_loop_lag_seconds_count") > count
        assert value("event_loop_lag_seconds_sum") >= 0.3
        assert value("event_loop_lag_seconds_bucket", le="0.25") < value("event_loop_lag_seconds_count")


def test_tasks_are_counted(registry, loop, value):
    """Tasks that wait are among the tasks of the loop."""
    tasks = [asyncio.run_coroutine_threadsafe(asyncio.sleep(3600), loop) for _ in range(3)]
    with EventLoopCollector(loop, refresh=0.02).bind(registry):
        wait_until(lambda: value("event_loop_tasks") == 3, "three tasks")
        for task in tasks:
            task.cancel()
        wait_until(lambda: value("event_loop_tasks") == 0, "no tasks")


def test_binding_inside_the_loop_does_not_wait(registry, value):
    """Made without a loop it watches the running one, and binding there does not block it."""

    async def main():
        started = time.monotonic()
        with EventLoopCollector(refresh=60.0, deadline=60.0).bind(registry):
            assert time.monotonic() - started < 20
            while not value("event_loop_lag_seconds_count"):  # noqa: ASYNC110  # there is nothing to be told by
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_loop_must_be_running_or_given():
    """Where no loop runs, the error says how to give one."""
    with pytest.raises(CollectorOptionError, match="No event loop is running here"):
        EventLoopCollector()


def test_closed_loop_is_down(registry):
    """A loop that was closed is a failed sample, whose last values go."""
    loop = asyncio.new_event_loop()
    loop.close()
    with EventLoopCollector(loop).bind(registry):
        wait_until(
            lambda: sample_value(registry, "vitalsign_collector_up", collector="event_loop:main") == 0, "the failure"
        )
