"""Types of what is put into an application: middleware, endpoints, health checks, collectors; never run."""

from __future__ import annotations

from typing import assert_type

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Route

from vitalsign.asgi import AccessLogMiddleware, MetricsMiddleware, metrics_app
from vitalsign.collectors import ApiClientCollector, QueueCollector, SystemCollector, WorkerCollector
from vitalsign.health import Change, HealthChecker, Report, Status, checks
from vitalsign.logs import LoggingSetup, configure_logging, log_context
from vitalsign.webhook import Alert, AlertWebhook
from vitalsign.wsgi import AccessLogMiddleware as WsgiAccessLogMiddleware

starlette, fastapi = Starlette(), FastAPI()
starlette.add_middleware(MetricsMiddleware)
starlette.add_route("/metrics", metrics_app())
fastapi.add_middleware(MetricsMiddleware, registry=CollectorRegistry())
fastapi.add_route("/metrics", metrics_app())
MetricsMiddleware(starlette)
starlette.add_middleware(AccessLogMiddleware, exclude="/metrics")

health = HealthChecker("shop", version="1.4.0")


@health.check("database", timeout=0.5, critical=True)
async def database(dsn: str = "") -> bool:
    """Be a check of one's own."""
    return bool(dsn)


@health.check("disk")
def disk() -> None:
    """Be a check that returns nothing."""


@health.on_change
async def tell(change: Change) -> None:
    """Be a listener."""
    assert_type(change.status, Status)


health.add(checks.disk("/", min_free="1GiB"), group="liveness", fall=3, depends_on="database")
Starlette(lifespan=health.refreshing)
FastAPI(lifespan=health.refreshing)
assert_type(health.routes(), list[Route])
assert_type(health.run_sync("readiness"), Report)
starlette.routes.extend(health.routes())


async def report() -> None:
    """Run the checks of a group."""
    assert_type(await health.run("readiness"), Report)
    assert_type(await database("dsn"), bool)
    async with health.refreshing():
        await tell(health.history()[0])


assert_type(SystemCollector().bind(), SystemCollector)
assert_type(QueueCollector("q", depth=lambda: 3, refresh=5.0).bind(CollectorRegistry()), QueueCollector)

with WorkerCollector("pricing", queue="q").bind() as worker, worker.job("backtest") as job:
    job.retried()

with ApiClientCollector("zoho") as api:
    httpx.Client(transport=api.httpx_transport())
    httpx.AsyncClient(transport=api.httpx_async_transport())

assert_type(configure_logging("shop", level="debug", redact=["iban"]), LoggingSetup)


@log_context(job="reprice")
async def reprice(product: str) -> int:
    """Keep its type, though it is decorated."""
    return len(product)


async def reprice_one() -> None:
    """Call it."""
    assert_type(await reprice("tea"), int)


async def on_alert(alert: Alert) -> None:
    """Take an alert."""
    assert_type(alert.is_firing, bool)


starlette.add_route("/alerts", AlertWebhook(on_alert, token="sesame"))
WsgiAccessLogMiddleware(AlertWebhook(print).wsgi)
AlertWebhook(lambda: None)  # type: ignore[arg-type, misc]

health.check("nameless")(3)  # type: ignore[type-var]
health.on_change(3)  # type: ignore[type-var]
QueueCollector(3)  # type: ignore[arg-type]
