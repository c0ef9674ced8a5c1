"""Daemon threads that call functions at their time, and of which one is always free to do so."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

from vitalsign._clock import monotonic
from vitalsign.metrics.internal import internal_error

__all__ = ["Appointment", "ThreadPool", "current_pool"]

Appointment: TypeAlias = tuple[float, int, Callable[[], None]]
"""When to call a function, its number in the order of being asked for, the function."""

_SPARE = 2  # one to wait for the next function, one to take its place without starting a thread each time


class ThreadPool:
    """
    Call functions at their time on a few daemon threads.

    A function that hangs keeps its thread; another one takes over, so nothing else is late. At rest there are at
    most two threads, with nothing to do there is none, and as daemons they never hold up the interpreter's exit.

    Attributes:
        lock: Guards the pool; those who schedule functions may guard their own state with it too (it is re-entrant,
            and after a fork the child has a new pool with a new lock).
    """

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self._due: list[Appointment] = []
        self._order = count()
        self._free = 0

    def at(self, when: float, function: Callable[[], None]) -> Appointment:
        """Call *function* once, when the monotonic clock shows *when* (seconds), or as soon after as possible."""
        with self.lock:
            appointment = (when, next(self._order), function)
            heappush(self._due, appointment)
            self._ensure_free_thread()
            self.lock.notify()
        return appointment

    def cancel(self, appointment: Appointment) -> None:
        """Do not call that function, unless it has been called already."""
        with self.lock, suppress(ValueError):
            self._due.remove(appointment)
            heapify(self._due)
            self.lock.notify()

    def _ensure_free_thread(self) -> None:
        # Once the main thread has ended, the interpreter is on its way out and refuses new threads.
        if self._free or not self._due or not threading.main_thread().is_alive():
            return
        try:
            threading.Thread(target=self._work, name="vitalsign-sampler", daemon=True).start()
        except RuntimeError as error:  # the system's limit of threads: the next call tries again
            internal_error("collectors.threads", error)
        else:
            self._free += 1

    def _work(self) -> None:
        while (function := self._next()) is not None:
            try:
                function()
            except BaseException as error:  # noqa: BLE001  # whatever ends this thread ends the sampling
                internal_error("collectors.threads", error)
            del function  # or it would keep its collector alive while this thread waits
            with self.lock:
                self._free += 1

    def _next(self) -> Callable[[], None] | None:
        """Wait for the next function that is due; None when this thread is not needed any more."""
        with self.lock:
            try:
                while self._due and self._free <= _SPARE:
                    wait = self._due[0][0] - monotonic()
                    if wait <= 0:
                        return heappop(self._due)[2]
                    self.lock.wait(min(wait, threading.TIMEOUT_MAX))
                return None
            finally:
                self._free -= 1
                self._ensure_free_thread()
                self.lock.notify()  # the other free thread may be waiting for what is no longer there


_pool = ThreadPool()


def current_pool() -> ThreadPool:
    """Return the pool of this process: a forked child has one of its own, without its parent's threads and locks."""
    return _pool


def _replace_pool() -> None:
    global _pool
    _pool = ThreadPool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_pool)
