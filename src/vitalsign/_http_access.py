"""One line for each request, and the id that all its lines have: what ASGI and WSGI middleware share."""

from __future__ import annotations

import logging
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from vitalsign._http_metrics import KNOWN_METHODS, OTHER_METHOD
from vitalsign._trace import REQUEST_HEADERS, expect_requests
from vitalsign.logs import log_context
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Headers = Iterable[tuple[bytes, bytes]]

__all__ = ["ACCESS_LOGGER", "REQUEST_ID", "Access", "AccessLog"]

ACCESS_LOGGER = "vitalsign.access"
REQUEST_ID = "X-Request-ID"

_SANE = re.compile(r"[A-Za-z0-9._:=+/@-]{1,128}").fullmatch
_ID_BYTES = 16


class Access(NamedTuple):
    """
    One request that has been answered, or given up.

    Attributes:
        method: As the client sent it.
        route: Template of the route.
        status: Of the response; 499 if the client did not wait for all of it.
        seconds: From its arrival to the last byte of the response.
        sent: Bytes of the response's body; None if nobody counted them.
        error: What left the application, if anything did.
        path: As the client sent it, without the query.
    """

    method: str
    route: str
    status: int
    seconds: float
    sent: int | None
    error: BaseException | None
    path: str


class AccessLog:
    """
    Give requests their ids, and write a line for each.

    Args:
        logger: Name of the logger that lines are written to.
        paths: Write the path too.
        trust_request_id: Take the id that a request brings, if it is sane.
    """

    def __init__(self, logger: str, *, paths: bool, trust_request_id: bool) -> None:
        self._logger = logging.getLogger(logger)
        self._paths = paths
        self._is_trusting = trust_request_id
        expect_requests()

    def identify(self, given: str | None) -> str:
        """
        Return the id of a request.

        Args:
            given: What the request brought. What is too long for an id, or holds anything but letters, digits and
                `._:=+/@-`, is not taken: it would be written to every line, and into the response.
        """
        if given is not None and self._is_trusting and _SANE(given):
            return given
        return os.urandom(_ID_BYTES).hex()

    def enter(self, request_id: str, headers: Headers) -> log_context:
        """Let what is logged from now on have the request's id, and the trace that its *headers* name."""
        REQUEST_HEADERS.set(headers)
        return log_context(request_id=request_id).__enter__()

    @contextmanager
    def request(self, request_id: str, headers: Headers) -> Iterator[None]:
        """Do so in a block."""
        outer = REQUEST_HEADERS.get()
        context = self.enter(request_id, headers)
        try:
            yield
        finally:
            context.__exit__(None, None, None)
            REQUEST_HEADERS.set(outer)

    def write(self, access: Access) -> None:
        """Write the line: an error if the service is at fault, as its status says."""
        level = logging.ERROR if access.status >= 500 else logging.INFO
        try:
            if self._logger.isEnabledFor(level):
                self._logger.log(
                    level,
                    "%s %s %d in %.4f s, %s bytes",
                    access.method if access.method in KNOWN_METHODS else OTHER_METHOD,
                    access.route,
                    access.status,
                    access.seconds,
                    "?" if access.sent is None else access.sent,
                    extra=self._fields(access),
                )
        except Exception as error:  # noqa: BLE001  # a handler of the host's may raise
            internal_error("http.access", error)

    def _fields(self, access: Access) -> dict[str, object]:
        fields: dict[str, object] = {
            "method": access.method,
            "route": access.route,
            "status": access.status,
            "duration_seconds": round(access.seconds, 6),
        }
        if access.sent is not None:
            fields["response_bytes"] = access.sent
        if access.error is not None:
            fields["error"] = type(access.error).__name__
        if self._paths:
            fields["path"] = access.path
        return fields
