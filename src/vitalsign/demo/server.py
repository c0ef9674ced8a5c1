"""Serve the shop, and send it visitors."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn
from prometheus_client import REGISTRY

from vitalsign import _http_listen
from vitalsign.demo.app import make_app
from vitalsign.demo.figures import Meter
from vitalsign.demo.shop import BugError
from vitalsign.demo.traffic import send_traffic

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Iterator

    from prometheus_client import CollectorRegistry

__all__ = ["Demo", "listen", "serving"]

_WORDS = _http_listen.Words(host="--host", port="--port", any_port="--port 0", intro="", if_taken="")
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
    return _http_listen.listen(host, port, _WORDS)


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
    url = _http_listen.own_url(listener, "http")
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
