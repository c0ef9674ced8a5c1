"""WebSocket connections: how many are open, for how long, how much they say, and how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitalsign._clock import monotonic
from vitalsign.metrics import Counter, Gauge, Histogram
from vitalsign.metrics.instruments import OWN_MAX_SERIES
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from vitalsign._http_recorder import Recorder

__all__ = ["WebSocketMetrics", "WebSocketRecorder"]

_WHERE = "asgi.websockets"
_BUCKETS = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)  # seconds, up to a day
_STANDARD_CODES = frozenset(range(1000, 1016))  # RFC 6455, section 7.4, and IANA's registry
_NORMAL, _ABNORMAL, _SERVER_ERROR = 1000, 1006, 1011
_ACCEPTED, _NOT_FOUND = 101, 404


class WebSocketMetrics:
    """
    Declare the metrics of WebSocket connections on a registry, or find those declared there before.

    Args:
        registry: Where they are registered.
        namespace: First part of their names.

    Raises:
        DuplicateMetricError: One of the names is taken.
    """

    def __init__(self, registry: CollectorRegistry, namespace: str) -> None:
        common: dict[str, Any] = {"namespace": namespace, "registry": registry, "max_series": OWN_MAX_SERIES}
        self.connections = Counter(
            "http_websocket_connections",
            "WebSocket connections that have ended or were refused, by close code.",
            ("endpoint", "code"),
            **common,
        )
        self.active = Gauge(
            "http_websocket_connections_active",
            "WebSocket connections that are open.",
            ("endpoint",),
            multiprocess_mode="livesum",
            **common,
        )
        self.durations = Histogram(
            "http_websocket_duration_seconds",
            "Time from the acceptance of a WebSocket connection to its end.",
            ("endpoint",),
            buckets=_BUCKETS,
            **common,
        )
        self.messages = Counter(
            "http_websocket_messages",
            "Messages on WebSocket connections, received from clients and sent to them.",
            ("endpoint", "direction"),
            **common,
        )


class WebSocketRecorder:
    """Measure WebSocket connections."""

    def __init__(self, metrics: WebSocketMetrics, recorder: Recorder) -> None:
        self.metrics = metrics
        self.recorder = recorder

    async def measure(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run *app* on one connection."""
        connection = _Connection(self, scope, receive, send)
        try:
            await app(scope, connection.receive, connection.send)
        except BaseException as error:
            connection.fail(error)
            raise
        else:
            connection.end()


class _Connection:
    """One WebSocket connection, as its messages pass."""

    __slots__ = (
        "_active", "_add_received", "_add_sent", "_began", "_code", "_endpoint", "_is_open", "_receive", "_recorder",
        "_scope", "_send",
    )  # fmt: skip

    def __init__(self, recorder: WebSocketRecorder, scope: Scope, receive: Receive, send: Send) -> None:
        self._recorder = recorder
        self._scope = scope
        self._receive = receive
        self._send = send
        self._began = 0.0
        self._code: int | None = None  # until it is closed
        self._endpoint: str | None = None  # until it is accepted
        self._active: Gauge | None = None
        self._add_received: Callable[[], None] | None = None
        self._add_sent: Callable[[], None] | None = None
        self._is_open = True

    async def receive(self) -> Message:
        """Take a message from the server, and count it."""
        message = await self._receive()
        try:
            kind = message["type"]
            if kind == "websocket.receive":
                if self._add_received is not None:
                    self._add_received()
            elif kind == "websocket.disconnect" and self._code is None:
                self._code = message.get("code", _ABNORMAL)
        except Exception as error:  # noqa: BLE001
            internal_error(_WHERE, error)
        return message

    async def send(self, message: Message) -> None:
        """Hand a message to the server, and count it."""
        await self._send(message)
        try:
            kind = message["type"]
            if kind == "websocket.send":
                if self._add_sent is not None:
                    self._add_sent()
            elif kind == "websocket.accept":
                self._accept()
            elif kind == "websocket.close" and self._code is None:
                self._code = message.get("code", _NORMAL)
                self.end()
        except Exception as error:  # noqa: BLE001
            internal_error(_WHERE, error)

    def fail(self, error: BaseException) -> None:
        """Record a connection whose application raised *error*, or was cancelled."""
        was_open = self._is_open
        if self._code is None:
            self._code = _SERVER_ERROR if isinstance(error, Exception) else _ABNORMAL
        self.end()
        if isinstance(error, Exception) and not (was_open and isinstance(error, OSError)):
            try:
                self._recorder.recorder.count_exception(self._scope, "GET", _ACCEPTED, error)
            except Exception as failure:  # noqa: BLE001
                internal_error(_WHERE, failure)

    def end(self) -> None:
        """Record the connection, once."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            metrics = self._recorder.metrics
            if self._active is None or self._endpoint is None:
                endpoint = self._recorder.recorder.endpoint(self._scope, _NOT_FOUND)
                metrics.connections.labels(endpoint, "refused").inc()
                return
            self._active.dec()
            metrics.durations.labels(self._endpoint).observe(monotonic() - self._began)
            metrics.connections.labels(self._endpoint, _code_text(self._code)).inc()
        except Exception as error:  # noqa: BLE001
            internal_error(_WHERE, error)

    def _accept(self) -> None:
        metrics = self._recorder.metrics
        endpoint = self._endpoint = self._recorder.recorder.endpoint(self._scope, _ACCEPTED)
        self._add_received = metrics.messages.labels(endpoint, "received").inc
        self._add_sent = metrics.messages.labels(endpoint, "sent").inc
        self._began = monotonic()
        self._active = metrics.active.labels(endpoint)
        self._active.inc()


def _code_text(code: int | None) -> str:
    """Return a close code as a label: of the codes that applications make up, the class."""
    if code is None:
        return str(_NORMAL)  # the application has returned, and the server closes for it
    if code in _STANDARD_CODES:
        return str(code)
    return f"{code // 1000}xxx" if 3000 <= code < 5000 else "__other__"
