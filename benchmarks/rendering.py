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

_TEXT = "text/plain;version=0.0.4"
_OPENMETRICS = "application/openmetrics-text;version=1.0.0"
_RENDERERS = {
    ("vitalsign", _TEXT): ("vitalsign", "generate_latest"),
    ("vitalsign", _OPENMETRICS): ("vitalsign.metrics.exposition", "generate_openmetrics"),
    ("prometheus_client", _TEXT): ("prometheus_client", "generate_latest"),
    ("prometheus_client", _OPENMETRICS): ("prometheus_client.openmetrics.exposition", "generate_latest"),
}
"""Module and name of what writes a page, by library and content type."""

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
    "client": ("127.0.0.1", 1234),
    "server": ("127.0.0.1", 8000),
}


def rows() -> list[Row]:
    """Return the rows of this module."""
    return [
        *_rows_of("render", "text", _TEXT, (30, 10)),
        Row(
            "render.cold",
            "10,000 histogram children as text, 1 thread, first scrape",
            SECONDS,
            beside(partial(first_render, _TEXT)),
        ),
        *_rows_of("render.openmetrics", "OpenMetrics", _OPENMETRICS, (20, 8)),
    ]


def _rows_of(key: str, name: str, form: str, factors: tuple[float, float]) -> list[Row]:
    """Return the rows of one format: written by 1 and by 8 threads, and the stall."""
    page = f"10,000 histogram children as {name}"
    by_one, by_eight = (Target(factor=factor) for factor in factors)
    return [
        Row(f"{key}.1", f"{page}, written by 1 thread", SECONDS, beside(partial(render, form, 1)), by_one),
        Row(f"{key}.8", f"{page}, written by 8 threads", SECONDS, beside(partial(render, form, 8)), by_eight),
        Row(
            f"{key}.stall",
            f"longest stall of the event loop while those are scraped over ASGI as {name}, gzipped",
            SECONDS,
            beside(partial(stall, form)),
            Target(limit=0.010),
        ),
    ]


def render(form: str, threads: int, library: str, short: bool) -> float:
    """Time scrapes after the first, which are all alike, and return the best: what disturbs one only ever adds."""
    registry = populated(library, _children(short), threads)
    _render_time(form, library, registry)
    return min(_render_time(form, library, registry) for _ in range(1 if short else _REPEATS))


def first_render(form: str, library: str, short: bool) -> float:
    return _render_time(form, library, populated(library, _children(short), 1))


def stall(form: str, library: str, short: bool) -> float:
    """Measure the longest time that a task which only sleeps was late, over the second scrape."""
    registry = populated(library, _children(short), 1)
    if library == "vitalsign":
        app = import_module("vitalsign.asgi").metrics_app(registry=registry)
    else:
        app = import_module(library).make_asgi_app(registry)
    return asyncio.run(_longest_stall(app, form))


def _children(short: bool) -> int:
    return _CHILDREN // 100 if short else _CHILDREN


def _render_time(form: str, library: str, registry: Any) -> float:
    module, name = _RENDERERS[library, form]
    generate = getattr(import_module(module), name)
    gc.collect()
    start = perf_counter()
    generate(registry)
    return perf_counter() - start


async def _longest_stall(app: Callable[..., Awaitable[None]], form: str) -> float:
    headers = [(b"host", b"localhost"), (b"accept", form.encode()), (b"accept-encoding", b"gzip")]
    scope = {**_SCOPE, "headers": headers}
    await _scrape(app, scope)
    await asyncio.sleep(_HEARTBEAT)
    gc.collect()
    stop = asyncio.Event()
    heart = asyncio.create_task(_beat(stop))
    await asyncio.sleep(_HEARTBEAT)
    await _scrape(app, scope)
    stop.set()
    return await heart


async def _beat(stop: asyncio.Event) -> float:
    longest = 0.0
    while not stop.is_set():
        due = perf_counter() + _HEARTBEAT
        await asyncio.sleep(_HEARTBEAT)
        longest = max(longest, perf_counter() - due)
    return longest


async def _scrape(app: Callable[..., Awaitable[None]], scope: dict[str, Any]) -> None:
    size = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal size
        size += len(message.get("body", b""))
        if message["type"] == "http.response.start" and not _is_asked_for(message, scope):
            raise RuntimeError(f"The scrape was not answered as it asked: {message}")

    await app(dict(scope), receive, send)
    if not size:
        raise RuntimeError("The scrape brought nothing.")


def _is_asked_for(message: dict[str, Any], scope: dict[str, Any]) -> bool:
    wanted, _, _ = dict(scope["headers"])[b"accept"].partition(b";")
    headers = {name.lower(): value for name, value in message["headers"]}
    return message["status"] == 200 and bool(headers[b"content-type"].startswith(wanted))
