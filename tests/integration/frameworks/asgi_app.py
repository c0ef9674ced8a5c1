"""
The same small service in each ASGI framework, measured; the variable FRAMEWORK says in which.

Whatever the framework, `/api/{version}/items/{id}` echoes, `/api/{version}/slash/` wants its slash, `/stream` sends
three chunks, `/broken` breaks off after the first, `/endless` sends until nobody listens, `/fail` raises, and
`/rooms/{room}` echoes what a WebSocket says.
"""

from __future__ import annotations

import asyncio
import os
import sys
import types
from typing import TYPE_CHECKING, Any

import prometheus_client

from vitalsign.asgi import MetricsMiddleware, metrics_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OPTIONS: dict[str, Any] = {"first_byte": True}
if os.environ.get("TAKEN"):
    prometheus_client.Counter("http_requests", "Another instrumentation's.")


async def three() -> AsyncIterator[bytes]:
    """Send 30 bytes."""
    for _ in range(3):
        yield b"x" * 10
        await asyncio.sleep(0.01)


async def broken() -> AsyncIterator[bytes]:
    """Break off."""
    yield b"x" * 10
    await asyncio.sleep(0.01)
    raise LookupError("as asked, late")


async def endless() -> AsyncIterator[bytes]:
    """Never end."""
    while True:
        yield b"x" * 1000
        await asyncio.sleep(0.01)


