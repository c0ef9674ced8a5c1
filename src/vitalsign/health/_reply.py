"""From a report and a request's headers to a reply: who sees what, in which form. No I/O, no framework."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from vitalsign.exceptions import HealthCheckError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vitalsign.health._report import Report

__all__ = ["Access", "Reply", "Request", "reply"]

_JSON = "application/json"
_HEALTH_JSON = "application/health+json"


@dataclass(frozen=True, slots=True)
class Request:
    """
    What matters of a request.

    Attributes:
        accept: Its Accept header.
        authorization: Its Authorization header.
        client: Address of the peer of the connection, or empty.
        is_forwarded: Whether a header says that a proxy passed it on.
    """

    accept: str = ""
    authorization: bytes = b""
    client: str = ""
    is_forwarded: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A status code, headers without content-length, and a body."""

    status_code: int
    body: bytes
    content_type: str = _JSON
    headers: tuple[tuple[str, str], ...] = field(default=(("cache-control", "no-store"),))


class Access:
    """
    Decide who may see details.

    Args:
        token: A bearer token that opens them.
        allow: Networks that need none.

    Raises:
        HealthCheckError: The token is empty, or a network is none.
    """

    def __init__(self, token: str | None, allow: Iterable[str]) -> None:
        if token is not None and not token.strip():
            raise HealthCheckError(
                "The token for health details is empty; is the environment variable that holds it set? "
                "Give a secret, or None for no token."
            )
        if isinstance(allow, str):
            allow = (allow,)
        self._token = None if token is None else token.strip().encode()
        self._networks = tuple(_network(text) for text in allow)

    def grants(self, request: Request) -> bool:
        """
        Tell whether *request* may see details.

        The network is that of the connection. Behind a proxy it is the proxy's, and what the headers claim can be
        forged, so that a forwarded request needs the token.
        """
        return self._has_token(request.authorization) or (not request.is_forwarded and self._is_near(request.client))

    def _has_token(self, authorization: bytes) -> bool:
        scheme, _, credentials = authorization.partition(b" ")
        if self._token is None or scheme.lower() != b"bearer":
            return False
        return hmac.compare_digest(credentials.strip(), self._token)

    def _is_near(self, client: str) -> bool:
        if not self._networks:
            return False
        try:
            address = ip_address(client)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def reply(report: Report, request: Request, access: Access) -> Reply:
    """Answer *request* with *report*: the status for everybody, the details for whom *access* lets."""
    details = access.grants(request)
    if _prefers_health_json(request.accept):
        return Reply(report.status_code, _encode(report.to_health_json(details=details)), _HEALTH_JSON)
    return Reply(report.status_code, _encode(report.to_dict(details=details)))


def _encode(data: dict[str, object]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def _prefers_health_json(accept: str) -> bool:
    # Only who names the type gets it: wildcards get plain JSON, which everything can show.
    qualities = dict(map(_quality, accept.split(",")))
    wanted = qualities.get(_HEALTH_JSON, 0.0)
    return wanted > 0 and wanted >= qualities.get(_JSON, 0.0)


def _quality(part: str) -> tuple[str, float]:
    media_type, *parameters = part.split(";")
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    return media_type.strip().lower(), quality


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise HealthCheckError(
            f"{text!r} is no network that could be allowed to see health details. Give one as '10.0.0.0/8' or '::1'."
        ) from error
