"""Types of what is put into an application: middleware, endpoints, health checks, collectors; never run."""

from __future__ import annotations

from typing import assert_type

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Route

from vitalsign.asgi import MetricsMiddleware, metrics_app
from vitalsign.collectors import ApiClientCollector, QueueCollector, SystemCollector, WorkerCollector
from vitalsign.health import HealthChecker, Report, checks

starlette, fastapi = Starlette(), FastAPI()
starlette.add_middleware(MetricsMiddleware)
starlette.add_route("/metrics", metrics_app())
fastapi.add_middleware(MetricsMiddleware, registry=CollectorRegistry())
fastapi.add_route("/metrics", metrics_app())
MetricsMiddleware(starlette)

health = HealthChecker("shop", version="1.4.0")


@health.check("database", timeout=0.5, critical=True)
async def database(dsn: str = "") -> bool:
    """Be a check of one's own."""
    return bool(dsn)


@health.check("disk")
def disk() -> None:
    """Be a check that returns nothing."""


health.add(checks.disk("/", min_free="1GiB"), group="liveness")
assert_type(health.routes(), list[Route])
assert_type(health.run_sync("readiness"), Report)
starlette.routes.extend(health.routes())


async def report() -> None:
    """Run the checks of a group."""
    assert_type(await health.run("readiness"), Report)
    assert_type(await database("dsn"), bool)


assert_type(SystemCollector().bind(), SystemCollector)
assert_type(QueueCollector("q", depth=lambda: 3, refresh=5.0).bind(CollectorRegistry()), QueueCollector)

with WorkerCollector("pricing", queue="q").bind() as worker, worker.job("backtest") as job:
    job.retried()

with ApiClientCollector("zoho") as api:
    httpx.Client(transport=api.httpx_transport())
    httpx.AsyncClient(transport=api.httpx_async_transport())

health.check("nameless")(3)  # type: ignore[type-var]
QueueCollector(3)  # type: ignore[arg-type]
