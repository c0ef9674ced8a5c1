"""The row of a server under load: how long a request takes it, with the middleware and without."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.middleware import LIBRARIES, application
from benchmarks.rows import SECONDS, Contender, Row, Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["rows"]

_KEPT = 0.95  # of the requests per second of the bare application
_ROUTES = 20
_SECONDS = 4
_CONNECTIONS = 32


def rows() -> list[Row]:
    """Return the rows of this module: none where there is no wrk, which makes the load."""
    if shutil.which("wrk") is None:
        return []
    libraries = [Contender(name, distribution, partial(request_time, name)) for name, distribution, _ in LIBRARIES]
    bare = Contender("the bare application", "", partial(request_time, ""))
    title = (
        f"uvicorn under wrk, {_CONNECTIONS} connections: time per request, beside the application without middleware"
    )
    return [Row("serving.request", title, SECONDS, (libraries[0], bare, *libraries[1:]), Target(factor=_KEPT))]


def request_time(library: str, short: bool) -> float:
    """Return the seconds between two responses of one process, the reciprocal of its requests per second."""
    return asyncio.run(_request_time(library, short))


async def _request_time(library: str, short: bool) -> float:
    app = application(_ROUTES)
    for name, _, add in LIBRARIES:
        if name == library:
            add(app)
    async with _serving(app) as port:
        url = f"http://127.0.0.1:{port}/r{_ROUTES - 1}/42"
        await _load(url, 1)
        return 1 / await _load(url, 1 if short else _SECONDS)


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
    """Return the requests per second that were answered."""
    command = ("wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", url)
    wrk = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    report = (await wrk.communicate())[0].decode()
    rate = re.search(r"Requests/sec:\s+([\d.]+)", report)
    if rate is None or "Non-2xx" in report or "Socket errors" in report:
        raise RuntimeError(f"The load was not answered as it should be: {report}")
    return float(rate[1])
