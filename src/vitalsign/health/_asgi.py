"""Health endpoints for ASGI servers: an application, and the same as Starlette routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import FULL, LIVENESS, READINESS, STARTUP
from vitalsign.health._reply import Access, Reply, Request, reply
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from starlette.routing import Route

    from vitalsign.health._report import Report

__all__ = ["Endpoint", "HealthApp"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Run = Callable[[str], "Awaitable[Report]"]

_PATHS = {LIVENESS: "/health", READINESS: "/ready", STARTUP: "/startup", FULL: "/health/full"}
_FORWARDING = (b"forwarded", b"x-forwarded-for", b"x-real-ip")
_NOT_FOUND = Reply(404, b"Not Found", "text/plain; charset=utf-8")
_NOT_ALLOWED = Reply(
    405, b"Method Not Allowed", "text/plain; charset=utf-8", (("cache-control", "no-store"), ("allow", "GET, HEAD"))
)


class HealthApp:
    """
    Answer health requests as an ASGI application: alone on a port, mounted, or as single routes.

    Made by `HealthChecker.asgi()`.
    """

    def __init__(
        self, run: Run, *, paths: Mapping[str, str | None] | None, token: str | None, allow: Iterable[str]
    ) -> None:
        access = Access(token, allow)
        self._endpoints = {path: Endpoint(run, group, access) for group, path in _all_paths(paths or {}).items()}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            endpoint = self._endpoints.get(_path_within(scope))
            if endpoint is None:
                await _send(send, scope, _NOT_FOUND)
            else:
                await endpoint(scope, receive, send)

    def routes(self) -> list[Route]:
        """Return each endpoint as a Starlette route."""
        from vitalsign.health._routes import routes  # Starlette, which this application itself does without

        return routes(self._endpoints)


class Endpoint:
    """Answer for one group, whatever the path."""

    def __init__(self, run: Run, group: str, access: Access) -> None:
        self.group = group
        self._run = run
        self._access = access

    async def __call__(self, scope: Message, _receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _send(send, scope, _NOT_ALLOWED)
            return
        try:
            answer = reply(await self._run(self.group), _request(scope), self._access)
        except Exception as error:  # noqa: BLE001  # a probe gets an answer, also where we are at fault
            internal_error("health.endpoint", error)
            answer = _own_failure(self.group)
        await _send(send, scope, answer)


def _own_failure(group: str) -> Reply:
    # Not knowing is no reason to be restarted, but it is one to get no traffic.
    return Reply(200, b'{"status":"warn"}') if group == LIVENESS else Reply(503, b'{"status":"fail"}')


def _all_paths(changes: Mapping[str, str | None]) -> dict[str, str]:
    chosen = {group: path for group, path in {**_PATHS, **changes}.items() if path is not None}
    for group, path in chosen.items():
        if not path.startswith("/") or "{" in path:
            raise HealthCheckError(f"{path!r} is no path for the health of group {group!r}. Give one such as '/ready'.")
    plain = {group: _without_slash(path) for group, path in chosen.items()}
    if len(set(plain.values())) < len(plain):
        raise HealthCheckError(f"Two groups of health checks share a path: {plain}. Give each its own, or None.")
    return plain


def _without_slash(path: str) -> str:
    return path.rstrip("/") or "/"


def _path_within(scope: Message) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and path.startswith(root + "/"):
        path = path[len(root) :]
    return _without_slash(path)


def _request(scope: Message) -> Request:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    client = scope.get("client")
    return Request(
        accept=headers.get(b"accept", b"").decode("latin-1"),
        authorization=headers.get(b"authorization", b""),
        client=client[0] if client else "",
        is_forwarded=any(name in headers for name in _FORWARDING),
    )


async def _send(send: Send, scope: Message, answer: Reply) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers]
    headers.append((b"content-type", answer.content_type.encode()))
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
