"""The two faces of the metrics endpoint, asked in the same way."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any, NamedTuple
from wsgiref.validate import validator

from tests.unit.asgi.driver import Client, http_scope
from vitalsign.asgi import metrics_app
from vitalsign.wsgi import metrics_wsgi_app

if TYPE_CHECKING:
    from collections.abc import Callable

PEER = "192.0.2.7"


class Answer(NamedTuple):
    """A response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Face:
    """
    An endpoint that can be asked.

    Args:
        options: As `metrics_app` and `metrics_wsgi_app` take them.
    """

    def __call__(
        self, *headers: tuple[str, str], method: str = "GET", query: str = "", peer: str | None = PEER
    ) -> Answer:
        """Send *headers*, by a connection that comes from *peer*, or from no address."""
        raise NotImplementedError

    def waiting(self) -> int:
        """Return how many wait for a page."""
        raise NotImplementedError


class ASGI(Face):
    """The endpoint for ASGI."""

    def __init__(self, **options: Any) -> None:
        self._app = metrics_app(**options)

    def __call__(
        self, *headers: tuple[str, str], method: str = "GET", query: str = "", peer: str | None = PEER
    ) -> Answer:
        """Call the application with a scope."""
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        scope = http_scope("/metrics", method, headers=raw, query_string=query.encode())
        scope["client"] = None if peer is None else (peer, 5000)
        client = Client()
        asyncio.run(self._app(scope, client.receive, client.send))
        sent = {name.decode(): value.decode() for name, value in client.headers.items()}
        return Answer(client.status, sent, client.sent[1]["body"])

    def waiting(self) -> int:
        """Look inside."""
        return sum(map(len, self._app._pages._endpoint._waiting.values()))


class WSGI(Face):
    """The endpoint for WSGI, watched by the standard library's judge of the protocol."""

    def __init__(self, **options: Any) -> None:
        self._app = metrics_wsgi_app(**options)

    def __call__(
        self, *headers: tuple[str, str], method: str = "GET", query: str = "", peer: str | None = PEER
    ) -> Answer:
        """Call the application with an environment."""
        more: dict[str, Any] = {} if peer is None else {"REMOTE_ADDR": peer}
        for name, value in headers:  # as servers do it: several of a name are one list
            key = "HTTP_" + name.upper().replace("-", "_")
            more[key] = f"{more[key]},{value}" if key in more else value
        started: list[Any] = []

        def start_response(status: str, sent: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            started.extend((status, sent))
            return io.BytesIO().write

        body: Any = validator(self._app)(environ(method, QUERY_STRING=query, **more), start_response)
        content = b"".join(body)
        body.close()
        status, sent = started
        return Answer(int(status[:3]), {name.lower(): value for name, value in sent}, content)

    def waiting(self) -> int:
        """Look inside."""
        return sum(map(len, self._app._endpoint._waiting.values()))


def environ(method: str = "GET", **more: Any) -> dict[str, Any]:
    """Return the environment of a request, as a WSGI server makes it."""
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "/metrics",
        "PATH_INFO": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **more,
    }
