"""Hand changes to one listener, on a daemon thread of its own: whoever brings them never waits for it."""

from __future__ import annotations

import _thread
import asyncio
import inspect
import logging
import os
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Protocol

from vitalsign._clock import monotonic
from vitalsign.health._journal import redacted_traceback
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vitalsign.health._changes import Change

__all__ = ["Count", "Mailbox"]

_log = logging.getLogger("vitalsign.health")


class Count(Protocol):
    """Count what became of a change."""

    def __call__(self, listener: str, outcome: str) -> None:
        """Count one change that was delivered to, failed at, or was dropped for *listener*. Never raises."""
        ...


class Mailbox:
    """
    A queue of changes, and a thread that lives while there are any.

    A listener that hangs keeps its own thread, and nobody else waiting. When the queue is full, the oldest change is
    dropped, for the newest says how things are.

    Args:
        name: Of the listener, for the log and the metrics.
        listener: Called with each change; what it returns is awaited, if it can be, on an event loop of its own.
        count: Told what became of each change.
        limit: Changes that wait at most.
    """

    def __init__(self, name: str, listener: Callable[[Change], object], count: Count, *, limit: int = 100) -> None:
        self._name = name
        self._listener = listener
        self._count = count
        self._limit = limit
        self._waiting: deque[Change | threading.Event] = deque()
        self._working = _thread.allocate_lock()
        if hasattr(os, "register_at_fork"):
            forget = weakref.WeakMethod(self._forget)
            os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def put(self, change: Change) -> None:
        """Take *change*, without doing anything about it."""
        self._waiting.append(change)
        while len(self._waiting) > self._limit:
            try:
                oldest = self._waiting.popleft()
            except IndexError:  # the thread was faster
                return
            if isinstance(oldest, threading.Event):
                oldest.set()
            else:
                self._count(self._name, "dropped")

    def deliver(self) -> None:
        """Begin to deliver, unless that has begun already. Never blocks, never raises."""
        if self._waiting and self._working.acquire(blocking=False):
            thread = threading.Thread(target=self._work, name=f"vitalsign-health-{self._name}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no more threads to be had: the next change tries again
                self._working.release()
                internal_error("health.listener", error)

    def flush(self, until: float) -> None:
        """Wait until all that is here now is delivered, or the monotonic clock shows *until*."""
        reached = threading.Event()
        self._waiting.append(reached)
        self.deliver()
        reached.wait(max(0.0, until - monotonic()))

    def _work(self) -> None:
        while True:
            while self._waiting:
                item = self._waiting.popleft()
                if isinstance(item, threading.Event):
                    item.set()
                else:
                    self._hand_over(item)
            self._working.release()
            # What came in between finds the lock taken, and nobody else who would look.
            if not self._waiting or not self._working.acquire(blocking=False):
                return

    def _hand_over(self, change: Change) -> None:
        try:
            returned = self._listener(change)
            if inspect.isawaitable(returned):
                asyncio.run(_await(returned))
        except BaseException as error:  # noqa: BLE001  # the thread is the listener's own: nobody to pass it on to
            self._log_failure(change, error)
            self._count(self._name, "failed")
        else:
            self._count(self._name, "delivered")

    def _log_failure(self, change: Change, error: BaseException) -> None:
        try:
            _log.warning(
                "Listener %r was not told that health check %r of %s: %s.%s",
                self._name, change.check, change.service, change.status.value, redacted_traceback(error),
            )  # fmt: skip
        except Exception as failure:  # noqa: BLE001  # a log that cannot be written must not end the thread
            internal_error("health.log", failure)

    def _forget(self) -> None:
        # A forked child has neither the thread nor, if that was at work, the lock; the parent delivers what waits.
        self._working = _thread.allocate_lock()
        self._waiting.clear()


async def _await(awaitable: Awaitable[object]) -> None:
    await awaitable
