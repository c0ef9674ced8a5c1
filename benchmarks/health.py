"""Rows of the health endpoints: many callers at once, and what one probe costs."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.rows import OURS, RUNS, SECONDS, Contender, Row, Target

if TYPE_CHECKING:
    from vitalsign.health import HealthChecker

__all__ = ["rows"]

_CHECKS = 20
_CALLERS = 200
_STORMS = 20
_PROBES = 2_000
_TOKEN = "sesame"
_LONG = 600.0  # seconds


def rows() -> list[Row]:
    """Return the rows of this module."""
    storm = f"{_CALLERS} callers at once of a full health report, {_CHECKS} checks"
    return [
        Row("health.runs", f"{storm}: runs of each check, at most", RUNS, (_ours(runs),), Target(limit=1)),
        Row("health.storm", f"the same, cached, with details: {_CALLERS} answers, the 99th percentile", SECONDS,
            (_ours(storm_time),), Target(limit=0.05)),
        Row("health.probe", f"one cached readiness request, {_CHECKS} checks", SECONDS, (_ours(probe_time),)),
    ]  # fmt: skip


def _ours(measure: Any) -> Contender:
    return Contender(*OURS, measure)


def runs(short: bool) -> float:
    """Return how often the check that ran most often has run, when all callers come before anything is known."""
    counted: dict[str, int] = {}
    asyncio.run(_storm(_app(_checker(counted)), _CALLERS // 10 if short else _CALLERS))
    return max(counted[name] for name in _names())


def storm_time(short: bool) -> float:
    """Return the time after which 99 of 100 callers have their answer: the median of some storms."""
    return asyncio.run(_storm_time(3 if short else _STORMS))


async def _storm_time(storms: int) -> float:
    app = _app(_checker({}))
    await _storm(app, _CALLERS)
    taken = [await _storm(app, _CALLERS) for _ in range(storms)]
    return median(sorted(times)[len(times) * 99 // 100 - 1] for times in taken)


async def _storm(app: Any, callers: int) -> list[float]:
    """Return when each caller had its answer, in seconds after all of them came."""
    start = perf_counter()

    async def call() -> float:
        await _ask(app, "/health/full")
        return perf_counter() - start

    return list(await asyncio.gather(*(call() for _ in range(callers))))


def probe_time(short: bool) -> float:
    """Return the seconds that one probe takes, which sees the status only: the best of some turns."""
    return asyncio.run(_probe_time(10 if short else _PROBES // 10))


async def _probe_time(probes: int) -> float:
    app = _app(_checker({}))
    taken = []
    for _ in range(11):  # the first only warms up
        start = perf_counter()
        for _ in range(probes):
            await _ask(app, "/ready", token="")
        taken.append((perf_counter() - start) / probes)
    return min(taken[1:])


def _names() -> list[str]:
    return [f"check-{number}" for number in range(_CHECKS)]


def _checker(counted: dict[str, int]) -> HealthChecker:
    """Make a checker whose checks, plain ones and coroutines, count their runs."""
    from vitalsign.health import Check, HealthChecker, Result

    health = HealthChecker("shop", timeout=_LONG, deadline=_LONG, ttl=_LONG, registry=None)

    def add(name: str, is_coroutine: bool) -> None:
        def look() -> Result:
            counted[name] = counted.get(name, 0) + 1
            return Result("pass", "jobs are waiting", 3, "jobs")

        async def look_async() -> Result:
            await asyncio.sleep(0)
            return look()

        health.add(Check(name, look_async if is_coroutine else look))

    for number, name in enumerate(_names()):
        add(name, number % 2 == 0)
    return health


def _app(health: HealthChecker) -> Any:
    return health.asgi(token=_TOKEN)


async def _ask(app: Any, path: str, token: str = _TOKEN) -> None:
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())]
    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 0))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app({"type": "http", "method": "GET", "path": path, "headers": headers, "client": None}, receive, send)
    if statuses[0] != 200:
        raise RuntimeError(f"{path} has answered {statuses[0]}")
