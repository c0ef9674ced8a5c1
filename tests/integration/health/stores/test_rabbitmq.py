"""`checks.rabbitmq` and `checks.rabbitmq_queue` against a real RabbitMQ, in every state of the broker."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from typing import TYPE_CHECKING, Any

import aio_pika
import pika
import pytest

from tests.integration.health.stores.asking import ask, ask_until, shown_secrets, until
from tests.integration.health.stores.conftest import SECRET, WRONG
from tests.servers import free_port
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.integration.health.stores.conftest import RabbitMQ
    from tests.integration.health.stores.proxy import Proxy
    from vitalsign.health import HealthChecker

pytestmark = pytest.mark.integration

KINDS = ["aio_pika", "aio_pika robust", "pika", "url"]
CLOSE = b"\x00\x0a\x00\x32"
"""Class and method of AMQP's Connection.Close."""


@contextlib.contextmanager
def attended(url: str) -> Iterator[pika.BlockingConnection]:
    """Keep a connection of pika that a thread of its own attends to."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    ended = threading.Event()

    def attend() -> None:
        with contextlib.suppress(pika.exceptions.AMQPError):
            while not ended.is_set():
                connection.process_data_events(time_limit=0.05)
            connection.close()

    thread = threading.Thread(target=attend)
    thread.start()
    try:
        yield connection
    finally:
        ended.set()
        thread.join()


@contextlib.asynccontextmanager
async def opened(kind: str, url: str) -> AsyncIterator[Any]:
    """Keep a connection of *kind* for the block."""
    if kind == "url":
        yield url
    elif kind == "pika":
        with attended(url) as blocking:
            yield blocking
    else:
        connect = aio_pika.connect_robust if "robust" in kind else aio_pika.connect
        connection = await connect(url)
        async with connection:
            yield connection


@pytest.mark.parametrize("kind", KINDS)
def test_broker_that_answers_passes(health: HealthChecker, rabbitmq: RabbitMQ, kind: str) -> None:
    """A broker that is up passes, again and again, and no channel stays open; what is shared is not critical."""

    async def run() -> None:
        async with opened(kind, rabbitmq.url()) as connection:
            result = await ask(health, checks.rabbitmq(connection))
            assert (result.status, result.critical) == ("pass", False)
            assert (await ask(health)).status == "pass"
            if kind.startswith("aio_pika"):
                assert not connection.transport.connection.channels

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_broker_that_is_gone_fails(
    make_checker: Callable[..., HealthChecker], rabbitmq: RabbitMQ, proxy_to: Callable[[int], Proxy], kind: str
) -> None:
    """Where the connection breaks and a new one is refused, the check fails."""
    proxy = proxy_to(rabbitmq.port)
    health = make_checker(timeout=2.0)

    async def run() -> None:
        async with opened(kind, rabbitmq.url(port=proxy.port)) as connection:
            assert (await ask(health, checks.rabbitmq(connection))).status == "pass"
            proxy.close()
            await ask_until(health, "fail")

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["aio_pika", "aio_pika robust", "url"])
def test_silent_broker_fails_in_time_and_leaves_no_channel(
    make_checker: Callable[..., HealthChecker], rabbitmq: RabbitMQ, proxy_to: Callable[[int], Proxy], kind: str
) -> None:
    """A broker that says nothing fails in time; once it goes on, the connection passes, without new channels."""
    proxy = proxy_to(rabbitmq.port)
    health = make_checker(timeout=0.5)

    async def run() -> None:
        async with opened(kind, rabbitmq.url(port=proxy.port)) as connection:
            health.add(checks.rabbitmq(connection))
            await ask_until(health, "pass")
            proxy.flowing.clear()
            result = await ask(health)
            assert (result.status, result.message) == ("fail", "no answer within 0.5 s")
            proxy.flowing.set()
            await ask_until(health, "pass")
            if kind != "url":
                channels = connection.transport.connection.channels
                await until(lambda: not channels, "end of the channels")

    asyncio.run(run())


def test_robust_connection_passes_again_when_it_is_back(
    make_checker: Callable[..., HealthChecker], rabbitmq: RabbitMQ, proxy_to: Callable[[int], Proxy]
) -> None:
    """A connection that was lost fails the check, and passes once aio_pika has made it anew, without our channels."""
    proxy = proxy_to(rabbitmq.port)
    health = make_checker(timeout=2.0)

    async def run() -> None:
        url = rabbitmq.url(port=proxy.port) + "?reconnect_interval=0.1"
        async with opened("aio_pika robust", url) as connection:
            assert (await ask(health, checks.rabbitmq(connection))).status == "pass"
            proxy.drop()
            await ask_until(health, "fail")
            await ask_until(health, "pass")
            assert not connection.transport.connection.channels

    asyncio.run(run())


def test_broker_that_is_slow_to_close_passes_in_time(
    make_checker: Callable[..., HealthChecker], rabbitmq: RabbitMQ, proxy_to: Callable[[int], Proxy]
) -> None:
    """A broker that answers, and then never agrees to close, has answered in time."""
    proxy = proxy_to(rabbitmq.port)
    proxy.hush_on = CLOSE
    health = make_checker(timeout=5.0)

    async def run() -> None:
        assert (await ask(health, checks.rabbitmq(rabbitmq.url(port=proxy.port)))).status == "pass"
        assert proxy.hushed.is_set()

    asyncio.run(run())


def test_closed_connections_fail_at_once(health: HealthChecker, rabbitmq: RabbitMQ) -> None:
    """A connection that the application has closed fails the check, which says so."""

    async def run() -> None:
        for kind in ("aio_pika", "pika"):
            async with opened(kind, rabbitmq.url()) as connection:
                health.add(checks.rabbitmq(connection, name=kind))
        results = (await health.run()).checks
        assert [(result.status, result.message) for result in results] == [("fail", "the connection is closed")] * 2

    asyncio.run(run())


def test_pika_connection_that_nobody_attends_to_fails(
    make_checker: Callable[..., HealthChecker], rabbitmq: RabbitMQ
) -> None:
    """A thread that does not come to its connection's callbacks fails the check."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url()))
    health = make_checker(timeout=0.5)
    health.add(checks.rabbitmq(connection))
    (result,) = health.run_sync().checks
    assert result.status == "fail"
    assert result.message == "the connection's thread has not attended to it within 0.4 s"
    connection.process_data_events(time_limit=0)
    connection.close()


