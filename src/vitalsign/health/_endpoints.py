"""
What each path of the health endpoints answers, for ASGI and WSGI alike. No I/O: the two faces run what is asked for.

An endpoint refuses a request; or finds out what it asks about, by awaiting or by blocking, and replies; or apologises.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from typing_extensions import override

from vitalsign.health._check import LIVENESS
from vitalsign.health._reply import Reply, check_reply, info_reply, plain_reply, report_reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vitalsign.health._edge import Edge
    from vitalsign.health._request import Audience, Request

__all__ = ["NOT_FOUND", "CheckEndpoint", "DrainEndpoint", "Endpoint", "GroupEndpoint", "InfoEndpoint"]

NOT_FOUND = plain_reply(404, "Not Found")

_LONGEST_DRAIN = 3_600.0  # seconds


class Endpoint:
    """
    Answer at one path.

    Attributes:
        name: Tells it from the others.
        methods: What it answers.
    """

    methods: tuple[str, ...] = ("GET", "HEAD")

    def __init__(self, name: str, health: Edge, audience: Audience) -> None:
        self.name = name
        self._health = health
        self._audience = audience

    def refuse(self, request: Request) -> Reply | None:
        """Answer a request that is not to be looked into; None for one that is."""
        if request.method not in self.methods:
            return plain_reply(405, "Method Not Allowed", ("allow", ", ".join(self.methods)))
        return None

    async def find(self, request: Request) -> Any:
        """Find out what *request* asks about."""
        return self.find_blocking(request)

    def find_blocking(self, request: Request) -> Any:
        """Find it out on a thread without an event loop."""
        raise NotImplementedError

    def reply(self, request: Request, found: Any) -> Reply:
        """Answer *request* with what was found."""
        raise NotImplementedError

    def apology(self) -> Reply:
        """Answer where vitalsign itself has failed."""
        return Reply(503, b'{"status":"fail"}')


class GroupEndpoint(Endpoint):
    """Report on a group of checks; its name is the group's."""

    @override
    async def find(self, request: Request) -> Any:
        return await self._health.run(self.name)

    @override
    def find_blocking(self, request: Request) -> Any:
        return self._health.run_sync(self.name)

    @override
    def reply(self, request: Request, found: Any) -> Reply:
        return report_reply(found, request.accept, details=self._audience.includes(request))

    @override
    def apology(self) -> Reply:
        # Not knowing is no reason to be restarted, but it is one to get no traffic.
        return Reply(200, b'{"status":"warn"}') if self.name == LIVENESS else super().apology()


class CheckEndpoint(Endpoint):
    """Report on one check, named by the end of the path. To strangers, no check exists."""

    @override
    def refuse(self, request: Request) -> Reply | None:
        known = self._audience.includes(request) and self._health.has_check(_last_part(request.path))
        return super().refuse(request) if known else NOT_FOUND

    @override
    async def find(self, request: Request) -> Any:
        return await self._health.run_check(_last_part(request.path))

    @override
    def find_blocking(self, request: Request) -> Any:
        return self._health.run_check_sync(_last_part(request.path))

    @override
    def reply(self, request: Request, found: Any) -> Reply:
        return check_reply(self._health.service, found, request.accept)


class InfoEndpoint(Endpoint):
    """Tell who may know what runs here, and since when. To strangers, it does not exist."""

    def __init__(self, name: str, health: Edge, audience: Audience, paths: Mapping[str, str]) -> None:
        super().__init__(name, health, audience)
        self._paths = paths

    @override
    def refuse(self, request: Request) -> Reply | None:
        return super().refuse(request) if self._audience.includes(request) else NOT_FOUND

    @override
    def find_blocking(self, request: Request) -> Any:
        return {**self._health.info(), "paths": dict(self._paths)}

    @override
    def reply(self, request: Request, found: Any) -> Reply:
        return info_reply(found, request.accept)


class DrainEndpoint(Endpoint):
    """Let the service drain, and answer once the seconds that the query names have passed."""

    methods = ("POST",)

    @override
    def refuse(self, request: Request) -> Reply | None:
        refusal = super().refuse(request)
        if refusal is None and not self._audience.includes(request):
            if self._audience.has_token:
                return plain_reply(401, "Send the token: Authorization: Bearer ...", ("www-authenticate", "Bearer"))
            return plain_reply(403, "Not from your network.")
        if refusal is None and _seconds(request.query) is None:
            return plain_reply(400, f"seconds must be a number from 0 to {_LONGEST_DRAIN:g}.")
        return refusal

    @override
    async def find(self, request: Request) -> Any:
        drain = self._health.drain(_seconds(request.query) or 0.0)
        await drain
        return drain

    @override
    def find_blocking(self, request: Request) -> Any:
        drain = self._health.drain(_seconds(request.query) or 0.0)
        drain.wait()
        return drain

    @override
    def reply(self, request: Request, found: Any) -> Reply:
        return Reply(200, b'{"status":"draining"}')


def _last_part(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _seconds(query: bytes) -> float | None:
    """Return the seconds that *query* names, 0 if it names none; None if that is no such number."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("seconds", ["0"])
    try:
        seconds = float(given[-1])
    except ValueError:
        return None
    return seconds if isfinite(seconds) and 0 <= seconds <= _LONGEST_DRAIN else None
