"""A shop whose health is refreshed on its own event loop, with a pool that must be open while its check runs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from vitalsign.health import HealthChecker, Result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

health = HealthChecker("shop", deadline=0.5, ttl=0.0, refresh=0.05, timeout=30.0, registry=None)
loop: asyncio.AbstractEventLoop | None = None
runs = 0


@health.check("database")
async def database() -> Result:
    """Fail where the pool is not open on this loop; hang from the fifth run on."""
    global runs
    runs += 1
    if loop is not asyncio.get_running_loop():
        return Result("fail", "the pool is not open here")
    if runs == 5:
        try:
            await asyncio.sleep(3_600)
        finally:
            print(f"the check has ended, the pool is {'open' if loop else 'closed'}", flush=True)
    return Result("pass", "runs", runs)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Open the pool, and refresh while it is open."""
    global loop
    loop = asyncio.get_running_loop()
    try:
        async with health.refreshing():
            yield
    finally:
        loop = None


app = Starlette(routes=health.routes(token="sesame"), lifespan=lifespan)
