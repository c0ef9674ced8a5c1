"""The metrics of HTTP servers by other names: OpenTelemetry's; and the choice between them and our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from vitalsign._http_labels import ExtraLabels
from vitalsign._http_metrics import KNOWN_METHODS, HttpMetrics, Recording
from vitalsign._http_routes import UNMATCHED
from vitalsign.exceptions import DuplicateMetricError, MetricError

if TYPE_CHECKING:
    from vitalsign._http_labels import LabelFunction, RequestInfo
    from vitalsign.metrics import Gauge

__all__ = ["Names", "OpenTelemetryMetrics", "http_metrics"]

Names = Literal["prometheus", "opentelemetry"]

_VERSIONS = frozenset({"1.0", "1.1", "2", "3"})
_SCHEMES = frozenset({"http", "https"})


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
            add_duration=self._durations.labels(*labels).observe,
            add_first_byte=self._first_bytes.labels(*labels).observe if self._first_bytes else None,
            add_request_size=self._request_sizes.labels(*labels).observe if self._request_sizes else None,
            add_response_size=self._response_sizes.labels(*labels).observe if self._response_sizes else None,
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
    labels = options["labels"]
    if not isinstance(labels, Mapping) or not all(callable(function) for function in labels.values()):
        raise MetricError(
            f"labels={labels!r} of the HTTP middleware is not understood. Give a dict: for each name a function that "
            "takes a RequestInfo, such as {'plan': lambda info: info.header('x-plan')}."
        )
    try:
        return kinds[names](**options)
    except DuplicateMetricError as error:
        raise _explained(error, options["namespace"]) from error


def _explained(error: DuplicateMetricError, namespace: str) -> DuplicateMetricError:
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
