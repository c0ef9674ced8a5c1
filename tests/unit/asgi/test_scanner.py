"""What 50,000 hostile requests leave behind: few series, no memory, no error."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
from typing import Any

import pytest
from prometheus_client import REGISTRY
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

REQUESTS = 50_000
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


async def receive() -> Any:
    """Bring an empty body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Any) -> None:
    """Take a message."""


@pytest.mark.slow
@pytest.mark.parametrize("names", ["prometheus", "opentelemetry"])
def test_hostile_requests_leave_bounded_series_and_memory(names, registry):
    """However many they are, the labels are ours, memory does not grow, and the application sees no error."""
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
    asyncio.run(scan(REQUESTS))
    series = {(metric.name, len(metric.samples)) for metric in registry.collect()}
    gc.collect()
    tracemalloc.start()
    asyncio.run(scan(500))
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    asyncio.run(scan(2_500))
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - kept
    tracemalloc.stop()
    assert grown < KEPT
    assert failures() == before
    assert {(metric.name, len(metric.samples)) for metric in registry.collect()} == series
    assert len(middleware._recorder._known) < 100
    assert len(generate_latest(registry).splitlines()) < 10_000
    if names == "prometheus":
        assert endpoints(registry) == {"__unmatched__", "/users/{id}", "/files/{path}"}
        assert sum(counted(registry).values()) == REQUESTS + 3_000
        assert set(counted(registry, "http_requests_in_progress").values()) == {0}


@pytest.mark.slow
def test_hostile_requests_by_wsgi(registry):
    """The same holds for WSGI."""
    app = WsgiMiddleware(answering([b"ok"]), registry=registry)
    chance = random.Random(4)
    before = failures()
    for _ in range(5_000):
        scope = hostile_scope(chance)
        headers = {
            "HTTP_" + name.decode("latin-1").upper().replace("-", "_"): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        path, length = scope["path"].encode("utf-8", "replace").decode("latin-1"), headers.pop("HTTP_CONTENT_LENGTH")
        environ = {**headers, "CONTENT_LENGTH": length, "wsgi.url_scheme": scope["scheme"]}
        assert wsgi_request(app, path, scope["method"], SERVER_PROTOCOL=scope["http_version"], **environ).text == "ok"
    assert failures() == before
    assert sum(counted(registry).values()) == 5_000
    assert endpoints(registry) == {"__unmatched__"}
    assert len(counted(registry)) <= 11
