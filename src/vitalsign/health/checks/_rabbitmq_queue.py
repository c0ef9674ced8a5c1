"""A queue of a RabbitMQ broker: that it exists, is not too long, and has consumers."""

from __future__ import annotations

from functools import partial
from typing import Any

from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._amqp import asker
from vitalsign.health.checks._clients import unknown

__all__ = ["rabbitmq_queue"]

_ACCEPTED = "a connection of aio_pika, or a URL such as 'amqp://host/'"


def rabbitmq_queue(
    connection: object,
    queue: str,
    *,
    max_ready: int | None = None,
    warn_ready: int | None = None,
    min_consumers: int = 0,
    timeout: float | None = None,
    name: str = "rabbitmq-queue",
) -> Check:
    """
    Check that a queue exists, has few messages waiting, and is consumed. Not critical unless told otherwise.

    The measured value is the number of messages that wait. The queue's name is shown in the log only.

    Args:
        connection: Of aio_pika, robust or not, or a URL (needs `vitalsign[rabbitmq]`).
        queue: Its name. It is not made if it is missing.
        max_ready: Messages above which it fails; those that a consumer has, and has not acknowledged, do not count.
        warn_ready: Messages above which it warns.
        min_consumers: Consumers below which it fails.
        timeout: Seconds for one run; None takes the checker's.
        name: Of the check.

    Raises:
        HealthCheckError: The connection is none of these, or a number makes no sense.
        MissingExtraError: A URL was given, and aio_pika is not installed.
    """
    for setting, number in (("max_ready", max_ready), ("warn_ready", warn_ready), ("min_consumers", min_consumers)):
        if number is not None and (not isinstance(number, int) or number < 0):
            raise HealthCheckError(f"{setting}={number!r} of check {name!r} must be a whole number of 0 or more.")
    ask = asker(name, connection, partial(_look, queue, max_ready, warn_ready, min_consumers), _ACCEPTED)
    if ask is None:
        raise unknown(name, connection, _ACCEPTED)
    return Check(name, ask, critical=False, timeout=timeout, external=True, takes_timeout=True)


async def _look(queue: str, most: int | None, much: int | None, consumers: int, channel: Any) -> Result:
    declared = await channel.queue_declare(queue, passive=True)
    ready = declared.message_count
    if declared.consumer_count < consumers:
        message = f"{declared.consumer_count} consumers, fewer than {consumers}"
        return Result(Status.FAIL, message, ready, "messages")
    for status, bound in ((Status.FAIL, most), (Status.WARN, much)):
        if bound is not None and ready > bound:
            return Result(status, f"{ready} messages wait, more than {bound}", ready, "messages")
    return Result(Status.PASS, f"{ready} messages wait", ready, "messages")
