"""Servers on this machine that checks ask: well-behaved, silent, slow, refusing, and such as never close."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    from vitalsign.health import Check, CheckResult, HealthChecker

__all__ = ["Asked", "Reply", "Upstream", "closed_port", "listening", "outcome", "scripted", "serving"]


def outcome(health: HealthChecker, check: Check) -> CheckResult:
    """Run one check and return what the report says of it."""
    health.add(check)
    (result,) = health.run_sync().checks
    return result


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[int]:
    """Keep a socket that accepts connections and says nothing; yield its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        yield server.getsockname()[1]


def closed_port() -> int:
    """Return a port that refuses connections."""
    with listening() as port:
        return port


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Reply:
    """What is answered."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Upstream:
    """A server: its address, and what it was asked."""

    address: str
    seen: list[Asked]

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.address.rpartition(":")[2])


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, seen: list[Asked], answer: Callable[[Asked], Reply], *arguments: Any) -> None:
        self.seen = seen
        self.answer = answer
        super().__init__(*arguments)

    def do_GET(self) -> None:
        asked = Asked(self.command, self.path, dict(self.headers))
        self.seen.append(asked)
        reply = self.answer(asked)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_HEAD = do_GET  # noqa: N815  # the name that the base class looks for

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def status_in_path(asked: Asked) -> Reply:
    """Answer with the status that the path begins with, and a way to one that passes."""
    return Reply(int(asked.path[1:4]), {"location": "/200"})


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that go away."""


@contextmanager
def serving(
    answer: Callable[[Asked], Reply] | Reply = status_in_path, context: ssl.SSLContext | None = None
) -> Iterator[Upstream]:
    """Keep an HTTP server."""
    seen: list[Asked] = []
    reply: Callable[[Asked], Reply] = (lambda _: answer) if isinstance(answer, Reply) else answer
    server = _Server(("127.0.0.1", 0), partial(_Handler, seen, reply))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Upstream(f"127.0.0.1:{server.server_port}", seen)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def scripted(script: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """Keep a server that does to each connection what *script* says, until the event is set; yield its port."""
    over = threading.Event()
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(0.05)

        def follow(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.settimeout(None)
                script(connection, over)

        def accept() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    connection, _ = server.accept()
                    threads.append(threading.Thread(target=follow, args=(connection,)))
                    threads[-1].start()

        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            for thread in threads:
                thread.join()
