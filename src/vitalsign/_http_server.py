"""A server that gives one answer to each connection, whatever the others do; for the exporter's event loop."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from vitalsign._http_async import AsyncEndpoint
from vitalsign._http_endpoint import Asked
from vitalsign._http_page import READING, Page, notice, wrong_method
from vitalsign._http_wire import Head, HeadError, read_head, write_head
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    import socket

    from vitalsign._http_endpoint import Endpoint
    from vitalsign._http_tls import Certificates

__all__ = ["Server"]

_WHERE = "exporter"
_MOST_ARRIVING = 256  # connections whose request is not there yet
_MOST_ANSWERED = 64  # each may hold a page of its own in memory
_LONGEST_HEAD = 16_384  # bytes
_SECONDS_TO_ASK = 10.0  # with the handshake of TLS
_SECONDS_TO_READ = 60.0  # for a client to take its answer
_PAUSE = 0.5  # seconds, after the system had no socket to give
_PIECE = 65_536  # bytes; what a client does not read waits in the page, not in a copy of it
_ROOT = notice(200, "The metrics are at /metrics.")
_NOT_FOUND = notice(404, "Only /metrics is here.")


class Server:
    """
    Answer one request for each connection, on an event loop.

    Slow clients keep nobody waiting: each has its own task and its time, and where there are too many, those that came
    first have to go.
    """

    def __init__(self, listener: socket.socket, tls: Certificates | None, endpoint: Endpoint) -> None:
        listener.setblocking(False)
        self.listener = listener
        self.stop = asyncio.Event()
        self._tls = tls
        self._endpoint = endpoint
        self._pages = AsyncEndpoint(endpoint)
        self._connections: set[socket.socket] = set()
        self._arriving = _Crowd(_MOST_ARRIVING)
        self._answered = _Crowd(_MOST_ANSWERED)

    async def run(self) -> None:
        """Serve until it is told to stop; what is left then is cancelled by who runs the loop."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.listener, self._accept, loop)
        await self.stop.wait()
        loop.remove_reader(self.listener)

    def abandon(self) -> None:
        """Close the sockets, without a word to those who hold the other ends."""
        for each in (self.listener, *self._connections):
            each.close()

    def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            connection, address = self.listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):  # has left before it came in
            return
        except OSError as error:
            internal_error(_WHERE, error)
            loop.remove_reader(self.listener)
            loop.call_later(_PAUSE, loop.add_reader, self.listener, self._accept, loop)
            return
        connection.setblocking(False)
        self._connections.add(connection)
        task = loop.create_task(self._serve(connection, address[0]))
        task.add_done_callback(partial(self._close, connection))
        self._arriving.add(task)

    def _close(self, connection: socket.socket, _: asyncio.Task[None]) -> None:
        self._connections.discard(connection)
        connection.close()

    async def _serve(self, connection: socket.socket, peer: str) -> None:
        writer = None
        try:
            async with asyncio.timeout(_SECONDS_TO_ASK):
                reader, writer = await self._open(connection)
                head = await _read(reader)
            if task := asyncio.current_task():
                self._arriving.discard(task)
                self._answered.add(task)
            page = head if isinstance(head, Page) else await self._answer(head, peer)
            has_body = isinstance(head, Page) or head.method != "HEAD"
            async with asyncio.timeout(_SECONDS_TO_READ):
                await _write(writer, page, has_body=has_body)
        except (OSError, EOFError):  # too slow, no TLS, or gone: nothing is wrong here
            pass
        except Exception as error:  # noqa: BLE001
            internal_error(_WHERE, error)
        finally:
            if writer is not None:
                writer.transport.abort()

    async def _open(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_LONGEST_HEAD, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        context = self._tls.context() if self._tls else None
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _answer(self, head: Head, peer: str) -> Page:
        asked = Asked(head.method, head.headers, head.query, peer)
        if head.path == b"/metrics":
            return await self._pages.answer(asked)
        if (refused := self._endpoint.refuse(asked)) is not None:
            return refused
        if head.method not in READING:
            return wrong_method()
        return _ROOT if head.path == b"/" else _NOT_FOUND


class _Crowd:
    """Tasks, of which the oldest is cancelled when there are too many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: dict[asyncio.Task[None], None] = {}

    def add(self, task: asyncio.Task[None]) -> None:
        if len(self._tasks) >= self._most:
            oldest = next(iter(self._tasks))
            self.discard(oldest)
            oldest.cancel()
        self._tasks[task] = None
        task.add_done_callback(self.discard)

    def discard(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)


async def _read(reader: asyncio.StreamReader) -> Head | Page:
    """Return the request, or the answer that says why it is none."""
    try:
        return read_head(await reader.readuntil(b"\r\n\r\n"))
    except HeadError as error:
        return notice(400, str(error))
    except asyncio.LimitOverrunError:
        return notice(431, f"Headers of more than {_LONGEST_HEAD} bytes are not read.")


async def _write(writer: asyncio.StreamWriter, page: Page, *, has_body: bool) -> None:
    writer.write(write_head(page))
    body = memoryview(page.body if has_body else b"")
    for start in range(0, len(body), _PIECE):
        writer.write(body[start : start + _PIECE])
        await writer.drain()
    writer.close()
    await writer.wait_closed()
