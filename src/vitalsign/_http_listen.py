"""Where a server of ours listens."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address
from typing import NamedTuple

from vitalsign.exceptions import AddressError

__all__ = ["Words", "listen", "own_url"]

_HIGHEST_PORT = 65_535
_BACKLOG = 512  # connections that may wait while the interpreter is busy


class Words(NamedTuple):
    """How those who start a server say where it is to listen, for errors."""

    host: str = "host="
    port: str = "port="
    any_port: str = "port=0"
    intro: str = "The exporter cannot start: "
    if_taken: str = (
        " Where several workers start an exporter, each needs a port of its own; or let them share their metrics, and "
        "start one for all."
    )


_EXPORTER = Words()


def listen(host: str, port: int, words: Words = _EXPORTER) -> socket.socket:
    """
    Return a socket that takes connections from now on.

    Args:
        host: Name or address of this machine; `::` is every address, of IPv4 too.
        port: 0 for any free one.
        words: For errors.

    Raises:
        AddressError: That cannot be had; the text says why and what else to try.
    """
    try:
        if not 0 <= port <= _HIGHEST_PORT:
            raise _no_port()
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        is_dual = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, backlog=_BACKLOG, dualstack_ipv6=is_dual)
    except (OSError, UnicodeError) as error:
        raise AddressError(words.intro + _why_not(error, host, port, words), host=host, port=port) from error


def _no_port() -> OSError:
    """Return the error that the system does not always make: of a higher number it may take the last bits."""
    return OSError(errno.EINVAL, f"ports go from 0 to {_HIGHEST_PORT}")


def _why_not(error: OSError | UnicodeError, host: str, port: int, words: Words) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return (
            f"the host {host!r} is not known. Give {words.host} a name or address of this machine, such as 127.0.0.1."
        )
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is in use. Choose another with {words.port}, or any free one with "
            f"{words.any_port}.{words.if_taken}"
        )
    if error.errno == errno.EACCES:
        return f"port {port} of {host} is not allowed to this user. Choose one above 1023 with {words.port}."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine. Give {words.host} one that is, such as 127.0.0.1."
    return f"port {port} of {host} cannot be listened on: {error.strerror or error}."


def own_url(listener: socket.socket, scheme: str) -> str:
    """Return the address under which this machine finds a server, without a slash at the end."""
    host, port = listener.getsockname()[:2]
    address = ip_address(host.partition("%")[0])
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"{scheme}://{host}:{port}" if address.version == 4 else f"{scheme}://[{host}]:{port}"
