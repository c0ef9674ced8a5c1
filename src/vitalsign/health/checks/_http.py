"""An HTTP server that answers as it should, asked by the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitalsign.health._check import Check, Result, Status, positive
from vitalsign.health.checks._asking import Answer, Question, check_url, probe, sendable_headers
from vitalsign.health.checks._bounds import Bounds, warned_if_slow
from vitalsign.health.checks._certificate import judge_days
from vitalsign.health.checks._dial import tls_context

if TYPE_CHECKING:
    import os
    import ssl
    from collections.abc import Container, Mapping

__all__ = ["http"]

_ANY_2XX = range(200, 300)


def http(
    url: str,
    *,
    method: str = "GET",
    status: int | Container[int] = _ANY_2XX,
    headers: Mapping[str, str] | None = None,
    warn_after: float | None = None,
    warn_days: float | None = 21,
    fail_days: float | None = None,
    cafile: str | os.PathLike[str] | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float | None = None,
    name: str = "http",
) -> Check:
    """
    Check that a URL answers with an expected status. Not critical unless told otherwise, for what is there is shared.

    Redirects are not followed and proxies not used: a login page that answers 200 would look like health. The URL and
    the headers appear in the log at most, the name also in metrics and details.

    Args:
        url: With scheme http or https, without credentials.
        method: GET, HEAD or another.
        status: The status that is expected, or all that are.
        headers: Sent with the request, such as Authorization.
        warn_after: Seconds until the headers of the response, from which on it warns.
        warn_days: Days of validity that the server's certificate has left, below which it warns.
        fail_days: Days left below which it fails. An expired certificate fails in any case.
        cafile: PEM file of the authorities to trust, instead of this machine's.
        context: The same, and a client certificate, as a context; None verifies as a browser would.
        timeout: Seconds until the headers of the response; None takes the checker's.
        name: Of the check; say what answers there.

    Raises:
        HealthCheckError: The URL is none, or carries credentials, or a value makes no sense.
    """
    positive(f"warn_after of check {name!r}", warn_after)
    question = Question(check_url(name, url), method, sendable_headers(name, headers))
    expected = (status,) if isinstance(status, int) else status
    judge = _Judge(expected, Bounds.of(name, falling=True, warn_days=warn_days, fail_days=fail_days), warn_after)
    func = probe(lambda: question, judge, context=tls_context(name, context, cafile), check=name)
    return Check(name, func, critical=False, timeout=timeout, external=True, takes_timeout=True)


@dataclass(frozen=True, slots=True)
class _Judge:
    expected: Container[int]
    days: Bounds
    warn_after: float | None

    def __call__(self, answer: Answer) -> Result:
        if answer.status not in self.expected:
            return Result(Status.FAIL, f"answered {answer.status}, which is not expected", answer.status)
        result = Result(Status.PASS, f"answered {answer.status}", answer.status)
        if answer.days is not None and self.days.status(answer.days) is not Status.PASS:
            result = judge_days(answer.days, self.days)
        return warned_if_slow(result, answer.seconds, self.warn_after)