def starlette() -> Any:
    """Build it with Starlette."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Mount, Route, WebSocketRoute

    async def item(request: Any) -> Any:
        return PlainTextResponse(await request.body())

    async def fail(request: Any) -> Any:
        raise LookupError("as asked")

    async def room(websocket: Any) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    app = Starlette(
        routes=[
            Mount(
                "/api/{version}",
                routes=[Route("/items/{id}", item, methods=["GET", "POST"]), Route("/slash/", item)],
            ),
            Route("/stream", lambda request: StreamingResponse(three())),
            Route("/broken", lambda request: StreamingResponse(broken())),
            Route("/endless", lambda request: StreamingResponse(endless())),
            Route("/fail", fail),
            WebSocketRoute("/rooms/{room}", room),
        ]
    )
    app.add_middleware(MetricsMiddleware, **OPTIONS)
    return app


def fastapi() -> Any:
    """Build it with FastAPI."""
    from fastapi import APIRouter, FastAPI, Request, Response, WebSocket
    from fastapi.responses import StreamingResponse

    router = APIRouter(prefix="/{version}")

    async def item(request: Request) -> Response:
        return Response(await request.body())

    async def fail() -> Any:
        raise LookupError("as asked")

    async def room(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    item.__annotations__ = {"request": Request}  # the name is known in this function alone
    room.__annotations__ = {"websocket": WebSocket}
    router.add_api_route("/items/{id}", item, methods=["GET", "POST", "HEAD"])
    router.add_api_route("/slash/", item)
    app = FastAPI()
    app.include_router(router, prefix="/api")
    app.add_api_route("/stream", lambda: StreamingResponse(three()))
    app.add_api_route("/broken", lambda: StreamingResponse(broken()))
    app.add_api_route("/endless", lambda: StreamingResponse(endless()))
    app.add_api_route("/fail", fail)
    app.add_api_websocket_route("/rooms/{room}", room)
    app.add_middleware(MetricsMiddleware, **OPTIONS)
    return app


def litestar() -> Any:
    """Build it with Litestar."""
    from litestar import Litestar, Request, Router, WebSocket, get, head, post, websocket
    from litestar.response import Stream

    @get("/items/{id:str}")
    async def item() -> bytes:
        return b""

    @post("/items/{id:str}", status_code=200)
    async def echo(request: Request[Any, Any, Any]) -> bytes:
        return await request.body()

    @head("/items/{id:str}")
    async def nothing() -> None: ...

    @get("/stream")
    async def stream() -> Stream:
        return Stream(three())

    @get("/broken")
    async def breaking() -> Stream:
        return Stream(broken())

    @get("/endless")
    async def never_ending() -> Stream:
        return Stream(endless())

    @get("/fail")
    async def fail() -> None:
        raise LookupError("as asked")

    @websocket("/rooms/{room:str}")
    async def room(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        while True:
            await socket.send_text(await socket.receive_text())

    for handler in (item, echo, nothing, stream, breaking, never_ending, fail, room):
        handler.fn.__annotations__ = {  # the names above are known in this function alone
            name: {"Stream": Stream, "bytes": bytes, "None": None, "Request[Any, Any, Any]": Request,
                   "WebSocket[Any, Any, Any]": WebSocket}[kind]
            for name, kind in handler.fn.__annotations__.items()
        }  # fmt: skip
    api = Router("/api/{version:str}", route_handlers=[item, echo, nothing])
    app = Litestar([api, stream, breaking, never_ending, fail, room], openapi_config=None)
    return MetricsMiddleware(app, **OPTIONS)


def quart() -> Any:
    """Build it with Quart."""
    from quart import Quart, request, websocket

    app = Quart("service")
    app.config["RESPONSE_TIMEOUT"] = None

    @app.route("/api/<version>/items/<int:id>", methods=["GET", "POST"])
    async def item(**_: Any) -> Any:
        return await request.get_data()

    @app.route("/api/<version>/slash/")
    async def slash(version: str) -> Any:
        return b""

    app.add_url_rule("/stream", "stream", lambda: three())
    app.add_url_rule("/broken", "broken", lambda: broken())
    app.add_url_rule("/endless", "endless", lambda: endless())

    @app.route("/fail")
    async def fail() -> Any:
        raise LookupError("as asked")

    @app.websocket("/rooms/<room>")
    async def room(room: str) -> None:
        while True:
            await websocket.send(await websocket.receive())

    app.asgi_app = MetricsMiddleware(app.asgi_app, **OPTIONS)  # type: ignore[method-assign,assignment]
    return app


def django() -> Any:
    """Build it with Django."""
    from django import setup
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import include, path, re_path

    async def item(request: Any, **_: Any) -> Any:
        return HttpResponse(request.body)

    async def fail(request: Any) -> Any:
        raise LookupError("as asked")

    def streaming(chunks: Any) -> Any:
        async def view(request: Any) -> Any:
            return StreamingHttpResponse(chunks())

        return view

    urls: Any = types.ModuleType("service_urls")
    inner = [path("items/<int:id>", item), path("slash/", item)]
    urls.urlpatterns = [
        re_path(r"^api/(?P<version>v[0-9]+)/", include(inner)),
        path("stream", streaming(three)),
        path("broken", streaming(broken)),
        path("endless", streaming(endless)),
        path("fail", fail),
    ]
    sys.modules["service_urls"] = urls
    settings.configure(
        ROOT_URLCONF="service_urls",
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        SECRET_KEY="not one",
    )
    setup()
    return MetricsMiddleware(get_asgi_application(), **OPTIONS)


def bare() -> Any:
    """Build it with nothing."""
    streams = {"/stream": three, "/broken": broken, "/endless": endless}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path: str = scope["path"]
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if scope["type"] == "websocket":
            scope["path_template"] = "/rooms/{room}"
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
        elif path in streams:
            scope["path_template"] = path
            await respond(send, 200, more=True)
            await receive()
            gone = asyncio.ensure_future(receive())
            async for chunk in streams[path]():
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            await gone
        elif path == "/fail":
            scope["path_template"] = path
            raise LookupError("as asked")
        elif path.startswith("/api/v1/items/"):
            scope["path_template"] = "/api/{version}/items/{id}"
            body = b""
            more = True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            await respond(send, 200, body)
        else:
            await respond(send, 404)

    async def respond(send: Any, status: int, body: bytes = b"", *, more: bool = False) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        if not more:
            await send({"type": "http.response.body", "body": body})

    return MetricsMiddleware(app, **OPTIONS)


BUILDERS = {
    "bare": bare, "django": django, "fastapi": fastapi, "litestar": litestar, "quart": quart, "starlette": starlette,
}  # fmt: skip


class Service:
    """The service, with its metrics page beside it."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self._page = metrics_app()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer the page's path, and hand on all others."""
        app = self._page if scope.get("path") == "/metrics" else self._service
        await app(scope, receive, send)


app = Service(BUILDERS[os.environ["FRAMEWORK"]]())
