"""`checks.sqlalchemy` and `checks.alembic` over real engines, sync and async."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from tests.integration.health.stores.asking import ask, ask_until, shown_secrets, until
from tests.integration.health.stores.conftest import SECRET, WRONG
from tests.servers import free_port
from vitalsign.health import checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.integration.health.stores.conftest import Postgres
    from tests.integration.health.stores.proxy import Proxy
    from vitalsign.health import HealthChecker

pytestmark = pytest.mark.integration

SYNC = ["postgresql+psycopg"]
KINDS = [*SYNC, "postgresql+psycopg async", "postgresql+asyncpg async"]


@contextlib.asynccontextmanager
async def opened(kind: str, server: Postgres, *, port: int | None = None, **options: Any) -> AsyncIterator[Any]:
    """Keep an engine of *kind* for the block."""
    scheme, _, is_async = kind.partition(" ")
    url = server.url(port=port, scheme=scheme)
    options = {"pool_size": 1, "max_overflow": 0, **options}
    if is_async:
        engine = create_async_engine(url, **options)
        yield engine
        await engine.dispose()
    else:
        sync_engine = create_engine(url, **options)
        yield sync_engine
        sync_engine.dispose()


def checked_out(engine: Any) -> int:
    """Return how many connections are out of an engine's pool."""
    out: int = engine.pool.checkedout()
    return out


async def running_queries(server: Postgres, like: str) -> int:
    """Count the sessions that are busy with a query, or a transaction that had one."""
    engine = create_async_engine(server.url(scheme="postgresql+asyncpg"))
    async with engine.connect() as connection:
        query = (
            "select count(*) from pg_stat_activity where pid <> pg_backend_pid() "
            f"and query like '{like}' and state in ('active', 'idle in transaction')"
        )
        count: int = (await connection.exec_driver_sql(query)).scalar_one()
    await engine.dispose()
    return count


@pytest.mark.parametrize("kind", KINDS)
def test_database_that_answers_passes(health: HealthChecker, postgres: Postgres, kind: str) -> None:
    """An engine whose database is up passes, with the query of its dialect; its connection is back in the pool."""

    async def run() -> None:
        async with opened(kind, postgres) as engine:
            result = await ask(health, checks.sqlalchemy(engine))
            assert (result.name, result.status, result.critical) == ("database", "pass", False)
            assert (await ask(health)).status == "pass"
            assert checked_out(engine) == 0
            assert await running_queries(postgres, "SELECT %") == 0

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_query_decides(health: HealthChecker, postgres: Postgres, kind: str) -> None:
    """A query of the host's fails the check where its first value is false; one that the server refuses fails too."""

    async def run() -> None:
        async with opened(kind, postgres) as engine:
            for query in ("select true", "select false", "select * from missing"):
                health.add(checks.sqlalchemy(engine, query=query, name=query.replace(" ", "-").replace("*", "all")))
            results = (await health.run()).checks
            assert [result.status for result in results] == ["pass", "fail", "fail"]
            assert [result.message for result in results] == ["", "the query answered false", "raised ProgrammingError"]
            assert checked_out(engine) == 0

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_server_that_is_gone_fails(
    health: HealthChecker, postgres: Postgres, proxy_to: Callable[[int], Proxy], kind: str
) -> None:
    """Where connections break and new ones are refused, the check fails, and its connection is not held."""
    proxy = proxy_to(postgres.port)

    async def run() -> None:
        async with opened(kind, postgres, port=proxy.port) as engine:
            assert (await ask(health, checks.sqlalchemy(engine, timeout=5.0))).status == "pass"
            proxy.close()
            for _ in range(2):
                assert (await ask(health)).status == "fail"
            assert checked_out(engine) == 0

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_silent_server_fails_in_time_and_keeps_no_connection(
    make_checker: Callable[..., HealthChecker], postgres: Postgres, proxy_to: Callable[[int], Proxy], kind: str
) -> None:
    """A server that says nothing fails at the timeout; the run ends though the server stays silent."""
    proxy = proxy_to(postgres.port)
    health = make_checker(timeout=0.3)

    async def run() -> None:
        async with opened(kind, postgres, port=proxy.port) as engine:
            health.add(checks.sqlalchemy(engine))
            await ask_until(health, "pass")
            proxy.flowing.clear()
            held = proxy.open
            result = await ask(health)
            assert (result.status, result.message) == ("fail", "no answer within 0.3 s")
            await until(lambda: not held & proxy.open, "end of the connection that the run held")
            proxy.flowing.set()
            await ask_until(health, "pass")
            await until(lambda: checked_out(engine) == 0, "a whole pool")

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_slow_query_is_cancelled(make_checker: Callable[..., HealthChecker], postgres: Postgres, kind: str) -> None:
    """A query that takes too long fails at the timeout, and the server does not go on with it."""
    health = make_checker(timeout=0.3)

    async def run() -> None:
        async with opened(kind, postgres) as engine:
            result = await ask(health, checks.sqlalchemy(engine, query="select pg_sleep(61)"))
            assert (result.status, result.message) == ("fail", "no answer within 0.3 s")
            await until(lambda: checked_out(engine) == 0, "a whole pool")

            async def is_over() -> bool:
                return await running_queries(postgres, "select pg_sleep(61)") == 0

            await until(is_over, "end of the query")

    asyncio.run(run())


