"""The metrics of HTTP servers, declared once for every kind of middleware, with labels that stay few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vitalsign._http_labels import ExtraLabels
from vitalsign._http_routes import UNMATCHED
from vitalsign._http_websockets import WebSocketMetrics
from vitalsign.exceptions import DuplicateMetricError, MetricError
from vitalsign.metrics import Counter, Gauge, Histogram
from vitalsign.metrics.caching import ChildCache
from vitalsign.metrics.instruments import OWN_MAX_SERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prometheus_client import CollectorRegistry

    from vitalsign._http_labels import LabelFunction, RequestInfo

__all__ = [
    "CLIENT_GONE",
    "KNOWN_METHODS",
    "NOTHING_SENT",
    "OTHER_METHOD",
    "HttpMetrics",
    "Names",
    "Recording",
    "explained",
    "http_metrics",
]

Names = Literal["prometheus", "opentelemetry"]

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
_VERSIONS = frozenset({"1.0", "1.1", "2", "3"})
_SCHEMES = frozenset({"http", "https"})


class Recording(NamedTuple):
    """What writes the figures of one kind of request: bound methods, looked up once."""

    add_request: Callable[[], None] | None
    add_duration: Callable[[float], None]
    add_first_byte: Callable[[float], None] | None
    add_request_size: Callable[[float], None] | None
    add_response_size: Callable[[float], None] | None


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
        return Recording(
            self._requests.labels(method, endpoint, self._status_text(status), *extra).inc,
            self._durations.labels(method, endpoint, *extra).observe,
            self._first_bytes.labels(method, endpoint).observe if self._first_bytes else None,
            self._request_sizes.labels(method, endpoint).observe if self._request_sizes else None,
            self._response_sizes.labels(method, endpoint).observe if self._response_sizes else None,
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


class OpenTelemetryMetrics(HttpMetrics):
    """
    The same figures by the names, labels and buckets of OpenTelemetry's semantic conventions for HTTP servers.

    The duration bears every attribute, so there is no counter: its `_count` is one. What these conventions leave out,
    such as the route of an unmatched path, is an empty label, which Prometheus takes for none.
    """

    other_method = "_OTHER"
    buckets = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
    is_by_scheme = True

    def recording(self, method: str, endpoint: str, status: int, extra: tuple[str, ...]) -> Recording:
        """Return what writes the figures of requests with these labels."""
        route = "" if endpoint == UNMATCHED else endpoint
        labels = (self._bounded(method), route, self._status_text(status), *extra)
        return Recording(
            None,
            self._durations.labels(*labels).observe,
            self._first_bytes.labels(*labels).observe if self._first_bytes else None,
            self._request_sizes.labels(*labels).observe if self._request_sizes else None,
            self._response_sizes.labels(*labels).observe if self._response_sizes else None,
        )

    def count_exception(self, method: str, endpoint: str, error: BaseException) -> None:
        """Do nothing: the duration's `error_type` tells the class."""

    def _declare(self, labels: dict[str, LabelFunction], *, sizes: bool, first_byte: bool) -> None:
        further: dict[str, LabelFunction] = {
            "url_scheme": lambda info: _scheme(info.scheme),
            "network_protocol_version": lambda info: info.http_version if info.http_version in _VERSIONS else "",
            "error_type": _error_type,
        }
        clash = further.keys() & labels.keys()
        if clash:
            raise MetricError(f"Labels {sorted(clash)} are OpenTelemetry's already: give the further ones other names.")
        self.extra = ExtraLabels(further | labels)
        every = ("http_request_method", "http_route", "http_response_status_code", *further, *labels)
        self.first = self._durations = self._durations_of("http_server_request_duration_seconds", every)
        self.in_progress = self._gauge_of(
            "http_server_active_requests", ("http_request_method", "url_scheme"), self._by_scheme, self._is_bounded
        )
        self._declare_sizes(
            "http_server_request_body_size_bytes", "http_server_response_body_size_bytes", every, sizes=sizes
        )
        self._declare_first_bytes("http_server_response_first_byte_seconds", every, first_byte=first_byte)

    def _by_scheme(self, key: tuple[str, str]) -> Gauge:
        return self._gauge.labels(self._bounded(key[0]), _scheme(key[1]))

    def _is_bounded(self, key: tuple[str, str]) -> bool:
        return key[0] in KNOWN_METHODS and key[1] in _SCHEMES


def http_metrics(names: Names, **options: Any) -> HttpMetrics:
    """
    Declare the metrics by the names asked for; options as for `HttpMetrics`.

    Raises:
        DuplicateMetricError: One of the names is taken; the error says how to set up the middleware all the same.
        MetricError: An option is not valid.
    """
    kinds: dict[str, type[HttpMetrics]] = {"prometheus": HttpMetrics, "opentelemetry": OpenTelemetryMetrics}
    if names not in kinds:
        raise MetricError(f"names={names!r} of the HTTP middleware is unknown: use one of {sorted(kinds)}.")
    try:
        return kinds[names](**options)
    except DuplicateMetricError as error:
        raise explained(error, options["namespace"]) from error


def explained(error: DuplicateMetricError, namespace: str) -> DuplicateMetricError:
    """Return *error* as one of the middleware's, with the way out."""
    other = f"another one than {namespace!r}" if namespace else "for example namespace='app'"
    return DuplicateMetricError(
        f"The HTTP middleware of vitalsign cannot be set up: {error} To keep both, give the middleware a namespace= of "
        f"its own ({other}) or another registry=; otherwise remove the other instrumentation.",
        name=error.name,
        existing=error.existing,
    )


def _scheme(scheme: str) -> str:
    return scheme if scheme in _SCHEMES else "_OTHER"


def _error_type(info: RequestInfo) -> str:
    if isinstance(info.error, Exception):
        return type(info.error).__qualname__
    return str(int(info.status)) if info.status >= 500 else ""
