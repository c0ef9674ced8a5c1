"""WebSocket connections: those that are open, their time, their messages, and how they end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.unit.asgi.driver import counted
from vitalsign.asgi import MetricsMiddleware

ACCEPT = {"type": "websocket.accept"}


def sending(*messages: dict[str, Any]) -> Any:
    """Make an application that takes the connection and sends these messages."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for message in messages:
            await send(message)

    return app


def connect(app: Any, *received: dict[str, Any], sent: list[Any] | None = None) -> None:
    """Make one connection that brings these messages."""
    waiting = [{"type": "websocket.connect"}, *received]

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        if sent is not None:
            sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "headers": [], "scheme": "ws", "root_path": ""}
    asyncio.run(app(scope, receive, send))


def ends(registry: Any) -> dict[tuple[str, ...], float]:
    """Return the connections by close code and endpoint."""
    return counted(registry, "http_websocket_connections_total")


def active(registry: Any) -> dict[tuple[str, ...], float]:
    """Return the open connections by endpoint."""
    return counted(registry, "http_websocket_connections_active")


@pytest.mark.parametrize("make", ["starlette", "fastapi", "included"])
def test_every_figure_of_a_connection(make, registry, monkeypatch):
    """A connection is active while it is open; its time, messages and close code stand under its template."""
    now = 0.0
    monkeypatch.setattr("vitalsign._http_websockets.monotonic", lambda: now)

    async def echo(websocket: WebSocket) -> None:
        nonlocal now
        await websocket.accept()
        assert active(registry) == {("/{version}/rooms/{room}",): 1}
        while (text := await websocket.receive_text()) != "end":
            await websocket.send_text(text)
        now += 20.0
        await websocket.close(4321)

    app: Any
    if make == "starlette":
        app = Starlette(routes=[Mount("/{version}", routes=[WebSocketRoute("/rooms/{room}", echo)])])
    else:
        app, router = FastAPI(), APIRouter()
        router.add_api_websocket_route("/rooms/{room}", echo)
        app.include_router(router, prefix="/{version}")
    app.add_middleware(MetricsMiddleware, registry=registry)
    with TestClient(app) as client, client.websocket_connect("/v1/rooms/7") as websocket:
        for text in ("a", "b"):
            websocket.send_text(text)
            assert websocket.receive_text() == text
        websocket.send_text("end")
        with pytest.raises(WebSocketDisconnect):
            websocket.receive_text()
    template = "/{version}/rooms/{room}"
    assert ends(registry) == {("4xxx", template): 1}
    assert active(registry) == {(template,): 0}
    assert counted(registry, "http_websocket_duration_seconds_sum") == {(template,): 20.0}
    assert counted(registry, "http_websocket_messages_total") == {("received", template): 3, ("sent", template): 2}
    assert counted(registry) == {}


@pytest.mark.parametrize(
    ("code", "label"),
    [(1000, "1000"), (1001, "1001"), (1015, "1015"), (3000, "3xxx"), (4999, "4xxx"), (5000, "__other__"),
     (-1, "__other__"), (10**30, "__other__")],
)  # fmt: skip
def test_close_codes_are_bounded(code, label, registry):
    """Standard close codes are counted as they are, those of applications by class, and others together."""
    connect(MetricsMiddleware(sending(ACCEPT, {"type": "websocket.close", "code": code}), registry=registry))
    assert ends(registry) == {(label, "__unmatched__"): 1}


def test_client_that_leaves(registry):
    """The close code that the client's side brings counts, also if the application closes after it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        await send({"type": "websocket.close", "code": 1000})

    connect(MetricsMiddleware(app, registry=registry), {"type": "websocket.disconnect", "code": 1001})
    assert ends(registry) == {("1001", "__unmatched__"): 1}


@pytest.mark.parametrize(
    "message", [{"type": "websocket.close"}, {"type": "websocket.http.response.start", "status": 403, "headers": []}]
)
def test_refused_connection(message, registry):
    """A connection that was never accepted is counted as refused, and was never active."""
    connect(MetricsMiddleware(sending(message), registry=registry))
    assert ends(registry) == {("refused", "__unmatched__"): 1}
    assert active(registry) == {}
    assert counted(registry, "http_websocket_duration_seconds_count") == {}


def test_unmatched_paths_of_connections(registry):
    """Connections to paths that nobody has share one label."""
    app = Starlette(routes=[])
    app.add_middleware(MetricsMiddleware, registry=registry)
    with TestClient(app) as client:
        for number in range(10):
            with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"/{number}"):
                pass
    assert ends(registry) == {("refused", "__unmatched__"): 10}


def test_application_that_raises(registry):
    """An exception ends the connection with 1011, is counted by its class, and goes on to the server."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        raise LookupError

    with pytest.raises(LookupError):
        connect(MetricsMiddleware(app, registry=registry))
    assert ends(registry) == {("1011", "__unmatched__"): 1}
    assert counted(registry, "http_request_exceptions_total") == {("__unmatched__", "LookupError", "GET"): 1}
    assert active(registry) == {("__unmatched__",): 0}


def test_cancelled_connection(registry):
    """A connection whose task is cancelled has broken off: 1006, and no exception."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        connect(MetricsMiddleware(app, registry=registry))
    assert ends(registry) == {("1006", "__unmatched__"): 1}
    assert counted(registry, "http_request_exceptions_total") == {}


def test_connection_that_the_server_closes(registry):
    """An application that returns without closing leaves that to the server: 1000."""
    connect(MetricsMiddleware(sending(ACCEPT), registry=registry))
    assert ends(registry) == {("1000", "__unmatched__"): 1}


def test_messages_pass_unchanged(registry):
    """Every message reaches the other side as the same object, unknown and malformed ones too."""
    messages: list[dict[str, Any]] = [ACCEPT, {"type": "websocket.debug"}, {}, {"type": "websocket.send", "text": "x"}]
    sent: list[Any] = []
    before = REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": "asgi.websockets"}) or 0
    connect(MetricsMiddleware(sending(*messages), registry=registry), sent=sent)
    assert [id(message) for message in sent] == [id(message) for message in messages]
    assert REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": "asgi.websockets"}) == before + 1


def test_websockets_can_be_left_out(registry):
    """Without the option, or on an excluded path, connections pass as they are."""
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.append(arguments)

    async def nothing(*_: Any) -> Any:
        return {}

    for options in ({"websockets": False}, {"exclude": "/ws"}):
        options["namespace"] = f"n{len(seen)}"
        scope = {"type": "websocket", "path": "/ws"}
        asyncio.run(MetricsMiddleware(app, registry=registry, **options)(scope, nothing, nothing))
        assert seen.pop() == ({"type": "websocket", "path": "/ws"}, nothing, nothing)


def test_two_middleware_on_the_way(registry):
    """A connection that passes two middleware with the same metrics is counted once."""
    inner = MetricsMiddleware(sending(ACCEPT), registry=registry)
    connect(MetricsMiddleware(inner, registry=registry))
    assert ends(registry) == {("1000", "__unmatched__"): 1}
