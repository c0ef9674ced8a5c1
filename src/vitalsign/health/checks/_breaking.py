"""
Break off what a database driver does not end by itself, so that no run holds a connection of the host's for ever.

A driver that waits for a server which has vanished hears nothing until the kernel gives up, many minutes later. Here it
hears of it at once: its socket is shut down, the driver sees a connection that the server has closed, and the pool
throws that away as it would any other.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager, nullcontext, suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["GRACE", "breaking_off", "breaking_off_on_loop"]

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


@contextmanager
def breaking_off_on_loop(driver: Any, seconds: float) -> Iterator[None]:
    """
    Break off what *driver* does in the block, on the running event loop, some time after *seconds* from now.

    By then the task has been cancelled, and the driver had time to cancel on the server.

    Args:
        driver: A connection of asyncpg, psycopg or another driver that has `terminate()` or `fileno()`.
        seconds: Until the task is cancelled.
    """
    wire = _second_handle(driver)
    terminate: Callable[[], object] | None = getattr(driver, "terminate", None)

    def cut() -> None:
        if terminate is not None:
            terminate()
        else:
            _shut(wire)

    timer = asyncio.get_running_loop().call_later(seconds + GRACE, cut)
    with wire or nullcontext():
        try:
            yield
        finally:
            timer.cancel()


def _second_handle(driver: Any) -> socket.socket | None:
    # Of our own: the driver may close its own meanwhile, and the kernel give the number to another socket.
    with suppress(Exception):
        return socket.fromfd(driver.fileno(), socket.AF_INET, socket.SOCK_STREAM)
    return None


def _cancel(driver: Any) -> None:
    for name, arguments in (("cancel_safe", {"timeout": GRACE}), ("interrupt", {})):
        if hasattr(driver, name):
            # On a thread that nobody waits for in earnest: with an old libpq this waits for the server too.
            thread = Thread(target=_quietly, args=(getattr(driver, name), arguments), daemon=True)
            thread.start()
            thread.join(GRACE)
            return


def _quietly(func: Callable[..., object], arguments: dict[str, float]) -> None:
    with suppress(Exception):
        func(**arguments)


def _shut(wire: socket.socket | None) -> None:
    if wire is not None:
        with suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)
