"""A server's certificate, whatever is spoken behind it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._bounds import Bounds
from vitalsign.health.checks._certificate import days_left, judge_days, judge_refusal
from vitalsign.health.checks._dial import Deadline, check_port, default_tls_context, dial, host_of, tls_context

if TYPE_CHECKING:
    import os

__all__ = ["tls"]


def tls(
    host: str,
    port: int = 443,
    *,
    warn_days: float | None = 21,
    fail_days: float | None = 7,
    server_name: str | None = None,
    cafile: str | os.PathLike[str] | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float | None = None,
    ttl: float | None = 60.0,
    name: str = "tls",
) -> Check:
    """
    Check that a server's certificate is trusted, for its name, and valid for some time yet. Not critical.

    It fails where a client would refuse the connection too: expired, for another name, signed by nobody it trusts.
    Only the server's own certificate is looked at, not those of the authorities above it.

    Args:
        host: Name or address to connect to.
        port: 1 to 65535.
        warn_days: Days of validity left below which it warns.
        fail_days: Days left below which it fails.
        server_name: Name that the certificate must be for, if that is not the host.
        cafile: PEM file of the authorities to trust, instead of this machine's.
        context: The same, and a client certificate, as a context.
        timeout: Seconds until the handshake is done; None takes the checker's.
        ttl: Seconds that a passing result is served; None takes the checker's.
        name: Of the check.

    Raises:
        HealthCheckError: A value makes no sense, or the context verifies nothing.
    """
    chosen = tls_context(name, context, cafile)
    if chosen is not None and chosen.verify_mode != ssl.CERT_REQUIRED:
        raise HealthCheckError(
            f"The context of check {name!r} verifies no certificates, so the check could tell nothing. "
            "Give one with verify_mode=ssl.CERT_REQUIRED, or cafile=."
        )
    bounds = Bounds.of(name, falling=True, warn_days=warn_days, fail_days=fail_days)
    probe = _Probe(host_of(name, host), check_port(name, port), server_name, bounds, chosen)
    return Check(name, probe, critical=False, timeout=timeout, ttl=ttl, external=True, takes_timeout=True)


@dataclass(frozen=True, slots=True)
class _Probe:
    host: str
    port: int
    server_name: str | None
    bounds: Bounds
    context: ssl.SSLContext | None

    def __call__(self, timeout: float) -> Result:
        deadline = Deadline(timeout)
        context = self.context or default_tls_context()
        with dial(self.host, self.port, deadline) as plain:
            plain.settimeout(deadline.left())
            try:
                with context.wrap_socket(plain, server_hostname=self.server_name or self.host) as secured:
                    days = days_left(secured)
            except ssl.SSLCertVerificationError as error:
                return judge_refusal(error)
        if days is None:
            return Result(Status.FAIL, "the server has no certificate")
        return judge_days(days, self.bounds)
