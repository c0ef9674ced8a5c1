"""The access log of WSGI applications."""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from vitalsign._clock import monotonic
from vitalsign._http_access import ACCESS_LOGGER, REQUEST_ID, Access, AccessLog
from vitalsign._http_frameworks import REQUEST, Framework
from vitalsign._http_metrics import CLIENT_GONE, NOTHING_SENT
from vitalsign._http_paths import path_filter
from vitalsign._http_routes import UNMATCHED
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["AccessLogMiddleware"]

_WHERE = "wsgi.access"
_MARK = "vitalsign.access"  # in the environ of what is logged already
_WITHOUT_BODY = (204, 304)
_MEASURED = "vitalsign.http."  # begins the marks of what is measured
_KEY = "HTTP_" + REQUEST_ID.upper().replace("-", "_")


class AccessLogMiddleware:
    """
    Log one line for each request, and give all lines of a request its id.

    The id is the request's `X-Request-ID` if that is sane, or a new one; the response has it in the same header unless
    the application has set one. The route is the template that `MetricsMiddleware` names its series by; the two can
    stand in either order.

    Each request has a context of its own (`contextvars`), which lasts until its response is closed: a streamed body
    logs with the request's id too.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        exclude: str | Iterable[str] = (),
        logger: str = ACCESS_LOGGER,
        paths: bool = False,
        trust_request_id: bool = True,
    ) -> None:
        """
        Wrap *app*.

        Args:
            app: Any WSGI application.
            exclude: Paths whose requests get no line of their own, exact or with `*`, without the script name.
            logger: Name of the logger that lines are written to: at level INFO, for statuses from 500 on ERROR.
            paths: Write the path as well as the route; paths can hold what nobody should read.
            trust_request_id: Take the id that a request brings; turn it off where clients are strangers.

        Raises:
            EndpointOptionError: `exclude` has what fits no path.
        """
        self.app = app
        self._log = AccessLog(logger, paths=paths, trust_request_id=trust_request_id)
        self._excludes = path_filter(exclude)
        self._framework = Framework(app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass a request on, and log it."""
        if _MARK in environ:
            return self.app(environ, start_response)
        environ[_MARK] = True
        context = copy_context()
        return context.run(self._answer, context, environ, start_response)

    def _answer(self, context: Context, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer within *context*, which nobody else has: what is set there need not be taken back."""
        request_id = self._log.identify(environ.get(_KEY))
        traceparent = environ.get("HTTP_TRACEPARENT")
        headers = [] if traceparent is None else [(b"traceparent", traceparent.encode("latin-1", "replace"))]
        self._log.enter(request_id, headers)
        exchange = _Exchange(self._log, self._framework, environ, start_response, request_id)
        exchange.is_open = self._excludes is None or not self._excludes({"path": environ.get("PATH_INFO", "")})
        try:
            body = self.app(environ, exchange.start_response)
        except BaseException as error:
            exchange.finish(error)
            raise
        if _is_file(body, environ):
            exchange.finish_unread()
            return body
        return (_SizedBody if hasattr(body, "__len__") else _Body)(body, context, exchange)


class _Exchange:
    """One request and its response, as they pass."""

    def __init__(
        self,
        log: AccessLog,
        framework: Framework,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        request_id: str,
    ) -> None:
        self.is_open = True  # a line is still to be written
        self._framework = framework
        self._began = monotonic()
        self._log = log
        self._environ = environ
        self._start_response = start_response
        self._request_id = request_id
        self._route: str | None = None
        self._status = 0  # until the response starts
        self._length: int | None = None  # that the application promised
        self.sent = 0

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        """Start the response, with the request's id."""
        try:
            headers = self._note(status, headers)
        except Exception as error:  # noqa: BLE001  # the application's headers go on as they are
            internal_error(_WHERE, error)
        write = self._start_response(status, headers, *([] if exc_info is None else [exc_info]))

        def counted(data: bytes) -> object:
            self.sent += len(data)
            return write(data)

        return counted

    def finish(self, error: BaseException | None = None, *, is_whole: bool = True) -> None:
        """Write the line, once, whatever became of the response."""
        is_head = self._environ["REQUEST_METHOD"] == "HEAD"
        is_whole = is_whole or is_head or self._status in _WITHOUT_BODY or self.sent == self._length
        left = isinstance(error, GeneratorExit) or not (is_whole or error)
        sent = 0 if is_head else self.sent  # servers drop the body of an answer to HEAD
        self._write(CLIENT_GONE if left else self._status or NOTHING_SENT, sent if self._status else None, error)

    def finish_unread(self) -> None:
        """Write the line of a file that the server sends by itself."""
        self._write(self._status or NOTHING_SENT, self._length, None)

    def _write(self, status: int, sent: int | None, error: BaseException | None) -> None:
        if self.is_open:
            self.is_open = False
            seconds = monotonic() - self._began
            path = self._environ.get("PATH_INFO", "")
            method = self._environ["REQUEST_METHOD"]
            self._log.write(Access(method, self._find_route(), status, seconds, sent, error, path))

    def release(self) -> None:
        """Let go of the framework's request, which refers to the environ; beside metrics, those do it."""
        if REQUEST in self._environ and not any(key.startswith(_MEASURED) for key in self._environ):
            del self._environ[REQUEST]

    def _find_route(self) -> str:
        try:
            environ, status = self._environ, self._status or NOTHING_SENT
            route = self._route or self._framework.stated(environ) or self._framework.again(environ, status)
        except Exception as error:  # noqa: BLE001  # a framework of an unknown kind must not lose the line
            internal_error("wsgi.route", error)
            route = None
        return route or UNMATCHED

    def _note(self, status: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        self._route = self._framework.stated(self._environ)  # some forget it once they have answered
        self._status = int(status[:3])
        names = {name.lower(): value for name, value in headers}
        length = names.get("content-length", "")
        self._length = int(length) if length.isdecimal() else None
        return headers if REQUEST_ID.lower() in names else [*headers, (REQUEST_ID, self._request_id)]


class _Body:
    """The body of a response, read within the request's context."""

    def __init__(self, body: Iterable[bytes], context: Context, exchange: _Exchange) -> None:
        self._body = body
        self._context = context
        self._exchange = exchange
        self._pieces: Iterator[bytes] | None = None
        self._is_whole = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._pieces is None:
                self._pieces = self._context.run(iter, self._body)
            piece = self._context.run(next, self._pieces)
        except StopIteration:
            self._is_whole = True
            self._finish()
            raise
        except BaseException as error:
            self._finish(error)
            raise
        self._exchange.sent += len(piece)
        return piece

    def close(self) -> None:
        """Close the application's body, and write the line."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                self._context.run(close)
        finally:
            self._finish()
            self._exchange.release()

    def _finish(self, error: BaseException | None = None) -> None:
        self._context.run(self._exchange.finish, error, is_whole=self._is_whole)


class _SizedBody(_Body):
    """A body whose number of pieces is known: some servers make a Content-Length of one piece."""

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]


def _is_file(body: object, environ: WSGIEnvironment) -> bool:
    """Tell whether *body* is what the server sends faster if nobody else touches it."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)
