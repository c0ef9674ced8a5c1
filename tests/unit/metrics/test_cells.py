"""Cells: every number has one writer, and nothing that was counted is lost."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import forked, run_script
from vitalsign import Counter, Gauge, Histogram, Summary
from vitalsign.metrics import cells, shards, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import CollectorRegistry


def in_threads(number: int, work: Callable[[], object]) -> None:
    """Run *work* in that many threads at once, and wait for all."""
    start = threading.Barrier(number)

    def run() -> None:
        start.wait()
        work()

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def switching_all_the_time() -> Iterator[None]:
    """Interrupt threads as often as they can be in a block."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def value_of(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Read one sample by prometheus_client's own means."""
    return registry.get_sample_value(name, labels)


@pytest.mark.usefixtures("untraced")
def test_64_threads_of_100_000_increments_give_exactly_6_400_000(registry: CollectorRegistry) -> None:
    """No increment is lost when 64 threads count at once, and the threads' ends take none away."""
    counter = Counter("c", "c", registry=registry)

    def count() -> None:
        for _ in range(100_000):
            counter.inc()

    in_threads(64, count)
    assert value_of(registry, "c_total") == 6_400_000


def test_threads_observing_at_once_lose_nothing(registry: CollectorRegistry) -> None:
    """A histogram and a summary written by 16 threads at once hold every observation, in its bucket and in the sum."""
    histogram = Histogram("h", "h", ["k"], registry=registry, buckets=(1, 2))
    summary = Summary("s", "s", registry=registry)

    def observe() -> None:
        for _ in range(5_000):
            histogram.labels("x").observe(1)
            histogram.labels("x").observe(2)
            histogram.labels("x").observe(4)
            summary.observe(0.5)

    in_threads(16, observe)
    assert [value_of(registry, "h_bucket", k="x", le=le) for le in ("1.0", "2.0", "+Inf")] == [80_000, 160_000, 240_000]
    assert value_of(registry, "h_sum", k="x") == 80_000 * 7
    assert value_of(registry, "s_count") == 80_000
    assert value_of(registry, "s_sum") == 40_000


def test_gauge_moved_by_threads_at_once_comes_back_to_zero(registry: CollectorRegistry) -> None:
    """As many steps up as down, from 16 threads at once, leave a gauge where it was."""
    gauge = Gauge("g", "g", registry=registry)

    def move() -> None:
        for _ in range(5_000):
            gauge.inc(3)
            gauge.dec(3)

    in_threads(16, move)
    assert value_of(registry, "g") == 0


@pytest.mark.parametrize("amount", [1, 0.5, Fraction(1, 2), True], ids=["int", "float", "fraction", "bool"])
def test_gauge_loses_no_step_among_threads_that_switch_all_the_time(registry: CollectorRegistry, amount: Any) -> None:
    """Steps of any type of number, from 8 threads that are interrupted as often as they can be, add up exactly."""
    gauge = Gauge("g", "g", registry=registry)

    def move() -> None:
        for _ in range(10_000):
            gauge.inc(amount)

    with switching_all_the_time():
        in_threads(8, move)
    assert value_of(registry, "g") == 80_000 * amount


@pytest.mark.parametrize("has_gil", [True, False], ids=["gil", "free-threaded"])
def test_what_is_in_progress_comes_back_to_where_it_was(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, has_gil: bool
) -> None:
    """The short way up and down, which middleware takes, loses no step either; without the GIL it takes the lock."""
    monkeypatch.setattr("vitalsign.metrics.values._HAS_GIL", has_gil and values._HAS_GIL)
    gauge = Gauge("g", "g", registry=registry)

    def move() -> None:
        for number in range(10_000):
            gauge._begin_one()
            if number % 2:
                gauge._end_one()

    with switching_all_the_time():
        in_threads(8, move)
    assert value_of(registry, "g") == 40_000


def test_children_made_by_threads_at_once_are_one(registry: CollectorRegistry) -> None:
    """Threads that ask for the same new label set at once all count in one series."""
    counter = Counter("c", "c", ["k"], registry=registry)

    def count() -> None:
        for number in range(200):
            counter.labels(str(number)).inc()

    in_threads(16, count)
    assert {value_of(registry, "c_total", k=str(number)) for number in range(200)} == {16}


