"""`checks.redis`, `redis_memory` and `redis_replication` against real Redis servers, in every state."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio

from tests.integration.health.stores.asking import ask, ask_until, shown_secrets, until
from tests.integration.health.stores.conftest import SECRET, WRONG
from tests.servers import free_port, wait_until
from vitalsign.health import checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.integration.health.stores.conftest import Redis
    from tests.integration.health.stores.proxy import Proxy
    from vitalsign.health import HealthChecker

pytestmark = pytest.mark.integration

CLIENTS = ["sync", "async"]
KINDS = [*CLIENTS, "url"]


@contextlib.asynccontextmanager
async def opened(kind: str, url: str, **options: Any) -> AsyncIterator[Any]:
    """Keep a client of *kind* for the block."""
    if kind == "url":
        yield url
    elif kind == "sync":
        with redis.Redis.from_url(url, **options) as client:
            yield client
    else:
        async with redis.asyncio.Redis.from_url(url, **options) as client:
            yield client


@pytest.mark.parametrize("kind", KINDS)
def test_server_that_answers_passes(health: HealthChecker, redis_server: Redis, kind: str) -> None:
    """A server that is up passes, again and again over one connection; what all instances share is not critical."""

    async def run() -> None:
        async with opened(kind, redis_server.url()) as client:
            result = await ask(health, checks.redis(client))
            assert (result.status, result.critical) == ("pass", False)
            assert (await ask(health)).status == "pass"
            with redis.Redis.from_url(redis_server.url()) as other:
                assert len(other.client_list()) == (1 if kind == "url" else 2)

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_killed_server_fails_until_it_is_back(
    make_checker: Callable[..., HealthChecker], start_redis: Callable[..., Redis], kind: str
) -> None:
    """A server that was killed fails the check; once it is back, the same client passes again."""
    port = free_port()
    server = start_redis(port=port)
    health = make_checker(timeout=2.0)

    async def run() -> None:
        async with opened(kind, server.url()) as client:
            assert (await ask(health, checks.redis(client))).status == "pass"
            server.process.kill()
            await ask_until(health, "fail")
            start_redis(port=port)
            await ask_until(health, "pass")

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_server_fails_in_time_and_its_late_answer_is_nobodys(
    make_checker: Callable[..., HealthChecker], redis_server: Redis, kind: str
) -> None:
    """A server that stands still fails at the timeout; when it goes on, its answer meets no other command."""
    health = make_checker(timeout=0.3)

    async def run() -> None:
        async with opened(kind, redis_server.url()) as client:
            health.add(checks.redis(client))
            await ask_until(health, "pass")
            redis_server.process.send_signal(signal.SIGSTOP)
            try:
                result = await ask(health)
                assert (result.status, result.message) == ("fail", "no answer within 0.3 s")
            finally:
                redis_server.process.send_signal(signal.SIGCONT)
            await ask_until(health, "pass")
            if kind != "url":
                echoed = client.echo("mine")
                assert (echoed if kind == "sync" else await echoed) == b"mine"

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_silent_server_gets_its_connection_closed(
    make_checker: Callable[..., HealthChecker], redis_server: Redis, proxy_to: Callable[[int], Proxy], kind: str
) -> None:
    """While the server is still silent, the run has ended and closed its connection."""
    proxy = proxy_to(redis_server.port)
    health = make_checker(timeout=0.3)

    async def run() -> None:
        async with opened(kind, redis_server.url(port=proxy.port)) as client:
            health.add(checks.redis(client))
            await ask_until(health, "pass")
            proxy.flowing.clear()
            held = proxy.open or {1}
            assert (await ask(health)).status == "fail"
            await until(lambda: not held & proxy.open, "end of the connection that the run held")
            proxy.flowing.set()
            await ask_until(health, "pass")

    asyncio.run(run())


def test_server_that_is_slow_to_close_passes_in_time(
    make_checker: Callable[..., HealthChecker], redis_server: Redis, proxy_to: Callable[[int], Proxy]
) -> None:
    """A server that answers PING, and then never closes the connection, has answered."""
    proxy = proxy_to(redis_server.port)
    health = make_checker(timeout=5.0)

    async def run() -> None:
        health.add(checks.redis(redis_server.url(port=proxy.port)))
        assert (await ask(health)).status == "pass"
        proxy.never_closes = True
        assert (await ask(health)).status == "pass"

    asyncio.run(run())


@pytest.mark.parametrize("wrong", [WRONG, ""])
def test_refused_credentials_are_shown_nowhere(
    redis_server: Redis, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    """A wrong password, or none, fails; it stands in no report, metric or answer, and redacted in the log."""
    url = redis_server.url(password=wrong) if wrong else f"redis://127.0.0.1:{redis_server.port}/0"
    assert shown_secrets(checks.redis(url), caplog, WRONG, SECRET) == set()
    assert "AuthenticationError" in caplog.text
    assert ("while asking redis://***@127.0.0.1" in caplog.text) == bool(wrong)


def test_password_of_a_client_is_shown_nowhere(redis_server: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """A client of the application's with a wrong password fails, and shows it nowhere."""
    with redis.Redis.from_url(redis_server.url(password=WRONG)) as client:
        assert shown_secrets(checks.redis(client), caplog, WRONG, SECRET) == set()