def test_url_leaves_no_connection_open(
    health: HealthChecker, rabbitmq: RabbitMQ, proxy_to: Callable[[int], Proxy]
) -> None:
    """A check by URL has closed its connection when it has answered."""
    proxy = proxy_to(rabbitmq.port)
    health.add(checks.rabbitmq(rabbitmq.url(port=proxy.port)))
    assert health.run_sync().checks[0].status == "pass"
    asyncio.run(_closed(proxy))


async def _closed(proxy: Proxy) -> None:
    await until(lambda: not proxy.open, "end of the connection")


def test_refused_credentials_are_shown_nowhere(rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong password, and that of a broker which is down, are shown nowhere, and redacted in the log."""
    port = free_port()
    for url in (rabbitmq.url(password=WRONG), f"amqp://shop:{SECRET}@127.0.0.1:{port}/"):
        assert shown_secrets(checks.rabbitmq(url), caplog, WRONG, SECRET) == set()
        gc.collect()  # a connection that was left half made would warn now
    assert f"while asking amqp://***@127.0.0.1:{port}/" in caplog.text
    assert f"while asking amqp://***@127.0.0.1:{rabbitmq.port}/" in caplog.text


# -- queues


@pytest.mark.parametrize("kind", ["aio_pika", "aio_pika robust", "url"])
def test_queue_is_judged_by_its_messages_and_consumers(health: HealthChecker, rabbitmq: RabbitMQ, kind: str) -> None:
    """Too many messages fail or warn, too few consumers fail, and so does a missing queue, which is not made."""

    async def run() -> None:
        async with opened(kind, rabbitmq.url()) as connection, await aio_pika.connect(rabbitmq.url()) as own:
            channel = await own.channel()
            name = f"orders-{kind}"
            await channel.declare_queue(name, exclusive=kind == "none")
            for _ in range(3):
                await channel.default_exchange.publish(aio_pika.Message(b""), name)
            for number, (settings, queue) in enumerate(
                (
                    ({"max_ready": 3}, name),
                    ({"max_ready": 9, "warn_ready": 2}, name),
                    ({"max_ready": 2}, name),
                    ({"min_consumers": 1}, name),
                    ({}, "missing"),
                    ({}, "missing"),
                )
            ):
                health.add(checks.rabbitmq_queue(connection, queue, name=f"q{number}", **settings))  # type: ignore[arg-type]
            results = (await health.run()).checks
            await channel.queue_delete(name)
            assert [(result.status, result.message) for result in results] == [
                ("pass", "3 messages wait"),
                ("warn", "3 messages wait, more than 2"),
                ("fail", "3 messages wait, more than 2"),
                ("fail", "0 consumers, fewer than 1"),
                ("fail", "raised ChannelNotFoundEntity"),
                ("fail", "raised ChannelNotFoundEntity"),
            ]
            assert (results[0].value, results[0].unit) == (3, "messages")

    asyncio.run(run())


def test_pika_connection_cannot_ask_for_a_queue(rabbitmq: RabbitMQ) -> None:
    """A connection of pika, which would have to wait on the application's thread, is refused with what to give."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url()))
    with pytest.raises(HealthCheckError, match=r"Give a connection of aio_pika, or a URL such as 'amqp://host/'"):
        checks.rabbitmq_queue(connection, "orders")
    connection.close()
