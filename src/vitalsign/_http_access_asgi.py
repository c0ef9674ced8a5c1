"""The access log of ASGI applications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitalsign._clock import monotonic
from vitalsign._http_access import ACCESS_LOGGER, REQUEST_ID, Access, AccessLog
from vitalsign._http_metrics import CLIENT_GONE, NOTHING_SENT
from vitalsign._http_paths import path_filter
from vitalsign._http_routes import UNMATCHED, Templates
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["AccessLogMiddleware"]

_WHERE = "asgi.access"
_MARK = "vitalsign.access"  # in the scope of what is logged already
_HEADER = REQUEST_ID.lower().encode()


class AccessLogMiddleware:
    """
    Log one line for each request, and give all lines of a request its id.

    The id is the request's `X-Request-ID` if that is sane, or a new one; the response has it in the same header unless
    the application has set one. The route is the template that `MetricsMiddleware` names its series by; the two can
    stand in either order. Websockets get an id, and no line of their own.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        exclude: str | Iterable[str] = (),
        logger: str = ACCESS_LOGGER,
        paths: bool = False,
        trust_request_id: bool = True,
    ) -> None:
        """
        Wrap *app*.

        Args:
            app: Any ASGI application.
            exclude: Paths whose requests get no line of their own, exact or with `*`, without a proxy's root path.
            logger: Name of the logger that lines are written to: at level INFO, for statuses from 500 on ERROR.
            paths: Write the path as well as the route; paths can hold what nobody should read.
            trust_request_id: Take the id that a request brings; turn it off where clients are strangers.

        Raises:
            EndpointOptionError: `exclude` has what fits no path.
        """
        self.app = app
        self._log = AccessLog(logger, paths=paths, trust_request_id=trust_request_id)
        self._excludes = path_filter(exclude)
        self._templates = Templates(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it."""
        if scope["type"] not in ("http", "websocket") or _MARK in scope:
            await self.app(scope, receive, send)
            return
        try:
            scope[_MARK] = True
            scope["headers"] = headers = [*scope.get("headers", ())]  # which may be something that is read once
            request_id = self._log.identify(_first(headers, _HEADER))
            exchange = _Exchange(self, scope, receive, send, request_id)
            if scope["type"] == "websocket" or (self._excludes is not None and self._excludes(scope)):
                exchange.is_open = False
        except Exception as error:  # noqa: BLE001  # nothing of ours may keep a request from its answer
            internal_error(_WHERE, error)
            await self.app(scope, receive, send)
            return
        with self._log.request(request_id, headers):
            try:
                await self.app(scope, exchange.receive, exchange.send)
            except BaseException as error:
                exchange.finish(error)
                raise
            exchange.finish()

    def write(self, scope: Scope, status: int, outcome: int, seconds: float, sent: int | None,
              error: BaseException | None) -> None:  # fmt: skip
        """
        Write the line of a request that has ended.

        Args:
            scope: As the framework left it.
            status: Of the response.
            outcome: Status to write: another one if the client did not get the response.
            seconds: Since its arrival.
            sent: Bytes of the response's body, if they were counted.
            error: What left the application.
        """
        try:
            route, _ = self._templates.resolve(scope, None, status)
        except Exception as failure:  # noqa: BLE001  # a router of an unknown kind must not lose the line
            internal_error("asgi.route", failure)
            route = UNMATCHED
        self._log.write(Access(scope["method"], route, outcome, seconds, sent, error, scope["path"]))


class _Exchange:
    """One request and its response, as they pass."""

    def __init__(self, owner: AccessLogMiddleware, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.is_open = True  # a line is still to be written
        self._began = monotonic()
        self._owner = owner
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = request_id.encode()
        self._status = 0  # until the response starts
        self._sent: int | None = 0
        self._is_gone = self._is_ending = self._has_trailers = False

    async def receive(self) -> Message:
        """Take a message from the server, and see whether the client leaves."""
        message = await self._receive()
        if message.get("type") == "http.disconnect" and not self._is_ending:
            self._is_gone = True
        return message

    async def send(self, message: Message) -> None:
        """Hand a message to the server, with the request's id, and write the line after the last one."""
        try:
            message = self._note(message)
        except Exception as error:  # noqa: BLE001  # the application's message goes on as it is
            internal_error(_WHERE, error)
        try:
            await self._send(message)
        except OSError:  # how a server says that the client has left
            self._is_gone = True
            raise
        if self._is_ending:
            self.finish()

    def finish(self, error: BaseException | None = None) -> None:
        """Write the line, once, whatever became of the response."""
        if not self.is_open:
            return
        self.is_open = False
        is_gone = self._is_gone or not isinstance(error, (Exception, KeyboardInterrupt, SystemExit, type(None)))
        status = self._status or NOTHING_SENT
        sent = 0 if self._scope["method"] == "HEAD" else self._sent  # servers drop the body of an answer to HEAD
        if not self._status:
            sent = None  # what is answered then is answered further out
        elapsed = monotonic() - self._began
        self._owner.write(self._scope, status, CLIENT_GONE if is_gone else status, elapsed, sent, error)

    def _note(self, message: Message) -> Message:
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            self._has_trailers = message.get("trailers", False)
            headers = [*message.get("headers", ())]
            if _first(headers, _HEADER) is None:
                return {**message, "headers": [*headers, (_HEADER, self._request_id)]}
        elif kind == "http.response.body":
            self._count(len(message.get("body", b"")))
            self._is_ending = not (self._has_trailers or message.get("more_body"))
        elif kind == "http.response.zerocopysend":
            self._count(message.get("count"))
            self._is_ending = not (self._has_trailers or message.get("more_body"))
        elif kind == "http.response.pathsend":
            self._count(None)
            self._is_ending = not self._has_trailers
        elif kind == "http.response.trailers":
            self._is_ending = not message.get("more_trailers")
        return message

    def _count(self, sent: int | None) -> None:
        self._sent = None if sent is None or self._sent is None else self._sent + sent


def _first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), None)
