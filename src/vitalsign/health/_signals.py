"""
Hold SIGTERM back while a service drains: readiness fails at once, requests are served, then the server hears of it.

The handler of the server stays what it is; ours stands before it, and hands the signal on by sending it once more when
the time is over, so that the server's handler runs where it expects to: in the main thread, and out of any wait.
"""

from __future__ import annotations

import _thread
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from vitalsign.health._lifecycle import Drain, Lifecycle

__all__ = ["hold_back"]

_log = logging.getLogger("vitalsign.health")
_LOOPS = ("asyncio", "uvloop")
"""Packages whose event loops take signals from the kernel by a pipe: handlers of ours would be bypassed."""


def hold_back(service: str, lifecycle: Lifecycle, seconds: float) -> bool:
    """
    Put a handler before the one that SIGTERM has now.

    Args:
        service: Whose lifecycle it is, for the log.
        lifecycle: What begins to drain.
        seconds: How long the signal is held back.

    Returns:
        Whether that is possible here; if not, the log says why.
    """
    before = signal.getsignal(signal.SIGTERM)
    obstacle = _obstacle(before)
    if obstacle:
        _log.warning(
            "%s cannot drain on SIGTERM, since %s. It stops as it would without; let a preStop hook ask its drain "
            "endpoint, or await health.drain() before it is stopped.", service, obstacle,
        )  # fmt: skip
        return False
    if isinstance(before, _Handler) and before.serves(lifecycle):
        before.seconds = seconds
        return True
    signal.signal(signal.SIGTERM, _Handler(service, lifecycle, seconds, before))
    if _package(before) == "gunicorn":  # which has set it so, for the system calls of requests in progress
        signal.siginterrupt(signal.SIGTERM, False)
    return True


def _obstacle(before: object) -> str:
    if threading.current_thread() is not threading.main_thread():
        return "this is not the main thread, which alone may handle signals"
    if _package(before) in _LOOPS:
        return "its server takes signals through the event loop, where nobody can come first"
    if before is None or before == signal.SIG_IGN:
        return "SIGTERM is ignored, or handled by something that is not Python"
    return ""


def _package(handler: object) -> str:
    return str(getattr(handler, "__module__", None)).partition(".")[0]


class _Handler:
    """
    What SIGTERM calls. The first one begins the wait, the next one ends it.

    It may interrupt the main thread anywhere, so it takes no lock and logs nothing: the thread that waits does.
    """

    def __init__(
        self, service: str, lifecycle: Lifecycle, seconds: float, before: Callable[..., Any] | int | None
    ) -> None:
        self.seconds = seconds
        self._service = service
        self._lifecycle = lifecycle
        self._before = before
        self._process = os.getpid()
        self._has_begun = False

    def serves(self, lifecycle: Lifecycle) -> bool:
        """Tell whether it stands here for *lifecycle*, in this process."""
        return self._lifecycle is lifecycle and self._process == os.getpid()

    def begin(self) -> Drain:
        """Begin to drain, and let those before it begin too: what passes now counts for them."""
        if isinstance(self._before, _Handler):
            self._before.begin()
        return self._lifecycle.drain(self.seconds)

    def __call__(self, number: int, frame: object) -> None:
        if self._process != os.getpid():  # a forked child is not the service
            self._pass_on(number, frame)
            return
        drain = self.begin()
        is_first, self._has_begun = not self._has_begun, True
        if not (is_first and drain.seconds_left > 0 and self._wait_on_thread(number, drain)):
            self._lifecycle.cut_short()
            self._pass_on(number, frame)

    def _wait_on_thread(self, number: int, drain: Drain) -> bool:
        # Not a Thread: to start one takes locks, which the interrupted main thread may hold. Looked up late, as is the
        # lock that it waits for: gevent may have replaced both since the import, and they have to be of one kind.
        try:
            _thread.start_new_thread(self._wait, (number, drain, signal.getsignal(number)))
        except RuntimeError:  # no more threads to be had, or the interpreter ends
            return False
        return True

    def _wait(self, number: int, drain: Drain, handler: object) -> None:
        try:
            _log.info("%s drains for %.1f s: not ready any more, still serving.", self._service, drain.seconds_left)
        except Exception as error:  # noqa: BLE001  # a log that cannot be written must not keep the server running
            internal_error("health.log", error)
        drain.wait()
        # Where the handler has changed meanwhile, the server has gone, and the signal would hit something else.
        if not self._lifecycle.is_cut_short and signal.getsignal(number) == handler:
            _send(number)

    def _pass_on(self, number: int, frame: object) -> None:
        if callable(self._before):
            self._before(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            _send(number)


def _send(number: int) -> None:
    if os.name == "posix":
        os.kill(os.getpid(), number)  # the kernel gives it to the main thread, and wakes it
    else:  # where that would end the process without asking any handler
        signal.raise_signal(number)
