"""A server on 127.0.0.1 that answers as a test says."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Scripted:
    """
    Accept connections, and answer the first with the first of *answers* and so on, the last one again and again.

    An empty answer closes the connection; None keeps it open and says nothing.
    """

    answers: tuple[bytes | None, ...]
    requests: list[bytes] = field(default_factory=list)
    listener: socket.socket = field(default_factory=socket.socket)
    open: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.port: int = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self.listener.accept()
                self.open.append(connection)
                self._answer(connection)
        except OSError:  # closed
            return

    def _answer(self, connection: socket.socket) -> None:
        self.requests.append(_request(connection))
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if answer is not None:
            connection.sendall(answer)
            connection.close()

    def close(self) -> None:
        """Close all connections."""
        self.listener.shutdown(socket.SHUT_RDWR)
        for one in (self.listener, *self.open):
            one.close()


def _request(connection: socket.socket) -> bytes:
    """Read a request with a body of known length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


class Serve(Protocol):
    """The fixture `serve`."""

    def __call__(self, *answers: bytes | None) -> Scripted:
        """Start a server that gives *answers*."""


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that end with the test."""
    started: list[Scripted] = []

    def start(*answers: bytes | None) -> Scripted:
        started.append(Scripted(answers or (OK,)))
        return started[-1]

    yield start
    for server in started:
        server.close()
