"""As much of HTTP/1.1 as an exporter needs: one request is read, and one answer written. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitalsign._http_page import Page

__all__ = ["Head", "HeadError", "read_head", "write_head"]

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.[01]").fullmatch
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*").fullmatch
_ORIGIN = re.compile(rb"https?://[^/?#]*", re.IGNORECASE).match


class HeadError(ValueError):
    """What a client has sent is no request."""


@dataclass(frozen=True, slots=True)
class Head:
    """
    A request, without its body.

    Attributes:
        method: As it was sent.
        path: Without the query, not decoded.
        query: What follows the first question mark.
        headers: Their names in lower case.
    """

    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]


def read_head(head: bytes) -> Head:
    """
    Read what a client has sent, up to the empty line.

    Raises:
        HeadError: It is no request of HTTP/1.
    """
    line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    request = _REQUEST_LINE(line)
    matches = [_FIELD(field) for field in fields]
    if request is None or None in matches:
        raise HeadError("That is no request of HTTP/1.")
    method, target = request.groups()
    origin = _ORIGIN(target)  # of a server too, clients may ask as they ask a proxy
    path, _, query = target[origin.end() if origin else 0 :].partition(b"?")
    headers = [(match[1].lower(), match[2]) for match in matches if match]
    return Head(method.decode(), path or b"/", query, headers)


def write_head(page: Page) -> bytes:
    """Write what goes before the body of an answer, after which the connection is closed."""
    lines = [f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}".encode()]
    lines += [name + b": " + value for name, value in page.headers]
    return b"\r\n".join([*lines, b"connection: close", b"", b""])
