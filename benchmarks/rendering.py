"""Rows of the scrape: the time to write a big page, and how long the event loop stands still meanwhile."""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.populating import populated
from benchmarks.rows import SECONDS, Row, Target, beside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["rows"]

_CHILDREN = 10_000
_REPEATS = 3
_HEARTBEAT = 0.001
"""Seconds between two beats of an undisturbed loop."""

_SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/metrics",
    "raw_path": b"/metrics",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"localhost"), (b"accept", b"text/plain;version=0.0.4"), (b"accept-encoding", b"gzip")],
    "client": ("127.0.0.1", 1234),
    "server": ("127.0.0.1", 8000),
}


def rows() -> list[Row]:
    """Return the rows of this module."""
    page = "10,000 histogram children as text"
    return [
        Row("render.1", f"{page}, written by 1 thread", SECONDS, beside(partial(render, 1)), Target(factor=30)),
        Row("render.8", f"{page}, written by 8 threads", SECONDS, beside(partial(render, 8)), Target(factor=10)),
        Row("render.cold", f"{page}, 1 thread, first scrape", SECONDS, beside(first_render)),
        Row(
            "render.stall",
            "longest stall of the event loop while those are scraped over ASGI, gzipped",
            SECONDS,
            beside(stall),
            Target(limit=0.010),
        ),
    ]


def render(threads: int, library: str, short: bool) -> float:
    """Time scrapes after the first, which are all alike, and return the best: what disturbs one only ever adds."""
    registry = populated(library, _children(short), threads)
    _render_time(library, registry)
    return min(_render_time(library, registry) for _ in range(1 if short else _REPEATS))


def first_render(library: str, short: bool) -> float:
    return _render_time(library, populated(library, _children(short), 1))


def stall(library: str, short: bool) -> float:
    """Measure the longest time that a task which only sleeps was late, over the second scrape."""
    registry = populated(library, _children(short), 1)
    if library == "vitalsign":
        app = import_module("vitalsign.asgi").metrics_app(registry=registry)
    else:
        app = import_module(library).make_asgi_app(registry)
    return asyncio.run(_longest_stall(app))


def _children(short: bool) -> int:
    return _CHILDREN // 100 if short else _CHILDREN


def _render_time(library: str, registry: Any) -> float:
    generate_latest = import_module(library).generate_latest
    gc.collect()
    start = perf_counter()
    generate_latest(registry)
    return perf_counter() - start


async def _longest_stall(app: Callable[..., Awaitable[None]]) -> float:
    await _scrape(app)
    await asyncio.sleep(_HEARTBEAT)
    gc.collect()
    stop = asyncio.Event()
    heart = asyncio.create_task(_beat(stop))
    await asyncio.sleep(_HEARTBEAT)
    await _scrape(app)
    stop.set()
    return await heart


async def _beat(stop: asyncio.Event) -> float:
    longest = 0.0
    while not stop.is_set():
        due = perf_counter() + _HEARTBEAT
        await asyncio.sleep(_HEARTBEAT)
        longest = max(longest, perf_counter() - due)
    return longest


async def _scrape(app: Callable[..., Awaitable[None]]) -> None:
    size = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal size
        size += len(message.get("body", b""))
        if message.get("status", 200) != 200:
            raise RuntimeError(f"The scrape was refused: {message}")

    await app(dict(_SCOPE), receive, send)
    if not size:
        raise RuntimeError("The scrape brought nothing.")
