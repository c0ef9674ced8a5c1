"""Health endpoints for WSGI servers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from vitalsign.health._endpoints import NOT_FOUND, Endpoint
from vitalsign.health._request import Request
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from vitalsign.health._layout import Endpoints
    from vitalsign.health._reply import Reply

__all__ = ["HealthWSGIApp"]

_HEADERS = {
    "HTTP_ACCEPT": b"accept",
    "HTTP_AUTHORIZATION": b"authorization",
    "HTTP_FORWARDED": b"forwarded",
    "HTTP_X_FORWARDED_FOR": b"x-forwarded-for",
    "HTTP_X_REAL_IP": b"x-real-ip",
}


class HealthWSGIApp:
    """
    Answer health requests as a WSGI application: alone, mounted, or before another one.

    Made by `HealthChecker.wsgi()`.
    """

    def __init__(self, endpoints: Endpoints, app: WSGIApplication | None = None) -> None:
        self._endpoints = endpoints
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        # Some frameworks mount an application at the very path that it is to answer, and leave it none.
        endpoint = self._endpoints.at(_whole_path(environ)) or self._endpoints.at(environ.get("PATH_INFO", ""))
        if endpoint is None and self._app is not None:
            return self._app(environ, start_response)
        reply = NOT_FOUND if endpoint is None else _answer(endpoint, _request(environ))
        start_response(f"{reply.status_code} {HTTPStatus(reply.status_code).phrase}", reply.all_headers())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [reply.body]


def _answer(endpoint: Endpoint, request: Request) -> Reply:
    try:
        return endpoint.refuse(request) or endpoint.reply(request, endpoint.find_blocking(request))
    except Exception as error:  # noqa: BLE001  # a probe gets an answer, also where we are at fault
        internal_error("health.endpoint", error)
        return endpoint.apology()


def _request(environ: WSGIEnvironment) -> Request:
    return Request(
        method=environ["REQUEST_METHOD"],
        path=_whole_path(environ),
        query=_raw(environ.get("QUERY_STRING", "")),
        headers=[(name, _raw(environ[key])) for key, name in _HEADERS.items() if key in environ],
        peer=environ.get("REMOTE_ADDR"),
    )


def _whole_path(environ: WSGIEnvironment) -> str:
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return _raw(path).decode(errors="replace")  # WSGI has the bytes of UTF-8 as letters of Latin-1


def _raw(text: str) -> bytes:
    return text.encode("latin-1", "replace")
