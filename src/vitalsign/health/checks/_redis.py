"""A Redis server that answers."""

from __future__ import annotations

from typing import Any

from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._redis_client import redis_check

__all__ = ["redis"]


def redis(client: object, *, timeout: float | None = None, name: str = "redis") -> Check:
    """
    Check that a Redis server answers PING. Not critical unless told otherwise, for it is shared.

    Takes a connection of the client's pool and gives it back; one whose answer is late is closed, and replaced by the
    pool. With a URL, each run opens a connection and closes it; needs `vitalsign[redis]`.

    Args:
        client: `redis.Redis`, `redis.asyncio.Redis`, a cluster client of either kind, or a URL.
        timeout: Seconds for one run; None takes the checker's.
        name: Of the check.

    Raises:
        HealthCheckError: The client is none of these.
        MissingExtraError: A URL was given, and redis-py is not installed.
    """
    return redis_check(name, client, ("PING",), _judge, timeout)


def _judge(_: Any) -> Result:
    return Result(Status.PASS)
