"""Keep results fresh in the background: on a daemon thread of ours, or on the application's own event loop."""

from __future__ import annotations

import os
import weakref
from contextlib import asynccontextmanager, suppress
from threading import RLock, Thread, current_thread
from typing import TYPE_CHECKING

from vitalsign.exceptions import HealthDependencyError
from vitalsign.health._carriers import attend, attend_blocking, beside
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from vitalsign.health._runner import Runner
    from vitalsign.health._slots import Round, Slot

__all__ = ["Refresher"]

_JOIN = 1.0  # seconds


class Refresher:
    """
    Renew what grows old, before somebody asks.

    If it fails, it ends: callers then run the checks themselves, as without it.

    Args:
        runner: Knows what is old.
        slots: Returns all checks, each after those that it depends on.
    """

    def __init__(self, runner: Runner, slots: Callable[[], Sequence[Slot]]) -> None:
        self._runner = runner
        self._slots = slots
        self._thread: Thread | None = None
        self._round: Round | None = None
        self._lock = RLock()
        if hasattr(os, "register_at_fork"):
            forget = weakref.WeakMethod(self._forget_lock)
            os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def start(self) -> None:
        """
        Begin on a daemon thread, unless that has begun already.

        Raises:
            HealthDependencyError: The checks depend on each other in a circle, or on one that there is not.
            RuntimeError: There are no more threads to be had.
        """
        round_ = self._runner.renewal(self._slots())
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                thread = Thread(target=self._work, args=(round_,), name="vitalsign-health", daemon=True)
                thread.start()
                self._thread, self._round = thread, round_

    def ensure(self) -> None:
        """Begin again where the thread is gone, as in a forked child. Never raises."""
        if self._thread is None or self._thread.is_alive():
            return
        try:
            self.start()
        except Exception as error:  # noqa: BLE001  # who asks gets an answer without it too
            internal_error("health.refresh", error)

    def stop(self) -> None:
        """End the thread, and wait for that a moment; checks that are under way are left to end by themselves."""
        with self._lock:
            thread, self._thread = self._thread, None
            round_, self._round = self._round, None
        if round_ is not None:
            round_.end()
        if thread is not None and thread is not current_thread():
            thread.join(_JOIN)

    @asynccontextmanager
    async def on_this_loop(self) -> AsyncIterator[None]:
        """Renew on the event loop that runs here, and break off what is under way at the end."""
        round_ = self._runner.renewal(self._slots())

        async def work() -> None:
            try:
                with self._runner.renewing(round_):
                    await attend(self._runner, round_)
            except Exception as error:  # noqa: BLE001  # the application goes on
                internal_error("health.refresh", error)

        async with beside(work):
            yield

    def replan(self) -> None:
        """Renew checks that were added meanwhile too."""
        if not self._runner.lasting:
            return
        with suppress(HealthDependencyError):  # what is missing may be added next; who asks is told
            slots = self._slots()
            for round_ in tuple(self._runner.lasting):
                round_.slots = slots
                round_.ring()

    def _work(self, round_: Round) -> None:
        try:
            with self._runner.renewing(round_):
                attend_blocking(self._runner, round_)
        except Exception as error:  # noqa: BLE001  # the application goes on
            internal_error("health.refresh", error)

    def _forget_lock(self) -> None:
        self._lock = RLock()  # a thread that is not here may have held it
