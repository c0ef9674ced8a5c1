"""Who may read: bearer tokens, and networks that clients come from. The same rules for every endpoint, without I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hmac import compare_digest
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, TypeAlias

from vitalsign.exceptions import EndpointOptionError
from vitalsign.metrics.internal import internal_error

__all__ = ["UNIX", "Access", "Networks", "Token"]

_Network: TypeAlias = IPv4Network | IPv6Network
_Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

Token: TypeAlias = str | bytes | Callable[[], str | bytes]
"""A secret, or what returns it for each request anew."""

Networks: TypeAlias = str | _Network | Iterable[str | _Network]
"""One network or several, each as `10.0.0.0/8`, `::1`, or `unix`."""

UNIX = "unix"
"""Stands among networks for clients without an address: those of a Unix domain socket."""

_PORT = re.compile(r":\d{1,5}$").sub
_MAPPED_BITS = 96  # what stands before the IPv4 address in ::ffff:10.0.0.1


class Access:
    """
    Tell who may read, by token and by network.

    Args:
        token: What clients have to send as `Authorization: Bearer …`; None to ask for none.
        allow: Networks that clients have to come from; None for all.
        trusted_proxies: Networks of proxies that are believed when they say, in X-Forwarded-For, for whom they ask.

    Raises:
        EndpointOptionError: The token is empty or no text, a network is none, or nobody is allowed.
    """

    def __init__(
        self, *, token: Token | None = None, allow: Networks | None = None, trusted_proxies: Networks = ()
    ) -> None:
        if token is not None and not callable(token) and not isinstance(token, str | bytes):
            raise EndpointOptionError(
                f"token is of type {type(token).__name__}, but has to be a text, bytes, or a function that returns one."
            )
        if token is not None and not callable(token) and not _secret(token):
            raise EndpointOptionError(
                "token is empty, so that anybody could send it; is the variable set that it comes from? "
                "Give a secret, or None to ask for none."
            )
        self._token = token
        self._allowed = None if allow is None else _Places(allow, "allow")
        self._proxies = _Places(trusted_proxies, "trusted_proxies")
        if self._allowed is not None and self._allowed.are_none:
            raise EndpointOptionError(
                "allow names no network, so that nobody could come in. Give one, or None for any."
            )

    def refusal(self, headers: _Headers, peer: str | None) -> Literal[401, 403] | None:
        """
        Say why a request is refused; None if it is not: it has to fulfil whatever is asked for.

        Args:
            headers: Its headers, their names in lower case.
            peer: Address that the connection comes from; None or empty if it has none.

        Returns:
            403 for the wrong network, whatever the token; 401 for no token or the wrong one.
        """
        listed = list(headers)
        if self._allowed is not None and not self.is_near(listed, peer):
            return 403
        if self._token is not None and not self.has_token(listed):
            return 401
        return None

    def has_token(self, headers: _Headers) -> bool:
        """Tell whether a request brings the token; never if there is none to bring."""
        scheme, _, credentials = _joined(headers, b"authorization").strip().partition(b" ")
        secret = self._current_token()
        return scheme.lower() == b"bearer" and bool(secret) and compare_digest(credentials.strip(), secret)

    def is_near(self, headers: _Headers, peer: str | None) -> bool:
        """
        Tell whether a request comes from an allowed network; never if there is none.

        What X-Forwarded-For claims counts as far as trusted proxies have written it. Whoever is at the end of that is
        the client; where that is no address, nobody is let in.
        """
        if self._allowed is None:
            return False
        try:
            return self._client(headers, peer) in self._allowed
        except ValueError:
            return False

    def trusts(self, peer: str | None) -> bool:
        """Tell whether a connection comes from a trusted proxy."""
        try:
            return (_address(peer) if peer else None) in self._proxies
        except ValueError:
            return False

    def _client(self, headers: _Headers, peer: str | None) -> IPv4Address | IPv6Address | None:
        client = _address(peer) if peer else None
        if client not in self._proxies:
            return client
        claimed = _joined(headers, b"x-forwarded-for")
        hops = claimed.split(b",") if claimed else []
        while client in self._proxies and hops:
            client = _address(hops.pop().decode("latin-1"))
        return client

    def _current_token(self) -> bytes:
        """Return the secret; nothing, which nobody can send, where it cannot be had."""
        try:
            return _secret((self._token() if callable(self._token) else self._token) or b"")
        except Exception as error:  # noqa: BLE001  # the host's function must not fail the host's server
            internal_error("access.token", error)
            return b""


class _Places:
    """Networks, and perhaps Unix domain sockets."""

    def __init__(self, named: Networks, option: str) -> None:
        listed = [named] if isinstance(named, str | _Network) else list(named)
        self._has_unix = UNIX in listed
        self._networks = [_network(each, option) for each in listed if each != UNIX]
        self.are_none = not listed

    def __contains__(self, address: IPv4Address | IPv6Address | None) -> bool:
        if address is None:
            return self._has_unix
        return any(address in network for network in self._networks)


def _secret(token: str | bytes) -> bytes:
    return (token.encode() if isinstance(token, str) else token).strip()


def _joined(headers: _Headers, name: bytes) -> bytes:
    return b",".join(value for key, value in headers if key == name)


def _address(text: str) -> IPv4Address | IPv6Address:
    """
    Read an address as connections and proxies have it: in brackets or not, with a port or not.

    Raises:
        ValueError: That is none.
    """
    host = text.strip()
    if host.startswith("[") or host.count(":") == 1:
        host = _PORT("", host)
    address = ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _network(named: str | _Network, option: str) -> _Network:
    try:
        network = ip_network(named, strict=False)
    except ValueError as error:
        raise EndpointOptionError(
            f"{option} has {named!r}, which is no network. Give one as '10.0.0.0/8' or '::1', or {UNIX!r} for clients "
            "of a Unix domain socket."
        ) from error
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:
        return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network
