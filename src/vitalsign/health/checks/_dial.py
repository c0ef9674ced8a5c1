"""TCP connections with one deadline for all of it: each address of a name, TLS, and every byte that goes or comes."""

from __future__ import annotations

import io
import socket
import ssl
from functools import cache
from typing import TYPE_CHECKING

from vitalsign._clock import monotonic
from vitalsign.exceptions import HealthCheckError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import Any

    from typing_extensions import Buffer

__all__ = ["Deadline", "DeadlineSocket", "check_port", "default_tls_context", "dial", "host_of", "tls_context"]


class Deadline:
    """A moment by which something has to be done."""

    __slots__ = ("_at",)

    def __init__(self, seconds: float) -> None:
        self._at = monotonic() + seconds

    def left(self) -> float:
        """
        Return the seconds until then.

        Raises:
            TimeoutError: There are none.
        """
        left = self._at - monotonic()
        if left <= 0:
            raise TimeoutError("the time that the check may take is over")
        return left


def dial(host: str, port: int, deadline: Deadline) -> socket.socket:
    """
    Connect to the first address of *host* that accepts; an address that does not answer leaves time for the next.

    Raises:
        OSError: None does; the error is that of the last one, with host and port in a note.
    """
    try:
        return _connect(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), deadline)
    except OSError as error:
        error.add_note(f"while connecting to {host} port {port}")
        raise


def _connect(addresses: Sequence[tuple[Any, ...]], deadline: Deadline) -> socket.socket:
    failure = OSError("the name has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:  # no IPv6 on this machine
            failure = error
            continue
        try:
            connection.settimeout(deadline.left() / (len(addresses) - number))
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


class DeadlineSocket:
    """What http.client needs of a socket, under a deadline that a server does not move by a byte now and then."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def sendall(self, data: Buffer) -> None:
        """Send all of *data*."""
        self._connection.settimeout(self._deadline.left())
        self._connection.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what comes, as a file."""
        return io.BufferedReader(_Incoming(self._connection, self._deadline))

    def close(self) -> None:
        """Do nothing: http.client closes it before the body is read, so whoever dialled does that in the end."""


class _Incoming(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        self._connection.settimeout(self._deadline.left())
        return self._connection.recv_into(buffer)


def host_of(check: str, host: str) -> str:
    """
    Return *host* without the brackets that URLs put round an IPv6 address.

    Raises:
        HealthCheckError: It is no name and no address.
    """
    bare = host[1:-1] if isinstance(host, str) and host.startswith("[") and host.endswith("]") else host
    if not isinstance(bare, str) or not bare or any(character in bare for character in "/@ \t\r\n"):
        raise HealthCheckError(
            f"The host of check {check!r} is no name and no address. Give one such as 'db.internal', '10.0.0.7' or "
            "'::1', without scheme, port and path."
        )
    return bare


def check_port(check: str, port: int) -> int:
    """
    Return *port*.

    Raises:
        HealthCheckError: It is none.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise HealthCheckError(f"{port!r} is no TCP port for check {check!r}. Give 1 to 65535.")
    return port


def tls_context(
    check: str, context: ssl.SSLContext | None, cafile: str | os.PathLike[str] | None
) -> ssl.SSLContext | None:
    """
    Return what to verify by; None for the authorities that this machine trusts.

    Raises:
        HealthCheckError: Both are given, or the file holds no certificates.
    """
    if cafile is None:
        return context
    if context is not None:
        raise HealthCheckError(f"Check {check!r} was given context= and cafile=. Give one: a context has its own CAs.")
    try:
        return ssl.create_default_context(cafile=cafile)
    except OSError as error:
        raise HealthCheckError(
            f"cafile={str(cafile)!r} of check {check!r} cannot be used ({error}). Give a file of PEM certificates."
        ) from error


@cache
def default_tls_context() -> ssl.SSLContext:
    """Return the one that trusts whom this machine trusts; made once, for that reads all root certificates."""
    return ssl.create_default_context()
