"""The metrics of HTTP servers, declared once for every kind of middleware, with labels that stay few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitalsign._http_labels import ExtraLabels
from vitalsign._http_websockets import WebSocketMetrics
from vitalsign.metrics import Counter, Gauge, Histogram
from vitalsign.metrics.caching import ChildCache
from vitalsign.metrics.instruments import OWN_MAX_SERIES
from vitalsign.metrics.together import counted_with

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prometheus_client import CollectorRegistry

    from vitalsign._http_labels import LabelFunction

__all__ = ["CLIENT_GONE", "KNOWN_METHODS", "NOTHING_SENT", "OTHER_METHOD", "HttpMetrics", "Recording"]

KNOWN_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)  # fmt: skip
CLIENT_GONE = 499
"""nginx's status for a client that left before it had the whole response."""

NOTHING_SENT = 500
"""What the server answers for an application that sent nothing."""

OTHER_METHOD = "__other__"
"""Stands for all methods that are not known, in whatever number and case clients make them up."""

_SIZE_BUCKETS = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)  # 256 B to 16 MiB by factors of 4


class Recording:
    """
    What writes the figures of one kind of request, looked up once; None where one is not measured.

    Attributes:
        add_request: Counts a request.
        add_duration: Observes its seconds.
        add_first_byte: Observes the seconds until the first byte of the response's body.
        add_request_size: Observes the bytes of the request's body.
        add_response_size: Observes the bytes of the response's body.
        add_usual: Does all of it at once, given a duration and both sizes; None where something else is measured too,
            or less.
        router: Of the requests; with what the framework chose, it stays alive as long as it is known by its identity.
        chosen: What the framework chose.
        method: Of the requests.
        outcome: Of the requests: their status.
    """

    __slots__ = (
        "add_duration", "add_first_byte", "add_request", "add_request_size", "add_response_size", "add_usual", "chosen",
        "method", "outcome", "router",
    )  # fmt: skip

    def __init__(
        self,
        *,
        add_request: Callable[[], None] | None = None,
        add_duration: Callable[[float], None],
        add_first_byte: Callable[[float], None] | None,
        add_request_size: Callable[[float], None] | None,
        add_response_size: Callable[[float], None] | None,
        add_usual: Callable[[float, float, float], None] | None = None,
    ) -> None:
        self.add_request = add_request
        self.add_duration = add_duration
        self.add_first_byte = add_first_byte
        self.add_request_size = add_request_size
        self.add_response_size = add_response_size
        self.add_usual = add_usual
        self.router: object = None
        self.chosen: object = None
        self.method = ""
        self.outcome = 0


class _InProgress(ChildCache):
    """The in-progress gauge's children by the key of a request; what clients make up is not kept."""

    __slots__ = ("_find", "_is_bounded")

    def __init__(self, gauge: Gauge, find: Callable[[Any], Gauge], is_bounded: Callable[[Any], bool]) -> None:
        super().__init__([gauge])
        self._find = find
        self._is_bounded = is_bounded

    def __missing__(self, key: Any) -> Gauge:
        age = self.age
        child = self._find(key)
        if self._is_bounded(key):
            self.keep(key, child, age)
        return child


