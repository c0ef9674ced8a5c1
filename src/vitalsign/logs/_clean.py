"""Make of any Python value one that every JSON encoder takes: bounded, without secrets, and without ever raising."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time
from enum import Enum
from itertools import islice
from math import isfinite
from typing import Any, TypeAlias, cast

from vitalsign._redact import redact
from vitalsign.logs._secrets import HIDDEN, SecretKeys
from vitalsign.metrics.catalogue import encodable

__all__ = ["MAX_LENGTH", "Cleaner", "Json"]

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

MAX_LENGTH = 8192
"""Characters of one text in a line; a line has eight times as many."""

_TEXTS = 8
_DEEPEST = 8  # collections inside collections
_MOST_ITEMS = 100  # of one collection
_MOST_VALUES = 2_000  # of all collections of a line
_LONGEST_KEY = 200
_READ = 4  # times the longest text are searched for secrets, before a text is shortened
_INT_BITS = 64
_PRINTABLE_BITS = 10_000  # Python refuses to write larger integers


class Cleaner:
    """
    Turn the fields of a line into plain JSON values.

    Args:
        secrets: Names of fields that hold secrets, besides those that are known to.
        max_length: Characters of one text, before its middle is left out.
    """

    def __init__(self, secrets: Iterable[str] = (), max_length: int = MAX_LENGTH) -> None:
        self._secrets = SecretKeys(secrets)
        self._max_length = max_length

    def __call__(self, fields_of_line: Mapping[str, object]) -> dict[str, Json]:
        """Return the fields as they can be written."""
        return _Line(self._secrets, self._max_length).mapping(fields_of_line, 0)


class _Line:
    """One line, and how much may still be put into it."""

    def __init__(self, secrets: SecretKeys, max_length: int) -> None:
        self._secrets = secrets
        self._max_length = max_length
        self._left = max_length * _TEXTS
        self._values_left = _MOST_VALUES
        self._above: set[int] = set()

    def mapping(self, items: Mapping[Any, object], depth: int) -> dict[str, Json]:
        """Clean a mapping, by whose keys secrets are known."""
        cleaned: dict[str, Json] = {}
        for key, value in islice(list(items.items()), self._room()):
            name = key if type(key) is str else self._name(key)
            if not name.isascii() or len(name) > _LONGEST_KEY:
                name = encodable(name[:_LONGEST_KEY])
            cleaned[name] = HIDDEN if self._secrets.hides(name, value) else self.value(value, depth + 1)
        if len(items) > len(cleaned):
            cleaned["…"] = f"{len(items) - len(cleaned)} more"
        return cleaned

    def value(self, value: object, depth: int) -> Json:
        """Clean a value of any kind."""
        kind = type(value)
        if kind is str:
            return self._text(cast("str", value))
        if value is None or value is True or value is False:
            return value
        if kind is int:
            return self._integer(cast("int", value))
        if kind is float:
            number = cast("float", value)
            return number if isfinite(number) else str(number)
        try:
            return self._other(value, depth)
        except Exception:  # noqa: BLE001  # a repr or a property of the host's may raise anything
            return f"<unprintable {kind.__name__}>"

    def _other(self, value: Any, depth: int) -> Json:
        if isinstance(value, Enum):
            return self.value(value.value, depth + 1)
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if isinstance(value, int):
            return self._integer(int.__int__(value))
        if isinstance(value, float):
            return self.value(float.__float__(value), depth)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._text(bytes(value[: self._max_length * _READ]).decode("utf-8", "backslashreplace"))
        if isinstance(value, (date, time)):
            return value.isoformat()
        if isinstance(value, BaseException):
            return self._text(f"{kind_of(value)}: {value}")
        return self._collection(value, depth)

    def _collection(self, value: Any, depth: int) -> Json:
        named = _named(value)
        if named is None and not isinstance(value, (list, tuple, set, frozenset, deque)):
            return self._text(str(value))
        if depth > _DEEPEST or self._values_left <= 0:
            return f"<{type(value).__name__} of {len(value) if named is None else len(named)}>"
        if id(value) in self._above:
            return "<recursive>"
        self._above.add(id(value))
        try:
            return self._sequence(value, depth) if named is None else self.mapping(named, depth)
        finally:
            self._above.discard(id(value))

    def _sequence(self, items: Any, depth: int) -> Json:
        if len(items) == 2 and isinstance(items, (list, tuple)) and self._is_secret_pair(*items):
            return [self.value(items[0], depth + 1), HIDDEN]
        cleaned = [self.value(item, depth + 1) for item in islice(list(items), self._room())]
        if len(items) > len(cleaned):
            cleaned.append(f"… {len(items) - len(cleaned)} more")
        return cleaned

    def _is_secret_pair(self, first: object, second: object) -> bool:
        """Tell whether two items are a secret's name and the secret, as headers are given."""
        if isinstance(first, bytes):
            first = first[:_LONGEST_KEY].decode("latin-1")
        return isinstance(first, str) and self._secrets.hides(first[:_LONGEST_KEY], second)

    def _room(self) -> int:
        room = max(0, min(_MOST_ITEMS, self._values_left))
        self._values_left -= room
        return room

    def _name(self, key: object) -> str:
        if isinstance(key, bytes):
            return key[:_LONGEST_KEY].decode("utf-8", "backslashreplace")
        try:
            return str(key)
        except Exception:  # noqa: BLE001
            return f"<unprintable {type(key).__name__}>"

    def _integer(self, value: int) -> Json:
        bits = value.bit_length()
        if bits < _INT_BITS:
            return value
        return self._text(str(value)) if bits < _PRINTABLE_BITS else f"<integer of {bits} bits>"

    def _text(self, text: str) -> str:
        limit = min(self._max_length, self._left)
        most = self._max_length * _READ
        if len(text) > most:  # its end cannot be shown: a secret's name may stand before what was searched
            text = f"{redact(text[:most])[:limit]}… {len(text) - limit} characters left out"
        else:
            text = shortened(redact(text), limit)
        self._left -= min(self._left, len(text))
        return encodable(text)


def shortened(text: str, limit: int) -> str:
    """Leave out the middle of a text that is longer than *limit* characters: a traceback says most at its ends."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}… {len(text) - 2 * half} characters left out …{text[len(text) - half :]}"


def kind_of(error: BaseException) -> str:
    """Return the name of an exception's class, with its module unless it is a builtin."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _named(value: Any) -> Mapping[Any, object] | None:
    """Return what has names for its parts as a mapping; None for what has none."""
    if isinstance(value, Mapping):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    return None
