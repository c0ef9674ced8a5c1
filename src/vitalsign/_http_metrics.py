"""The metrics of HTTP servers, declared once for every kind of middleware, with labels that stay few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vitalsign.exceptions import DuplicateMetricError
from vitalsign.metrics import Counter, Gauge, Histogram
from vitalsign.metrics.instruments import OWN_MAX_SERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client import CollectorRegistry

__all__ = ["DURATION_BUCKETS", "KNOWN_METHODS", "OTHER_METHOD", "SIZE_BUCKETS", "HttpMetrics", "Recording"]

KNOWN_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)  # fmt: skip
OTHER_METHOD = "__other__"
"""Method label of all methods that are not known, in whatever number and case clients make them up."""

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""

SIZE_BUCKETS = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)
"""Bytes: 256 B to 16 MiB by factors of 4."""


class Recording(NamedTuple):
    """What writes the figures of one kind of request: bound methods, looked up once."""

    add_request: Callable[[], None]
    add_duration: Callable[[float], None]
    add_request_size: Callable[[float], None] | None
    add_response_size: Callable[[float], None] | None


class _InProgress(dict[str, Any]):
    """The in-progress gauge's children by method; what clients make up is not kept."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def __missing__(self, method: str) -> Gauge:
        if method not in KNOWN_METHODS:
            return self._gauge.labels(OTHER_METHOD)
        child = self[method] = self._gauge.labels(method)
        return child


class HttpMetrics:
    """
    Declare the metrics of an HTTP server on a registry, or find those declared there before.

    The status is a label of the counter alone: on the histograms it would multiply series of 10 to 14 lines each. The
    route is no label of the gauge, since it is not known yet when a request begins.
    """

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        namespace: str,
        buckets: Sequence[float],
        group_status: bool,
        sizes: bool,
    ) -> None:
        """
        Declare the metrics.

        Args:
            registry: Where they are registered.
            namespace: First part of their names.
            buckets: Bounds of the duration histogram, in seconds.
            group_status: Count by class (`2xx`) in place of code.
            sizes: Measure the bodies of requests and responses too.

        Raises:
            DuplicateMetricError: One of the names is taken by another library, or with other buckets.
        """
        route = ("method", "endpoint")
        common: dict[str, Any] = {"namespace": namespace, "registry": registry, "max_series": OWN_MAX_SERIES}
        self._group_status = group_status
        try:
            self.requests = Counter(
                "http_requests", "HTTP requests that have been answered or given up.", (*route, "status"), **common
            )
            self._durations = Histogram(
                "http_request_duration_seconds",
                "Time from the arrival of an HTTP request to the last byte of its response.",
                route,
                buckets=buckets,
                **common,
            )
            self.in_progress = _InProgress(
                Gauge(
                    "http_requests_in_progress",
                    "HTTP requests that are being answered.",
                    ("method",),
                    multiprocess_mode="livesum",
                    **common,
                )
            )
            self._exceptions = Counter(
                "http_request_exceptions",
                "Exceptions that HTTP requests let through to the server.",
                (*route, "exception"),
                **common,
            )
            self._request_sizes = self._response_sizes = None
            if sizes:
                self._request_sizes = Histogram(
                    "http_request_size_bytes",
                    "Bytes of HTTP request bodies that the application received.",
                    route,
                    buckets=SIZE_BUCKETS,
                    **common,
                )
                self._response_sizes = Histogram(
                    "http_response_size_bytes",
                    "Bytes of HTTP response bodies that the application sent.",
                    route,
                    buckets=SIZE_BUCKETS,
                    **common,
                )
        except DuplicateMetricError as error:
            raise _explained(error, namespace) from error

    def recording(self, method: str, endpoint: str, status: int) -> Recording:
        """Return what writes the figures of requests with these labels."""
        return Recording(
            self.requests.labels(method, endpoint, self._status_text(status)).inc,
            self._durations.labels(method, endpoint).observe,
            self._request_sizes.labels(method, endpoint).observe if self._request_sizes else None,
            self._response_sizes.labels(method, endpoint).observe if self._response_sizes else None,
        )

    def count_exception(self, method: str, endpoint: str, error: BaseException) -> None:
        """Count an exception that left the application, by its class."""
        self._exceptions.labels(method, endpoint, type(error).__name__).inc()

    def _status_text(self, status: int) -> str:
        return f"{status // 100}xx" if self._group_status else str(status)


def _explained(error: DuplicateMetricError, namespace: str) -> DuplicateMetricError:
    other = f"another one than {namespace!r}" if namespace else "for example namespace='app'"
    return DuplicateMetricError(
        f"The HTTP middleware of vitalsign cannot be set up: {error} To keep both, give the middleware a namespace= of "
        f"its own ({other}) or another registry=; otherwise remove the other instrumentation.",
        name=error.name,
        existing=error.existing,
    )
