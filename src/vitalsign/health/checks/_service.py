"""Another service that vitalsign watches."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from vitalsign.health._check import Check, Result, Status, positive
from vitalsign.health.checks._asking import Answer, Question, check_url, probe, sendable
from vitalsign.health.checks._bounds import warned_if_slow
from vitalsign.health.checks._dial import tls_context

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from urllib.parse import SplitResult

__all__ = ["service"]

_NAME = re.compile(r"[\w.:-]{1,64}").fullmatch
_MOST_NAMES = 5
_STATUSES = {status.value: status for status in (Status.PASS, Status.WARN, Status.FAIL)}


def service(
    url: str,
    *,
    token: str | Callable[[], str] | None = None,
    warn_after: float | None = None,
    cafile: str | os.PathLike[str] | None = None,
    client: object = None,
    timeout: float | None = None,
    name: str = "service",
) -> Check:
    """
    Check another service by its own health endpoint, vitalsign's or any that answers `{"status": "pass"}`.

    What it says is passed on: `pass`, `warn` or `fail`. Not critical unless told otherwise. Where two services check
    each other, let both ask for `/health`: by way of `/ready`, either would wait for the other.

    Args:
        url: Of the endpoint, such as `http://search:8000/ready`; without a path, `/ready` is asked for.
        token: What opens its details, to name the checks that did not pass; or a function that returns it for each run.
        warn_after: Seconds to the end of the answer from which on it warns.
        cafile: PEM file of the authorities to trust, instead of this machine's. A client has its own.
        client: The application's httpx.Client or httpx.AsyncClient; None asks by the standard library, without proxies.
        timeout: Seconds to the end of the answer; None takes the checker's.
        name: Of the check.

    Raises:
        HealthCheckError: The URL or the client is none, or the token is empty.
    """
    positive(f"warn_after of check {name!r}", warn_after)
    parts = check_url(name, url)
    caller = _Caller(name, parts if parts.path.strip("/") else parts._replace(path="/ready"), token)
    if not callable(token):
        caller.question()  # a token that cannot be sent is better told at once
    context = tls_context(name, None, cafile)
    func = probe(
        caller.question, partial(_judge, warn_after), client=client, context=context, wants_body=True, check=name
    )
    return Check(name, func, critical=False, timeout=timeout, external=True, takes_timeout=True)


@dataclass(frozen=True, slots=True)
class _Caller:
    check: str
    url: SplitResult
    token: str | Callable[[], str] | None = field(repr=False)

    def question(self) -> Question:
        headers = {"Accept": "application/json"}
        if self.token is None:
            return Question(self.url, headers=headers)
        token = sendable(self.check, "token", self.token() if callable(self.token) else self.token)
        return Question(self.url, headers={**headers, "Authorization": f"Bearer {token}"}, secret=token)


def _judge(warn_after: float | None, answer: Answer) -> Result:
    return warned_if_slow(_judge_report(answer), answer.seconds, warn_after)


def _judge_report(answer: Answer) -> Result:
    report = _report(answer.body)
    status = _STATUSES.get(str(report.get("status")).lower())
    if status is None:
        told = f"answered {answer.status}, without a status that is pass, warn or fail"
        return Result(Status.FAIL, told, answer.status)
    if status is not Status.FAIL and not 200 <= answer.status < 300:
        return Result(Status.FAIL, f"says {status.value}, but answered {answer.status}", answer.status)
    return Result(status, f"says {status.value}{_bad_checks(report)}", answer.status)


def _report(body: bytes) -> dict[str, Any]:
    try:
        report = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return report if isinstance(report, dict) else {}


def _bad_checks(report: dict[str, Any]) -> str:
    """Name the checks that did not pass; they were named by others, so what is no name of a check is left out."""
    checks = report.get("checks")
    found = checks.items() if isinstance(checks, dict) else ()
    bad = [name for name, said in found if _NAME(name) and isinstance(said, dict) and said.get("status") != "pass"]
    more = f" and {len(bad) - _MOST_NAMES} more" if len(bad) > _MOST_NAMES else ""
    return f": {', '.join(bad[:_MOST_NAMES])}{more}" if bad else ""
