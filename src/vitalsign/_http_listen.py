"""Where a server of ours listens: its socket, and its certificates."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from vitalsign.exceptions import AddressError, CertificateError, EndpointOptionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["File", "Words", "listen", "own_url", "tls_context"]

_HIGHEST_PORT = 65_535
_BACKLOG = 512  # connections that may wait while the interpreter is busy

File = str | os.PathLike[str]


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


def tls_context(certfile: File | None, keyfile: File | None, client_cafile: File | None) -> ssl.SSLContext | None:
    """
    Return what TLS connections are made with; None where there is to be no TLS.

    Args:
        certfile: The server's certificate, and those that lead to its authority, as PEM.
        keyfile: Its private key; None if that stands in the same file.
        client_cafile: Authorities; clients need a certificate of one of these. None asks for none.

    Raises:
        EndpointOptionError: A file is given without the certificate that it needs.
        CertificateError: A file cannot be used.
    """
    if certfile is None:
        for option, file in (("keyfile", keyfile), ("client_cafile", client_cafile)):
            if file is not None:
                raise EndpointOptionError(f"{option}= is of no use without TLS. Give certfile= too, or leave it out.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load("certfile", certfile, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations)  # tells it from the key
    option, file = ("certfile", certfile) if keyfile is None else ("keyfile", keyfile)
    _load(option, file, lambda path: context.load_cert_chain(certfile, path, password=_no_password))
    if client_cafile is not None:
        _load("client_cafile", client_cafile, context.load_verify_locations)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load(option: str, file: File, load: Callable[[File], object]) -> None:
    path = os.fspath(file)
    try:
        load(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise CertificateError(
            f"The exporter cannot use {option}={path!r}: {reason}. It needs a PEM file that this user may read, and a "
            "private key that is not encrypted and belongs to the certificate.",
            path=path,
        ) from error


def _no_password() -> str:
    raise ValueError("the private key is encrypted")  # unasked, OpenSSL would ask for its password on the terminal
