"""Keep credentials out of the log: the text of an exception often repeats the address that it failed to reach."""

from __future__ import annotations

import re

__all__ = ["redact"]

_HINTS = ("pass", "pwd", "secret", "token", "authorization", "cookie", "credential", "dsn", "key", "bearer")
# No part of a pattern is without bounds where it can fail: a hostile text must not keep it busy.
_USERINFO = re.compile(r"(\w://)\S{1,1000}@")
_KEY = (
    r"(?:password|passwd|pwd|passphrase|secret|token(?!s)|authorization|cookie|credential|dsn|"
    r"(?:api|access|private|signing)[-_]?key)"
)
_SCHEME = r"(?:bearer|basic|digest|negotiate|token|apikey)"
_VALUE = rf"(?:{_SCHEME}\s{{1,20}})?(?:b?'[^']*'|b?\"[^\"]*\"|\S+(?:(?<=;) \S+)*)"
_ASSIGNED = re.compile(rf"(?i)({_KEY}[\w-]{{0,50}}['\"]?\s{{0,20}}[=:]\s{{0,20}}){_VALUE}")
_BEARER = re.compile(r"(?i)\b(bearer\s{1,20})[\w.~+/=-]{16,}")


def redact(text: str) -> str:
    """
    Replace what looks like a credential by `***`: the user part of a URL, and the value after `password=` and its like.

    Rather too much goes than too little: a value without quotes ends at the next blank only.
    """
    if ":" not in text and "=" not in text and "earer " not in text:
        return text
    if "://" in text:
        text = _USERINFO.sub(r"\1***@", text)
    lowered = text.lower()
    if any(hint in lowered for hint in _HINTS):  # the patterns take 30 times as long to find nothing
        text = _BEARER.sub(r"\1***", _ASSIGNED.sub(r"\1***", text))
    return text
