"""A real server with a service to be measured, asked over sockets, and its figures before and after."""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.servers import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Server

Figures = dict[tuple[str, ...], float]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Answer(NamedTuple):
    """A response."""

    status: int
    body: bytes


class Service:
    """
    A served service.

    Args:
        server: Where it runs.
        framework: In which it is written.
        by: What serves it.
    """

    def __init__(self, server: Server, framework: str, by: str) -> None:
        self.server = server
        self.framework = framework
        self.by = by

    @property
    def _host(self) -> tuple[str, int]:
        host, _, port = self.server.address.partition(":")
        return host, int(port)

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Make a request; a body that breaks off is returned as far as it came."""
        connection = http.client.HTTPConnection(*self._host, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            try:
                return Answer(response.status, response.read())
            except http.client.IncompleteRead as error:
                return Answer(response.status, error.partial)

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(self._host, timeout=PATIENCE)

    def send(self, request: bytes) -> bytes:
        """Send raw bytes, and return what comes before the server closes or falls silent."""
        with self.connect() as client:
            client.settimeout(5)
            with contextlib.suppress(OSError):
                client.sendall(request)
                return client.recv(100_000)
            return b""

    def figures(self, name: str = "http_requests_total") -> Figures:
        """Return every series of one name: its value by its label values, in the order of their names."""
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.server.get("/metrics").text)
            for sample in family.samples
            if sample.name == name
        }

    @contextlib.contextmanager
    def leaves(self, expected: Figures, name: str = "http_requests_total") -> Iterator[None]:
        """Check that the block changes the figures of one name by just what is expected."""
        before = self.figures(name)

        def change() -> Figures:
            after = self.figures(name)
            return {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}

        yield
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: change() == expected, "the figures", patience=10)
        assert change() == expected

    def internal_errors(self) -> Figures:
        """Return what has gone wrong inside the library."""
        return self.figures("vitalsign_internal_errors_total")
