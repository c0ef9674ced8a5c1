"""An HTTP server that answers as it should, asked by the standard library alone."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import Check, Result, Status

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

__all__ = ["http"]

_ANY_2XX = range(200, 300)


def http(
    url: str,
    *,
    method: str = "GET",
    status: int | Container[int] = _ANY_2XX,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    context: ssl.SSLContext | None = None,
    name: str = "http",
) -> Check:
    """
    Check that a URL answers with an expected status. Not critical unless told otherwise, for what is there is shared.

    Redirects are not followed and proxies not used: a login page that answers 200 would look like health. The URL and
    the headers appear in the log at most, the name also in metrics and details.

    Args:
        url: With scheme http or https, without credentials.
        method: GET, HEAD or another.
        status: The status that is expected, or all that are.
        headers: Sent with the request, such as Authorization.
        timeout: Seconds until the headers of the response; None takes the checker's.
        context: For TLS; None verifies as a browser would.
        name: Of the check; say what answers there.

    Raises:
        HealthCheckError: The URL is none, or carries credentials.
    """
    expected = (status,) if isinstance(status, int) else status
    probe = _Probe(_split(name, url), method, expected, dict(headers or {}), context)
    return Check(name, probe, critical=False, timeout=timeout, external=True, takes_timeout=True)


@dataclass(frozen=True, slots=True)
class _Probe:
    url: SplitResult
    method: str
    expected: Container[int]
    headers: dict[str, str]
    context: ssl.SSLContext | None

    def __call__(self, timeout: float) -> Result:
        status = self._ask(timeout)
        if status in self.expected:
            return Result(Status.PASS, f"answered {status}", status)
        return Result(Status.FAIL, f"answered {status}, which is not expected", status)

    def _ask(self, timeout: float) -> int:
        connection = self._connection(timeout)
        target = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
        try:
            connection.request(self.method, target, headers={"Connection": "close", **self.headers})
            return connection.getresponse().status
        except Exception as error:
            error.add_note(f"while asking {self.url.geturl()}")
            raise
        finally:
            connection.close()

    def _connection(self, timeout: float) -> HTTPConnection:
        host = self.url.hostname or ""
        if self.url.scheme == "http":
            return HTTPConnection(host, self.url.port or 80, timeout=timeout)
        context = self.context or _default_context()
        return HTTPSConnection(host, self.url.port or 443, timeout=timeout, context=context)


@cache
def _default_context() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads all root certificates: once is enough


def _split(name: str, url: str) -> SplitResult:
    parts = _askable(url)
    if parts is None:
        raise HealthCheckError(
            f"The URL of check {name!r} is none that can be asked. Give one such as 'http://127.0.0.1:8000/health'."
        )
    if "@" in parts.netloc:
        raise HealthCheckError(
            f"The URL of check {name!r} carries credentials, which would end up in logs. Send them by headers=."
        )
    return parts


def _askable(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        is_askable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port, or the brackets of an IPv6 address
        return None
    return parts if is_askable else None
