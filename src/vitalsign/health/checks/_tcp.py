"""Something that listens on a TCP port."""

from __future__ import annotations

from dataclasses import dataclass

from vitalsign._clock import monotonic
from vitalsign.health._check import Check, Result, positive
from vitalsign.health.checks._bounds import warned_if_slow
from vitalsign.health.checks._dial import Deadline, check_port, dial, host_of

__all__ = ["tcp"]


def tcp(
    host: str, port: int, *, warn_after: float | None = None, timeout: float | None = None, name: str = "tcp"
) -> Check:
    """
    Check that a TCP connection can be opened. Not critical unless told otherwise, for what is there is shared.

    All addresses of the host are tried, IPv6 and IPv4. The address appears in the log only, the name also in metrics
    and details.

    Args:
        host: Name or address.
        port: 1 to 65535.
        warn_after: Seconds for name and connection from which on it warns.
        timeout: Seconds to resolve the name and connect; None takes the checker's.
        name: Of the check; say what listens there.

    Raises:
        HealthCheckError: The host or port is none, or a time makes no sense.
    """
    positive(f"warn_after of check {name!r}", warn_after)
    probe = _Probe(host_of(name, host), check_port(name, port), warn_after)
    return Check(name, probe, critical=False, timeout=timeout, external=True, takes_timeout=True)


@dataclass(frozen=True, slots=True)
class _Probe:
    host: str
    port: int
    warn_after: float | None

    def __call__(self, timeout: float) -> Result:
        started = monotonic()
        dial(self.host, self.port, Deadline(timeout)).close()
        return warned_if_slow(Result(), monotonic() - started, self.warn_after)
