"""A TCP proxy between clients and a real server, which can make that server silent, slow to close, or go away."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Proxy", "proxied"]


class Proxy:
    """
    Pass bytes on between clients and a server on 127.0.0.1.

    Attributes:
        port: Where clients connect.
        flowing: While cleared, nothing is passed on, either way, and connections stay open.
        hush_on: What a client has to send to be met with silence on a connection that nobody closes.
        hushed: Set once that has happened.
        never_closes: Whether connections that clients close stay open on this side.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.flowing = threading.Event()
        self.flowing.set()
        self.hush_on = b""
        self.hushed = threading.Event()
        self.never_closes = False
        self._clients: list[socket.socket] = []
        self._servers: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def open(self) -> set[int]:
        """The numbers of the clients, in the order of their coming, that have not closed their connection."""
        return {number for number, client in enumerate(self._clients) if not has_hung_up(client)}

    def drop(self) -> None:
        """Break every connection."""
        for sock in [*self._clients, *self._servers]:
            self._shut(sock)

    def close(self) -> None:
        """Stop listening, and break every connection, as happens when a server is killed."""
        self._shut(self._listener)  # wakes accept()
        self._threads[0].join()
        self.flowing.set()
        self.drop()
        for thread in self._threads:
            thread.join()
        for sock in [self._listener, *self._clients, *self._servers]:
            sock.close()

    def _start(self, func: object, *arguments: object) -> None:
        thread = threading.Thread(target=func, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._clients.append(client)
                self._servers.append(server)
                silence = threading.Event()
                self._start(self._pump, client, server, silence, self.hush_on)
                self._start(self._pump, server, client, silence, b"")

    def _pump(self, source: socket.socket, drain: socket.socket, silence: threading.Event, hush_on: bytes) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if hush_on and hush_on in data:
                    silence.set()
                    self.hushed.set()
                self.flowing.wait()
                if silence.is_set():
                    return
                drain.sendall(data)
        if not self.never_closes and not silence.is_set():
            self._shut(drain)

    @staticmethod
    def _shut(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def has_hung_up(sock: socket.socket) -> bool:
    """Tell whether the other side has closed *sock*, whatever it has sent before."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


@contextlib.contextmanager
def proxied(target: int) -> Iterator[Proxy]:
    """Keep a proxy to *target*, a port of 127.0.0.1, for the length of the block."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
