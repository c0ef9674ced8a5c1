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

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY

from vitalsign._clock import monotonic
from vitalsign._http_access_asgi import AccessLogMiddleware
from vitalsign._http_app import MetricsApp, metrics_app
from vitalsign._http_metrics import DURATION_BUCKETS, KNOWN_METHODS, OTHER_METHOD, HttpMetrics, Recording
from vitalsign._http_paths import path_filter
from vitalsign._http_routes import UNMATCHED, Templates
from vitalsign._trace import REQUEST_HEADERS, expect_requests
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["AccessLogMiddleware", "MetricsApp", "MetricsMiddleware", "metrics_app"]

_WHERE = "asgi.middleware"
_CLIENT_GONE = 499  # nginx's status for a client that left before it had the whole response
_NOTHING_SENT = 500  # what the server answers for an application that sent nothing
_MAX_RECORDINGS = 10_000


class MetricsMiddleware:
    """
    Measure every HTTP request: count, duration, in progress, sizes and exceptions, by method, route and status.

    The endpoint label is the route's template (`/users/{id}`), with the prefixes of mounts and included routers;
    requests that no route answers share `__unmatched__`, methods that HTTP does not know share `__other__`. An
    application that no Starlette router routes can name its template itself, in `scope["path_template"]`.

    The duration ends with the last byte of the response: background tasks are not in it. A client that leaves before
    it has the whole response is counted with status 499. Other scopes than HTTP pass through, and so do requests that
    a middleware further out counts in the same metrics.

    While a request is answered, its `traceparent` header can become an exemplar of whatever is counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        registry: CollectorRegistry = REGISTRY,
        namespace: str = "",
        buckets: Sequence[float] = DURATION_BUCKETS,
        exclude: str | Iterable[str] = (),
        group_status: bool = False,
        sizes: bool = True,
    ) -> None:
        """
        Wrap *app* and declare the metrics; middleware with the same options shares them.

        Args:
            app: Any ASGI application.
            registry: Where the metrics are registered.
            namespace: First part of their names: `shop` makes `shop_http_requests_total`.
            buckets: Bounds of the duration histogram, in seconds.
            exclude: Paths that are not measured, exact or with `*`, as the application sees them: without the root
                path of a proxy.
            group_status: Count by status class (`2xx`) in place of status code.
            sizes: Measure the bodies of requests and responses too.

        Raises:
            DuplicateMetricError: One of the names is taken by another library, or with other buckets.
        """
        self.app = app
        self._metrics = HttpMetrics(
            registry=registry, namespace=namespace, buckets=buckets, group_status=group_status, sizes=sizes
        )
        self._excludes = path_filter(exclude)
        self._mark = f"vitalsign.http.{id(self._metrics.requests)}"  # in the scope of what these metrics measure
        self._recorder = _Recorder(self._metrics, Templates(app))
        expect_requests()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and measure it."""
        if scope["type"] != "http" or self._mark in scope or (self._excludes is not None and self._excludes(scope)):
            await self.app(scope, receive, send)
            return
        exchange = None
        try:
            scope[self._mark] = True
            exchange = _Exchange(self._recorder, scope, receive, send)
        except Exception as error:  # noqa: BLE001  # nothing of ours may keep a request from its answer
            internal_error(_WHERE, error)
        if exchange is None:
            await self.app(scope, receive, send)
            return
        outer = REQUEST_HEADERS.get()
        REQUEST_HEADERS.set(scope.get("headers"))
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            exchange.fail(error)
            raise
        else:
            exchange.finish()
        finally:
            REQUEST_HEADERS.set(outer)


class _Recorder:
    """Find the series that a finished request belongs to."""

    def __init__(self, metrics: HttpMetrics, templates: Templates) -> None:
        self.in_progress = metrics.in_progress
        self._metrics = metrics
        self._templates = templates
        self._known: dict[tuple[int, int, str, int], tuple[Recording, object]] = {}

    def find(self, scope: Scope, method: str, status: int, outcome: int) -> Recording:
        """
        Return what writes the figures of a request: by one look-up for all but the first of its kind.

        Args:
            scope: As the framework left it.
            method: As the client sent it.
            status: Of the response.
            outcome: Status to count: another one if the client did not get the response.
        """
        # What the framework chose is told by identity: routes cannot be hashed.
        chosen = scope["fastapi"].get("effective_route_context") if "fastapi" in scope else None
        if chosen is None:
            chosen = scope["route"] if "route" in scope else scope.get("endpoint")
        router = scope.get("router")
        key = (id(router), id(chosen), method, outcome)
        try:
            return self._known[key][0]
        except KeyError:
            pass
        endpoint, is_settled = self._endpoint(scope, chosen, status)
        recording = self._metrics.recording(_bounded(method), endpoint, outcome)
        if is_settled and method in KNOWN_METHODS:
            if len(self._known) >= _MAX_RECORDINGS:
                self._known.clear()
            self._known[key] = recording, (router, chosen)  # kept alive: nothing else may come to have their ids
        return recording

    def count_exception(self, scope: Scope, method: str, status: int, error: Exception) -> None:
        """Count *error*, which left the application."""
        endpoint, _ = self._endpoint(scope, None, status)
        self._metrics.count_exception(_bounded(method), endpoint, error)

    def _endpoint(self, scope: Scope, chosen: object, status: int) -> tuple[str, bool]:
        try:
            return self._templates.resolve(scope, chosen, status)
        except Exception as error:  # noqa: BLE001  # a router of an unknown kind must not lose the request
            internal_error("asgi.route", error)
            return UNMATCHED, False


