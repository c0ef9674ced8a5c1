"""A RabbitMQ broker that answers."""

from __future__ import annotations

from functools import partial
from threading import Event
from typing import Any

from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._amqp import asker
from vitalsign.health.checks._clients import is_a, unknown

__all__ = ["rabbitmq"]

_ACCEPTED = "a connection of aio_pika, a BlockingConnection of pika, or a URL such as 'amqp://host/'"
_FOR_AN_ANSWER = 0.8
"""Share of the timeout that a pika connection has to come to its callbacks."""


def rabbitmq(connection: object, *, timeout: float | None = None, name: str = "rabbitmq") -> Check:
    """
    Check that a RabbitMQ broker answers. Not critical unless told otherwise, for it is shared.

    Over aio_pika, a channel is opened and closed. pika's connection belongs to one thread, which must not be kept from
    its work: there, it passes if the connection is open and that thread attends to it, so that a broker which has
    vanished is noticed by its missing heartbeats only. With a URL, each run opens a connection and closes it; needs
    `vitalsign[rabbitmq]`.

    Args:
        connection: Of aio_pika, robust or not; `pika.BlockingConnection`; or a URL.
        timeout: Seconds for one run; None takes the checker's.
        name: Of the check.

    Raises:
        HealthCheckError: The connection is none of these.
        MissingExtraError: A URL was given, and aio_pika is not installed.
    """
    ask = asker(name, connection, _answered, _ACCEPTED)
    if ask is None and is_a(connection, "pika.BlockingConnection"):
        ask = partial(_ask_pika, connection)
    if ask is None:
        raise unknown(name, connection, _ACCEPTED)
    return Check(name, ask, critical=False, timeout=timeout, external=True, takes_timeout=True)


async def _answered(_: Any) -> Result:
    return Result(Status.PASS)


def _ask_pika(connection: Any, seconds: float) -> Result:
    if connection.is_closed:
        return Result(Status.FAIL, "the connection is closed")
    attended, patience = Event(), seconds * _FOR_AN_ANSWER
    connection.add_callback_threadsafe(attended.set)
    if not attended.wait(patience):
        return Result(Status.FAIL, f"the connection's thread has not attended to it within {patience:g} s")
    return Result(Status.PASS)
