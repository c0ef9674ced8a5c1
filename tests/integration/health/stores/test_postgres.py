"""`checks.postgres` against a real PostgreSQL, by every kind of client, in every state of the server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import psycopg_pool
import pytest

from tests.integration.health.stores.asking import ask, ask_until, shown_secrets, until
from tests.integration.health.stores.conftest import SECRET, WRONG, running_postgres
from tests.servers import free_port
from vitalsign.health import checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.integration.health.stores.conftest import Postgres
    from tests.integration.health.stores.proxy import Proxy
    from vitalsign.health import HealthChecker

pytestmark = pytest.mark.integration

LIMITS: Any = {"min_size": 1, "max_size": 2}
ROWS: Any = {"row_factory": psycopg.rows.dict_row}
"""Rows as an application may want them: without a first value by number."""


@contextlib.asynccontextmanager
async def opened(kind: str, url: str) -> AsyncIterator[Any]:
    """Keep a client of *kind* for the block."""
    if kind == "url":
        yield url
    elif kind == "asyncpg.Pool":
        pool = await asyncpg.create_pool(url, **LIMITS)
        yield pool
        pool.terminate()
    elif kind == "asyncpg.Connection":
        connection = await asyncpg.connect(url)
        yield connection
        connection.terminate()
    elif kind == "psycopg_pool.AsyncConnectionPool":
        async with psycopg_pool.AsyncConnectionPool(url, open=False, kwargs=ROWS, **LIMITS) as pool:
            await pool.wait()
            yield pool
    elif kind == "psycopg_pool.ConnectionPool":
        with psycopg_pool.ConnectionPool(url, open=True, kwargs=ROWS, **LIMITS) as pool:
            pool.wait()
            yield pool
    elif kind == "psycopg.AsyncConnection":
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, **ROWS) as connection:
            yield connection
    else:
        with psycopg.Connection.connect(url, autocommit=True, **ROWS) as connection:
            yield connection


QUERIES = {
    "true": "select not pg_is_in_recovery()",
    "false": "select pg_is_in_recovery()",
    "refused": "select * from missing",
}
POOLS = ["asyncpg.Pool", "psycopg_pool.ConnectionPool", "psycopg_pool.AsyncConnectionPool"]
CONNECTIONS = ["asyncpg.Connection", "psycopg.Connection", "psycopg.AsyncConnection"]
KINDS = [*POOLS, *CONNECTIONS, "url"]


def in_pool(pool: Any) -> tuple[int, int]:
    """Return how many connections a pool holds, and how many of them are free."""
    if isinstance(pool, asyncpg.Pool):
        return pool.get_size(), pool.get_idle_size()
    stats = pool.get_stats()
    return stats["pool_size"], stats["pool_available"]


async def wait_until_whole(pool: Any) -> None:
    """Wait until every connection of the pool is back in it."""
    await until(lambda: len(set(in_pool(pool))) == 1 and in_pool(pool)[0], "a whole pool")


async def sessions(server: Postgres, condition: str) -> int:
    """Count the server's sessions of which *condition* is true, other than this one."""
    connection = await asyncpg.connect(server.url())
    try:
        query = f"select count(*) from pg_stat_activity where pid <> pg_backend_pid() and {condition}"
        count: int = await connection.fetchval(query)
        return count
    finally:
        await connection.close()


async def wait_until_none(server: Postgres, condition: str) -> None:
    """Wait until no session of the server has *condition*."""

    async def are_none() -> bool:
        return await sessions(server, condition) == 0

    await until(are_none, f"no session with {condition}")


@pytest.mark.parametrize("kind", KINDS)
def test_server_that_answers_passes(health: HealthChecker, postgres: Postgres, kind: str) -> None:
    """A server that is up passes, and no transaction stays open; what all instances share is not critical."""

    async def run() -> None:
        async with opened(kind, postgres.url()) as client:
            result = await ask(health, checks.postgres(client))
            assert (result.status, result.critical) == ("pass", False)
            assert await sessions(postgres, "state like 'idle in transaction%'") == 0

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_query_decides(health: HealthChecker, postgres: Postgres, kind: str) -> None:
    """A query of the host's fails the check where its first value is false; one that the server refuses fails too."""

    async def run() -> None:
        async with opened(kind, postgres.url()) as client:
            seen = []
            for name, query in QUERIES.items():
                health.add(checks.postgres(client, query=query), name=name, group=name)
                seen += (await health.run(name)).checks
            assert [check.status for check in seen] == ["pass", "fail", "fail"]
            assert seen[1].message == "the query answered false"
            assert seen[2].message.startswith("raised UndefinedTable")

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_server_that_is_gone_fails(
    make_checker: Callable[..., HealthChecker], postgres: Postgres, proxy_to: Callable[[int], Proxy], kind: str
) -> None:
    """Where connections break and new ones are refused, the check fails."""
    proxy = proxy_to(postgres.port)
    health = make_checker(timeout=2.0)

    async def run() -> None:
        async with opened(kind, postgres.url(port=proxy.port)) as client:
            assert (await ask(health, checks.postgres(client))).status == "pass"
            proxy.close()
            assert (await ask(health)).status == "fail"

    asyncio.run(run())


def test_killed_server_fails_until_it_is_back(make_checker: Callable[..., HealthChecker]) -> None:
    """A server that was killed fails the check; once it is back, the same pools pass again."""
    port = free_port()
    health = make_checker(timeout=2.0)

    async def are_all(status: str) -> bool:
        return {check.status for check in (await health.run()).checks} == {status}

    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            with running_postgres(port) as server:
                for kind in (*POOLS, "url"):
                    client = await stack.enter_async_context(opened(kind, server.url()))
                    health.add(checks.postgres(client, name=kind))
                assert await are_all("pass")
                server.process.kill()
                await until(lambda: are_all("fail"), "failure of every check")
            with running_postgres(port):
                await until(lambda: are_all("pass"), "success of every check")

    asyncio.run(run())


