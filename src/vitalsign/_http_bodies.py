"""Bodies of requests, read no further than they may be long, whatever their headers say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from wsgiref.types import WSGIEnvironment

__all__ = ["BodyError", "length_of", "read_asgi", "read_wsgi"]

_BAD_REQUEST, _LENGTH_REQUIRED, _TOO_LARGE = 400, 411, 413


class BodyError(Exception):
    """
    A body that is not taken.

    Attributes:
        status: To answer with.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def length_of(header: str) -> int | None:
    """
    Read a Content-Length; None if there is none, -1 if it is malformed.

    What is too long for a number of bytes is malformed too.
    """
    text = header.strip()
    if not text:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


def _check(length: int | None, most: int) -> None:
    if length == -1:
        raise BodyError(_BAD_REQUEST, "The Content-Length is malformed.")
    if length is not None and length > most:
        raise _too_large(most)


def _too_large(most: int) -> BodyError:
    return BodyError(_TOO_LARGE, f"The body is larger than {most} bytes.")


async def read_asgi(receive: Callable[[], Awaitable[Any]], length: int | None, most: int) -> bytes:
    """
    Read the body of a request that came by ASGI.

    Args:
        receive: The server's.
        length: What the headers say, by `length_of`.
        most: Bytes that it may have.

    Raises:
        BodyError: It is larger, or ended early.
    """
    _check(length, most)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BodyError(_BAD_REQUEST, "The body ended early.")
        piece = message.get("body", b"")
        size += len(piece)
        if size > most:
            raise _too_large(most)
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)


def read_wsgi(environ: WSGIEnvironment, most: int) -> bytes:
    """
    Read the body of a request that came by WSGI.

    Without a length it is read to its end where the server says that it ends (`wsgi.input_terminated`).

    Raises:
        BodyError: It is larger, ended early, or has no end.
    """
    length = length_of(environ.get("CONTENT_LENGTH") or "")
    _check(length, most)
    if length is None and not environ.get("wsgi.input_terminated"):
        raise BodyError(_LENGTH_REQUIRED, "The Content-Length is missing.")
    body = _read(environ["wsgi.input"], most + 1 if length is None else length)
    if length is None and len(body) > most:
        raise _too_large(most)
    if length is not None and len(body) < length:
        raise BodyError(_BAD_REQUEST, "The body ended early.")
    return body


def _read(source: Any, size: int) -> bytes:
    pieces: list[bytes] = []
    try:
        while size > 0 and (piece := source.read(size)):
            pieces.append(piece)
            size -= len(piece)
    except OSError as error:
        raise BodyError(_BAD_REQUEST, "The body ended early.") from error
    return b"".join(pieces)
