"""
Measure and log the requests of any ASGI application, and serve its metrics.

```python
from vitalsign.asgi import AccessLogMiddleware, MetricsMiddleware, metrics_app

app.add_middleware(MetricsMiddleware)
app.add_middleware(AccessLogMiddleware)
app.add_route("/metrics", metrics_app())
```
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY

from vitalsign._http_access_asgi import AccessLogMiddleware
from vitalsign._http_app import MetricsApp, metrics_app
from vitalsign._http_exchange import WHERE, opener
from vitalsign._http_labels import RequestInfo
from vitalsign._http_names import http_metrics
from vitalsign._http_paths import path_filter
from vitalsign._http_recorder import Recorder
from vitalsign._http_routes import Templates
from vitalsign._http_websockets import WebSocketRecorder
from vitalsign._trace import REQUEST_HEADERS, expect_requests
from vitalsign.exceptions import VitalsignError
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp, Receive, Scope, Send

    from vitalsign._http_labels import LabelFunction
    from vitalsign._http_names import Names

__all__ = ["AccessLogMiddleware", "MetricsApp", "MetricsMiddleware", "RequestInfo", "metrics_app"]


class MetricsMiddleware:
    """
    Measure every HTTP request: count, duration, in progress, sizes and exceptions, by method, route and status.

    The endpoint label is the route's template (`/users/{id}`), with the prefixes of mounts and included routers;
    requests that no route answers share `__unmatched__`, methods that HTTP does not know share `__other__`. The routes
    of Starlette, FastAPI, Litestar, Quart and Django are known; any other application can name its template itself, in
    `scope["path_template"]`.

    The duration ends with the last byte of the response: background tasks are not in it. A client that leaves before
    it has the whole response is counted with status 499. WebSocket connections have metrics of their own. Other scopes
    pass through, and so do requests that a middleware further out counts in the same metrics.

    While a request is answered, its `traceparent` header can become an exemplar of whatever is counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        registry: CollectorRegistry = REGISTRY,
        namespace: str = "",
        names: Names = "prometheus",
        buckets: Sequence[float] | None = None,
        labels: Mapping[str, LabelFunction] | None = None,
        exclude: str | Iterable[str] = (),
        group_status: bool = False,
        sizes: bool = True,
        first_byte: bool = False,
        websockets: bool = True,
        exemplars: bool = True,
    ) -> None:
        """
        Wrap *app* and declare the metrics; middleware with the same options shares them.

        Where names are taken, or an option is not valid, the error comes at the start: at once; or where a framework
        makes its middleware while the server is running already, by letting the start of the application's lifespan
        fail.

        Args:
            app: Any ASGI application.
            registry: Where the metrics are registered.
            namespace: First part of their names: `shop` makes `shop_http_requests_total`.
            names: `prometheus` for names and labels as above, `opentelemetry` for those of its semantic conventions
                (`http_server_request_duration_seconds`).
            buckets: Bounds of the duration histogram, in seconds; the names' usual ones unless given.
            labels: Further labels of the count and the duration, each with a function that computes its value from a
                `RequestInfo` when the request has been answered. Give it one of few values.
            exclude: Paths that are not measured, exact or with `*`, as the application sees them: without the root
                path of a proxy.
            group_status: Count by status class (`2xx`) in place of status code.
            sizes: Measure the bodies of requests and responses too.
            first_byte: Measure the time to the first byte of the response's body too.
            websockets: Measure WebSocket connections.
            exemplars: Let these metrics bear the ids of a sampled trace.

        Raises:
            DuplicateMetricError: One of the names is taken by another library, or with other labels or buckets.
            MetricError: An option is not valid.
            EndpointOptionError: `exclude` has what fits no path.
        """
        self.app = app
        self._mark = ""  # in the scope of what these metrics measure
        self._websockets: WebSocketRecorder | None = None
        self._refusal: VitalsignError | None = None
        self._open: Callable[[Scope, Receive, Send], Any] = _measure_nothing
        try:
            self._excludes = path_filter(exclude)
            metrics = http_metrics(
                names,
                registry=registry,
                namespace=namespace,
                buckets=buckets,
                labels=labels or {},
                group_status=group_status,
                sizes=sizes,
                first_byte=first_byte,
                exemplars=exemplars,
                websockets=websockets,
            )
        except VitalsignError as error:
            if not _is_loop_running():
                raise
            self._refusal = error
            return
        self._mark = f"vitalsign.http.{id(metrics.first)}"
        self._recorder = Recorder(metrics, Templates(app))
        self._open = opener(self._recorder, self._mark, self._excludes)
        if metrics.websockets is not None:
            self._websockets = WebSocketRecorder(metrics.websockets, self._recorder)
        expect_requests()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and measure it."""
        exchange = self._open(scope, receive, send)
        if exchange is None:
            await self._pass_on(scope, receive, send)
            return
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            exchange.close()

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is no HTTP request, or none that these metrics measure."""
        kind = scope["type"]
        if kind == "lifespan" and self._refusal is not None:
            await _refuse_to_start(self._refusal, receive, send)
        elif kind == "websocket" and self._websockets is not None and self._mark not in scope:
            if self._excludes is not None and self._excludes(scope):
                await self.app(scope, receive, send)
                return
            scope[self._mark] = True
            outer = REQUEST_HEADERS.get()
            REQUEST_HEADERS.set(scope.get("headers"))
            try:
                await self._websockets.measure(self.app, scope, receive, send)
            finally:
                REQUEST_HEADERS.set(outer)
        else:
            if self._refusal is not None:  # there was no lifespan to say it at
                internal_error(WHERE, self._refusal)
            await self.app(scope, receive, send)


async def _refuse_to_start(error: VitalsignError, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": str(error)})
    raise error


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        trio = sys.modules.get("trio")
        return trio is not None and bool(trio.lowlevel.in_trio_run())
    return True


def _measure_nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Stand for what opens exchanges where there are no metrics."""
