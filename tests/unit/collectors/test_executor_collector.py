"""ExecutorCollector: what waits for a thread is shown."""

from __future__ import annotations

import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from vitalsign.collectors import ExecutorCollector
from vitalsign.exceptions import CollectorOptionError
from vitalsign.testing import CollectorContract, sample_value


class TestContract(CollectorContract):
    def make_collector(self, name):
        """Watch an idle pool."""
        return ExecutorCollector(name, ThreadPoolExecutor(1))


def test_full_pool(registry):
    """With all threads busy, the calls behind them are the depth of the queue."""
    go_on, busy = threading.Event(), threading.Barrier(3)

    def work():
        busy.wait(30)
        go_on.wait(30)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(work)
        busy.wait(30)
        for _ in range(5):
            pool.submit(bool)
        with ExecutorCollector("render", pool).bind(registry):
            shown = [
                sample_value(registry, name, executor="render")
                for name in ("executor_queue_depth", "executor_threads", "executor_max_threads")
            ]
        go_on.set()
    assert shown == [5, 2, 2]


def test_idle_pool(registry):
    """A pool that was not used has started no thread."""
    with ThreadPoolExecutor(3) as pool, ExecutorCollector("render", pool).bind(registry):
        assert sample_value(registry, "executor_queue_depth", executor="render") == 0
        assert sample_value(registry, "executor_threads", executor="render") == 0
        assert sample_value(registry, "executor_max_threads", executor="render") == 3


def test_other_executors_are_refused():
    """A pool of processes tells other things, and is refused with its name."""
    with ProcessPoolExecutor(1) as pool, pytest.raises(CollectorOptionError, match="needs a ThreadPoolExecutor"):
        ExecutorCollector("render", pool)
