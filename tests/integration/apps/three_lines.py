"""A FastAPI service, instrumented by the three lines that end in a number."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, FastAPI, HTTPException

from vitalsign.asgi import MetricsMiddleware, metrics_app  # 1

app = FastAPI()
app.add_middleware(MetricsMiddleware)  # 2
app.add_route("/metrics", metrics_app())  # 3

users = APIRouter(prefix="/users")
_released = asyncio.Event()


@users.get("/{user}")
async def user(user: int) -> dict[str, int]:
    """Show a user; there are 100."""
    if user > 100:
        raise HTTPException(404)
    return {"user": user}


@users.post("", status_code=201)
async def register(name: Annotated[str, Body(embed=True)]) -> dict[str, str]:
    """Take a new user."""
    return {"name": name}


@users.delete("/{user}")
async def remove(user: int) -> None:
    """Fail, as what nobody has tried before."""
    raise NotImplementedError(user)


@app.get("/sleep/{seconds}")
async def sleep(seconds: float) -> float:
    """Take at least that long to answer."""
    await asyncio.sleep(seconds)
    return seconds


@app.post("/hold")
async def hold() -> None:
    """Answer when told to."""
    await _released.wait()


@app.get("/release")
async def release() -> None:
    """Let those be answered that are held."""
    _released.set()


app.include_router(users, prefix="/v1")
