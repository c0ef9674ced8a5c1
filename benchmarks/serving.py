"""The rows of a server under load: how many requests it answers, with the middleware and without."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryFile
from time import process_time
from typing import IO, TYPE_CHECKING, Any

from benchmarks.middleware import LIBRARIES, application
from benchmarks.rows import OURS, SHARE, STATED, Contender, Row, Target, uncompiled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["rows"]

_KEPT = Target(limit=0.05)  # 95 % of the requests per second of the bare application
_ROUTES = 20
_SECONDS = 10
_BLOCK = 50  # requests
_WARM_UP = 0.1  # of the blocks
_CONNECTIONS = 32


@dataclass(frozen=True)
class _Server:
    """
    How uvicorn is started.

    Attributes:
        parser: Of HTTP/1.1; h11 is what uvicorn has without extras.
        is_logging: Whether it writes its access log, as it does unless told otherwise; here to a file.
    """

    parser: str = "h11"
    is_logging: bool = True


_SILENT = _Server(is_logging=False)
_STARLETTE = "a Starlette application that answers two bytes"
_FASTAPI = "a FastAPI application that answers JSON"


def rows() -> list[Row]:
    """Return the rows of this module: none where there is no wrk, which makes the load."""
    if shutil.which("wrk") is None:
        return []
    found = [
        _row("serving.fastapi", f"uvicorn as it comes under wrk, {_FASTAPI}", _fastapi, _Server()),
        _row("serving.starlette", f"uvicorn as it comes under wrk, {_STARLETTE}", application, _Server()),
        _row("serving.fastapi_silent", f"the same without access log, {_FASTAPI}", _fastapi, _SILENT),
        _row("serving.starlette_silent", f"the same without access log, {_STARLETTE}", application, _SILENT),
    ]
    pure = Contender(*OURS, partial(uncompiled, partial(share_lost, OURS[0], application, _SILENT)))
    found.append(Row("serving.pure", _lost(f"the same, {_STARLETTE}, without the compiled part"), SHARE, (pure,)))
    if find_spec("httptools") is not None:
        httptools = _Server("httptools", is_logging=False)
        found.append(_row("serving.httptools", f"the same by httptools, {_STARLETTE}", application, httptools, STATED))
    return found


def _lost(title: str) -> str:
    return f"{title}: share of the bare application's requests/s that is lost"


def _row(key: str, title: str, make: Callable[[int], Any], server: _Server, target: Target = _KEPT) -> Row:
    return Row(
        key,
        _lost(title),
        SHARE,
        tuple(
            Contender(library, distribution, partial(share_lost, library, make, server))
            for library, distribution, _ in LIBRARIES
        ),
        target,
    )


def share_lost(library: str, make: Callable[[int], Any], server: _Server, short: bool) -> float:
    """
    Return by how much fewer requests a process answers in a second with the middleware than without.

    One process serves both applications by one socket, under one load, and lets them take turns, a block of requests
    each. So a machine whose pace changes from one second to the next disturbs both alike. A second is one of the
    process's own processor time, all of which it uses under this load; the median pair of blocks counts.
    """
    bare, measured = make(_ROUTES), make(_ROUTES)
    next(add for name, _, add in LIBRARIES if name == library)(measured)
    turns = _Turns(bare, measured)
    asyncio.run(_load(turns, server, 1 if short else _SECONDS))
    lost = [1 - without / with_it for without, with_it in zip(*turns.taken, strict=False)]
    return median(lost[int(len(lost) * _WARM_UP) :])


class _Turns:
    """
    Let applications answer in turns.

    Attributes:
        taken: Seconds of each application's blocks.
    """

    def __init__(self, *apps: Any) -> None:
        self.taken: tuple[list[float], ...] = tuple([] for _ in apps)
        self._apps = apps
        self._answered = 0
        self._turn = 0
        self._began = process_time()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._answered == _BLOCK:
            now = process_time()
            self.taken[self._turn].append(now - self._began)
            self._began = now
            self._answered = 0
            self._turn = (self._turn + 1) % len(self._apps)
        self._answered += 1
        await self._apps[self._turn](scope, receive, send)


async def _load(app: Any, server: _Server, seconds: int) -> None:
    async with _serving(app, server) as port:
        command = ("wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", f"http://127.0.0.1:{port}/r{_ROUTES - 1}/42")
        wrk = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        report = (await wrk.communicate())[0].decode()
    if re.search(r"[1-9]\d* requests in", report) is None or "Non-2xx" in report or "Socket errors" in report:
        raise RuntimeError(f"The load was not answered as it should be: {report}")


@asynccontextmanager
async def _serving(app: Any, kind: _Server) -> AsyncIterator[int]:
    import uvicorn

    with TemporaryFile("w") as log:
        config = uvicorn.Config(
            app,
            port=0,
            http=kind.parser,  # type: ignore[arg-type]  # a literal there
            loop="asyncio",
            lifespan="off",
            access_log=kind.is_logging,
            use_colors=False,
            log_config=_logging_to(log),
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True
        await serving
        if kind.is_logging and not log.tell():
            raise RuntimeError("uvicorn wrote no access log, though it was to.")


def _logging_to(file: IO[str]) -> dict[str, Any]:
    """Return uvicorn's own configuration of logging, with *file* in place of standard output and error."""
    from uvicorn.config import LOGGING_CONFIG

    handlers = {name: {**handler, "stream": file} for name, handler in LOGGING_CONFIG["handlers"].items()}
    return {**LOGGING_CONFIG, "handlers": handlers}


def _fastapi(routes: int) -> Any:
    from fastapi import FastAPI

    app = FastAPI()

    async def answer(id: int) -> dict[str, Any]:  # noqa: A002  # named as in the path
        return {"id": id, "name": "a thing", "price": 12.5}

    for number in range(routes):
        app.add_api_route(f"/r{number}/{{id}}", answer)
    return app
