"""A service that takes its time, as ASGI and WSGI application, and drains; the variable DRAIN says for how long."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from vitalsign.health import HealthChecker

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKEN = "sesame"
DRAIN = float(os.environ.get("DRAIN", "2"))

health = HealthChecker("shop", registry=None)


async def work(scope: Any, receive: Any, send: Any) -> None:
    """Answer after the seconds that the query names; install the signal handlers at start-up."""
    if scope["type"] == "lifespan":
        await receive()
        health.install_signal_handlers(drain=DRAIN)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await asyncio.sleep(float(scope["query_string"] or 0))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done"})


def work_wsgi(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Answer after the seconds that the query names."""
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [("Content-Length", "4")])
    return [b"done"]


def post_worker_init(_: object) -> None:
    """Install the signal handlers in a worker of gunicorn, whose configuration this module is too."""
    health.install_signal_handlers(drain=DRAIN)


asgi = health.asgi(work, token=TOKEN, drain="/health/drain")
wsgi = health.wsgi(work_wsgi, token=TOKEN, drain="/health/drain")