@pytest.mark.parametrize("kind", [*POOLS, "url"])
def test_silent_server_fails_in_time_and_keeps_no_connection(
    make_checker: Callable[..., HealthChecker], postgres: Postgres, proxy_to: Callable[[int], Proxy], kind: str
) -> None:
    """A server that says nothing fails at the timeout; the run ends though the server stays silent."""
    proxy = proxy_to(postgres.port)
    health = make_checker(timeout=0.3)

    async def run() -> None:
        async with opened(kind, postgres.url(port=proxy.port)) as client:
            health.add(checks.postgres(client))
            await ask_until(health, "pass")
            proxy.flowing.clear()
            held = proxy.open or {1}
            result = await ask(health)
            assert (result.status, result.message) == ("fail", "no answer within 0.3 s")
            await until(lambda: not held & proxy.open, "end of the connection that the run held")
            proxy.flowing.set()
            await ask_until(health, "pass")
            if kind != "url":
                await wait_until_whole(client)

    asyncio.run(run())


@pytest.mark.parametrize("kind", [*POOLS, "asyncpg.Connection", "url"])
def test_slow_query_is_cancelled(make_checker: Callable[..., HealthChecker], postgres: Postgres, kind: str) -> None:
    """A query that takes too long fails at the timeout, and the server does not go on with it."""
    health = make_checker(timeout=0.3)

    async def run() -> None:
        async with opened(kind, postgres.url()) as client:
            result = await ask(health, checks.postgres(client, query="select pg_sleep(60)"))
            assert (result.status, result.message) == ("fail", "no answer within 0.3 s")
            await wait_until_none(postgres, "query like '%pg_sleep%' and state = 'active'")
            if kind in POOLS:
                await wait_until_whole(client)

    asyncio.run(run())


@pytest.mark.parametrize("kind", POOLS)
def test_exhausted_pool_is_told_apart(
    make_checker: Callable[..., HealthChecker], postgres: Postgres, kind: str
) -> None:
    """Where the application holds all connections, the check says that the pool gave none, and takes none later."""
    health = make_checker(timeout=0.5)

    async def run() -> None:
        async with opened(kind, postgres.url()) as pool:
            health.add(checks.postgres(pool))
            if kind == "asyncpg.Pool":
                async with pool.acquire(), pool.acquire():
                    result = await ask(health)
            elif kind == "psycopg_pool.ConnectionPool":
                with pool.connection(), pool.connection():
                    result = await ask(health)
            else:
                async with pool.connection(), pool.connection():
                    result = await ask(health)
            assert (result.status, result.message) == ("fail", "the pool gave no connection within 0.4 s")
            assert (await ask(health)).status == "pass"
            await wait_until_whole(pool)

    asyncio.run(run())


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_connection_inside_a_transaction_is_left_alone(health: HealthChecker, postgres: Postgres, kind: str) -> None:
    """A single connection that the application has a transaction on is not asked, which is a warning."""

    async def run() -> None:
        async with opened(kind, postgres.url()) as connection:
            begun = connection.execute("begin")
            if kind != "psycopg.Connection":
                await begun
            result = await ask(health, checks.postgres(connection))
            assert (result.status, result.message) == ("warn", "not asked: the application uses the connection")

    asyncio.run(run())


def test_connection_without_autocommit_is_refused(postgres: Postgres) -> None:
    """A connection on which each query would open a transaction is an error that names the fix."""
    with (
        psycopg.connect(postgres.url()) as connection,
        pytest.raises(ValueError, match="Give it a pool, or a connection with autocommit=True"),
    ):
        checks.postgres(connection)


def test_url_leaves_no_connection_open(health: HealthChecker, postgres: Postgres) -> None:
    """A check by URL has closed its connection when it has answered."""

    async def run() -> None:
        result = await ask(health, checks.postgres(postgres.url() + "?application_name=once"))
        assert result.status == "pass"
        await wait_until_none(postgres, "application_name = 'once'")

    asyncio.run(run())


def test_server_that_is_slow_to_close_passes_in_time(
    make_checker: Callable[..., HealthChecker], postgres: Postgres, proxy_to: Callable[[int], Proxy]
) -> None:
    """A server that answers, and then never closes the connection, has answered in time."""
    proxy = proxy_to(postgres.port)
    proxy.hush_on = b"X\0\0\0\4"
    health = make_checker(timeout=5.0)

    async def run() -> None:
        assert (await ask(health, checks.postgres(postgres.url(port=proxy.port)))).status == "pass"
        assert await asyncio.to_thread(proxy.hushed.wait, 30)

    asyncio.run(run())


def test_refused_credentials_are_shown_nowhere(postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong password fails; it stands in no report, metric or answer, and redacted in the log."""
    url = postgres.url(password=WRONG)
    assert shown_secrets(checks.postgres(url), caplog, WRONG) == set()
    assert "InvalidPasswordError" in caplog.text
    assert f"while asking postgresql://***@127.0.0.1:{postgres.port}/postgres" in caplog.text


def test_password_of_a_server_that_is_down_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """The right password, in the address of a server that is down, is hidden as well; so is one in the query."""
    url = f"postgresql://shop:{SECRET}@127.0.0.1:{free_port()}/shop?password={WRONG}"
    assert shown_secrets(checks.postgres(url), caplog, SECRET, WRONG) == set()
    assert "while asking postgresql://***@127.0.0.1" in caplog.text
