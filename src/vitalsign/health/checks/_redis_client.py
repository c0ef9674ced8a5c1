"""One command to a Redis server, over the host's own client, sync or async, or over one connection per run."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from vitalsign.health._check import Check, Result
from vitalsign.health.checks._breaking import close_in_time
from vitalsign.health.checks._clients import is_a, load, require_url, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Judge", "redis_check"]

Judge: TypeAlias = "Callable[[Any], Result]"
"""From the parsed answer to a result."""

_ACCEPTED = "a client of redis-py, sync or async, or a URL such as 'redis://host:6379/0'"


def redis_check(name: str, client: object, command: tuple[str, ...], judge: Judge, timeout: float | None) -> Check:
    """
    Return a check that sends *command* and judges the answer.

    Args:
        name: Of the check.
        client: Of redis-py, or a URL.
        command: Such as `("INFO", "memory")`.
        judge: From the parsed answer to a result.
        timeout: Seconds for one run; None takes the checker's.

    Raises:
        HealthCheckError: The client is of another kind.
        MissingExtraError: A URL was given, and redis-py is not installed.
    """
    ask = partial(_asker(name, client, is_ping=command == ("PING",)), command, judge)
    return Check(name, ask, critical=False, timeout=timeout, external=True, takes_timeout=True)


def _asker(name: str, client: object, *, is_ping: bool) -> Callable[..., object]:
    if isinstance(client, str):
        require_url(name, client, ("redis", "rediss", "unix"), _ACCEPTED)
        return partial(_ask_once, load("redis.asyncio", "redis", check="checks.redis(url)"), client)
    if is_a(client, "redis.asyncio.Redis"):
        return partial(_ask_async, client)
    if is_a(client, "redis.Redis"):
        return partial(_ask, client)
    if is_ping and is_a(client, "redis.asyncio.RedisCluster"):
        return partial(_ask_async, client)
    if is_ping and is_a(client, "redis.RedisCluster"):
        return partial(_ask_cluster, client)
    raise unknown(name, client, _ACCEPTED)


def _ask(client: Any, command: tuple[str, ...], judge: Judge, seconds: float) -> Result:
    # Not client.execute_command(): that waits, and tries again, for as long as the client is told to.
    connection = _borrow(client.connection_pool)
    try:
        connection.send_command(*command)
        if not connection.can_read(seconds):
            connection.disconnect()  # or the answer would be taken for that of the next command
            raise TimeoutError(f"no answer to {command[0]} within {seconds:g} s")
        return judge(client.parse_response(connection, command[0]))
    finally:
        client.connection_pool.release(connection)


def _borrow(pool: Any) -> Any:
    try:
        return pool.get_connection()
    except TypeError:  # redis-py before 5.3 wants to know what for
        return pool.get_connection("PING")


def _ask_cluster(client: Any, command: tuple[str, ...], judge: Judge, _: float) -> Result:
    return judge(client.execute_command(*command))


async def _ask_async(client: Any, command: tuple[str, ...], judge: Judge, _: float) -> Result:
    return judge(await client.execute_command(*command))


async def _ask_once(library: Any, url: str, command: tuple[str, ...], judge: Judge, seconds: float) -> Result:
    due = asyncio.get_running_loop().time() + seconds
    client = library.Redis.from_url(url, max_connections=1, retry=_no_retry())
    try:
        return judge(await client.execute_command(*command))
    except Exception as error:
        error.add_note(f"while asking {url}")
        raise
    finally:
        await close_in_time(client.aclose, due)


def _no_retry() -> Any:
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Retry(NoBackoff(), 0)
