"""Measure the requests of any WSGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY

from vitalsign._http_frameworks import Framework
from vitalsign._http_names import http_metrics
from vitalsign._http_paths import path_filter
from vitalsign._http_recorder import Recorder
from vitalsign._http_routes import UNMATCHED
from vitalsign._http_wsgi_exchange import WHERE, WsgiExchange
from vitalsign._trace import REQUEST_HEADERS, expect_requests
from vitalsign.exceptions import EndpointOptionError
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import CollectorRegistry

    from vitalsign._http_labels import LabelFunction
    from vitalsign._http_names import Names

    RouteFunction = Callable[[WSGIEnvironment], str | None]

__all__ = ["MetricsMiddleware"]


class MetricsMiddleware:
    """
    Measure every HTTP request: count, duration, in progress, sizes and exceptions, by method, route and status.

    The metrics and their options are those of `vitalsign.asgi.MetricsMiddleware`. The endpoint label is the route's
    template (`/users/{id}`), which Flask and Django tell; requests that no route answers share `__unmatched__`.

    The duration ends with the last byte that the server takes. A response that the server closes before is one whose
    client has left, and is counted with status 499.
    """

    def __init__(
        self,
        app: WSGIApplication,
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
        exemplars: bool = True,
        route: RouteFunction | None = None,
    ) -> None:
        """
        Wrap *app* and declare the metrics; middleware with the same options shares them.

        Args:
            app: Any WSGI application.
            registry: Where the metrics are registered.
            namespace: First part of their names: `shop` makes `shop_http_requests_total`.
            names: `prometheus` for names and labels as above, `opentelemetry` for those of its semantic conventions
                (`http_server_request_duration_seconds`).
            buckets: Bounds of the duration histogram, in seconds; the names' usual ones unless given.
            labels: Further labels of the count and the duration, each with a function that computes its value from a
                `RequestInfo` when the request has been answered. Give it one of few values.
            exclude: Paths that are not measured, exact or with `*`, without the prefix that the application is
                mounted at.
            group_status: Count by status class (`2xx`) in place of status code.
            sizes: Measure the bodies of responses too, and those of requests that tell their length.
            first_byte: Measure the time to the first byte of the response's body too.
            exemplars: Let these metrics bear the ids of a sampled trace.
            route: Names the template of a request, from its environ, where the framework does not; None if it cannot.

        Raises:
            DuplicateMetricError: One of the names is taken by another library, or with other labels or buckets.
            MetricError: An option is not valid.
            EndpointOptionError: `exclude` has what fits no path, or `route` is no function.
        """
        self.app = app
        if route is not None and not callable(route):
            raise EndpointOptionError(f"route is {route!r}, but has to be a function of the environ.")
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
        )
        self._mark = f"vitalsign.http.{id(metrics.first)}"  # in the environ of what these metrics measure
        self._recorder = Recorder(metrics, _Templates(app, route))
        expect_requests()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass a request on, and measure it."""
        exchange = None
        try:
            if self._mark not in environ and not (self._excludes and self._excludes(_scope_of(environ))):
                environ[self._mark] = True
                exchange = WsgiExchange(self._recorder, environ, start_response)
        except Exception as error:  # noqa: BLE001  # nothing of ours may keep a request from its answer
            internal_error(WHERE, error)
        if exchange is None:
            return self.app(environ, start_response)
        outer = REQUEST_HEADERS.get()
        REQUEST_HEADERS.set(exchange.trace_headers)
        try:
            body = self.app(environ, exchange.start_response)
        except BaseException as error:
            exchange.fail(error)
            exchange.release()
            raise
        finally:
            REQUEST_HEADERS.set(outer)
        return exchange.watch(body)


class _Templates:
    """Tell the route template of each finished request."""

    def __init__(self, app: Any, route: RouteFunction | None) -> None:
        self._framework = Framework(app)
        self._route = route

    def stated(self, scope: Mapping[str, Any]) -> str | None:
        """Return the template that was left in the environ; None if nothing was."""
        return self._framework.stated(scope)

    def resolve(self, scope: Mapping[str, Any], _chosen: object, status: int) -> tuple[str, bool]:
        """Return the template, and whether it holds for every request that states the same."""
        stated = self.stated(scope)
        if stated is not None:
            return stated, True
        again = self._framework.again(scope, status)
        if again is None and self._route is not None:
            again = self._route(scope)  # type: ignore[arg-type]  # the environ itself
        return again or UNMATCHED, False


def _scope_of(environ: WSGIEnvironment) -> dict[str, str]:
    return {"path": environ.get("PATH_INFO", "")}
