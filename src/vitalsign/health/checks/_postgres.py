"""A PostgreSQL server, asked over the host's own pool or connection, or over one connection per run."""

from __future__ import annotations

import asyncio
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._breaking import (
    GRACE,
    breaking_off,
    breaking_off_on_loop,
    close_in_time,
    uncancelled,
)
from vitalsign.health.checks._clients import is_a, load, require_url, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["answered", "postgres"]

_ACCEPTED = (
    "a pool or connection of asyncpg or psycopg 3, or a URL such as 'postgresql://user@host/database'; "
    "an engine of SQLAlchemy goes to checks.sqlalchemy"
)
_FOR_A_CONNECTION = 0.8
"""Share of the timeout that the pool has to give a connection; the rest is for the query."""


def postgres(client: object, *, query: str = "select 1", timeout: float | None = None, name: str = "postgres") -> Check:
    """
    Check that a PostgreSQL server answers a query. Not critical unless told otherwise, for it is shared.

    With a pool, it takes a connection, asks, and gives it back. If there is no answer in time, the query is cancelled,
    and the connection goes back only if it is in order; else the pool replaces it. With a URL, each run opens a
    connection and closes it; needs `vitalsign[postgres]`.

    Args:
        client: `asyncpg.Pool` or `asyncpg.Connection`; `ConnectionPool` or `AsyncConnectionPool` of psycopg_pool;
            `psycopg.Connection` or `psycopg.AsyncConnection` in autocommit mode; or a URL. A single connection should
            be one that the application does not keep busy.
        query: It fails if the first value of the answer is false, as in `select not pg_is_in_recovery()`.
        timeout: Seconds for one run; None takes the checker's.
        name: Of the check.

    Raises:
        HealthCheckError: The client is none of these.
        MissingExtraError: A URL was given, and asyncpg is not installed.
    """
    ask = _ask_by_url(name, client) if isinstance(client, str) else _ask_by_client(name, client)
    return Check(name, partial(ask, query), critical=False, timeout=timeout, external=True, takes_timeout=True)


def answered(value: object) -> Result:
    """Judge the first value of a query's answer."""
    if value is False:
        return Result(Status.FAIL, "the query answered false")
    return Result(Status.PASS)


def _ask_by_client(name: str, client: Any) -> Callable[..., object]:
    for path, ask in _ASKS.items():
        if is_a(client, path):
            if path.startswith("psycopg.") and not client.autocommit:
                raise HealthCheckError(
                    f"Check {name!r} got a psycopg connection that is not in autocommit mode, where each query opens "
                    "a transaction. Give it a pool, or a connection with autocommit=True."
                )
            return partial(ask, client)
    raise unknown(name, client, _ACCEPTED)


def _ask_by_url(name: str, url: str) -> Callable[..., object]:
    require_url(name, url, ("postgresql", "postgres"), _ACCEPTED)
    return partial(_ask_once, load("asyncpg", "postgres", check="checks.postgres(url)"), url)


async def _ask_asyncpg_pool(pool: Any, query: str, seconds: float) -> Result:
    try:
        connection = await pool.acquire(timeout=seconds * _FOR_A_CONNECTION)
    except TimeoutError:
        return _no_connection(seconds)
    try:
        return answered(await connection.fetchval(query))
    finally:
        # It waits for the cancellation of a query, and throws the connection away if that takes longer.
        await pool.release(connection, timeout=GRACE)


async def _ask_asyncpg(connection: Any, query: str, _: float) -> Result:
    if connection.is_in_transaction():
        return _in_use()
    try:
        return answered(await connection.fetchval(query))
    except Exception as error:
        if is_a(error, "asyncpg.InterfaceError") and not connection.is_closed():  # in the middle of another query
            return _in_use()
        raise


def _ask_psycopg_pool(pool: Any, query: str, seconds: float) -> Result:
    try:
        connection = pool.getconn(seconds * _FOR_A_CONNECTION)
    except Exception as error:
        if is_a(error, "psycopg_pool.PoolTimeout"):
            return _no_connection(seconds)
        raise
    try:
        with breaking_off(connection, seconds):
            return _fetch(connection, query)
    finally:
        pool.putconn(connection)


async def _ask_async_psycopg_pool(pool: Any, query: str, seconds: float) -> Result:
    try:
        connection = await pool.getconn(seconds * _FOR_A_CONNECTION)
    except Exception as error:
        if is_a(error, "psycopg_pool.PoolTimeout"):
            return _no_connection(seconds)
        raise
    try:
        return await breaking_off_on_loop(connection, _fetch_async(connection, query), seconds)
    finally:
        await pool.putconn(connection)


def _ask_psycopg(connection: Any, query: str, _: float) -> Result:
    if _is_in_use(connection):
        return _in_use()
    return _fetch(connection, query)


async def _ask_async_psycopg(connection: Any, query: str, _: float) -> Result:
    if _is_in_use(connection):
        return _in_use()
    # The connection is not ours to cut, and a cancellation by psycopg may be worse than to wait.
    return await uncancelled(_fetch_async(connection, query), lambda: None)


def _fetch(connection: Any, query: str) -> Result:
    row = _cursor(connection).execute(query).fetchone()
    if not connection.autocommit:
        connection.rollback()
    return answered(row and row[0])


async def _fetch_async(connection: Any, query: str) -> Result:
    cursor = await _cursor(connection).execute(query)
    row = await cursor.fetchone()
    if not connection.autocommit:
        await connection.rollback()
    return answered(row and row[0])


def _cursor(connection: Any) -> Any:
    # The connection's own rows may be of any kind.
    return connection.cursor(row_factory=import_module("psycopg.rows").tuple_row)


async def _ask_once(asyncpg: Any, url: str, query: str, seconds: float) -> Result:
    due = asyncio.get_running_loop().time() + seconds
    try:
        connection = await asyncpg.connect(url, timeout=seconds)
        try:
            return answered(await connection.fetchval(query))
        finally:
            await close_in_time(connection.close, due, connection.terminate)
    except Exception as error:
        error.add_note(f"while asking {url}")
        raise


_ASKS: dict[str, Callable[..., object]] = {
    "asyncpg.Pool": _ask_asyncpg_pool,
    "asyncpg.Connection": _ask_asyncpg,
    "psycopg_pool.ConnectionPool": _ask_psycopg_pool,
    "psycopg_pool.AsyncConnectionPool": _ask_async_psycopg_pool,
    "psycopg.Connection": _ask_psycopg,
    "psycopg.AsyncConnection": _ask_async_psycopg,
}


def _is_in_use(connection: Any) -> bool:
    return connection.info.transaction_status.name in ("ACTIVE", "INTRANS", "INERROR")


def _in_use() -> Result:
    return Result(Status.WARN, "not asked: the application uses the connection")


def _no_connection(seconds: float) -> Result:
    return Result(Status.FAIL, f"the pool gave no connection within {seconds * _FOR_A_CONNECTION:g} s")
