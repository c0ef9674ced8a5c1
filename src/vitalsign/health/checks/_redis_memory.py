"""Memory that a Redis server uses, against what it may."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._redis_client import redis_check
from vitalsign.health.checks._sizes import Size, readable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["redis_memory"]


def redis_memory(
    client: object,
    *,
    max_used: float | str = "95%",
    warn_used: float | str | None = "80%",
    timeout: float | None = None,
    name: str = "redis-memory",
) -> Check:
    """
    Check that a Redis server has memory left. Not critical unless told otherwise, for it is shared.

    A server that may evict every key (`maxmemory-policy` `allkeys-…`) is a cache, and full in health: shares of its
    memory are not judged, only amounts. Nor are they where there is no `maxmemory`.

    Args:
        client: `redis.Redis`, `redis.asyncio.Redis`, or a URL (needs `vitalsign[redis]`).
        max_used: Memory above which it fails: a share of `maxmemory`, such as `95%`, or an amount, such as `2GiB`.
        warn_used: Memory above which it warns.
        timeout: Seconds for one run; None takes the checker's.
        name: Of the check.

    Raises:
        HealthCheckError: The client is none of these, or a size makes no sense.
        MissingExtraError: A URL was given, and redis-py is not installed.
    """
    most = Size.parse("max_used", max_used)
    much = None if warn_used is None else Size.parse("warn_used", warn_used)
    return redis_check(name, client, ("INFO", "memory"), partial(_judge, most, much), timeout)


def _judge(most: Size, much: Size | None, info: Mapping[str, Any]) -> Result:
    used, limit = int(info["used_memory"]), int(info["maxmemory"])
    judges_shares = limit > 0 and not str(info["maxmemory_policy"]).startswith("allkeys-")
    message = f"{readable(used)} of {readable(limit)} used" if limit else f"{readable(used)} used, without a limit"
    for status, bound in ((Status.FAIL, most), (Status.WARN, much)):
        if bound is not None and (judges_shares or not bound.is_share) and used > bound.of(limit):
            return Result(status, f"{message}, more than {bound.text}", used, "bytes")
    return Result(Status.PASS, message, used, "bytes")
