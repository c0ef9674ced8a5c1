"""What a server's certificate is worth: for how many days more, or why not at all."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from vitalsign._clock import wall
from vitalsign.health._check import Result, Status

if TYPE_CHECKING:
    from vitalsign.health.checks._bounds import Bounds

__all__ = ["days_left", "judge_days", "judge_refusal"]

_SECONDS_PER_DAY = 86_400.0
# The numbers are those of OpenSSL's X509_V_ERR_…, which the ssl module hands on.
_REASONS = {
    9: "is not valid yet",
    10: "has expired",
    18: "is signed by itself, and not trusted",
    19: "is signed by an authority that is not trusted",
    20: "is signed by an authority that is not trusted",
    21: "came without those that lead to its authority",
    23: "has been revoked",
    62: "is for another name",
    64: "is for another address",
}


def days_left(connection: ssl.SSLSocket) -> float | None:
    """Return the days until the server's certificate expires; None where the context does not verify any."""
    certificate = connection.getpeercert()
    until = certificate.get("notAfter") if certificate else None
    return (ssl.cert_time_to_seconds(str(until)) - wall()) / _SECONDS_PER_DAY if until else None


def judge_days(days: float, bounds: Bounds) -> Result:
    """Judge a certificate that has *days* left."""
    return Result(bounds.status(days), f"the certificate expires in {days:.1f} days", round(days, 2), "days")


def judge_refusal(error: ssl.SSLCertVerificationError) -> Result:
    """Say why a certificate was refused, without the names in it."""
    reason = _REASONS.get(error.verify_code, "cannot be verified")
    return Result(Status.FAIL, f"the certificate {reason}")
