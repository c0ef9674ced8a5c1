"""What 50,000 hostile requests leave behind: few series, no memory, no error."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tests.unit.asgi.driver import counted, endpoints
from tests.unit.asgi.hostile import hostile_scope
from tests.unit.wsgi.test_wsgi_middleware import answering
from tests.unit.wsgi.test_wsgi_middleware import request as wsgi_request
from vitalsign import generate_latest
from vitalsign.asgi import MetricsMiddleware
from vitalsign.wsgi import MetricsMiddleware as WsgiMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

SCANS = [("prometheus", 50_000), ("opentelemetry", 20_000)]
KEPT = 64 * 1024
"""Bytes by which memory may differ from one look to the next: a series for each request would take far more."""


def failures() -> float:
    """Return all failures that the library has counted."""
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "vitalsign_internal_errors_total"
    )


def memory_grown_by(scan: Callable[[int], object]) -> int:
    """Return the bytes by which memory grows from one look to the next, with 2,500 requests in between."""
    gc.collect()
    tracemalloc.start()
    try:
        scan(500)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
        scan(2_500)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - kept
    finally:
        tracemalloc.stop()


async def receive() -> Any:
    """Bring an empty body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Any) -> None:
    """Take a message."""


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(("names", "requests"), SCANS)
def test_hostile_requests_leave_bounded_series_and_memory(names, requests, registry):
    """However many they are, the labels are ours, memory does not grow, and the application sees no error."""
    scan_by_asgi(names, requests, registry)


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
def test_hostile_requests_in_pure_python(registry, monkeypatch):
    """So it is without the compiled part; fewer of them show it as well."""
    monkeypatch.setattr("vitalsign._http_exchange.native", None)
    scan_by_asgi("prometheus", 5_000, registry)


def scan_by_asgi(names: Any, requests: int, registry: CollectorRegistry) -> None:
    """Make the requests, and look at what they have left."""
    app = Starlette(
        routes=[
            Route("/users/{id}", lambda request: PlainTextResponse("ok")),
            Mount("/files", routes=[Route("/{path:path}", lambda request: PlainTextResponse("file"))]),
        ]
    )
    middleware = MetricsMiddleware(app, registry=registry, names=names, first_byte=True, exclude="/health*")
    chance = random.Random(4)

    async def scan(number: int) -> None:
        for _ in range(number):
            await middleware(hostile_scope(chance), receive, send)

    before = failures()
    asyncio.run(scan(requests))
    series = {(metric.name, len(metric.samples)) for metric in registry.collect()}
    assert memory_grown_by(lambda number: asyncio.run(scan(number))) < KEPT
    assert failures() == before
    assert {(metric.name, len(metric.samples)) for metric in registry.collect()} == series
    assert len(middleware._recorder.known) < 100
    assert len(generate_latest(registry).splitlines()) < 10_000
    if names == "prometheus":
        assert endpoints(registry) == {"__unmatched__", "/users/{id}", "/files/{path}"}
        assert sum(counted(registry).values()) == requests + 3_000
        assert set(counted(registry, "http_requests_in_progress").values()) == {0}


def hostile_environ(chance: random.Random) -> dict[str, Any]:
    """Return such a request as WSGI has it; path and method too."""
    scope = hostile_scope(chance)
    headers = {
        "HTTP_" + name.decode("latin-1").upper().replace("-", "_"): value.decode("latin-1")
        for name, value in scope["headers"]
    }
    length = headers.pop("HTTP_CONTENT_LENGTH")
    return {
        **headers,
        "CONTENT_LENGTH": length,
        "PATH_INFO": scope["path"].encode("utf-8", "replace").decode("latin-1"),
        "REQUEST_METHOD": scope["method"],
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.url_scheme": scope["scheme"],
    }


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(("names", "requests"), SCANS)
def test_hostile_requests_by_wsgi(names, requests, registry):
    """The same holds for WSGI."""

    def route(environ: Any) -> str | None:
        return "/users/{id}" if environ["PATH_INFO"].startswith("/users/") else None

    app = WsgiMiddleware(answering([b"ok"]), registry=registry, names=names, first_byte=True, route=route)
    chance = random.Random(4)

    def scan(number: int) -> None:
        for _ in range(number):
            environ = hostile_environ(chance)
            path, method = environ.pop("PATH_INFO"), environ.pop("REQUEST_METHOD")
            assert wsgi_request(app, path, method, **environ).text == "ok"

    before = failures()
    scan(requests)
    series = {(metric.name, len(metric.samples)) for metric in registry.collect()}
    assert memory_grown_by(scan) < KEPT
    assert failures() == before
    assert {(metric.name, len(metric.samples)) for metric in registry.collect()} == series
    assert len(app._recorder.known) < 100
    assert len(generate_latest(registry).splitlines()) < 10_000
    if names == "prometheus":
        assert endpoints(registry) == {"__unmatched__", "/users/{id}"}
        assert sum(counted(registry).values()) == requests + 3_000
        assert set(counted(registry, "http_requests_in_progress").values()) == {0}
