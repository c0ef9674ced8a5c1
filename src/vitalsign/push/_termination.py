"""SIGTERM while a job runs: it ends the job as an exception does, so that there is a moment to push."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Termination"]

_watching: list[Termination] = []
_forking = threading.local()


class Terminated(SystemExit):
    """
    SIGTERM has come, and nobody but us has a handler for it.

    It is a SystemExit because event loops let no other exception through.
    """


class Termination:
    """
    Watch for SIGTERM in the main thread.

    Where it would end the process at once, it raises in the main thread, and ends the process by the signal when the
    block has been left. A handler that was there before is called as before, by itself. A signal that is ignored, or
    that is not Python's business, stays that.
    """

    def __init__(self) -> None:
        self._before: Callable[..., Any] | int | None = None
        self._is_ending = False
        self._is_due = False

    def watch(self) -> None:
        """Begin to watch, where that is possible."""
        before = signal.getsignal(signal.SIGTERM)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and (before == signal.SIG_DFL or callable(before)):
            self._before = before
            _watching.append(self)
            signal.signal(signal.SIGTERM, self._on_signal)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Hold a signal back for the block; then put the handler back that was there, and let it have its signal."""
        self._is_ending = True
        try:
            yield
        finally:
            self.stop()
            if self._is_due:
                signal.raise_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Put the handler back that was there, unless the job has set another one meanwhile."""
        if self in _watching:
            _watching.remove(self)
            if signal.getsignal(signal.SIGTERM) == self._on_signal:
                with suppress(ValueError):  # the block is left in another thread
                    signal.signal(signal.SIGTERM, self._before)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._is_ending:
            self._is_due = True
        elif callable(self._before):
            self._before(number, frame)
        else:
            self._is_due = True
            raise Terminated(128 + number)


# A forked child is not the job: a signal finds it as if nobody had watched, at once, for a handler in Python could not
# end a child that waits in C. A signal that comes between the fork and the end of our work there would be forgotten by
# Python, and is held back until then.


def _before_fork() -> None:
    if _watching:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _after_fork() -> None:
    mask = _forking.__dict__.pop("mask", None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_fork_in_child() -> None:
    for termination in reversed(_watching[:]):
        termination.stop()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