class HttpMetrics:
    """
    Declare the metrics of an HTTP server on a registry, or find those declared there before.

    The status is a label of the counter alone: on the histograms it would multiply series of 10 to 14 lines each. The
    route is no label of the gauge, since it is not known yet when a request begins.

    Attributes:
        in_progress: Children of the gauge, by method; by method and scheme if `is_by_scheme`.
        extra: Labels whose values have to be computed for each request; None if there are none.
        websockets: Those of WebSocket connections, if they are measured.
        first: What tells these metrics from others: two middleware with the same one count the same.
    """

    other_method = OTHER_METHOD
    """Method label of all methods that are not known, in whatever number and case clients make them up."""
    buckets: tuple[float, ...] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    """Seconds."""
    is_by_scheme = False

    in_progress: _InProgress
    extra: ExtraLabels | None
    first: Counter | Histogram
    _durations: Histogram
    _first_bytes: Histogram | None
    _request_sizes: Histogram | None
    _response_sizes: Histogram | None

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        namespace: str,
        buckets: Sequence[float] | None,
        labels: Mapping[str, LabelFunction],
        group_status: bool,
        sizes: bool,
        first_byte: bool,
        exemplars: bool,
        websockets: bool = False,
    ) -> None:
        """
        Declare the metrics.

        Args:
            registry: Where they are registered.
            namespace: First part of their names.
            buckets: Bounds of the duration histogram, in seconds; None for the usual ones.
            labels: Further labels of the count and the duration.
            group_status: Count by class (`2xx`) in place of code.
            sizes: Measure the bodies of requests and responses too.
            first_byte: Measure the time to the first byte of the response too.
            exemplars: Whether they may bear the ids of a trace.
            websockets: Declare the metrics of WebSocket connections too.

        Raises:
            DuplicateMetricError: One of the names is taken by another library, or with other labels or buckets.
            MetricError: The namespace, a label or a bucket is not valid.
        """
        self._group_status = group_status
        self._common: dict[str, Any] = {"namespace": namespace, "registry": registry, "max_series": OWN_MAX_SERIES}
        self._buckets = self.buckets if buckets is None else tuple(buckets)
        self._declare(dict(labels), sizes=sizes, first_byte=first_byte)
        self.websockets = WebSocketMetrics(registry, namespace) if websockets else None
        if not exemplars:
            for metric in self.families():
                metric._bear_no_traces()

    def families(self) -> list[Counter | Histogram]:
        """Return the metrics that recordings are looked up in."""
        found = (self.first, self._durations, self._first_bytes, self._request_sizes, self._response_sizes)
        return [metric for metric in found if metric is not None]

    def recording(self, method: str, endpoint: str, status: int, extra: tuple[str, ...]) -> Recording:
        """Return what writes the figures of requests with these labels."""
        method = self._bounded(method)
        requests = self._requests.labels(method, endpoint, self._status_text(status), *extra)
        durations = self._durations.labels(method, endpoint, *extra)
        first_bytes, received, sent = (
            metric and metric.labels(method, endpoint)
            for metric in (self._first_bytes, self._request_sizes, self._response_sizes)
        )
        add_usual = None
        if received and sent and not first_bytes:
            add_usual = counted_with(requests, durations, received, sent)
        return Recording(
            add_request=requests.inc,
            add_duration=durations.observe,
            add_first_byte=first_bytes.observe if first_bytes else None,
            add_request_size=received.observe if received else None,
            add_response_size=sent.observe if sent else None,
            add_usual=add_usual,
        )

    def count_exception(self, method: str, endpoint: str, error: BaseException) -> None:
        """Count an exception that left the application, by its class."""
        self._exceptions.labels(self._bounded(method), endpoint, type(error).__name__).inc()

    def _declare(self, labels: dict[str, LabelFunction], *, sizes: bool, first_byte: bool) -> None:
        route = ("method", "endpoint")
        self.extra = ExtraLabels(labels) if labels else None
        self.first = self._requests = Counter(
            "http_requests",
            "HTTP requests that have been answered or given up.",
            (*route, "status", *labels),
            **self._common,
        )
        self._durations = self._durations_of("http_request_duration_seconds", (*route, *labels))
        self.in_progress = self._gauge_of("http_requests_in_progress", ("method",), self._by_method, self._is_known)
        self._exceptions = Counter(
            "http_request_exceptions",
            "Exceptions that HTTP requests let through to the server.",
            (*route, "exception"),
            **self._common,
        )
        self._declare_sizes("http_request_size_bytes", "http_response_size_bytes", route, sizes=sizes)
        self._declare_first_bytes("http_response_first_byte_seconds", route, first_byte=first_byte)

    def _by_method(self, method: str) -> Gauge:
        return self._gauge.labels(self._bounded(method))

    def _is_known(self, method: str) -> bool:
        return method in KNOWN_METHODS

    def _durations_of(self, name: str, labels: tuple[str, ...]) -> Histogram:
        text = "Time from the arrival of an HTTP request to the last byte of its response."
        return Histogram(name, text, labels, buckets=self._buckets, **self._common)

    def _gauge_of(
        self,
        name: str,
        labels: tuple[str, ...],
        find: Callable[[Any], Gauge],
        is_bounded: Callable[[Any], bool],
    ) -> _InProgress:
        self._gauge = Gauge(
            name, "HTTP requests that are being answered.", labels, multiprocess_mode="livesum", **self._common
        )
        return _InProgress(self._gauge, find, is_bounded)

    def _declare_sizes(self, received: str, sent: str, labels: tuple[str, ...], *, sizes: bool) -> None:
        self._request_sizes = self._response_sizes = None
        if sizes:
            text = "Bytes of HTTP request bodies that the application received."
            self._request_sizes = Histogram(received, text, labels, buckets=_SIZE_BUCKETS, **self._common)
            text = "Bytes of HTTP response bodies that the application sent."
            self._response_sizes = Histogram(sent, text, labels, buckets=_SIZE_BUCKETS, **self._common)

    def _declare_first_bytes(self, name: str, labels: tuple[str, ...], *, first_byte: bool) -> None:
        self._first_bytes = None
        if first_byte:
            text = "Time from the arrival of an HTTP request to the first byte of its response's body."
            self._first_bytes = Histogram(name, text, labels, buckets=self._buckets, **self._common)

    def _bounded(self, method: str) -> str:
        return method if method in KNOWN_METHODS else self.other_method

    def _status_text(self, status: int) -> str:
        if self._group_status:
            return f"{status // 100}xx"
        return str(int(status))
