"""The pool of daemon threads: order, spare threads, cancelling."""

from __future__ import annotations

import threading

import pytest

from tests.servers import wait_until
from vitalsign._clock import monotonic
from vitalsign.collectors._threads import ThreadPool


@pytest.fixture
def pool():
    """Return a pool with nothing to do; what a test leaves to be done is cancelled."""
    pool = ThreadPool()
    yield pool
    for appointment in list(pool._due):
        pool.cancel(appointment)


def test_functions_are_called_in_their_order(pool):
    """Functions are called when they are due, whatever order they were asked for in."""
    called, done = [], threading.Event()
    now = monotonic()
    pool.at(now + 0.2, done.set)
    pool.at(now + 0.1, lambda: called.append("second"))
    pool.at(now, lambda: called.append("first"))
    assert done.wait(30)
    assert called == ["first", "second"]


def test_earlier_appointment_is_not_missed(pool):
    """A function asked for while the pool waits for a later one is called in time."""
    done = threading.Event()
    pool.at(monotonic() + 3600, done.clear)
    pool.at(monotonic(), done.set)
    assert done.wait(30)


def test_blocked_threads_are_replaced(pool):
    """However many functions hang, the next one is called."""
    gate, done = threading.Event(), threading.Event()
    for _ in range(20):
        pool.at(monotonic(), gate.wait)
    pool.at(monotonic(), done.set)
    assert done.wait(30)
    gate.set()


def test_error_does_not_end_the_pool(pool, caplog):
    """A function that raises is logged; the next one is called."""
    done = threading.Event()

    def fail():
        raise LookupError("on purpose")

    pool.at(monotonic(), fail)
    pool.at(monotonic(), done.set)
    assert done.wait(30)


def test_cancelled_function_is_not_called(pool):
    """What is cancelled is not called, and cancelling what was called already does nothing."""
    called, done = [], threading.Event()
    appointment = pool.at(monotonic() + 0.1, lambda: called.append("cancelled"))
    pool.cancel(appointment)
    last = pool.at(monotonic() + 0.2, done.set)
    assert done.wait(30)
    pool.cancel(last)
    assert called == []


def test_pool_without_work_has_no_threads(pool):
    """When the last function has been called, or is cancelled, all threads end, the spare one too."""
    before = set(threading.enumerate())
    far = pool.at(monotonic() + 3600, bool)
    pool.at(monotonic(), bool)
    wait_until(lambda: len(set(threading.enumerate()) - before) == 2, "one thread to wait, and a spare one")
    pool.cancel(far)
    wait_until(lambda: set(threading.enumerate()) <= before, "the threads to end")


def test_threads_that_are_not_needed_end(pool):
    """After a rush only two threads stay, as long as anything is still to be done."""
    before = set(threading.enumerate())
    gate = threading.Event()
    far = pool.at(monotonic() + 3600, bool)
    for _ in range(20):
        pool.at(monotonic(), gate.wait)
    wait_until(lambda: len(set(threading.enumerate()) - before) >= 20, "twenty threads")
    gate.set()
    wait_until(lambda: len(set(threading.enumerate()) - before) == 2, "two threads")
    pool.cancel(far)


def test_very_late_appointment_is_waited_for(pool):
    """A time that no lock can wait for in one go does not break the pool."""
    done = threading.Event()
    pool.at(monotonic() + threading.TIMEOUT_MAX * 2, done.clear)
    pool.at(monotonic() + 0.1, done.set)
    assert done.wait(30)
