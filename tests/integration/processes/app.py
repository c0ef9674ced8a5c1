"""A shop that many worker processes serve: as an ASGI and as a WSGI application, with one page for all of them."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from vitalsign import Counter, Gauge, Histogram, generate_latest
from vitalsign.asgi import metrics_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ORDERS = Counter("shop_orders", "Orders placed.", ["channel"])
SIZES = Histogram("shop_order_size", "Items of an order.", buckets=(1, 2, 3))
OPEN = Gauge("shop_orders_in_progress", "Orders that are being placed.", multiprocess_mode="livesum")

page = metrics_app()

PATIENCE = 60.0
"""Seconds that an order hangs at most: longer than any test waits, and no process stays for long if one fails."""


def order(path: str) -> bytes:
    """Place the order that `/order/<channel>/<items>` asks for, and tell which process did."""
    _, _, channel, items = path.split("/")
    ORDERS.labels(channel).inc()
    SIZES.observe(int(items))
    return b"%d\n" % os.getpid()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer by WSGI."""
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/hang":
        return _hang()
    if path == "/metrics":
        return [generate_latest()]
    with OPEN.track_inprogress():
        return [order(path) if path.startswith("/order/") else b"ready\n"]


def _hang() -> Iterable[bytes]:
    with OPEN.track_inprogress():
        yield b"%d\n" % os.getpid()
        time.sleep(PATIENCE)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Answer by ASGI."""
    if scope["type"] != "http" or scope["path"] == "/metrics":
        await page(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    with OPEN.track_inprogress():
        is_hanging = scope["path"] == "/hang"
        if is_hanging:
            body = b"%d\n" % os.getpid()
        else:
            body = order(scope["path"]) if scope["path"].startswith("/order/") else b"ready\n"
        await send({"type": "http.response.body", "body": body, "more_body": is_hanging})
        if is_hanging:
            await asyncio.sleep(PATIENCE)
