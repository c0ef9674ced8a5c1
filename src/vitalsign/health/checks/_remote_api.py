"""A paid or limited API of somebody else: whether it answers, knows our key, and lets us call it for a while yet."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vitalsign._clock import wall
from vitalsign._rate_limit import RateLimit, rate_limits
from vitalsign.health._check import Check, Result, Status, judge, positive
from vitalsign.health.checks._asking import Answer, Question, check_url, probe, sendable, sendable_headers
from vitalsign.health.checks._bounds import Bounds, warned_if_slow, worst

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

__all__ = ["remote_api"]

_REFUSALS = {
    401: "the key is not known (401)",
    402: "the account has no balance left (402)",
    403: "the key may not do this (403)",
}


def remote_api(
    url: str,
    *,
    key: str | Callable[[], str],
    key_header: str = "Authorization",
    key_scheme: str = "Bearer",
    headers: Mapping[str, str] | None = None,
    warn_remaining: float | None = 0.1,
    fail_remaining: float | None = None,
    accept: Callable[[Any], object] | None = None,
    warn_after: float | None = None,
    client: object = None,
    timeout: float | None = 5.0,
    ttl: float | None = 60.0,
    failure_ttl: float | None = 15.0,
    name: str = "remote_api",
) -> Check:
    """
    Check an API that takes a key and limits its calls, by a GET that costs nothing. Not critical.

    ```python
    checks.remote_api("https://api.deepseek.com/models", key=lambda: os.environ["DEEPSEEK_API_KEY"], name="deepseek")
    ```

    A key that is refused (401, 403) or an account without balance (402) fails; too many calls (429) and a limit that is
    nearly used up warn, for the API is there. The usual headers are read: `RateLimit-…`, `X-RateLimit-…`,
    `Retry-After`, those of OpenAI, Anthropic and others. The key is shown nowhere, in the log neither.

    Args:
        url: Asked by GET: a list of models, the own account, a balance. It should not count against the limit.
        key: The key, or a function that returns it for each run; on the event loop if the client is asynchronous.
        key_header: Header that carries it.
        key_scheme: What stands before it there, or empty.
        headers: Further headers, such as an API's version.
        warn_remaining: Share of a limit that is left, below which it warns.
        fail_remaining: Share below which it fails.
        accept: Called with the JSON of an answer of 2xx; returns what a check may: None or True, False, or a `Result`.
        warn_after: Seconds to the end of the answer from which on it warns.
        client: The application's httpx.Client or httpx.AsyncClient; None asks by the standard library, without proxies.
        timeout: Seconds to the end of the answer; None takes the checker's.
        ttl: Seconds that a passing result is served; None takes the checker's.
        failure_ttl: The same for any other result.
        name: Of the check.

    Raises:
        HealthCheckError: The URL is none, there is no key, the client is none, or a share makes no sense.
    """
    caller = _Caller(name, check_url(name, url), key, key_header, key_scheme, sendable_headers(name, headers))
    if not callable(key):
        caller.question()  # a key that cannot be sent is better told at once
    positive(f"warn_after of check {name!r}", warn_after)
    bounds = Bounds.of(name, most=1.0, falling=True, warn_remaining=warn_remaining, fail_remaining=fail_remaining)
    decide = _Judge(bounds, accept, warn_after)
    func = probe(caller.question, decide, client=client, wants_body=accept is not None, check=name)
    return Check(
        name, func, critical=False, timeout=timeout, ttl=ttl, failure_ttl=failure_ttl, external=True, takes_timeout=True
    )


@dataclass(frozen=True, slots=True)
class _Caller:
    check: str
    url: SplitResult
    key: str | Callable[[], str] = field(repr=False)
    key_header: str
    key_scheme: str
    headers: dict[str, str] = field(repr=False)

    def question(self) -> Question:
        key = sendable(self.check, "key", self.key() if callable(self.key) else self.key)
        headers = {"Accept": "application/json", **self.headers, self.key_header: f"{self.key_scheme} {key}".lstrip()}
        return Question(self.url, headers=headers, secret=key)


@dataclass(frozen=True, slots=True)
class _Judge:
    bounds: Bounds
    accept: Callable[[Any], object] | None
    warn_after: float | None

    def __call__(self, answer: Answer) -> Result:
        return warned_if_slow(self._judge(answer), answer.seconds, self.warn_after)

    def _judge(self, answer: Answer) -> Result:
        now = wall()
        limits = rate_limits(answer.headers, now)
        if answer.status == 429:
            return Result(Status.WARN, f"too many calls (429){_until(limits, now)}", answer.status)
        if answer.status in _REFUSALS:
            return Result(Status.FAIL, _REFUSALS[answer.status], answer.status)
        if not 200 <= answer.status < 300:
            return Result(Status.FAIL, f"answered {answer.status}, which is not expected", answer.status)
        known = [judged for limit in limits if (judged := self._judge_limit(limit)) is not None]
        accepted = [] if self.accept is None else [judge(self.accept(json.loads(answer.body)))]
        answered = Result(Status.PASS, f"answered {answer.status}", answer.status)
        return worst([*known, *accepted]) if known or accepted else answered

    def _judge_limit(self, limit: RateLimit) -> Result | None:
        if limit.remaining is None:
            return None
        if not limit.quota:
            status = Status.WARN if limit.remaining <= 0 else Status.PASS
            return Result(status, f"{limit.remaining:g} {limit.resource} left", limit.remaining, limit.resource)
        status = self.bounds.status(limit.remaining / limit.quota)
        message = f"{limit.remaining:g} of {limit.quota:g} {limit.resource} left"
        return Result(status, message, limit.remaining, limit.resource)


def _until(limits: list[RateLimit], now: float) -> str:
    resets = [limit.reset - now for limit in limits if limit.reset is not None and limit.reset > now]
    return f"; welcome again in {min(resets):.0f} s" if resets else ""
