"""
Break off what a database driver does not end by itself, so that no run holds a connection of the host's for ever.

A driver that waits for a server which has vanished hears nothing until the kernel gives up, many minutes later. Here it
hears of it at once: its socket is shut down, the driver sees a connection that the server has closed, and the pool
throws that away as it would any other.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from vitalsign.health.checks._clients import is_a

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

__all__ = ["GRACE", "breaking_off", "breaking_off_on_loop", "close_in_time", "uncancelled"]

_T = TypeVar("_T")

GRACE = 0.5
"""Seconds for ending something in an orderly way, before it is ended in a disorderly one."""


@contextmanager
def breaking_off(driver: Any, seconds: float) -> Iterator[None]:
    """
    Break off what *driver* does in the block, on this thread, *seconds* from now.

    The server is asked to cancel it, where the driver can; then the connection is cut, whatever came of that, for a
    cancellation that arrives late would hit the next query.

    Args:
        driver: A connection of psycopg, psycopg2, sqlite3 or another driver that has `fileno()` or `interrupt()`. One
            that cannot be broken off is left alone.
        seconds: From now.
    """
    ended, lock, wire = Event(), Lock(), _second_handle(driver)

    def watch() -> None:
        with wire or nullcontext():
            if ended.wait(seconds):
                return
            with lock:  # the block does not end, and the connection does not go back, in the middle of this
                if not ended.is_set():
                    _cancel(driver)
                    _shut(wire)

    Thread(target=watch, name="vitalsign-health-breaker", daemon=True).start()
    try:
        yield
    finally:
        with lock:
            ended.set()


async def breaking_off_on_loop(driver: Any, work: Coroutine[Any, Any, _T], seconds: float) -> _T:
    """
    Await *work*, and break off what *driver* does in it some time after *seconds* from now.

    By then this task has been cancelled, and the driver had time to cancel on the server.

    Args:
        driver: A connection of asyncpg, psycopg or another driver that has `terminate()` or `fileno()`.
        work: What is to be done.
        seconds: Until the task is cancelled.
    """
    wire = _second_handle(driver)
    if is_a(driver, "psycopg.AsyncConnection") and not _psycopg_cancels_safely():
        with wire or nullcontext():
            return await uncancelled(work, partial(_shut, wire))
    cut = getattr(driver, "terminate", partial(_shut, wire))
    timer = asyncio.get_running_loop().call_later(seconds + GRACE, cut)
    with wire or nullcontext():
        try:
            return await work
        finally:
            timer.cancel()


async def uncancelled(work: Coroutine[Any, Any, _T], cut: Callable[[], object]) -> _T:
    """
    Await *work* to its end. If this task is cancelled, call *cut* rather than let *work* know of it.

    Args:
        work: What is to be done.
        cut: Makes it end soon.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        cut()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # is of no interest, and asyncio need not warn that nobody looked at it
        raise


async def close_in_time(
    close: Callable[[], Awaitable[object]], due: float, abandon: Callable[[], object] = lambda: None
) -> None:
    """
    Close what is of no use any more, and never raise for it, nor let an answer come late that is there already.

    Args:
        close: Closes it in an orderly way.
        due: When the answer has to be there, by the clock of the running event loop.
        abandon: Called where closing takes too long, or fails.
    """
    left = due - asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(min(GRACE, left / 2) if left > 0 else GRACE):
            await close()
    except Exception:  # noqa: BLE001  # whatever it is that keeps it: there is nothing to be done about it
        abandon()


def _second_handle(driver: Any) -> socket.socket | None:
    # Of our own: the driver may close its own meanwhile, and the kernel give the number to another socket.
    with suppress(Exception):
        return socket.fromfd(driver.fileno(), socket.AF_INET, socket.SOCK_STREAM)
    return None


def _cancel(driver: Any) -> None:
    with suppress(Exception):
        if is_a(driver, "psycopg.Connection") and _psycopg_cancels_safely():
            driver.cancel_safe(timeout=GRACE)
        elif hasattr(driver, "interrupt"):
            driver.interrupt()


def _psycopg_cancels_safely() -> bool:
    # With a libpq before 17, a cancellation waits for the server, and may keep every thread from running meanwhile.
    capabilities = getattr(sys.modules["psycopg"], "capabilities", None)
    return capabilities is not None and bool(capabilities.has_cancel_safe())


def _shut(wire: socket.socket | None) -> None:
    if wire is not None:
        with suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)
