"""Rows of the exporter: what a scrape takes, alone and beside clients that hold their connections."""

from __future__ import annotations

import http.client
import socket
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from benchmarks.rows import SECONDS, Row, beside

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["rows"]

_CHILDREN = 100
_SCRAPES = 200
_SLOW = 200
_BEGUN = (b"", b"G", b"GET /metrics HTTP/1.1\r\nX-Slow: ", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")


def rows() -> list[Row]:
    """Return the rows of this module."""
    scrape = f"exporter: scrape of {_CHILDREN} histogram children over HTTP"
    beside_slow = f"the same beside {_SLOW} connections that say nothing, stop in mid-request, or do not read"
    return [
        Row("exporter.scrape", scrape, SECONDS, beside(partial(scrape_time, 0))),
        Row("exporter.slow", beside_slow, SECONDS, beside(partial(scrape_time, _SLOW))),
    ]


def scrape_time(slow: int, library: str, short: bool) -> float:
    with _serving(library) as port, ExitStack() as stack:
        _scrape_once(port)
        for number in range(slow // 20 if short else slow):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(_BEGUN[number % len(_BEGUN)])
        return median(_scrape_once(port) for _ in range(5 if short else _SCRAPES))


def _scrape_once(port: int) -> float:
    began = perf_counter()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("GET", "/metrics")
    page = client.getresponse().read()
    client.close()
    took = perf_counter() - began
    if page.count(b"_bucket{") < _CHILDREN:
        raise ValueError(f"a scrape lacks what was counted: {page[:200]!r}")
    return took


@contextmanager
def _serving(library: str) -> Iterator[int]:
    """Serve a registry with some histograms in the library's own way, and yield the port."""
    registry = CollectorRegistry()
    histogram = import_module(library).Histogram("duration_seconds", "Time.", ["route"], registry=registry)
    for number in range(_CHILDREN):
        histogram.labels(f"/{number}").observe(0.1)
    if library == "vitalsign":
        with import_module("vitalsign.exporter").start_exporter(port=0, registry=registry) as exporter:
            yield exporter.port
    else:
        server: Any
        server, _ = import_module(library).start_http_server(0, addr="127.0.0.1", registry=registry)
        yield server.server_port
        server.shutdown()
        server.server_close()
