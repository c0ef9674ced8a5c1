"""What a request is to a health endpoint, and who may see details. No I/O, no framework."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from vitalsign._access import Access

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitalsign._access import Networks, Token

__all__ = ["Audience", "Request"]

_FORWARDING = (b"forwarded", b"x-real-ip", b"x-forwarded-for")


@dataclass(frozen=True, slots=True)
class Request:
    """
    What matters of a request.

    Attributes:
        method: Its method.
        path: Its path, without what the application is mounted at.
        query: Its query string.
        headers: Its headers, their names in lower case.
        peer: Address that the connection comes from; None or empty if it has none.
    """

    method: str = "GET"
    path: str = "/"
    query: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()
    peer: str | None = None

    @property
    def accept(self) -> str:
        """Its Accept headers, as one."""
        return b",".join(value for name, value in self.headers if name == b"accept").decode("latin-1")


class Audience:
    """
    Decide who may see details: who brings the token, and who comes from an allowed network.

    Args:
        token: As `Access` takes it.
        allow: Networks as `Access` takes them; none is nobody.
        trusted_proxies: As `Access` takes them.

    Raises:
        EndpointOptionError: The token is empty, or a network is none.
    """

    def __init__(self, token: Token | None, allow: Networks, trusted_proxies: Networks) -> None:
        networks = [allow] if isinstance(allow, str | IPv4Network | IPv6Network) else list(allow)
        self.has_token: bool = token is not None
        self.is_empty: bool = token is None and not networks
        self._access = Access(token=token, allow=networks or None, trusted_proxies=trusted_proxies)

    def includes(self, request: Request) -> bool:
        """
        Tell whether *request* may see details.

        A request that was passed on by somebody who is not trusted is in no network: the connection is the proxy's,
        and what the headers claim can be forged.
        """
        return self._access.has_token(request.headers) or (
            not self._is_of_unknown_origin(request) and self._access.is_near(request.headers, request.peer)
        )

    def _is_of_unknown_origin(self, request: Request) -> bool:
        told = {name for name, _ in request.headers if name in _FORWARDING}
        return bool(told) and not (b"x-forwarded-for" in told and self._access.trusts(request.peer))
