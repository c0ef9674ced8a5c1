"""
Carry out what the runner decides: tasks and threads that run checks, and two ways to wait for them.

A coroutine check runs as a task of its own on the loop of the caller that found it not running, for the pool that it
uses belongs to that loop; without a loop, on one of its own that lives as long as the run. Any other check runs on a
daemon thread of its own: if it hangs, it takes no worker from an executor and does not keep the process from exiting.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, cast

from vitalsign.exceptions import HealthLoopError
from vitalsign.health._runner import Flight, Round

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from vitalsign.health._runner import Runner, Slot

__all__ = ["ask", "ask_blocking"]


async def ask(runner: Runner, slots: Sequence[Slot], deadline: float) -> None:
    """
    Bring *slots* up to date, for *deadline* seconds at most, on the running event loop.

    A caller that is cancelled leaves the flights to themselves, for others may wait for them too.

    Raises:
        HealthLoopError: What runs here is not asyncio.
    """
    loop = _running_loop()
    if loop is None:
        raise HealthLoopError(
            "health.run() needs a running asyncio event loop, and there is none. On a loop of another kind, call "
            "health.run_sync() on a worker thread."
        )
    bell = asyncio.Event()

    def ring() -> None:
        with suppress(RuntimeError):  # the loop was closed, and the caller with it
            loop.call_soon_threadsafe(bell.set)

    round_ = _open_round(runner, slots, deadline, ring)
    while (seconds := _advance(runner, round_, loop)) is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await bell.wait()
        bell.clear()


def ask_blocking(runner: Runner, slots: Sequence[Slot], deadline: float) -> None:
    """
    Bring *slots* up to date, for *deadline* seconds at most, while this thread waits.

    Raises:
        HealthLoopError: An event loop runs on this thread.
    """
    if _running_loop() is not None:
        raise HealthLoopError(
            "health.run_sync() was called on a thread that runs an event loop: the loop would stand still, and with it "
            "every coroutine check. Write 'await health.run()'."
        )
    bell = Event()
    round_ = _open_round(runner, slots, deadline, bell.set)
    while (seconds := _advance(runner, round_, None)) is not None:
        bell.wait(seconds)
        bell.clear()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _open_round(runner: Runner, slots: Sequence[Slot], deadline: float, ring: Callable[[], object]) -> Round:
    now = runner.clock()
    return Round(slots, started=now, deadline=now + deadline, ring=ring)


def _advance(runner: Runner, round_: Round, loop: asyncio.AbstractEventLoop | None) -> float | None:
    to_start, seconds = runner.step(round_)
    try:
        for_threads: list[Flight] = []
        for flight in to_start:
            if loop is not None and flight.slot.is_coroutine:
                _start_task(runner, flight, loop)
            else:
                for_threads.append(flight)
        if for_threads:
            _start_threads(runner, for_threads)
    except BaseException:  # Ctrl-C in between: a flight that nobody carries would look like a hanging check for ever
        for flight in to_start:
            runner.abandon(flight)
        raise
    return seconds


def _start_task(runner: Runner, flight: Flight, loop: asyncio.AbstractEventLoop) -> None:
    flight.is_lost = loop.is_closed
    # An empty context: the run belongs to all callers, so it must not inherit the trace or request of the first.
    task = loop.create_task(_carry(runner, flight), name=_carrier_name(flight), context=Context())
    flight.carrier = task
    task.add_done_callback(partial(_clear_up, runner, flight))


def _clear_up(runner: Runner, flight: Flight, task: asyncio.Task[None]) -> None:
    runner.abandon(flight)  # of no effect unless the task was cancelled from outside, or stopped by Ctrl-C
    if not task.cancelled():
        task.exception()  # Ctrl-C was raised where it belongs; asyncio need not warn that nobody looked at it here


async def _carry(runner: Runner, flight: Flight) -> None:
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


def _start_threads(runner: Runner, flights: list[Flight]) -> None:
    # Each thread starts the next: starting one waits until it runs, and an event loop should wait for one at most.
    first, *others = flights
    thread = Thread(target=_fly, args=(runner, first, others), name=_carrier_name(first), daemon=True)
    try:
        thread.start()
    except Exception as error:  # noqa: BLE001  # no more threads to be had: the checks fail, not their caller
        for flight in flights:
            runner.crash(flight, error)


def _fly(runner: Runner, flight: Flight, others: list[Flight]) -> None:
    if others:
        _start_threads(runner, others)
    try:
        if flight.slot.is_coroutine:
            asyncio.run(_carry(runner, flight))
        else:
            runner.land(flight, flight.call())
    except BaseException as error:  # noqa: BLE001  # this thread is the check's own: there is nobody to pass it on to
        runner.crash(flight, error)


def _carrier_name(flight: Flight) -> str:
    return f"vitalsign-health-{flight.slot.check.name}"