def test_thread_that_ends_keeps_its_counts(registry: CollectorRegistry) -> None:
    """What a thread counted stays after its end, and the thread that adopts its shard adds to it."""
    counter = Counter("c", "c", registry=registry)
    counter.inc()
    for ended in range(1, 4):
        in_threads(1, lambda: counter.inc(10))
        gc.collect()
        assert value_of(registry, "c_total") == 1 + 10 * ended


def test_short_lived_threads_cost_no_memory(registry: CollectorRegistry) -> None:
    """Thousands of threads, one after the other, share one shard: no cells are added."""
    counter = Counter("c", "c", registry=registry)
    histogram = Histogram("h", "h", registry=registry)
    counter.inc()
    histogram.observe(1)

    def work() -> None:
        counter.inc()
        histogram.observe(1)

    for _ in range(2_000):
        in_threads(1, work)
    assert value_of(registry, "c_total") == value_of(registry, "h_count") == 2_001
    assert len(counter._others or {}) <= 2
    assert len(histogram._others or {}) <= 2
    assert len(cells._thread_local.holder.pool) <= 64


def test_signal_handler_counts_while_the_lock_is_held(registry: CollectorRegistry) -> None:
    """A signal handler may use a gauge and make a label set while the main thread is inside the lock."""
    gauge = Gauge("g", "g", ["k"], registry=registry)
    previous = signal.signal(signal.SIGUSR1, lambda *_: gauge.labels("new").inc())
    try:
        with shards.LOCK:
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert value_of(registry, "g", k="new") == 1


def test_signal_handler_loses_no_increment() -> None:
    """Increments of a handler that interrupts the same counter thousands of times are all there."""
    script = """
        import signal
        from prometheus_client import CollectorRegistry
        from vitalsign import Counter
        registry = CollectorRegistry()
        counter, handled = Counter("c", "c", registry=registry), 0
        def handler(*_):
            global handled
            handled += 1
            counter.inc()
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
        counted = 0
        while handled < 2000:
            counter.inc()
            counted += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert registry.get_sample_value("c_total") == counted + handled, (counted, handled)
    """
    run_script(script)


def test_forked_child_keeps_what_it_inherited(registry: CollectorRegistry) -> None:
    """A forked child goes on from its parent's values, and the parent does not see the child's."""
    counter = Counter("c", "c", ["k"], registry=registry)
    counter.labels("x").inc(5)
    in_threads(1, lambda: counter.labels("x").inc(7))

    def in_child() -> float | None:
        counter.labels("x").inc()
        in_threads(4, lambda: counter.labels("y").inc())
        assert value_of(registry, "c_total", k="y") == 4
        return value_of(registry, "c_total", k="x")

    assert forked(in_child) == 13
    counter.labels("x").inc()
    assert value_of(registry, "c_total", k="x") == 13


def test_fork_while_another_thread_holds_the_lock_does_not_block_the_child() -> None:
    """A child forked in the middle of another thread's writes can still write."""
    script = """
        import os, select, threading, warnings
        from prometheus_client import CollectorRegistry
        from vitalsign import Gauge
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks among threads
        registry = CollectorRegistry()
        gauge = Gauge("g", "g", ["k"], registry=registry)
        stop = threading.Event()
        def churn():
            number = 0
            while not stop.is_set():
                gauge.labels(str(number % 50)).inc()
                gauge.clear()
                number += 1
        threading.Thread(target=churn).start()
        for _ in range(20):
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                gauge.labels("child").set(3)
                os.write(writing, str(registry.get_sample_value("g", {"k": "child"})).encode())
                os._exit(0)
            ready = select.select([reading], [], [], 30)[0]
            print(os.read(reading, 9).decode() if ready else "hangs")
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        stop.set()
    """
    assert run_script(script).split() == ["3.0"] * 20


def test_reset_starts_from_zero_for_every_thread(registry: CollectorRegistry) -> None:
    """After reset a counter holds exactly what was counted since, whoever counted before."""
    counter = Counter("c", "c", registry=registry)
    in_threads(4, lambda: counter.inc(0.1))
    counter.inc(float("inf"))
    counter.reset()
    assert value_of(registry, "c_total") == 0
    in_threads(4, counter.inc)
    counter.inc(0.5)
    assert value_of(registry, "c_total") == 4.5


