"""An application whose log is JSON lines, its server's lines included."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse

from vitalsign.asgi import AccessLogMiddleware, MetricsMiddleware
from vitalsign.logs import configure_logging, current_context
from vitalsign.wsgi import AccessLogMiddleware as WsgiAccessLogMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from starlette.requests import Request

configure_logging("shop")
log = logging.getLogger("shop")


async def order(request: Request) -> JSONResponse:
    """Log, and answer."""
    log.info("order looked up", extra={"number": request.path_params["number"]})
    return JSONResponse(dict(current_context()))


async def fail(_: Request) -> JSONResponse:
    """Raise what nobody handles."""
    raise LookupError("no such order, password=hunter2")


app = Starlette()
app.add_route("/orders/{number}", order)
app.add_route("/fail", fail)
app.add_middleware(MetricsMiddleware)
app.add_middleware(AccessLogMiddleware)


@WsgiAccessLogMiddleware
def wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Log, and answer by WSGI."""
    log.info("by WSGI", extra={"path": environ["PATH_INFO"]})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
