"""The ASGI middleware and page fit where the frameworks' own types want them."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route

from vitalsign.asgi import MetricsApp, MetricsMiddleware, RequestInfo, metrics_app

if TYPE_CHECKING:
    from starlette.types import ASGIApp

registry = CollectorRegistry()
assert_type(metrics_app(registry=registry), MetricsApp)

app = Starlette(
    routes=[Route("/metrics", metrics_app()), Mount("/own", app=metrics_app())],
    middleware=[Middleware(MetricsMiddleware, registry=registry, group_status=True)],
)
app.add_middleware(MetricsMiddleware)
app.add_middleware(MetricsMiddleware, namespace="shop", exclude=["/metrics", "/health*"])
app.add_route("/metrics", metrics_app())

api = FastAPI()
api.add_middleware(MetricsMiddleware, buckets=(0.1, 0.5))
api.add_route("/metrics", metrics_app())
api.mount("/own", metrics_app())

wrapped: ASGIApp = MetricsMiddleware(metrics_app(), sizes=False, exclude="/metrics")

api.add_middleware(
    MetricsMiddleware,
    names="opentelemetry",
    labels={"plan": lambda info: info.header("x-plan"), "failed": lambda info: info.status >= 500},
    first_byte=True,
    websockets=False,
    exemplars=False,
)


def cache(info: RequestInfo) -> str:
    """Return what a label function returns."""
    assert_type(info.status, int)
    return info.response_header("x-cache")


MetricsMiddleware(metrics_app(), labels={"cache": cache})
MetricsMiddleware(metrics_app(), names="otel")  # type: ignore[arg-type]
