"""The metrics page as an application: exact paths, its own thread, and clients that leave."""

from __future__ import annotations

import asyncio
import gzip
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from tests.processes import forked, run_script
from tests.unit.asgi.driver import Client, call, http_scope, request
from vitalsign import Counter, generate_latest
from vitalsign.asgi import metrics_app

if TYPE_CHECKING:
    from collections.abc import Iterator


class Slow:
    """A collector that waits until it is told to go on."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.may_end = threading.Event()
        self.threads: list[threading.Thread] = []

    def describe(self) -> list[Any]:
        """Describe nothing, so that registering collects nothing."""
        return []

    def collect(self) -> Iterator[Any]:
        """Wait."""
        self.threads.append(threading.current_thread())
        self.started.set()
        assert self.may_end.wait(60)
        yield GaugeMetricFamily("slow", "A value that took its time.", value=1)


@pytest.fixture
def slow(registry: CollectorRegistry) -> Iterator[Slow]:
    """Register a collector that waits, and let it go on when the test ends."""
    collector = Slow()
    registry.register(collector)
    yield collector
    collector.may_end.set()
    for thread in collector.threads:
        thread.join(60)


@pytest.fixture
def orders(registry: CollectorRegistry) -> Counter:
    """Count something."""
    counter = Counter("shop_orders", "Orders.", registry=registry)
    counter.inc()
    return counter


# -- where it stands


@pytest.mark.parametrize("make", [Starlette, FastAPI])
def test_exact_path_answers_without_a_redirect(make, orders, registry):
    """Added as a route, the page answers its path to GET and HEAD, and tells other methods so."""
    app = make()
    app.add_route("/metrics", metrics_app(registry=registry))
    with TestClient(app, follow_redirects=False) as client:
        page, head = client.get("/metrics"), client.head("/metrics")
        refused = client.post("/metrics")
    assert (page.status_code, page.content) == (200, generate_latest(registry))
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == page.headers
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_as_a_route_of_a_list(orders, registry):
    """The page can stand in a list of routes."""
    app = Starlette(routes=[Route("/metrics", metrics_app(registry=registry))])
    assert request(app, "/metrics").text == generate_latest(registry).decode()


def test_mounted(orders, registry):
    """Mounted, the page answers below its prefix."""
    app = Starlette(routes=[Mount("/metrics", app=metrics_app(registry=registry))])
    assert request(app, "/metrics/").text == generate_latest(registry).decode()


def test_as_an_application_of_its_own(orders, registry):
    """Served alone, the page answers every path, and takes part in the server's lifespan."""
    app: Any = metrics_app(registry=registry)
    with TestClient(app) as client:
        assert client.get("/metrics").content == generate_latest(registry)
        assert client.get("/").status_code == 200


def test_default_registry():
    """Without a registry the page shows prometheus_client's default one."""
    assert "python_info{" in request(metrics_app(), "/metrics").text


def test_websocket_is_refused(registry):
    """A websocket to the page is closed."""
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    asyncio.run(metrics_app(registry=registry)({"type": "websocket", "path": "/"}, receive, send))
    assert sent == ["websocket.close"]


# -- what it answers


def test_negotiation_and_filter(orders, registry):
    """Headers and query reach the page: OpenMetrics, compression, the filter by name."""
    app = metrics_app(registry=registry)
    accept = (b"accept", b"application/openmetrics-text")
    assert request(app, headers=[accept]).text.endswith("# EOF\n")
    zipped = request(app, headers=[(b"accept-encoding", b"gzip")])
    assert gzip.decompress(zipped.sent[1]["body"]) == generate_latest(registry)
    assert request(app, query_string=b"name[]=nothing").text == ""
    assert request(app, method="HEAD").sent[1] == {"type": "http.response.body", "body": b""}


def test_broken_collector_is_left_out(orders, registry):
    """A collector that raises costs its own metrics, not the page."""

    class Broken:
        def describe(self) -> list[Any]:
            return []

        def collect(self) -> Any:
            raise LookupError

    registry.register(Broken())
    client = request(metrics_app(registry=registry))
    assert client.status == 200
    assert "shop_orders_total 1.0\n" in client.text


