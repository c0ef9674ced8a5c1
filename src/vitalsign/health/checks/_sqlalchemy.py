"""A database behind an engine of SQLAlchemy, sync or async."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from vitalsign.health._check import Check, Result
from vitalsign.health.checks._breaking import breaking_off, breaking_off_on_loop
from vitalsign.health.checks._clients import is_a, unknown
from vitalsign.health.checks._postgres import answered

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["asker", "sqlalchemy"]


def sqlalchemy(
    engine: object, *, query: str | None = None, timeout: float | None = None, name: str = "database"
) -> Check:
    """
    Check that the database of an engine answers a query. Not critical unless told otherwise, for it is shared.

    It takes a connection of the engine's pool, asks, rolls back, and gives it back. If there is no answer in time, the
    connection is given up, and the pool replaces it.

    Args:
        engine: `Engine` or `AsyncEngine`.
        query: It fails if the first value of the answer is false; None for `select 1` in the database's dialect.
        timeout: Seconds for one run; None takes the checker's. How long the pool may make it wait for a connection is
            the engine's `pool_timeout`.
        name: Of the check.

    Raises:
        HealthCheckError: The engine is none.
    """
    ask = asker(name, engine, partial(_answer, query))
    return Check(name, ask, critical=False, timeout=timeout, external=True, takes_timeout=True)


def asker(name: str, engine: object, look: Callable[[Any], Result]) -> Callable[..., object]:
    """
    Return a function, or coroutine function, that takes seconds and calls *look* with a connection of *engine*.

    Args:
        name: Of the check.
        engine: Of SQLAlchemy.
        look: Called with a sync `Connection` in both cases.

    Raises:
        HealthCheckError: The engine is none.
    """
    if is_a(engine, "sqlalchemy.ext.asyncio.AsyncEngine"):
        return partial(_ask_async, engine, look)
    if is_a(engine, "sqlalchemy.engine.Engine"):
        return partial(_ask, engine, look)
    raise unknown(name, engine, "an Engine or AsyncEngine of SQLAlchemy")


def _answer(query: str | None, connection: Any) -> Result:
    if query is not None:
        return answered(connection.exec_driver_sql(query).scalar())
    from sqlalchemy import select

    return answered(connection.scalar(select(1)))


def _ask(engine: Any, look: Callable[[Any], Result], seconds: float) -> Result:
    with engine.connect() as connection, breaking_off(connection.connection.driver_connection, seconds):
        result = look(connection)
        connection.rollback()
    return result


async def _ask_async(engine: Any, look: Callable[[Any], Result], seconds: float) -> Result:
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        return await breaking_off_on_loop(raw.driver_connection, _look_async(connection, look), seconds)


async def _look_async(connection: Any, look: Callable[[Any], Result]) -> Result:
    result: Result = await connection.run_sync(look)
    await connection.rollback()
    return result
