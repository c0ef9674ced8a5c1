"""Coroutine checks on trio's loop; loaded where one runs."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any, cast

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from vitalsign.health._runner import Runner
    from vitalsign.health._slots import Flight

__all__ = ["TrioRun"]

_RECALL = 1.0  # seconds; a check that will not be cancelled does not keep the application from ending


class TrioRun:
    """A run of trio, as one caller sees it."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._bell = trio.Event()
        self._limits: set[trio.CancelScope] = set()
        self._stop: BaseException | None = None
        self._is_recalled = False

    def fly(self, runner: Runner, flight: Flight) -> None:
        """Start a coroutine check as a task that outlives the caller, until the run ends."""
        # An empty context: the run belongs to all callers, so it must not inherit the trace or request of the first.
        trio.lowlevel.spawn_system_task(self._carry, runner, flight, name=flight.name, context=Context())

    def ring(self) -> None:
        """End `wait`."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._set_bell)

    def _set_bell(self) -> None:
        self._bell.set()

    async def wait(self, seconds: float) -> None:
        """
        Wait until it rings, *seconds* at most.

        Raises:
            BaseException: What a check has raised to end the program.
        """
        with trio.move_on_after(seconds):
            await self._bell.wait()
        self._bell = trio.Event()
        if self._stop is not None:
            raise self._stop

    async def recall(self) -> None:
        """Break off what was started here."""
        self._is_recalled = True
        for limit in self._limits:
            limit.cancel()
        with trio.move_on_after(_RECALL, shield=True):
            while self._limits:
                await self._bell.wait()
                self._bell = trio.Event()

    @asynccontextmanager
    async def beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        """Run *work* while the context lasts, and cancel it then; a nursery would wrap the errors of the context."""
        scope, is_over = trio.CancelScope(), trio.Event()

        async def task() -> None:
            try:
                with scope:
                    await work()
            finally:
                is_over.set()

        trio.lowlevel.spawn_system_task(task, name="vitalsign-health", context=Context())
        try:
            yield
        finally:
            scope.cancel()
            with trio.CancelScope(shield=True):
                await is_over.wait()

    async def _carry(self, runner: Runner, flight: Flight) -> None:
        limit = trio.CancelScope(deadline=trio.current_time() + flight.due - runner.clock())
        self._limits.add(limit)
        try:
            await _run(runner, flight, limit)
            if limit.cancel_called and not self._is_recalled:
                runner.expire(flight)
        except BaseException as error:
            if trio.current_effective_deadline() == -inf:  # the run ends
                raise
            self._stop = error  # for the caller to raise: trio would take it for an error of its own
        finally:
            self._limits.discard(limit)
            runner.abandon(flight)  # of no effect if its end was reported
            self._set_bell()


async def _run(runner: Runner, flight: Flight, limit: trio.CancelScope) -> None:
    try:
        with limit:
            runner.land(flight, await cast("Awaitable[object]", flight.call()))
    except Exception as error:  # noqa: BLE001  # a check that crashes is a failed check
        if not limit.cancel_called:
            runner.crash(flight, error)