class _Exchange:
    """One request and its response, as they pass."""

    __slots__ = (
        "_began", "_gauge", "_has_trailers", "_is_ending", "_is_gone", "_is_open", "_is_unsized", "_method",
        "_receive", "_received", "_recorder", "_scope", "_send", "_sent", "_status",
    )  # fmt: skip

    def __init__(self, recorder: _Recorder, scope: Scope, receive: Receive, send: Send) -> None:
        self._began = monotonic()
        self._recorder = recorder
        self._scope = scope
        self._receive = receive
        self._send = send
        self._status = 0  # until the response starts
        self._received = self._sent = 0.0  # bytes; floats, which a histogram takes faster
        self._is_open = True
        self._is_ending = self._is_gone = self._is_unsized = self._has_trailers = False
        self._method = method = scope["method"]
        self._gauge = gauge = recorder.in_progress[method]
        gauge.inc()

    async def receive(self) -> Message:
        """Take a message from the server, and count the body that it brings."""
        message = await self._receive()
        try:
            if message["type"] == "http.request":
                self._received += len(message.get("body", b""))
            elif message["type"] == "http.disconnect" and not self._is_ending:
                self._is_gone = True
        except Exception as error:  # noqa: BLE001
            internal_error(_WHERE, error)
        return message

    async def send(self, message: Message) -> None:
        """Hand a message to the server, count the body that it carries, and record the request after the last one."""
        try:
            kind = message["type"]
            if kind == "http.response.body":
                self._sent += len(message.get("body", b""))
                if not (self._has_trailers or message.get("more_body")):
                    self._is_ending = True
            elif kind == "http.response.start":
                self._status = message["status"]
                if "trailers" in message:
                    self._has_trailers = message["trailers"]
            else:
                self._note_extension(kind, message)
        except Exception as error:  # noqa: BLE001
            internal_error(_WHERE, error)
        try:
            await self._send(message)
        except OSError:  # how a server says that the client has left
            self._is_gone = True
            raise
        if self._is_ending:
            self.finish()

    def fail(self, error: BaseException) -> None:
        """Record a request whose application raised *error*, or was cancelled."""
        if not isinstance(error, (Exception, KeyboardInterrupt, SystemExit)):
            self._is_gone = True
        self.finish()
        if isinstance(error, Exception) and not (self._is_gone and _says_client_left(error)):
            try:
                self._recorder.count_exception(self._scope, self._method, self._status, error)
            except Exception as failure:  # noqa: BLE001
                internal_error(_WHERE, failure)

    def finish(self) -> None:
        """Record the request, once, whatever became of its response."""
        if not self._is_open:
            return
        self._is_open = False
        elapsed = monotonic() - self._began
        try:
            self._gauge.dec()
            status = self._status or _NOTHING_SENT
            add, add_duration, add_received, add_sent = self._recorder.find(
                self._scope, self._method, status, _CLIENT_GONE if self._is_gone else status
            )
            add()
            add_duration(elapsed)
            if add_received is not None:
                add_received(self._received)
            if add_sent is not None and self._status and not self._is_unsized:
                add_sent(0.0 if self._method == "HEAD" else self._sent)  # servers drop the body of an answer to HEAD
        except Exception as error:  # noqa: BLE001
            internal_error(_WHERE, error)

    def _note_extension(self, kind: str, message: Message) -> None:
        if kind == "http.response.trailers":
            self._is_ending = not message.get("more_trailers")
        elif kind == "http.response.pathsend":
            self._is_unsized = True
            self._is_ending = not self._has_trailers
        elif kind == "http.response.zerocopysend":
            self._is_unsized = self._is_unsized or message.get("count") is None
            self._sent += message.get("count") or 0
            self._is_ending = not (self._has_trailers or message.get("more_body"))


def _bounded(method: str) -> str:
    return method if method in KNOWN_METHODS else OTHER_METHOD


def _says_client_left(error: Exception) -> bool:
    # Told by name, since frameworks each have a class of their own for it.
    return isinstance(error, OSError) or type(error).__name__ == "ClientDisconnect"
