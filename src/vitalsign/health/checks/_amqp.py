"""A channel of RabbitMQ for one question, over the host's own connection or over one per run."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from vitalsign.health._check import Result, Status
from vitalsign.health.checks._breaking import close_in_time
from vitalsign.health.checks._clients import is_a, load, require_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["asker"]


def asker(
    name: str, connection: object, look: Callable[[Any], Awaitable[Result]], accepted: str
) -> Callable[..., object] | None:
    """
    Return a coroutine function that takes seconds and calls *look* with an open channel of aiormq.

    Args:
        name: Of the check.
        connection: Of aio_pika, or a URL; None is returned for anything else.
        look: Asks what there is to ask.
        accepted: What may be given, for the error.

    Raises:
        HealthCheckError: The URL is none.
        MissingExtraError: A URL was given, and aio_pika is not installed.
    """
    if isinstance(connection, str):
        require_url(name, connection, ("amqp", "amqps"), accepted)
        library = load("aio_pika", "rabbitmq", check="checks.rabbitmq(url)")
        return partial(_ask_once, library, connection, look)
    if is_a(connection, "aio_pika.abc.AbstractConnection"):
        return partial(_ask, connection, look)
    return None


async def _ask(connection: Any, look: Callable[[Any], Awaitable[Result]], seconds: float) -> Result:
    due = asyncio.get_running_loop().time() + seconds
    if connection.is_closed:
        return Result(Status.FAIL, "the connection is closed")
    if connection.transport is None or not connection.connected.is_set():
        return Result(Status.FAIL, "the connection is lost")
    # Not connection.channel(): a robust connection would open that again for ever, each time it comes back.
    channel = await connection.transport.connection.channel(publisher_confirms=False)
    try:
        return await look(channel)
    finally:
        await close_in_time(channel.close, due)


async def _ask_once(library: Any, url: str, look: Callable[[Any], Awaitable[Result]], seconds: float) -> Result:
    due = asyncio.get_running_loop().time() + seconds
    # Not aio_pika.connect(): where that fails, nobody closes what it has made, and Python warns of it later.
    connection = library.Connection(library.connection.make_url(url))
    try:
        await connection.connect()
        return await _ask(connection, look, due - asyncio.get_running_loop().time())
    except Exception as error:
        error.add_note(f"while asking {url}")
        raise
    finally:
        await close_in_time(connection.close, due)
