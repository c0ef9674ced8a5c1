"""Health endpoints for ASGI servers: an application, and the same as Starlette routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from vitalsign.health._endpoints import NOT_FOUND, Endpoint
from vitalsign.health._request import Request
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from starlette.routing import Route

    from vitalsign.health._layout import Endpoints
    from vitalsign.health._reply import Reply

__all__ = ["AsgiEndpoint", "HealthApp"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[object]]


class HealthApp:
    """
    Answer health requests as an ASGI application: alone on a port, mounted, before another one, or as single routes.

    Made by `HealthChecker.asgi()`.
    """

    def __init__(self, endpoints: Endpoints, app: App | None = None) -> None:
        self._endpoints = endpoints
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        endpoint = self._endpoints.at(_path_within(scope)) if scope["type"] == "http" else None
        if endpoint is not None:
            await AsgiEndpoint(endpoint)(scope, receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _send(send, scope, NOT_FOUND)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    def routes(self) -> list[Route]:
        """Return each endpoint as a Starlette route."""
        from vitalsign.health._routes import routes  # Starlette, which this application itself does without

        return routes({path: AsgiEndpoint(endpoint) for path, endpoint in self._endpoints.patterns()})


class AsgiEndpoint:
    """One endpoint as an ASGI application, whatever the path that leads to it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.name = endpoint.name
        self._endpoint = endpoint

    async def __call__(self, scope: Message, _receive: Receive, send: Send) -> None:
        await _send(send, scope, await self._answer(_request(scope)))

    async def _answer(self, request: Request) -> Reply:
        try:
            refusal = self._endpoint.refuse(request)
            return refusal or self._endpoint.reply(request, await self._endpoint.find(request))
        except Exception as error:  # noqa: BLE001  # a probe gets an answer, also where we are at fault
            internal_error("health.endpoint", error)
            return self._endpoint.apology()


def _path_within(scope: Message) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _request(scope: Message) -> Request:
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=_path_within(scope),
        query=scope.get("query_string", b""),
        headers=list(scope["headers"]),
        peer=client[0] if client else None,
    )


async def _send(send: Send, scope: Message, answer: Reply) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.all_headers()]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