# -- memory


@pytest.fixture
def commands(redis_server: Redis) -> Iterator[redis.Redis]:
    """Return a client for settings."""
    with redis.Redis.from_url(redis_server.url()) as client:
        yield client


def limit_memory(commands: redis.Redis, used: float, policy: str = "noeviction") -> None:
    """Set a limit of which the share *used* is used."""
    commands.config_set("maxmemory-policy", policy)
    commands.config_set("maxmemory", int(commands.info("memory")["used_memory"] / used))


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_judged_against_its_limit(
    health: HealthChecker, redis_server: Redis, commands: redis.Redis, kind: str
) -> None:
    """Shares are of maxmemory; above them the check warns or fails, with what is used."""

    async def run() -> None:
        async with opened(kind, redis_server.url()) as client:
            health.add(checks.redis_memory(client))
            seen = []
            for used in (0.1, 0.88, 1.5):
                limit_memory(commands, used, "volatile-lru")
                seen.append(await ask(health))
            assert [(result.status, result.unit, result.critical) for result in seen] == [
                ("pass", "bytes", False),
                ("warn", "bytes", False),
                ("fail", "bytes", False),
            ]
            assert [result.message.rpartition(" used")[2] for result in seen] == [
                "",
                ", more than 80%",
                ", more than 95%",
            ]

    asyncio.run(run())


def test_full_cache_is_healthy(health: HealthChecker, redis_server: Redis, commands: redis.Redis) -> None:
    """A server that may evict every key is not judged by shares of its memory, but by amounts, where they are given."""
    limit_memory(commands, 0.99, "allkeys-lru")
    with redis.Redis.from_url(redis_server.url()) as client:
        health.add(checks.redis_memory(client, name="shares"))
        health.add(checks.redis_memory(client, name="amounts", max_used="1kB"))
        shares, amounts = health.run_sync().checks
    assert (shares.status, amounts.status) == ("pass", "fail")


def test_memory_without_a_limit_is_told_and_not_judged(health: HealthChecker, redis_server: Redis) -> None:
    """A server without maxmemory passes, and says so."""
    with redis.Redis.from_url(redis_server.url()) as client:
        health.add(checks.redis_memory(client))
        (result,) = health.run_sync().checks
    assert result.status == "pass"
    assert result.message.endswith(" used, without a limit")


# -- replication


@pytest.fixture
def pair(start_redis: Callable[..., Redis]) -> tuple[Redis, Redis]:
    """Run a master and its replica, in step."""
    master = start_redis("--repl-diskless-sync-delay", "0")
    replica = start_redis("--replicaof", "127.0.0.1", str(master.port))
    with redis.Redis.from_url(replica.url()) as client:
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", "replication")
    with redis.Redis.from_url(master.url()) as client:
        wait_until(lambda: client.info("replication").get("slave0", {}).get("state") == "online", "the replica's word")
    return master, replica


@pytest.mark.parametrize("kind", KINDS)
def test_replication_that_works_passes(health: HealthChecker, pair: tuple[Redis, Redis], kind: str) -> None:
    """Master and replica pass, each in its role, with the lag; in the other's role they fail."""
    master, replica = pair

    async def run() -> None:
        async with opened(kind, master.url()) as first, opened(kind, replica.url()) as second:
            health.add(checks.redis_replication(first, role="master", min_replicas=1, name="a"))
            health.add(checks.redis_replication(second, role="replica", name="b"))
            health.add(checks.redis_replication(second, role="master", name="c"))
            health.add(checks.redis_replication(first, min_replicas=2, name="d"))
            results = (await health.run()).checks
            assert [result.status for result in results] == ["pass", "pass", "fail", "fail"]
            assert [result.message for result in results] == [
                "1 of 1 replicas keep up",
                "the link to the master is up",
                "is a replica, not a master",
                "1 of 1 replicas keep up, fewer than 2",
            ]
            assert [result.unit for result in results] == ["seconds", "seconds", "", "seconds"]

    asyncio.run(run())


def test_replica_without_master_fails(health: HealthChecker, pair: tuple[Redis, Redis]) -> None:
    """A replica fails as soon as its link to the master is down."""
    master, replica = pair

    async def run() -> None:
        health.add(checks.redis_replication(replica.url()))
        assert (await ask(health)).status == "pass"
        master.process.kill()
        assert (await ask_until(health, "fail")).message == "the link to the master is down"

    asyncio.run(run())


@pytest.mark.parametrize("stopped", ["master", "replica"])
def test_silence_between_servers_is_lag(health: HealthChecker, pair: tuple[Redis, Redis], stopped: str) -> None:
    """Where one of the two stands still, the other tells how long it has not heard of it."""
    silent, other = pair if stopped == "master" else reversed(pair)

    async def run() -> None:
        health.add(checks.redis_replication(other.url(), max_lag=1.0, min_replicas=1))
        silent.process.send_signal(signal.SIGSTOP)
        try:
            result = await ask_until(health, "fail")
        finally:
            silent.process.send_signal(signal.SIGCONT)
        assert isinstance(result.value, int)
        assert result.value > 1
        lag = f"the master was last heard of {result.value} s ago"
        assert result.message == (lag if stopped == "master" else "0 of 1 replicas keep up, fewer than 1")

    asyncio.run(run())
