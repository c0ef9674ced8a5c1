"""One HTTP request and its response, as their ASGI messages pass."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from vitalsign._clock import monotonic
from vitalsign._http_labels import RequestInfo
from vitalsign._http_metrics import CLIENT_GONE, NOTHING_SENT, Recording
from vitalsign._trace import REQUEST_HEADERS
from vitalsign.metrics.compiled import native
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from starlette.types import Message, Receive, Scope, Send

    from vitalsign._http_recorder import Recorder

__all__ = ["WHERE", "Exchange", "client_left"]

WHERE = "asgi.middleware"
"""Where failures of the middleware are counted."""


class _RarelyAsked:
    """What an exchange seldom does: never compiled, so there is one of it."""

    if TYPE_CHECKING:  # the slots are those of the classes below it
        _began: float
        _error: BaseException | None
        _first_byte: float
        _has_trailers: bool
        _is_ending: bool
        _is_gone: bool
        _is_unsized: bool
        _method: str
        _outcome: int
        _received: float
        _recorder: Recorder
        _scope: Scope
        _sent: float
        _start: Message | None
        _status: int
    else:
        __slots__ = ()

    def finish(self) -> None:
        """Record the request, once, whatever became of its response."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """Record a request whose application raised *error*, or was cancelled."""
        if not isinstance(error, (Exception, KeyboardInterrupt, SystemExit)):
            self._is_gone = True
        elif isinstance(error, Exception) and not (self._is_gone and client_left(error)):
            self._error = error
        self.finish()
        if isinstance(self._error, Exception):
            try:
                self._recorder.count_exception(self._scope, self._method, self._status, self._error)
            except Exception as failure:  # noqa: BLE001
                internal_error(WHERE, failure)

    def describe(self) -> RequestInfo:
        """Tell label functions of the request."""
        return _Info(
            self._scope,
            method=self._method,
            path=self._scope["path"],
            scheme=self._scope.get("scheme", "http"),
            http_version=self._scope.get("http_version", ""),
            status=self._outcome,
            error=self._error,
        ).of(self._start)

    def _write_each(self, to: Recording, now: float) -> None:
        """Write the figures one by one, each if it is measured and known."""
        if to.add_request is not None:
            to.add_request()
        to.add_duration(now - self._began)
        if to.add_request_size is not None:
            to.add_request_size(self._received)
        if self._status:
            if to.add_response_size is not None and not self._is_unsized:
                to.add_response_size(0.0 if self._method == "HEAD" else self._sent)
            if to.add_first_byte is not None and (self._first_byte or self._is_ending):
                to.add_first_byte((self._first_byte or now) - self._began)

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


class Exchange(_RarelyAsked):
    """
    One request and its response, as they pass.

    Attributes:
        is_open: Whether the request is still to be recorded.
    """

    __slots__ = (
        "_began", "_error", "_first_byte", "_gauge", "_has_trailers", "_is_ending", "_is_gone", "_is_unsized",
        "_method", "_outcome", "_receive", "_received", "_recorder", "_scope", "_send", "_sent", "_start", "_status",
        "_token", "is_open",
    )  # fmt: skip

    def __init__(self, recorder: Recorder, scope: Scope, receive: Receive, send: Send) -> None:
        self._began = monotonic()
        self._recorder = recorder
        self._scope = scope
        self._receive = receive
        self._send = send
        self._start: Message | None = None  # the message that started the response
        self._status = 0  # until then
        self._received = self._sent = 0.0  # bytes; floats, which a histogram takes faster
        self._first_byte = 0.0  # when it was sent; only of a body that takes several messages
        self._error: BaseException | None = None
        self._is_ending = self._is_gone = self._is_unsized = self._has_trailers = False
        self._method = method = scope["method"]
        self._gauge = gauge = recorder.in_progress[(method, scope["scheme"]) if recorder.is_by_scheme else method]
        headers = scope.get("headers")
        gauge._begin_one()
        self.is_open = True
        self._token = REQUEST_HEADERS.set(headers)

    async def receive(self) -> Message:
        """Take a message from the server, and count the body that it brings."""
        message = await self._receive()
        try:
            if message["type"] == "http.request":
                self._received += len(message.get("body", b""))
            elif message["type"] == "http.disconnect" and not self._is_ending:
                self._is_gone = True
        except Exception as error:  # noqa: BLE001
            internal_error(WHERE, error)
        return message

    async def send(self, message: Message) -> None:
        """Hand a message to the server, count the body that it carries, and record the request after the last one."""
        try:
            kind = message["type"]
            if kind == "http.response.body":
                if "body" in message:
                    self._sent += len(message["body"])
                self._is_ending = not (message.get("more_body") or self._has_trailers)
            elif kind == "http.response.start":
                self._status = message["status"]
                self._start = message
                if "trailers" in message:
                    self._has_trailers = message["trailers"]
            else:
                self._note_extension(kind, message)
        except Exception as error:  # noqa: BLE001
            internal_error(WHERE, error)
        try:
            await self._send(message)
        except OSError:  # how a server says that the client has left
            self._is_gone = True
            raise
        if self._is_ending:
            self.finish()
        elif self._sent and not self._first_byte:
            self._first_byte = monotonic()

    def finish(self) -> None:
        """Record the request, once, whatever became of its response."""
        if not self.is_open:
            return
        self.is_open = False
        now = monotonic()
        try:
            self._gauge._end_one()
            status = self._status or NOTHING_SENT
            self._outcome = outcome = CLIENT_GONE if self._is_gone else status
            to = self._recorder.find(self._scope, self._method, status, outcome, self)
            if to.add_usual is not None and self._status and not self._is_unsized:
                sent = 0.0 if self._method == "HEAD" else self._sent  # servers drop the body of an answer to HEAD
                to.add_usual(now - self._began, self._received, sent)
            else:
                self._write_each(to, now)
        except Exception as error:  # noqa: BLE001
            internal_error(WHERE, error)

    def close(self) -> None:
        """Finish if nothing has done so, and take the request's headers back."""
        if self.is_open:
            self.finish()
        try:  # noqa: SIM105  # suppress() takes longer than all of this
            REQUEST_HEADERS.reset(self._token)
        except ValueError:  # whoever closed the request's coroutine did so in a context of their own
            pass


