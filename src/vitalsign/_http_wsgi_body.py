"""The body of a WSGI response, watched while a server reads and closes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from vitalsign._trace import REQUEST_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vitalsign._http_wsgi_exchange import WsgiExchange

__all__ = ["Body", "SizedBody"]


class Body:
    """What a server iterates over in place of the application's iterable; its `close` is called once."""

    __slots__ = ("_body", "_exchange", "_is_closed", "_iterator")

    def __init__(self, exchange: WsgiExchange, body: Iterable[bytes]) -> None:
        self._exchange = exchange
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._is_closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        outer = REQUEST_HEADERS.get()
        REQUEST_HEADERS.set(exchange.trace_headers)
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            piece = next(self._iterator)
        except StopIteration:
            exchange.complete()
            raise
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            REQUEST_HEADERS.set(outer)
        exchange.note(piece)
        return piece

    def close(self) -> None:
        """Close the application's iterable."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self._exchange.fail(error)
            raise
        else:
            self._exchange.finish()
        finally:
            self._exchange.release()

    def __del__(self) -> None:
        self._exchange.finish()  # for servers that forget to close what they have not read


class SizedBody(Body):
    """The same for what tells its length: servers take the size of a single piece for the Content-Length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]  # asked before
