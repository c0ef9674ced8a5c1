"""Keep credentials out of the log: the text of an exception often repeats the address that it failed to reach."""

from __future__ import annotations

import re

__all__ = ["redact"]

_USERINFO = re.compile(r"(\w://)\S{1,1000}@")
_KEY = r"(?:password|passwd|pwd|secret|token|authorization|(?:api|access|private)[-_]?key)"
_VALUE = r"(?:(?:bearer|basic)\s+)?(?:b?'[^']*'|b?\"[^\"]*\"|\S+)"
_ASSIGNED = re.compile(rf"(?i)({_KEY}[\w-]*['\"]?\s*[=:]\s*){_VALUE}")


def redact(text: str) -> str:
    """
    Replace what looks like a credential by `***`: the user part of a URL, and the value after `password=` and its like.

    Rather too much goes than too little: a value without quotes ends at the next blank only.
    """
    return _ASSIGNED.sub(r"\1***", _USERINFO.sub(r"\1***@", text))
