"""Rate limits, as the usual HTTP response headers tell them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["RateLimit", "rate_limits"]

# X-RateLimit-Remaining, RateLimit-Reset, x-rate-limit-limit, x-ratelimit-remaining-tokens (OpenAI),
# anthropic-ratelimit-input-tokens-reset (Anthropic), X-RateLimit-Remaining-Minute (Kong).
_NAME = re.compile(r"(?:[a-z]+-)?rate-?limit-(?P<rest>[a-z-]+)").fullmatch
_FIELDS = {"limit": "quota", "remaining": "remaining", "reset": "reset", "reset-after": "reset"}
_RESOURCES = (
    "requests", "tokens", "input-tokens", "output-tokens", "project-tokens", "images",
    "second", "minute", "hour", "day", "month",
)  # fmt: skip
_MEANINGS = {words: ("requests", field) for words, field in _FIELDS.items()} | {
    rest: (resource, field)
    for words, field in _FIELDS.items()
    for resource in _RESOURCES
    for rest in (f"{words}-{resource}", f"{resource}-{words}")
}
"""Resource and field by what follows `ratelimit-` in a name: the resource may stand first, last, or be left out."""

# RateLimit: "default";r=50;t=30 and RateLimit-Policy: "default";q=100;w=60 (IETF draft 08 and later),
# RateLimit: limit=100, remaining=50, reset=30 (draft 07).
_STRUCTURED = re.compile(r"(?<![a-z])(?P<key>limit|remaining|reset|r|t|q)=(?P<value>\d+(?:\.\d+)?)")
_KEYS = {"limit": "quota", "q": "quota", "remaining": "remaining", "r": "remaining", "reset": "reset", "t": "reset"}
_NUMBER = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)(?![\w.:-])").match
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|h|m|s|d))+").fullmatch
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_OLDEST_UNIX_TIME = 1e8  # below it a number is taken for seconds from now: 3 years
_OLDEST_UNIX_MILLISECONDS = 1e11


class RateLimit(NamedTuple):
    """
    What a server says about one of its limits; None is what it does not say.

    Attributes:
        resource: What is limited: `requests`, `tokens`, `minute` …, one of few.
        quota: How much is allowed in a window.
        remaining: How much of it is left.
        reset: Unix time at which the window starts again, or a retry is welcome.
    """

    resource: str
    quota: float | None = None
    remaining: float | None = None
    reset: float | None = None


def rate_limits(headers: Mapping[str, str], now: float) -> list[RateLimit]:
    """
    Read the rate limits that *headers* tell; what cannot be understood is left out.

    Args:
        headers: Of a response; the case of the names does not matter.
        now: Unix time at which they arrived.
    """
    found: dict[str, dict[str, float]] = {}
    for name, text in headers.items():
        for resource, field, value in _read(name.lower(), text, now):
            fields = found.setdefault(resource, {})
            # Of several policies under one header, the one that is closest to its end matters.
            fields[field] = min(value, fields.get(field, value)) if field == "remaining" else fields.get(field, value)
    return [RateLimit(resource.replace("-", "_"), **fields) for resource, fields in found.items()]


def _read(name: str, text: str, now: float) -> Iterable[tuple[str, str, float]]:
    if name == "retry-after":
        yield from _field("requests", "reset", text, now)
    elif name in ("ratelimit", "ratelimit-policy", "x-ratelimit"):
        for pair in _STRUCTURED.finditer(text):
            yield from _field("requests", _KEYS[pair["key"]], pair["value"], now)
    elif (whole := _NAME(name)) and (meaning := _MEANINGS.get(whole["rest"])):
        yield from _field(*meaning, text, now)


def _field(resource: str, field: str, text: str, now: float) -> Iterable[tuple[str, str, float]]:
    value = _moment(text, now) if field == "reset" else _number(text)
    if value is not None:
        yield resource, field, value


def _number(text: str) -> float | None:
    """Read the number that *text* begins with: `100, 100;w=60` is 100."""
    match = _NUMBER(text)
    return float(match[1]) if match else None


def _moment(text: str, now: float) -> float | None:
    """Read seconds from now, Unix time in seconds or milliseconds, a duration (6m0s), an ISO or an HTTP date."""
    number = _number(text)
    if number is not None:
        if number >= _OLDEST_UNIX_MILLISECONDS:
            return number / 1000
        return number if number >= _OLDEST_UNIX_TIME else now + number
    if _DURATION(text.strip()):
        return now + sum(float(amount) * _UNIT_SECONDS[unit] for amount, unit in _DURATION_PART.findall(text))
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text.strip())
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None