def test_reset_among_increments_leaves_what_came_after(registry: CollectorRegistry) -> None:
    """A counter that is reset while others count ends between what came after the last reset and all."""
    counter = Counter("c", "c", registry=registry)
    done = threading.Event()

    def reset() -> None:
        while not done.is_set():
            counter.reset()

    resetting = threading.Thread(target=reset)
    resetting.start()
    in_threads(4, lambda: [counter.inc() for _ in range(20_000)])
    done.set()
    resetting.join()
    counter.reset()
    in_threads(4, lambda: [counter.inc() for _ in range(1_000)])
    assert value_of(registry, "c_total") == 4_000


def test_child_kept_after_remove_never_writes_into_another_series(registry: CollectorRegistry) -> None:
    """A handle that outlives its series' removal counts for itself; the series made anew starts from zero."""
    counter = Counter("c", "c", ["k"], registry=registry)
    kept = counter.labels("x")
    kept.inc(5)
    counter.remove("x")
    assert value_of(registry, "c_total", k="x") is None
    counter.labels("x").inc()
    kept.inc(100)
    assert value_of(registry, "c_total", k="x") == 1


def test_removed_children_leave_no_cells_behind(registry: CollectorRegistry) -> None:
    """Label sets that come and go, written by several threads, do not pile up."""
    histogram = Histogram("h", "h", ["k"], registry=registry)

    def churn() -> None:
        for number in range(500):
            histogram.labels(str(number)).observe(1)
        histogram.clear()

    in_threads(4, churn)
    histogram.clear()
    gc.collect()
    alive = [each for each in gc.get_objects() if type(each) is type(histogram) and each._family is histogram._family]
    assert alive == [histogram]


def test_clear_and_remove_among_writers_break_nothing(registry: CollectorRegistry) -> None:
    """Writers, removers and a scraper at once raise nothing, and what is written afterwards is exact."""
    counter = Counter("c", "c", ["k"], registry=registry)
    errors: list[BaseException] = []

    def guard(work: Callable[[int], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                for number in range(2_000):
                    work(number)
            except BaseException as error:
                errors.append(error)

        return run

    jobs: list[Callable[[int], object]] = [
        lambda number: counter.labels(str(number % 7)).inc(),
        lambda number: counter.remove(str(number % 7)),
        lambda number: counter.remove_by_labels({"k": str(number % 5)}),
        lambda _: counter.clear(),
        lambda _: list(registry.collect()),
    ]
    threads = [threading.Thread(target=guard(job)) for job in jobs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    counter.clear()
    counter.labels("x").inc()
    assert value_of(registry, "c_total", k="x") == 1


def test_gevent_with_1_000_greenlets_is_exact_and_bounded() -> None:
    """Under gevent's patches a shard belongs to the thread, not to the greenlet: 1,000 of them share one."""
    pytest.importorskip("gevent", reason="gevent is not installed")
    script = """
        from gevent import monkey
        monkey.patch_all()
        import gevent
        from prometheus_client import CollectorRegistry
        from vitalsign import Counter, Gauge, Histogram
        registry = CollectorRegistry()
        counter = Counter("c", "c", ["k"], registry=registry)
        histogram = Histogram("h", "h", registry=registry)
        gauge = Gauge("g", "g", registry=registry)
        def work(number):
            for _ in range(10):
                with gauge.track_inprogress():
                    counter.labels(str(number % 10)).inc()
                    gevent.sleep(0)
                    histogram.observe(0.2)
        gevent.joinall([gevent.spawn(work, number) for number in range(1000)], raise_error=True)
        total = sum(registry.get_sample_value("c_total", {"k": str(k)}) for k in range(10))
        assert total == registry.get_sample_value("h_count") == 10_000, total
        assert registry.get_sample_value("g") == 0
        assert histogram._others is None, histogram._others
    """
    run_script(script)


def test_daemon_thread_while_the_interpreter_shuts_down() -> None:
    """Counting from an exit hook and a daemon thread while the interpreter ends prints nothing."""
    script = """
        import atexit, threading
        from vitalsign import Counter, Gauge
        counter, gauge = Counter("c", "c", ["k"]), Gauge("g", "g")
        atexit.register(lambda: counter.labels("exit").inc())
        is_running = threading.Event()
        def forever():
            while True:
                counter.labels("daemon").inc()
                gauge.inc()
                is_running.set()
        threading.Thread(target=forever, daemon=True).start()
        is_running.wait()
    """
    assert run_script(script) == ""
