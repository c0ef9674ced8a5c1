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
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_FORBIDDEN = re.compile(rb"[\x00\r\n]").search
_ORIGIN = re.compile(rb"https?://[^/?#]*", re.IGNORECASE).match


class HeadError(ValueError):
    """What a client has sent is no request."""

    def __init__(self) -> None:
        super().__init__("That is no request of HTTP/1.")


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
    if request is None:
        raise HeadError
    method, target = request.groups()
    origin = _ORIGIN(target)  # of a server too, clients may ask as they ask a proxy
    path, _, query = target[origin.end() if origin else 0 :].partition(b"?")
    return Head(method.decode(), path or b"/", query, [_read_field(field) for field in fields])


def _read_field(field: bytes) -> tuple[bytes, bytes]:
    name, colon, value = field.partition(b":")
    if not colon or _NAME(name) is None or _FORBIDDEN(value):
        raise HeadError
    return name.lower(), value.strip(b" \t")


def write_head(page: Page) -> bytes:
    """Write what goes before the body of an answer, after which the connection is closed."""
    lines = [f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}".encode()]
    lines += [name + b": " + value for name, value in page.headers]
    return b"\r\n".join([*lines, b"connection: close", b"", b""])