def test_sqlite_engine_passes(health: HealthChecker) -> None:
    """An engine of another database is asked in its own dialect, sync and async."""

    async def run() -> None:
        sync_engine, async_engine = create_engine("sqlite://"), create_async_engine("sqlite+aiosqlite://")
        health.add(checks.sqlalchemy(sync_engine, name="sync"))
        health.add(checks.sqlalchemy(async_engine, name="async"))
        assert [result.status for result in (await health.run()).checks] == ["pass", "pass"]
        sync_engine.dispose()
        await async_engine.dispose()

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_password_of_an_engine_is_shown_nowhere(
    postgres: Postgres, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """A wrong password, and the right one of a server that is down, are hidden in report, metrics, answers and log."""
    scheme, _, is_async = kind.partition(" ")
    make = create_async_engine if is_async else create_engine
    down = f"{scheme}://shop:{SECRET}@127.0.0.1:{free_port()}/shop"
    for url in (postgres.url(scheme=scheme, password=WRONG), down):
        engine: Any = make(url)
        assert shown_secrets(checks.sqlalchemy(engine), caplog, SECRET, WRONG) == set()
    assert "authentication failed" in caplog.text


# -- migrations by Alembic


REVISION = """
revision, down_revision = {revision!r}, {down!r}


def upgrade():
    pass
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """Write a directory of scripts: `one`, and `two` after it."""
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    for revision, down in (("one", None), ("two", "one")):
        (versions / f"{revision}.py").write_text(REVISION.format(revision=revision, down=down))
    (tmp_path / "migrations" / "env.py").touch()
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    return versions.parent


def stamp(path: Path, revision: str) -> None:
    """Note in the database at *path* that it is at *revision*."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        context = MigrationContext.configure(connection)
        context._ensure_version_table()
        connection.exec_driver_sql("delete from alembic_version")
        connection.exec_driver_sql(f"insert into alembic_version values ('{revision}')")
    engine.dispose()


@pytest.mark.parametrize("is_async", [False, True])
def test_migrations_are_compared_with_the_scripts(
    health: HealthChecker, tmp_path: Path, scripts: Path, is_async: bool
) -> None:
    """Behind the head fails, at the head passes, and ahead of what this release knows warns."""
    path = tmp_path / "shop.db"

    async def run() -> None:
        engine: Any = (
            create_async_engine(f"sqlite+aiosqlite:///{path}") if is_async else create_engine(f"sqlite:///{path}")
        )
        health.add(checks.alembic(engine, scripts, ttl=0))
        seen = [await ask(health)]
        for revision in ("one", "two", "three"):
            await asyncio.to_thread(stamp, path, revision)
            seen.append(await ask(health))
        assert [(result.status, result.message) for result in seen] == [
            ("fail", "without any migration, not at head two"),
            ("fail", "at one, not at head two"),
            ("pass", "at head"),
            ("warn", "ahead of this release, at three"),
        ]
        assert (seen[0].name, seen[0].critical) == ("migrations", False)
        if is_async:
            await engine.dispose()
        else:
            engine.dispose()

    asyncio.run(run())


def test_scripts_are_found_by_directory_file_and_configuration(
    health: HealthChecker, tmp_path: Path, scripts: Path
) -> None:
    """The scripts may be given as their directory, as alembic.ini, or as Alembic's configuration."""
    path = tmp_path / "shop.db"
    stamp(path, "two")
    engine = create_engine(f"sqlite:///{path}")
    for number, given in enumerate((scripts, tmp_path / "alembic.ini", Config(str(tmp_path / "alembic.ini")))):
        health.add(checks.alembic(engine, given, name=f"given-{number}"))
    assert [result.status for result in health.run_sync().checks] == ["pass"] * 3
    engine.dispose()


def test_version_table_of_another_name_is_read(health: HealthChecker, tmp_path: Path, scripts: Path) -> None:
    """What env.py says about the version table is told to the check too."""
    path = tmp_path / "shop.db"
    stamp(path, "two")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("alter table alembic_version rename to shop_version")
    health.add(checks.alembic(engine, scripts, version_table="shop_version"))
    assert health.run_sync().checks[0].status == "pass"
    engine.dispose()