def test_page_that_cannot_be_rendered(orders, registry, monkeypatch):
    """A failure of the rendering itself is a 500 that tells nothing about the inside, and the next page is whole."""

    def fail(*_: Any) -> Any:
        raise LookupError("secret")

    app = metrics_app(registry=registry)
    with monkeypatch.context() as patch:
        patch.setattr("vitalsign._http_endpoint.render", fail)
        failed = request(app)
    assert failed.status == 500
    assert "secret" not in failed.text
    assert request(app).status == 200


# -- its thread


def test_event_loop_runs_while_the_page_is_rendered(slow, registry):
    """Rendering takes no thread from the application: neither the event loop's nor one of its executor."""

    async def scrape() -> Client:
        scraped = asyncio.ensure_future(call(metrics_app(registry=registry)))
        await asyncio.to_thread(slow.started.wait, 60)  # the loop turns, although the page is being rendered
        pool = await asyncio.to_thread(threading.current_thread)
        slow.may_end.set()
        client = await scraped
        assert slow.threads[0] not in (threading.current_thread(), pool)
        return client

    assert "slow 1.0\n" in asyncio.run(scrape()).text


def test_simultaneous_scrapes(orders, registry):
    """Many scrapes at once are all answered, each in its own format."""
    app = metrics_app(registry=registry)
    openmetrics = [(b"accept", b"application/openmetrics-text")]

    async def scrape() -> list[Client]:
        return await asyncio.gather(*[call(app, headers=openmetrics if number % 2 else []) for number in range(40)])

    pages = {client.text for client in asyncio.run(scrape())}
    assert len(pages) == 2


def test_thread_ends_with_its_work(slow, registry):
    """When nothing is left to render, no thread is left either."""
    app = metrics_app(registry=registry)
    slow.may_end.set()
    for _ in range(3):
        request(app)
    for thread in slow.threads:
        thread.join(60)
        assert not thread.is_alive()


async def give_up(app: Any, slow: Slow) -> None:
    """Cancel a scrape while its page is being rendered."""
    scraped = asyncio.ensure_future(call(app))
    await asyncio.to_thread(slow.started.wait, 60)
    scraped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scraped


def test_client_leaves_while_the_page_is_rendered(slow, registry):
    """A scrape that is cancelled does no harm to the next one."""
    app = metrics_app(registry=registry)
    complaints: list[Any] = []

    async def scrape() -> Client:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        await give_up(app, slow)
        slow.may_end.set()
        return await call(app)

    assert "slow 1.0\n" in asyncio.run(scrape()).text
    assert complaints == []


def test_event_loop_ends_while_the_page_is_rendered(slow, registry):
    """A page that is ready when its event loop is gone does no harm to the next one."""
    app = metrics_app(registry=registry)
    asyncio.run(give_up(app, slow))
    slow.may_end.set()
    assert "slow 1.0\n" in request(app).text


def test_cancelled_scrapes_are_not_rendered(slow, registry):
    """A scrape that was given up while it waited for its turn is not rendered any more."""
    app = metrics_app(registry=registry)

    async def scrape() -> Client:
        first = asyncio.ensure_future(call(app))
        await asyncio.to_thread(slow.started.wait, 60)
        waiting = [asyncio.ensure_future(call(app)) for _ in range(10)]
        await asyncio.sleep(0)
        for scrape in waiting:
            scrape.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        slow.may_end.set()
        return await first

    assert asyncio.run(scrape()).status == 200
    request(app)
    assert len(slow.threads) == 2


def test_simultaneous_scrapes_share_one_rendering(slow, registry):
    """Ten scrapes at once ask each collector once, and all get the page."""
    app = metrics_app(registry=registry)

    async def scrape() -> list[Client]:
        scrapes = [asyncio.ensure_future(call(app)) for _ in range(10)]
        await asyncio.to_thread(slow.started.wait, 60)
        scrapes += [asyncio.ensure_future(call(app)) for _ in range(10)]
        await asyncio.sleep(0)
        slow.may_end.set()
        return await asyncio.gather(*scrapes)

    clients = asyncio.run(scrape())
    assert {client.text.partition("slow 1.0")[1] for client in clients} == {"slow 1.0"}
    assert len(slow.threads) == 1


