"""Requests made by calling an ASGI application, message by message, and the figures that they leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry

Messages = list[dict[str, Any]]


def http_scope(path: str = "/", method: str = "GET", **more: Any) -> dict[str, Any]:
    """Return the scope of a request, as a server makes it."""
    headers = [(b"host", more.pop("host", b"testserver")), *more.pop("headers", [])]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        **more,
    }


class Client:
    """
    The server's side of one request.

    Args:
        body: Pieces of the request's body.
        leaves_after: Messages of the response that the client takes before it leaves: `receive` tells of it, and
            `send` raises as servers do since version 2.4 of the specification. None if it stays.
    """

    def __init__(self, body: Iterable[bytes] = (b"",), *, leaves_after: int | None = None) -> None:
        pieces = list(body)
        self._requests = [
            {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
            for number, piece in enumerate(pieces, start=1)
        ]
        self._leaves_after = leaves_after
        self._is_over = asyncio.Event()
        self.sent: Messages = []

    @property
    def has_left(self) -> bool:
        """Whether the client has gone."""
        return self._leaves_after is not None and len(self.sent) >= self._leaves_after

    async def receive(self) -> dict[str, Any]:
        """Give the application the next message."""
        if self._requests and not self.has_left:
            return self._requests.pop(0)
        if not self.has_left:
            await self._is_over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Take a message from the application."""
        if self.has_left:
            raise BrokenPipeError("the client has left")
        self.sent.append(message)
        is_last = message.get("type") == "http.response.body" and not message.get("more_body")
        if is_last or self.has_left:
            self._is_over.set()

    @property
    def status(self) -> int:
        """Status of the response."""
        return next(message["status"] for message in self.sent if message["type"] == "http.response.start")

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Headers of the response."""
        return dict(next(message["headers"] for message in self.sent if message["type"] == "http.response.start"))

    @property
    def text(self) -> str:
        """Body of the response."""
        return b"".join(message.get("body", b"") for message in self.sent).decode()


async def call(app: Any, path: str = "/", method: str = "GET", *, client: Client | None = None, **scope: Any) -> Client:
    """Make one request; what the application raises is left to the server, except what a test asserts."""
    client = client or Client()
    try:
        await app(http_scope(path, method, **scope), client.receive, client.send)
    except AssertionError:
        raise
    except Exception:
        pass
    return client


def request(app: Any, path: str = "/", method: str = "GET", *, client: Client | None = None, **scope: Any) -> Client:
    """Make one request on an event loop of its own."""
    return asyncio.run(call(app, path, method, client=client, **scope))


def counted(registry: CollectorRegistry, name: str = "http_requests_total") -> dict[tuple[str, ...], float]:
    """Return every series of one name: its value by its label values, in the order of their names."""
    return {
        tuple(value for label, value in sorted(sample.labels.items()) if label != "le"): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name
    }


def endpoints(registry: CollectorRegistry) -> set[str]:
    """Return the endpoint labels that requests were counted under."""
    return {key[0] for key in counted(registry)}
