"""Which path leads to which health endpoint. No I/O, no framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from vitalsign.exceptions import EndpointOptionError, HealthCheckError
from vitalsign.health._check import FULL, LIVENESS, READINESS, STARTUP
from vitalsign.health._endpoints import CheckEndpoint, DrainEndpoint, Endpoint, GroupEndpoint, InfoEndpoint
from vitalsign.health._request import Audience

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vitalsign._access import Networks, Token
    from vitalsign.health._edge import Edge

__all__ = ["EndpointOptions", "Endpoints"]

_PATHS = {LIVENESS: "/health", READINESS: "/ready", STARTUP: "/startup", FULL: "/health/full"}


class EndpointOptions(TypedDict, total=False):
    """
    Where the endpoints are, and who sees what there.

    Attributes:
        paths: What differs from `/health` (liveness), `/ready` (readiness), `/startup` and `/health/full` (full): group
            to path, also for groups of your own; None leaves a group out.
        checks: Where single checks are, each below its name: `/health/checks/database`. Only for those who see details;
            for others there is nothing. None leaves them out.
        info: Where name, version, start and uptime of the service are, for those who see details. An application of its
            own has them at `/`, unless told otherwise; else there is no such path by default.
        drain: Where a POST lets the service drain, as `HealthChecker.drain` does, for those who see details:
            `?seconds=10` is answered after that time. None, the default, for nowhere.
        token: Who sends it (`Authorization: Bearer ...`) sees details; others see the status only. A function returns
            it for each request anew.
        allow: Networks whose callers see details without a token, such as `10.0.0.0/8`; `unix` stands for clients of a
            Unix domain socket. A request that came through a proxy that is not trusted has no network.
        trusted_proxies: Networks of proxies whose X-Forwarded-For is believed.
    """

    paths: Mapping[str, str | None] | None
    checks: str | None
    info: str | None
    drain: str | None
    token: Token | None
    allow: Networks
    trusted_proxies: Networks


@dataclass(frozen=True)
class Endpoints:
    """
    All endpoints of a checker, by path.

    Attributes:
        exact: Those at one path.
        checks: That of single checks, which answers below `checks_path`; None if there is none.
        checks_path: Where that stands.
    """

    exact: Mapping[str, Endpoint]
    checks: Endpoint | None
    checks_path: str

    @classmethod
    def of(
        cls,
        health: Edge,
        *,
        paths: Mapping[str, str | None] | None = None,
        checks: str | None = "/health/checks",
        info: str | None = None,
        drain: str | None = None,
        token: Token | None = None,
        allow: Networks = (),
        trusted_proxies: Networks = (),
    ) -> Endpoints:
        """
        Put endpoints at paths.

        Args:
            health: Whose endpoints they are.
            paths: As `EndpointOptions` has them, as are the others.
            checks: Above the names of single checks.
            info: Of the service itself.
            drain: Where the service is told to drain.
            token: Who sends it sees details.
            allow: Networks whose callers see details.
            trusted_proxies: Networks of proxies that are believed.

        Raises:
            HealthCheckError: A path makes no sense.
            EndpointOptionError: A network or the token makes no sense, or nobody could use the drain endpoint.
        """
        audience = Audience(token, allow, trusted_proxies)
        groups = _all_paths({**_PATHS, **(paths or {})})
        extra = _all_paths({"checks": checks, "info": info, "drain": drain})
        _require_own_paths({**groups, **{f"{name}=": path for name, path in extra.items() if name != "checks"}})
        if "drain" in extra and audience.is_empty:
            raise EndpointOptionError(
                "The drain endpoint would be closed to everybody, since it takes the service out of traffic. "
                "Give a token=, or networks by allow=, such as '127.0.0.1' for a preStop command in the container."
            )
        exact: dict[str, Endpoint] = {path: GroupEndpoint(group, health, audience) for group, path in groups.items()}
        if "info" in extra:
            exact[extra["info"]] = InfoEndpoint("info", health, audience, groups)
        if "drain" in extra:
            exact[extra["drain"]] = DrainEndpoint("drain", health, audience)
        single = CheckEndpoint("check", health, audience) if "checks" in extra else None
        return cls(exact, single, extra.get("checks", "").rstrip("/"))

    def at(self, path: str) -> Endpoint | None:
        """Return what answers at *path*, with or without a slash at its end; None if nothing does."""
        plain = _without_slash(path)
        above, _, name = plain.rpartition("/")
        return self.exact.get(plain) or (self.checks if name and above == self.checks_path else None)

    def patterns(self) -> Iterator[tuple[str, Endpoint]]:
        """Yield each path as Starlette writes it, with what answers there."""
        yield from self.exact.items()
        if self.checks is not None:
            yield f"{self.checks_path}/{{check}}", self.checks


def _all_paths(chosen: Mapping[str, str | None]) -> dict[str, str]:
    plain = {}
    for name, path in chosen.items():
        if path is None:
            continue
        if not path.startswith("/") or "{" in path:
            raise HealthCheckError(f"{path!r} is no path for the health of {name!r}. Give one such as '/ready'.")
        plain[name] = _without_slash(path)
    return plain


def _require_own_paths(owners: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for owner, path in owners.items():
        if path in seen:
            raise HealthCheckError(
                f"The path {path!r} is to be that of both {seen[path]!r} and {owner!r}. Give each its own, or None."
            )
        seen[path] = owner


def _without_slash(path: str) -> str:
    return path.rstrip("/") or "/"