def test_collector_that_hangs_past_the_deadline_is_left_out(slow, orders, registry):
    """A collector that takes longer than the scraper waits costs its own metrics only, and is not asked twice."""
    app = metrics_app(registry=registry)
    hurried = [(b"x-prometheus-scrape-timeout-seconds", b"0.4")]
    for _ in range(2):
        client = request(app, headers=hurried)
        assert client.status == 200
        assert "shop_orders_total 1.0\n" in client.text
        assert "slow" not in client.text
    assert len(slow.threads) == 1
    slow.may_end.set()
    slow.threads[0].join(60)
    assert "slow 1.0\n" in request(app, headers=[(b"x-prometheus-scrape-timeout-seconds", b"60")]).text


def test_client_that_has_left_when_the_page_is_ready(orders, registry):
    """A page that cannot be sent is the server's to note; the next scrape is answered."""
    app = metrics_app(registry=registry)
    client = Client(leaves_after=0)
    with suppress(OSError):
        asyncio.run(app(http_scope(), client.receive, client.send))
    assert request(app).status == 200


def test_scrape_after_a_fork_in_the_middle_of_a_request(registry):
    """A process forked while a thread of its parent's was asking for a page has no lock of that thread's."""
    Counter("shop_orders", "Orders.", registry=registry)
    app = metrics_app(registry=registry)
    with app._pages._worker._lock, app._pages._endpoint._lock:
        text: str = forked(lambda: request(app).text)
    assert "shop_orders_total 0.0\n" in text


def test_collector_that_ends_its_thread(orders, registry):
    """A collector that raises SystemExit ends neither the rendering thread nor the wait of those who asked."""

    class Leaving:
        leaves = True

        def describe(self) -> list[Any]:
            return []

        def collect(self) -> Any:
            if self.leaves:
                raise SystemExit
            return []

    leaving = Leaving()
    registry.register(leaving)
    app = metrics_app(registry=registry)
    assert [request(app).status for _ in range(2)] == [500, 500]
    leaving.leaves = False
    assert request(app).status == 200


def test_no_thread_to_be_had(orders, registry, monkeypatch):
    """A scrape for which the system has no thread left is answered with 500, and the next one is whole."""

    def refuse(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    app = metrics_app(registry=registry)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert request(app).status == 500
    assert request(app).status == 200


def test_scrape_after_a_fork(slow, registry):
    """A process forked while a page was being rendered renders its own."""
    app = metrics_app(registry=registry)
    other = CollectorRegistry()
    Counter("shop_orders", "Orders.", registry=other)

    async def fork() -> str:
        scraped = asyncio.ensure_future(call(app))
        await asyncio.to_thread(slow.started.wait, 60)
        app._pages._endpoint._registry = other
        text: str = await asyncio.to_thread(forked, lambda: request(app).text)
        slow.may_end.set()
        await scraped
        return text

    assert "shop_orders_total 0.0\n" in asyncio.run(fork())


def test_process_ends_although_a_collector_hangs():
    """A collector that never returns does not keep the interpreter from ending."""
    printed = run_script(
        """
        import asyncio, threading
        from prometheus_client import CollectorRegistry
        from vitalsign.asgi import metrics_app

        class Hanging:
            def describe(self): return []
            def collect(self):
                started.set()
                threading.Event().wait()

        async def scrape():
            scope = {"type": "http", "method": "GET", "headers": []}
            try:
                await asyncio.wait_for(metrics_app(registry=registry)(scope, None, None), 3)
            except TimeoutError:
                print("given up", started.is_set())

        started, registry = threading.Event(), CollectorRegistry()
        registry.register(Hanging())
        asyncio.run(scrape())
        """
    )
    assert printed == "given up True\n"
