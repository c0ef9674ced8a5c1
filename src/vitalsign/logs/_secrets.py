"""Which fields hold secrets, told by their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["HIDDEN", "SecretKeys"]

HIDDEN = "***"
"""What stands in place of a secret."""

_ALWAYS = (
    "access key", "api key", "apikey", "authorization", "cookie", "credential", "dsn", "encryption key", "jwt",
    "passphrase", "passwd", "password", "pgpassword", "private key", "pwd", "secret", "session id", "sessionid",
    "signing key", "token",
)  # fmt: skip
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[a-z0-9]+")
_MOST_KEYS = 4096  # whose answers are kept


class SecretKeys:
    """
    Tell whether a field holds a secret: whether the words of its name have those of a secret one among them.

    `X-Api-Key`, `apiKey`, `db_password` and `cookies` do; `tokenizer` and `secretary` do not.
    """

    def __init__(self, more: Iterable[str] = ()) -> None:
        self._names = [f" {_words(name)} " for name in (*_ALWAYS, *more)]
        self._known: dict[str, bool] = {}

    def hides(self, key: str, value: object) -> bool:
        """
        Tell whether *value* must not be shown under *key*.

        What is None, True or False says too little to be one, and a number under a plural is a count (`max_tokens`).
        """
        is_secret = self._known.get(key)
        if is_secret is None:
            is_secret = self._learn(key)
        if not is_secret or value is None or value is True or value is False:
            return False
        return not (isinstance(value, (int, float)) and key[-1:] in "sS")

    def _learn(self, key: str) -> bool:
        words = f" {_words(key)} "
        is_secret = any(name in words for name in self._names)
        if len(self._known) >= _MOST_KEYS:
            self._known.clear()
        self._known[key] = is_secret
        return is_secret


def _words(name: str) -> str:
    """Split a name, in whatever style it is written, into words in the singular."""
    words = _WORD.findall(_HUMP.sub(" ", name[:200]).lower())
    return " ".join(word[:-1] if word.endswith("s") and not word.endswith("ss") else word for word in words)
