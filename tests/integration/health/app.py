"""A shop for the tests of this folder: checks that pass, fail, count and hang, switched over HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from vitalsign.health import Check, HealthChecker

if TYPE_CHECKING:
    from starlette.requests import Request

TOKEN = "sesame"

health = HealthChecker("shop", version="1.4.0", deadline=0.5, ttl=60.0, registry=None)
runs: Counter[str] = Counter()
is_down = False


def count(name: str, *, is_coroutine: bool) -> None:
    """Add a check that counts its runs."""

    def look() -> None:
        runs[name] += 1

    async def look_async() -> None:
        runs[name] += 1
        await asyncio.sleep(0.01)

    health.add(Check(name, look_async if is_coroutine else look, groups=("counted",), timeout=30.0))


for number in range(20):
    count(f"check-{number}", is_coroutine=number % 2 == 0)


@health.check("database", ttl=0, failure_ttl=0, timeout=30.0)
async def database() -> None:
    """Fail while the database is down, with a text that nobody should see."""
    if is_down:
        raise ConnectionError("postgresql://shop:hunter2@db.internal/shop refused")


@health.check("hangs", group="hanging", timeout=30.0)
def hangs() -> None:
    """Wait for ever."""
    threading.Event().wait()


async def switch(request: Request) -> JSONResponse:
    """Take the database down or up, or finish the startup."""
    global is_down
    what = request.path_params["what"]
    is_down = what == "down"
    if what == "started":
        health.started()
    return JSONResponse(what)


async def counts(_: Request) -> JSONResponse:
    """Tell how often each check has run."""
    return JSONResponse(runs)


PATHS = {"counted": "/counted", "hanging": "/hanging"}

app = Starlette(routes=[Route("/switch/{what}", switch), Route("/counts", counts)])
app.routes.extend(health.routes(paths=PATHS, token=TOKEN))
probes = health.asgi(paths={"full": None, **PATHS}, allow=["127.0.0.0/8"])
