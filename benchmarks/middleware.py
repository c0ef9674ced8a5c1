"""Rows of the HTTP middleware: what a request costs more than in the bare application."""

from __future__ import annotations

import asyncio
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.rows import OURS, SECONDS, Contender, Row, Target, uncompiled

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette

__all__ = ["LIBRARIES", "application", "rows"]

_ROUTES = (20, 300)
_PAIRS = 6000
_FEW_PAIRS = 20

_SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "query_string": b"",
    "root_path": "",
    "scheme": "http",
    "server": ("127.0.0.1", 8000),
    "client": ("127.0.0.1", 50000),
    "headers": [(b"host", b"localhost"), (b"accept", b"*/*"), (b"user-agent", b"benchmark")],
}


def rows() -> list[Row]:
    """Return the rows of this module."""
    measured = [
        Row(
            f"middleware.{routes}",
            f"HTTP middleware, extra time per request, the last of {routes} parameterised routes",
            SECONDS,
            tuple(
                Contender(name, distribution, partial(extra_time, name, routes)) for name, distribution, _ in LIBRARIES
            ),
            Target(factor=6, limit=6e-6),
        )
        for routes in _ROUTES
    ]
    pure = Contender(*OURS, partial(uncompiled, partial(extra_time, OURS[0], _ROUTES[0])))
    floor = Contender("an empty middleware", "", partial(extra_time, "floor", _ROUTES[0]))
    return [
        *measured,
        Row("middleware.pure", f"the same at {_ROUTES[0]} routes, without the compiled part", SECONDS, (pure,)),
        Row("middleware.floor", "the same, middleware that only looks at the status", SECONDS, (floor,)),
    ]


def extra_time(library: str, routes: int, short: bool) -> float:
    """
    Return the time by which a request takes longer than in the bare application.

    Both are asked in turns, and the median pair of requests counts: a machine that changes its pace changes it for both
    of a pair. They share their routes: where 300 of them lie in memory differs by more than a middleware costs.
    """
    from starlette.applications import Starlette

    bare = application(routes)
    measured = Starlette(routes=bare.routes)
    _add_middleware(library, measured)
    path = f"/r{routes - 1}/42"
    scope = {**_SCOPE, "path": path, "raw_path": path.encode()}
    return median(asyncio.run(_differences(bare, measured, scope, _FEW_PAIRS if short else _PAIRS)))


async def _differences(bare: Starlette, measured: Starlette, scope: dict[str, Any], pairs: int) -> list[float]:
    """Return by how much longer a request to *measured* took, pair by pair; the first tenth only warms up."""
    taken: list[float] = []
    for _ in range(pairs):
        without, with_it = await _seconds(bare, scope), await _seconds(measured, scope)
        taken.append(with_it - without)
    return taken[pairs // 10 :]


async def _seconds(app: Starlette, scope: dict[str, Any]) -> float:
    start = perf_counter()
    await app(dict(scope), _receive, _send)
    return perf_counter() - start


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    pass


def application(routes: int) -> Starlette:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route(f"/r{number}/{{id}}", answer) for number in range(routes)])


def _add_middleware(library: str, app: Starlette) -> None:
    add = _add_floor if library == "floor" else next(add for name, _, add in LIBRARIES if name == library)
    add(app)


def _add_vitalsign(app: Starlette) -> None:
    from vitalsign.asgi import MetricsMiddleware

    app.add_middleware(MetricsMiddleware)


def _add_aioprometheus(app: Starlette) -> None:
    from aioprometheus import MetricsMiddleware  # type: ignore[attr-defined]

    app.add_middleware(MetricsMiddleware)


def _add_instrumentator(app: Starlette) -> None:
    from prometheus_fastapi_instrumentator import Instrumentator

    Instrumentator(should_instrument_requests_inprogress=True).instrument(app)


def _add_starlette_exporter(app: Starlette) -> None:
    from starlette_exporter import PrometheusMiddleware

    app.add_middleware(PrometheusMiddleware, group_paths=True)


def _add_opentelemetry(app: Starlette) -> None:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.metrics import MeterProvider

    app.add_middleware(OpenTelemetryMiddleware, meter_provider=MeterProvider(metric_readers=[PrometheusMetricReader()]))


def _add_floor(app: Starlette) -> None:
    app.add_middleware(_Floor)


class _Floor:
    """The least that any middleware in Python does: a clock, and the status of the response."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.seen: tuple[int, float] = (0, 0.0)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        start, status = perf_counter(), 500

        async def watch(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            self.seen = status, perf_counter() - start


LIBRARIES: tuple[tuple[str, str, Callable[[Starlette], None]], ...] = (
    (*OURS, _add_vitalsign),
    ("aioprometheus", "aioprometheus", _add_aioprometheus),
    ("prometheus_fastapi_instrumentator", "prometheus-fastapi-instrumentator", _add_instrumentator),
    ("starlette_exporter", "starlette-exporter", _add_starlette_exporter),
    ("opentelemetry", "opentelemetry-instrumentation-asgi", _add_opentelemetry),
)
