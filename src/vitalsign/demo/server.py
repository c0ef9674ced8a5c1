"""Serve the shop, and send it visitors."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import uvicorn
from prometheus_client import REGISTRY

from vitalsign.demo.app import make_app
from vitalsign.demo.figures import Meter
from vitalsign.demo.shop import BugError
from vitalsign.demo.traffic import send_traffic
from vitalsign.exceptions import AddressError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from prometheus_client import CollectorRegistry

__all__ = ["Demo", "listen", "serving"]

_GRACE = 1  # seconds for requests that are being answered when the demo ends


@dataclass(frozen=True, slots=True)
class Demo:
    """
    A demo that is up.

    Attributes:
        url: Where this machine finds it, without a slash at the end.
        meter: Tells how it is doing.
    """

    url: str
    meter: Meter


def listen(host: str, port: int) -> socket.socket:
    """
    Return a socket that takes connections from now on.

    Args:
        host: Name or address of this machine.
        port: 0 for any free one.

    Raises:
        AddressError: That cannot be had; the text says why and what else to try.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except (OSError, UnicodeError) as error:
        raise AddressError(_why_not(error, host, port), host=host, port=port) from error


@asynccontextmanager
async def serving(
    listener: socket.socket, *, rate: float, seed: int, registry: CollectorRegistry = REGISTRY
) -> AsyncIterator[Demo]:
    """
    Keep the demo up for the length of the block; at its end, requests have a second to be answered.

    Args:
        listener: A socket that listens; it is closed at the end.
        rate: Requests per second that the demo sends to itself on average; 0 for none.
        seed: The same seed makes the same visitors, in the same order.
        registry: Where the metrics go.
    """
    url = _url(listener)
    server = _Server(make_app(registry, seed))
    with _known_bug_kept_from_the_log():
        async with asyncio.TaskGroup() as tasks:
            service = tasks.create_task(server.serve([listener]))
            await server.is_up.wait()
            meter = Meter(registry)
            traffic = tasks.create_task(send_traffic(url, rate, seed))
            try:
                yield Demo(url, meter)
            finally:
                traffic.cancel()
                server.should_exit = True
                await service


class _Server(uvicorn.Server):
    """uvicorn's server without its logs, which says when it is up and leaves signals to others."""

    def __init__(self, app: object) -> None:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]  # Starlette's and uvicorn's words for an application differ
            log_config=None,
            access_log=False,
            proxy_headers=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=_GRACE,
        )
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def _known_bug_kept_from_the_log() -> Iterator[None]:
    """Let uvicorn log every exception of the shop but the one that is raised on purpose."""

    def is_news(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], BugError))

    log = logging.getLogger("uvicorn.error")
    log.addFilter(is_news)
    try:
        yield
    finally:
        log.removeFilter(is_news)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    address = ip_address(host.partition("%")[0])
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://{host}:{port}" if address.version == 4 else f"http://[{host}]:{port}"


def _why_not(error: OSError | UnicodeError, host: str, port: int) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"the host {host!r} is not known. Give --host a name or address of this machine, such as 127.0.0.1."
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use. Choose another with --port, or any free one with --port 0."
    if error.errno == errno.EACCES:
        return f"port {port} of {host} is not allowed to this user. Choose one above 1023 with --port."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine. Give --host one that is, such as 127.0.0.1."
    return f"port {port} of {host} cannot be listened on: {error.strerror or error}."
