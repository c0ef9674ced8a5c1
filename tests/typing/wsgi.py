"""The WSGI middleware fits where the standard library's types want an application."""

from __future__ import annotations

from typing import TYPE_CHECKING
from wsgiref.simple_server import make_server

from vitalsign.wsgi import MetricsMiddleware, RequestInfo

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer."""
    start_response("200 OK", [])
    return [b"ok"]


def plan(info: RequestInfo) -> str | None:
    """Return what a label function returns."""
    return info.header("x-plan") or None


wrapped: WSGIApplication = MetricsMiddleware(app)
make_server(
    "127.0.0.1",
    0,
    MetricsMiddleware(app, labels={"plan": plan}, route=lambda environ: environ["PATH_INFO"], names="opentelemetry"),
)