_compiled = None if native is None else native.exchange_type(_RarelyAsked, Recording)


def opener(
    recorder: Recorder, mark: str, excludes: Callable[[Scope], bool] | None
) -> Callable[[Scope, Receive, Send], Any]:
    """
    Return what begins an exchange for a scope, and leaves *mark* there; None for what is not to be measured.

    The exchange is compiled where this is possible. What goes wrong is reported and the request passed on unmeasured:
    nothing of ours may keep it from its answer.
    """
    report = partial(internal_error, WHERE)
    if native is not None:
        compiled = native.Opener(_compiled, recorder, mark, excludes, REQUEST_HEADERS, monotonic, report)
        return compiled.open  # type: ignore[no-any-return]  # the module is there or not

    def begin(scope: Scope, receive: Receive, send: Send) -> Exchange | None:
        try:
            if scope["type"] != "http" or mark in scope or (excludes is not None and excludes(scope)):
                return None
            scope[mark] = True
            return Exchange(recorder, scope, receive, send)
        except Exception as error:  # noqa: BLE001
            report(error)
            return None

    return begin


class _Info(RequestInfo):
    """A request that came by ASGI."""

    __slots__ = ("_start",)

    _start: Mapping[str, Any] | None

    def of(self, start: Mapping[str, Any] | None) -> RequestInfo:
        """Take the message that started the response along."""
        self._start = start
        return self

    def header(self, name: str) -> str:
        """Return a header of the request."""
        return _header(self.scope.get("headers", ()), name)

    def response_header(self, name: str) -> str:
        """Return a header of the response."""
        return _header(self._start.get("headers", ()) if self._start else (), name)


def client_left(error: Exception) -> bool:
    """Tell whether *error* is what frameworks raise when the client has gone."""
    # Told by name, since frameworks each have a class of their own for it.
    return isinstance(error, OSError) or type(error).__name__ == "ClientDisconnect"


def _header(headers: Iterable[tuple[bytes, bytes]], name: str) -> str:
    wanted = name.lower().encode("latin-1")
    return next((value.decode("latin-1") for key, value in headers if key.lower() == wanted), "")
