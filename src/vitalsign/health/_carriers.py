"""
Carry out what the runner decides: tasks and threads that run checks, and how a round waits for them.

A coroutine check runs as a task of its own on the event loop of the caller that found it not running, for the pool that
it uses belongs to that loop (`_asyncio.py`, `_trio.py`); without a loop, on one of its own that lives as long as the
run. Any other check runs on a daemon thread of its own: if it hangs, it takes no worker from an executor and does not
keep the process from exiting.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol

from vitalsign.exceptions import HealthLoopError
from vitalsign.health._asyncio import AsyncioLoop, carry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from vitalsign.health._runner import Runner
    from vitalsign.health._slots import Flight, Round

__all__ = ["attend", "attend_blocking", "beside", "required_loop", "running_loop"]


class Loop(Protocol):
    """An event loop, as one caller sees it."""

    def fly(self, runner: Runner, flight: Flight) -> None:
        """Start a coroutine check; its end is reported to *runner*, whatever becomes of the caller."""
        ...

    def ring(self) -> None:
        """End `wait`, from any thread; without effect when the loop has ended."""
        ...

    async def wait(self, seconds: float) -> None:
        """Wait until it rings, *seconds* at most."""
        ...

    async def recall(self) -> None:
        """Break off what was started here, and wait for a moment until that has ended."""
        ...

    def beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> AbstractAsyncContextManager[None]:
        """Run *work*, which does not raise, while the context lasts, and cancel it then."""
        ...


async def attend(runner: Runner, round_: Round) -> None:
    """
    See *round_* through on the event loop that runs here.

    A caller that is cancelled leaves the flights to themselves, for others may wait for them too; a lasting round takes
    them along, since the application is about to close what they use.

    Raises:
        HealthLoopError: No event loop runs here, or none that is known.
    """
    loop = required_loop()
    round_.ring = loop.ring
    try:
        while (seconds := _advance(runner, round_, loop)) is not None:
            await loop.wait(seconds)
    finally:
        if round_.is_lasting:
            await loop.recall()


def attend_blocking(runner: Runner, round_: Round) -> None:
    """
    See *round_* through while this thread waits.

    Raises:
        HealthLoopError: An event loop runs on this thread.
    """
    if running_loop() is not None:
        raise HealthLoopError(
            "health.run_sync() was called on a thread that runs an event loop: the loop would stand still, and with it "
            "every coroutine check. Write 'await health.run()'."
        )
    bell = Event()
    round_.ring = bell.set
    while (seconds := _advance(runner, round_, None)) is not None:
        bell.wait(seconds)
        bell.clear()


@asynccontextmanager
async def beside(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """
    Run *work* on the event loop that runs here while the context lasts, and cancel it then.

    Raises:
        HealthLoopError: No event loop runs here, or none that is known.
    """
    async with required_loop().beside(work):
        yield


def required_loop() -> Loop:
    """
    Return the event loop that runs here.

    Raises:
        HealthLoopError: None runs here, or none that is known.
    """
    loop = running_loop()
    if loop is None:
        raise HealthLoopError(
            "This needs a running event loop, of asyncio or trio, and there is none. On a loop of another kind, call "
            "health.run_sync() on a worker thread, and health.start() to refresh in the background."
        )
    return loop


def running_loop() -> Loop | None:
    """Return the event loop that runs here, if one does."""
    if _is_in_trio():  # first of all, for as a guest it runs inside of an asyncio loop
        from vitalsign.health._trio import TrioRun

        return TrioRun()
    try:
        return AsyncioLoop(asyncio.get_running_loop())
    except RuntimeError:
        return None


def _is_in_trio() -> bool:
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)  # who has not imported it does not run it
    if lowlevel is None:
        return False
    try:
        lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def _advance(runner: Runner, round_: Round, loop: Loop | None) -> float | None:
    to_start, seconds = runner.step(round_)
    try:
        for_threads: list[Flight] = []
        for flight in to_start:
            if loop is not None and flight.slot.is_coroutine:
                loop.fly(runner, flight)
            else:
                for_threads.append(flight)
        if for_threads:
            _start_threads(runner, for_threads)
    except BaseException:  # Ctrl-C in between: a flight that nobody carries would look like a hanging check for ever
        for flight in to_start:
            runner.abandon(flight)
        raise
    return seconds


def _start_threads(runner: Runner, flights: list[Flight]) -> None:
    # Each thread starts the next: starting one waits until it runs, and an event loop should wait for one at most.
    first, *others = flights
    thread = Thread(target=_fly, args=(runner, first, others), name=first.name, daemon=True)
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
            asyncio.run(carry(runner, flight))
        else:
            runner.land(flight, flight.call())
    except BaseException as error:  # noqa: BLE001  # this thread is the check's own: there is nobody to pass it on to
        runner.crash(flight, error)
