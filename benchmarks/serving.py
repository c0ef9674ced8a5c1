"""The row of a server under load: how many requests it answers, with the middleware and without."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import asynccontextmanager
from functools import partial
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

from benchmarks.middleware import LIBRARIES, application
from benchmarks.rows import SHARE, Contender, Row, Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["rows"]

_LOST = 0.05  # of the requests per second of the bare application
_ROUTES = 20
_TURNS = 4
_CONNECTIONS = 32


def rows() -> list[Row]:
    """Return the rows of this module: none where there is no wrk, which makes the load."""
    if shutil.which("wrk") is None:
        return []
    libraries = tuple(Contender(name, distribution, partial(share_lost, name)) for name, distribution, _ in LIBRARIES)
    title = f"uvicorn under wrk, {_CONNECTIONS} connections: share of the bare application's requests/s that is lost"
    return [Row("serving.requests", title, SHARE, libraries, Target(limit=_LOST))]


def share_lost(library: str, short: bool) -> float:
    """
    Return by how much fewer requests a process answers in a second with the middleware than without.

    One process serves both applications, and is asked for each in turns. A second is one of its processor time, all
    of which it uses under this load, so that other processes do not take part in the figure; the median turn counts.
    """
    return asyncio.run(_share_lost(library, 1 if short else _TURNS + 1))


async def _share_lost(library: str, turns: int) -> float:
    bare, measured = application(_ROUTES), application(_ROUTES)
    next(add for name, _, add in LIBRARIES if name == library)(measured)
    async with _serving(bare) as without, _serving(measured) as with_it:
        rates: dict[int, list[float]] = {without: [], with_it: []}
        for _ in range(turns):
            for port, taken in rates.items():
                taken.append(await _load(f"http://127.0.0.1:{port}/r{_ROUTES - 1}/42", 1))
    return 1 - median(rates[with_it][-_TURNS:]) / median(rates[without][-_TURNS:])  # the first turn warms up


@asynccontextmanager
async def _serving(app: Any) -> AsyncIterator[int]:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def _load(url: str, seconds: int) -> float:
    """Return the requests that were answered per second of this process."""
    command = ("wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", url)
    start = process_time()
    wrk = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    report = (await wrk.communicate())[0].decode()
    spent = process_time() - start
    answered = re.search(r"(\d+) requests in", report)
    if answered is None or "Non-2xx" in report or "Socket errors" in report:
        raise RuntimeError(f"The load was not answered as it should be: {report}")
    return int(answered[1]) / spent
