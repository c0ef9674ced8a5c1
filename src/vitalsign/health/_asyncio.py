"""Coroutine checks on asyncio's loops."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from vitalsign.health._runner import Runner
    from vitalsign.health._slots import Flight

__all__ = ["AsyncioLoop", "carry"]

_RECALL = 1.0  # seconds; a check that will not be cancelled does not keep the application from ending


class AsyncioLoop:
    """A running loop, as one caller sees it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._bell = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def fly(self, runner: Runner, flight: Flight) -> None:
        """Start a coroutine check as a task of its own."""
        flight.is_lost = self._loop.is_closed
        # An empty context: the run belongs to all callers, so it must not inherit the trace or request of the first.
        task = self._loop.create_task(carry(runner, flight), name=flight.name, context=Context())
        flight.carrier = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(partial(_clear_up, runner, flight))

    def ring(self) -> None:
        """End `wait`."""
        with suppress(RuntimeError):  # the loop was closed, and the caller with it
            self._loop.call_soon_threadsafe(self._bell.set)

    async def wait(self, seconds: float) -> None:
        """Wait until it rings, *seconds* at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        self._bell.clear()

    async def recall(self) -> None:
        """Break off what was started here."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_RECALL)

    @asynccontextmanager
    async def beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        """Run *work* while the context lasts, and cancel it then."""
        task = self._loop.create_task(work(), name="vitalsign-health", context=Context())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


def _clear_up(runner: Runner, flight: Flight, task: asyncio.Task[None]) -> None:
    runner.abandon(flight)  # of no effect unless the task was cancelled from outside, or stopped by Ctrl-C
    if not task.cancelled():
        task.exception()  # Ctrl-C was raised where it belongs; asyncio need not warn that nobody looked at it here


async def carry(runner: Runner, flight: Flight) -> None:
    """Run a coroutine check until it is due, and report its end."""
    limit = asyncio.timeout(flight.due - runner.clock())
    try:
        async with limit:
            returned = await cast("Awaitable[object]", flight.call())
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            raise
        runner.crash(flight, error)
    except Exception as error:  # noqa: BLE001  # a check that crashes is a failed check
        if limit.expired():
            runner.expire(flight)
        else:
            runner.crash(flight, error)
    else:
        runner.land(flight, returned)


def _is_being_cancelled() -> bool:
    # Else the CancelledError is the check's own, let through from something that it awaited.
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
