"""Sizes as people write them: 10**9, "500MB", "1GiB", "10%"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite

from vitalsign.exceptions import HealthCheckError

__all__ = ["Size", "readable", "require_order"]

_TEXT = re.compile(
    r"(?P<number>\d+(\.\d+)?)\s*((?P<percent>%)|((?P<prefix>[kmgtp])(?P<binary>i)?)?b?)", re.IGNORECASE
).fullmatch
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_PREFIXES = ("", "k", "m", "g", "t", "p")


@dataclass(frozen=True, slots=True)
class Size:
    """
    A number of bytes, or a share of a whole.

    Attributes:
        text: As it was written.
        amount: Bytes, or a ratio.
        is_share: Whether it is a ratio.
    """

    text: str
    amount: float
    is_share: bool = False

    @classmethod
    def parse(cls, setting: str, size: float | str) -> Size:
        """
        Read a size.

        Args:
            setting: Name of what is set, for the error.
            size: Bytes; or a text with a unit: `500MB` and `500M` are decimal, `1GiB` and `1Gi` binary, `10%` a share
                of the whole. Upper and lower case are one.

        Raises:
            HealthCheckError: It is none of these, negative, or more than 100 %.
        """
        if isinstance(size, int | float) and not isinstance(size, bool) and isfinite(size) and size >= 0:
            return cls(readable(size), size)
        text = size.strip() if isinstance(size, str) else ""
        match = _TEXT(text)
        if match is None or (match["percent"] and float(match["number"]) > 100):
            raise HealthCheckError(
                f"{setting}={size!r} is no size. Give bytes as a number, or a text such as '500MB', '1GiB' or '10%'."
            )
        number = float(match["number"])
        if match["percent"]:
            return cls(text, number / 100, is_share=True)
        power = _PREFIXES.index((match["prefix"] or "").lower())
        return cls(text, number * (1024 if match["binary"] else 1000) ** power)

    @classmethod
    def optional(cls, setting: str, size: float | str | None) -> Size | None:
        """Read a size, or None for none."""
        return None if size is None else cls.parse(setting, size)

    def of(self, total: float) -> float:
        """Return the bytes that it means where the whole is *total* bytes."""
        return self.amount * total if self.is_share else self.amount


def require_order(check: str, **sizes: Size | None) -> None:
    """
    Require the first of two sizes to be at most the second, as far as that can be told before there is a whole.

    Raises:
        HealthCheckError: It is more.
    """
    (low_name, low), (high_name, high) = sizes.items()
    if low is not None and high is not None and low.is_share == high.is_share and low.amount > high.amount:
        raise HealthCheckError(
            f"Check {check!r} would fail before it warns: {low_name}={low.text!r} is more than {high_name}="
            f"{high.text!r}. Give {low_name} the smaller size."
        )


def readable(size: float) -> str:
    """Write bytes in the binary unit that suits them, to three digits."""
    power = 0
    while size >= 1024 and power < len(_UNITS) - 1:
        size, power = size / 1024, power + 1
    digits = ".0f" if power == 0 or size >= 999.5 else ".3g"  # .3g would write 1e+03
    return f"{size:{digits}} {_UNITS[power]}"
