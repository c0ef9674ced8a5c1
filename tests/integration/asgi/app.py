"""A measured application with a stream that has no end, for the tests beside it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from vitalsign.asgi import MetricsMiddleware, metrics_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


async def echo(request: Request) -> Response:
    """Answer with the body of the request."""
    return PlainTextResponse(await request.body())


async def stream(request: Request) -> Response:
    """Stream for as long as anybody reads."""

    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.01)

    return StreamingResponse(chunks())


async def wait(request: Request) -> Response:
    """Wait until the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return PlainTextResponse("nobody reads this")


async def fail(request: Request) -> Response:
    """Fail."""
    raise LookupError("as asked")


app = Starlette(
    routes=[
        Mount(
            "/api/{version}",
            routes=[
                Route("/echo/{id}", echo, methods=["GET", "POST"]),
                Route("/stream", stream),
                Route("/wait", wait),
                Route("/fail", fail),
            ],
        )
    ]
)
app.add_middleware(MetricsMiddleware, exclude="/metrics")
app.add_route("/metrics", metrics_app())
