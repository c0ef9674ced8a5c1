"""Clients of other services' APIs: calls, their time, their errors, and the rate limits that they run into."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitalsign._clock import monotonic, wall
from vitalsign._rate_limit import rate_limits
from vitalsign._trace import onward_headers
from vitalsign.collectors._events import Declaring, EventCollector, harmless
from vitalsign.collectors._outcome import KINDS, kind_of_error, kind_of_status, response_of
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Self

    import httpx

    from vitalsign.metrics.instruments import Counter, Gauge, Histogram

__all__ = ["ApiCall", "ApiClientCollector"]

_WHERE = "collectors.api_client"
_guarded = harmless(_WHERE)
_DURATION_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MAX_HOSTS = 20


@dataclass(frozen=True, slots=True)
class _Metrics:
    requests: Counter
    errors: Counter
    duration: Histogram
    in_progress: Gauge
    success: Gauge
    quota: Gauge
    remaining: Gauge
    reset: Gauge


class ApiClientCollector(EventCollector[_Metrics]):
    """
    Count and time the calls to one API, and show the rate limits that it tells.

    ```python
    api = ApiClientCollector("zoho", templates=["/crm/v8/{module}/{id}"]).bind()
    client = httpx.AsyncClient(transport=api.httpx_async_transport())
    ```

    The label `operation` never is a raw URL: it is the method with the template that the path fits, or with the host.

    Args:
        client: Value of the label `client`: the API that is called.
        templates: Paths, with a `{name}` for each part that varies. A path that fits none is `__unmatched__`. Without
            templates the host takes the place of the path; past 20 hosts, `__other__`.
        forward_trace: Whether the API is told of the current trace (W3C `traceparent` and `tracestate`), by the
            transports in requests that bear none, and by `ApiCall.trace_headers`: OpenTelemetry's current span, or
            what the request that is being answered brought.
    """

    def __init__(self, client: str, *, templates: Iterable[str] = (), forward_trace: bool = True) -> None:
        super().__init__({"client": client})
        self.client = client
        self.forward_trace = forward_trace
        self._templates = [(template, _pattern(template)) for template in templates]
        self._hosts: set[str] = set()

    def call(self, operation: str) -> ApiCall:
        """
        Return a context manager, for `with` and `async with`, that is one call, for clients without a transport.

        Args:
            operation: Value of the label `operation`: one of few, never a URL.
        """
        return ApiCall(self, operation)

    def httpx_transport(self, inner: httpx.BaseTransport | None = None) -> httpx.BaseTransport:
        """
        Return a transport for `httpx.Client(transport=...)` that records every request that passes.

        Args:
            inner: Transport that does the work; `httpx.HTTPTransport()` if none is given. httpx ignores the client's
                options `verify`, `cert`, `http1`, `http2`, `limits` and the proxies of the environment as soon as it
                is given a transport: they belong into this one.

        Raises:
            ImportError: httpx is not installed.
        """
        from vitalsign.collectors._httpx import Transport

        return Transport(self, inner)

    def httpx_async_transport(self, inner: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncBaseTransport:
        """
        Return a transport for `httpx.AsyncClient(transport=...)` that records every request that passes.

        Args:
            inner: Transport that does the work, as for `httpx_transport`; `httpx.AsyncHTTPTransport()` if none is
                given.

        Raises:
            ImportError: httpx is not installed.
        """
        from vitalsign.collectors._httpx import AsyncTransport

        return AsyncTransport(self, inner)

    def http_operation(self, method: str, host: str, path: str) -> str:
        """Name the operation of an HTTP request: the method, and the template of its path or else its host."""
        return f"{method if method in _METHODS else '__other__'} {self._place(host, path)}"

    def _place(self, host: str, path: str) -> str:
        if self._templates:
            return next((template for template, fits in self._templates if fits(path)), "__unmatched__")
        if host in self._hosts or len(self._hosts) < _MAX_HOSTS:
            self._hosts.add(host)
            return host
        return "__other__"

    def _declare(self, declaring: Declaring) -> _Metrics:
        counter, gauge, histogram = declaring.counter, declaring.gauge, declaring.histogram
        return _Metrics(
            requests=counter("api_client_requests", "Calls that ended, by HTTP status; none if no answer came.",
                             "operation", "status"),
            errors=counter("api_client_errors", "Calls that failed, by kind of error.", "operation", "kind"),
            duration=histogram("api_client_request_duration_seconds", "Time of calls, to the last byte of the answer.",
                               "operation", buckets=_DURATION_BUCKETS),
            in_progress=gauge("api_client_requests_in_progress", "Calls that are running.",
                              "operation", mode="livesum"),
            success=gauge("api_client_last_success_timestamp_seconds", "Unix time of the last call that succeeded.",
                          mode="max"),
            quota=gauge("api_client_rate_limit_quota", "What the API allows in a window.",
                        "resource", mode="mostrecent"),
            remaining=gauge("api_client_rate_limit_remaining", "What is left of it.", "resource", mode="mostrecent"),
            reset=gauge("api_client_rate_limit_reset_timestamp_seconds", "Unix time at which a new window starts.",
                        "resource", mode="mostrecent"),
        )  # fmt: skip


class ApiCall:
    """
    One call to an API, from its start to its end; made by `ApiClientCollector.call`.

    The status and the rate limits of an answer are taken from `response`, or from the exception that carries them.
    """

    __slots__ = ("_api", "_ended", "_in_progress", "_metrics", "_operation", "_started", "_status")

    def __init__(self, api: ApiClientCollector, operation: str) -> None:
        self._api = api
        self._operation = operation
        self._metrics: _Metrics | None = None
        self._in_progress: Gauge | None = None
        self._status: int | None = None
        self._ended = False
        self._started = monotonic()

    def trace_headers(self) -> dict[str, str]:
        """
        Return the headers by which what the API does belongs to the current trace; none outside of any.

        For clients without a transport: `requests.get(url, headers=call.trace_headers())`.
        """
        if not self._api.forward_trace:
            return {}
        try:
            return dict(onward_headers())
        except Exception as error:  # noqa: BLE001  # OpenTelemetry's context can be any that the host has plugged in
            internal_error(_WHERE, error)
            return {}

    @_guarded
    def response(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        """
        Tell what the API answered.

        Args:
            status: HTTP status.
            headers: Of the response: rate limits are read from them.
        """
        self._status = int(status)
        metrics = self._live_metrics()
        if metrics is None or not headers:
            return
        for limit in rate_limits(headers, wall()):
            labels = (self._api.client, limit.resource)
            for gauge, value in (
                (metrics.quota, limit.quota), (metrics.remaining, limit.remaining), (metrics.reset, limit.reset),
            ):  # fmt: skip
                if value is not None:
                    gauge.labels(*labels).set(value)

    @_guarded
    def begin(self) -> None:
        """Start the call; entering the block does."""
        metrics = self._metrics = self._api.metrics
        self._started = monotonic()
        if metrics is None:
            return
        labels = (self._api.client, self._operation)
        self._in_progress = metrics.in_progress.labels(*labels)
        self._in_progress.inc()
        for kind in KINDS:  # series that rules add up exist before their first event
            metrics.errors.labels(*labels, kind)

    @_guarded
    def end(self, error: BaseException | None = None) -> None:
        """
        End the call; leaving the block does, and doing it twice counts once.

        Args:
            error: What ended it. What is no `Exception`, such as a cancellation, is no error of the API.
        """
        if self._ended:
            return
        self._ended = True
        seconds = monotonic() - self._started
        if self._in_progress is not None:
            self._in_progress.dec()
        if self._status is None and error is not None and (answer := response_of(error)):
            self.response(*answer)
        if metrics := self._live_metrics():
            self._record(metrics, seconds, error)

    def _live_metrics(self) -> _Metrics | None:
        # When the collector was unbound meanwhile its series are gone, and must not come back.
        return self._metrics if self._api.metrics is self._metrics else None

    def _record(self, metrics: _Metrics, seconds: float, error: BaseException | None) -> None:
        labels = (self._api.client, self._operation)
        is_cancelled = error is not None and not isinstance(error, Exception)
        status = str(self._status) if self._status is not None else "cancelled" if is_cancelled else "none"
        kind = kind_of_status(self._status or 0)
        if kind is None and isinstance(error, Exception):
            kind = kind_of_error(error)
        metrics.requests.labels(*labels, status).inc()
        metrics.duration.labels(*labels).observe(seconds)
        if kind is not None:
            metrics.errors.labels(*labels, kind).inc()
        elif not is_cancelled:
            metrics.success.labels(self._api.client).set(wall())

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end(error)


def _pattern(template: str) -> Callable[[str], object]:
    parts = re.split(r"\{[^{}]*\}", template)
    return re.compile("[^/]+".join(map(re.escape, parts))).fullmatch
