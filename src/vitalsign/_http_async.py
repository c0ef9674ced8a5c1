"""The metrics endpoint for event loops: pages are rendered on a thread of their own, and awaited."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from vitalsign._http_page import Page, failure
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from vitalsign._http_endpoint import Asked, Endpoint

__all__ = ["AsyncEndpoint"]

_WHERE = "metrics page"


class AsyncEndpoint:
    """
    Answer requests without keeping the event loop: a thread renders, one page after the other.

    Args:
        endpoint: Decides and renders.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._worker = _Worker()
        if hasattr(os, "register_at_fork"):
            renew = weakref.WeakMethod(self._renew)
            os.register_at_fork(after_in_child=lambda: (method := renew()) and method())

    def _renew(self) -> None:
        self._worker = _Worker()  # the thread, and whoever held its lock, have stayed in the parent

    async def answer(self, asked: Asked) -> Page:
        """Return the answer to a request."""
        wanted = self._endpoint.admit(asked)
        if isinstance(wanted, Page):
            return wanted
        waiter = _LoopWaiter(asyncio.get_running_loop())
        if self._endpoint.wait(wanted, waiter):
            try:
                self._worker.submit(partial(self._endpoint.render, wanted, self._endpoint.seconds(asked)))
            except RuntimeError as error:  # there are no more threads to be had
                internal_error(_WHERE, error)
                self._endpoint.settle(wanted, failure())
        return await waiter.page


class _LoopWaiter:
    """Somebody who awaits a page on an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.page: asyncio.Future[Page] = loop.create_future()

    def has_left(self) -> bool:
        return self.page.done()

    def take(self, page: Page) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, page)

    def _settle(self, page: Page) -> None:
        if not self.page.done():  # cancelled: the client has left
            self.page.set_result(page)


class _Worker:
    """
    Run jobs one after the other in a daemon thread, which lives as long as there are any.

    No pool of the standard library's: those are joined when the interpreter ends, so a collector that hangs would keep
    the process from ending.
    """

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], None]) -> None:
        """
        Run *job* after those that wait already.

        Raises:
            RuntimeError: It cannot be run: the system has no thread left.
        """
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="vitalsign-metrics-page", daemon=True)
                thread.start()
                self._thread = thread
            self._jobs.append(job)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs.popleft()
            try:
                job()
            except BaseException as error:  # noqa: BLE001  # a collector's SystemExit must not end the thread
                internal_error(_WHERE, error)
