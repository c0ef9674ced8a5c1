"""Clients of an exporter: by the standard library's, and by hand."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

    from vitalsign.exporter import Exporter

PATIENCE = 60.0


class Answer(NamedTuple):
    """A response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    exporter: Exporter,
    path: str = "/metrics",
    method: str = "GET",
    *,
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> Answer:
    """Make one request; underscores in the names of headers stand for hyphens."""
    url = urlsplit(exporter.url)
    assert url.hostname is not None
    client = (
        http.client.HTTPSConnection(url.hostname, url.port, timeout=PATIENCE, context=context)
        if url.scheme == "https"
        else http.client.HTTPConnection(url.hostname, url.port, timeout=PATIENCE)
    )
    try:
        client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        got = client.getresponse()
        return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
    finally:
        client.close()


def connect(exporter: Exporter, sent: bytes = b"", *, buffer: int | None = None) -> socket.socket:
    """
    Open a connection by hand.

    Args:
        exporter: Where to.
        sent: What is said at once.
        buffer: Bytes that the system may take for the client before it reads; None leaves it to the system.
    """
    client = socket.socket()
    client.settimeout(PATIENCE)
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    try:
        client.connect(("127.0.0.1", exporter.port))
        client.sendall(sent)
    except OSError:
        client.close()
        raise
    return client


def say(exporter: Exporter, sent: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server closes."""
    with connect(exporter, sent) as client:
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    """Return what comes until the server closes the connection, by whatever way."""
    got = bytearray()
    try:
        while piece := client.recv(65536):
            got += piece
    except ConnectionError:
        pass
    return bytes(got)
