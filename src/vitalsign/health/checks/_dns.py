"""A name that resolves."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from vitalsign._clock import monotonic
from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import Check, Result, Status, positive
from vitalsign.health.checks._bounds import warned_if_slow
from vitalsign.health.checks._dial import host_of

__all__ = ["dns"]

_FAMILIES = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


def dns(
    host: str,
    *,
    family: Literal["any", "ipv4", "ipv6"] = "any",
    warn_after: float | None = None,
    timeout: float | None = None,
    name: str = "dns",
) -> Check:
    """
    Check that a name resolves, as it would for this process. Not critical unless told otherwise.

    The system's resolver cannot be told to hurry: one that hangs keeps the check's own thread, and no other, until it
    gives up by itself.

    Args:
        host: The name, which appears in the log only.
        family: Which addresses it must have.
        warn_after: Seconds from which on it warns.
        timeout: Seconds to resolve it; None takes the checker's.
        name: Of the check.

    Raises:
        HealthCheckError: The host is no name, or a value makes no sense.
    """
    positive(f"warn_after of check {name!r}", warn_after)
    if family not in _FAMILIES:
        raise HealthCheckError(f"family={family!r} of check {name!r} is none. Give 'any', 'ipv4' or 'ipv6'.")
    probe = _Probe(_resolvable(name, host_of(name, host)), _FAMILIES[family], warn_after)
    return Check(name, probe, critical=False, timeout=timeout, external=True)


@dataclass(frozen=True, slots=True)
class _Probe:
    host: str
    family: socket.AddressFamily
    warn_after: float | None

    def __call__(self) -> Result:
        started = monotonic()
        try:
            found = socket.getaddrinfo(self.host, None, family=self.family, type=socket.SOCK_STREAM)
        except OSError as error:
            error.add_note(f"while resolving {self.host}")
            raise
        addresses = len({address for *_, address in found})
        result = Result(Status.PASS, f"addresses found: {addresses}", addresses, "addresses")
        return warned_if_slow(result, monotonic() - started, self.warn_after)


def _resolvable(check: str, host: str) -> str:
    try:
        ip_address(host)
    except ValueError:
        return host
    raise HealthCheckError(f"Check {check!r} was given an address, which needs no resolving. Give a name.")
