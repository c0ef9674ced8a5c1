"""One HTTP request and its response, as they pass through WSGI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitalsign._clock import monotonic
from vitalsign._http_frameworks import REQUEST
from vitalsign._http_labels import RequestInfo
from vitalsign._http_metrics import CLIENT_GONE, NOTHING_SENT
from vitalsign._http_wsgi_body import Body, SizedBody
from vitalsign._trace import REQUEST_HEADERS
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIEnvironment

    from vitalsign._http_recorder import Recorder

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

__all__ = ["WHERE", "WsgiExchange"]

WHERE = "wsgi.middleware"
"""Where failures of the middleware are counted."""

_UNREADABLE = 0  # counted for a status line that begins with no number


class WsgiExchange:
    """One request and its response, as they pass."""

    __slots__ = (
        "_began", "_environ", "_error", "_files", "_first_byte", "_gauge", "_headers", "_is_complete", "_is_open",
        "_is_unsized", "_method", "_outcome", "_recorder", "_sent", "_start_response", "_status", "_write",
        "trace_headers",
    )  # fmt: skip

    def __init__(self, recorder: Recorder, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        self._began = monotonic()
        self._recorder = recorder
        self._environ = environ
        self._start_response = start_response
        self._write: Callable[[bytes], object] | None = None
        self._status: int | None = None  # until the response starts
        self._headers: Sequence[tuple[str, str]] = ()
        self._sent = 0.0  # bytes
        self._first_byte = 0.0  # when it was handed to the server
        self._error: BaseException | None = None
        self._is_open = True
        self._is_complete = self._is_unsized = False
        self._files: list[object] = []  # what the server's wrapper has made, where that is no class
        wrapper = environ.get("wsgi.file_wrapper")
        if wrapper is not None and not isinstance(wrapper, type):
            environ["wsgi.file_wrapper"] = _noting(wrapper, self._files)
        traceparent = environ.get("HTTP_TRACEPARENT")
        self.trace_headers = _trace_headers(environ) if traceparent else ()
        self._method = method = environ["REQUEST_METHOD"]
        key = (method, environ["wsgi.url_scheme"]) if recorder.is_by_scheme else method
        self._gauge = gauge = recorder.in_progress[key]
        gauge._begin_one()

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Start the response, or start it anew with *exc_info*; whatever the server says of it stands."""
        if exc_info is None:
            self._write = self._start_response(status, headers)
        else:
            self._write = self._start_response(status, headers, exc_info)
        self._headers = headers
        try:
            self._status = int(status[:3])
        except (TypeError, ValueError):
            self._status = _UNREADABLE
        return self.write

    def write(self, data: bytes) -> object:
        """Write in the old way, beside the iterable."""
        if self._write is None:
            raise RuntimeError("write() was called before start_response()")
        result = self._write(data)
        self.note(data)
        return result

    def note(self, data: bytes) -> None:
        """Count a part of the body."""
        try:
            self._sent += len(data)
            if self._sent and not self._first_byte:
                self._first_byte = monotonic()
        except Exception as error:  # noqa: BLE001
            internal_error(WHERE, error)

    def watch(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return what the server shall iterate over and close in place of *body*."""
        try:
            if self._is_file(body):
                self._is_unsized = True
                self._hook(body)
                return body
            return SizedBody(self, body) if hasattr(body, "__len__") else Body(self, body)
        except Exception as error:  # noqa: BLE001
            internal_error(WHERE, error)
            self.complete()
            return body

    def complete(self) -> None:
        """Record a response whose last byte the server has taken."""
        self._is_complete = True
        self.finish()

    def fail(self, error: BaseException) -> None:
        """Record a request whose application raised *error*."""
        if isinstance(error, (Exception, KeyboardInterrupt, SystemExit)):
            self._is_complete = True
            self._error = error
        self.finish()
        if isinstance(error, Exception):
            try:
                status = NOTHING_SENT if self._status is None else self._status
                self._recorder.count_exception(self._environ, self._method, status, error)
            except Exception as failure:  # noqa: BLE001
                internal_error(WHERE, failure)

    def finish(self) -> None:
        """Record the request, once, whatever became of its response."""
        if not self._is_open:
            return
        self._is_open = False
        now = monotonic()
        try:
            self._gauge._end_one()
            status = NOTHING_SENT if self._status is None else self._status
            is_gone = not self._is_complete and not self._is_all_there()
            self._outcome = outcome = CLIENT_GONE if is_gone else status
            outer = REQUEST_HEADERS.get()
            REQUEST_HEADERS.set(self.trace_headers)
            try:
                self._record(now, status, outcome)
            finally:
                REQUEST_HEADERS.set(outer)
        except Exception as error:  # noqa: BLE001
            internal_error(WHERE, error)

    def release(self) -> None:
        """Let go of the framework's request, which no garbage collection shall have to find."""
        self._environ.pop(REQUEST, None)

    def _record(self, now: float, status: int, outcome: int) -> None:
        to = self._recorder.find(self._environ, self._method, status, outcome, self)
        if to.add_request is not None:
            to.add_request()
        to.add_duration(now - self._began)
        if to.add_request_size is not None and (received := self._request_size()) is not None:
            to.add_request_size(float(received))
        if self._status is None or self._is_unsized:
            return
        if to.add_response_size is not None:
            sent = 0.0 if self._method == "HEAD" else self._sent  # servers drop the body of an answer to HEAD
            to.add_response_size(sent)
        if to.add_first_byte is not None:
            to.add_first_byte((self._first_byte or now) - self._began)

    def _request_size(self) -> int | None:
        length = self._environ.get("CONTENT_LENGTH")
        if not length and "HTTP_TRANSFER_ENCODING" in self._environ:
            return None
        return _length(length)

    def _is_all_there(self) -> bool:
        """Tell whether the server had no reason to take more of the body than it did."""
        if self._method == "HEAD" or self._status in (204, 304):
            return True
        lengths = [value for name, value in self._headers if name.lower() == "content-length"]
        expected = _length(lengths[0]) if lengths else None
        return expected is not None and self._sent >= expected

    def _is_file(self, body: Any) -> bool:
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type):
            return isinstance(body, wrapper)
        return any(body is file for file in self._files)

    def _hook(self, body: Any) -> None:
        """Leave a server's own file wrapper what it is, by which the server knows it; take note when it is closed."""
        close = getattr(body, "close", None)

        def close_and_finish() -> None:
            try:
                if close is not None:
                    close()
            finally:
                self.complete()
                self.release()

        try:
            body.close = close_and_finish
        except (AttributeError, TypeError):  # written in C, or with slots
            self.complete()

    def describe(self) -> RequestInfo:
        """Tell label functions of the request."""
        protocol = self._environ.get("SERVER_PROTOCOL", "")
        return _Info(
            self._environ,
            method=self._method,
            path=self._environ.get("PATH_INFO", ""),
            scheme=self._environ.get("wsgi.url_scheme", "http"),
            http_version=protocol.removeprefix("HTTP/"),
            status=self._outcome,
            error=self._error,
        ).of(self._headers)


