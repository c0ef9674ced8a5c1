"""Ask what may hang: on a thread of its own, for as long as there is time, and not again while it still hangs."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ask"]

_T = TypeVar("_T")
_hanging: dict[object, _Question[Any]] = {}

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_hanging.clear)  # the threads have stayed in the parent


class _Question(Generic[_T]):
    """One call on a daemon thread."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work = work
        self.answer: _T | None = None
        self.error: BaseException | None = None
        self.is_answered = threading.Event()
        threading.Thread(target=self._run, name="vitalsign-collect", daemon=True).start()

    def _run(self) -> None:
        try:
            self.answer = self._work()
        except BaseException as error:  # noqa: BLE001  # it is raised where the answer is waited for
            self.error = error
        self.is_answered.set()


def ask(whom: object, work: Callable[[], _T], until: float | None) -> _T:
    """
    Call *work*, and wait for it no longer than there is time.

    Args:
        whom: Who is asked: while one call hangs, that one is not asked again.
        work: What may hang.
        until: When the time is over, by `time.monotonic()`; None calls it here and waits for ever.

    Raises:
        TimeoutError: There was no answer in time, or there is none yet to an earlier call.
    """
    if until is None:
        return work()
    hanging = _hanging.get(whom)
    if hanging is not None:
        if not hanging.is_answered.is_set():
            raise TimeoutError(f"{whom!r} has not answered since an earlier scrape")
        _hanging.pop(whom, None)
    question = _Question(work)
    if not question.is_answered.wait(max(0.0, until - time.monotonic())):
        _hanging[whom] = question
        raise TimeoutError(f"{whom!r} has not answered in time and is left out")
    if question.error is not None:
        raise question.error
    return question.answer  # type: ignore[return-value]  # there is one, since there is no error