class _Info(RequestInfo):
    """A request that came by WSGI."""

    __slots__ = ("_headers",)

    _headers: Sequence[tuple[str, str]]

    def of(self, headers: Sequence[tuple[str, str]]) -> RequestInfo:
        """Take the headers of the response along."""
        self._headers = headers
        return self

    def header(self, name: str) -> str:
        """Return a header of the request."""
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        return str(self.scope.get(key, ""))

    def response_header(self, name: str) -> str:
        """Return a header of the response."""
        return next((value for key, value in self._headers if key.lower() == name.lower()), "")


def _noting(wrapper: Callable[..., object], files: list[object]) -> Callable[..., object]:
    """Return what wraps files as *wrapper* does, and notes them: such servers know theirs by identity."""

    def wrap(*arguments: object) -> object:
        file = wrapper(*arguments)
        files.append(file)
        return file

    return wrap


def _trace_headers(environ: WSGIEnvironment) -> Sequence[tuple[bytes, bytes]]:
    """Return the headers of a trace as ASGI has them."""
    return [
        (name.encode(), environ[key].encode("latin-1", "replace"))
        for name, key in (("traceparent", "HTTP_TRACEPARENT"), ("tracestate", "HTTP_TRACESTATE"))
        if key in environ
    ]


def _length(text: str | None) -> int | None:
    """Read a Content-Length: 0 if there is none, None if it is malformed."""
    text = (text or "").strip() or "0"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
