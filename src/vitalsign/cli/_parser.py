"""What all commands share: how arguments are read, and refused in one line."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from math import isfinite, nan
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

__all__ = ["Parser", "parse_duration", "parse_integer", "parse_number"]

_DURATION = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>ms|s|m|h)?").fullmatch
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


class Parser(ArgumentParser):
    """A parser that says in one line what is wrong."""

    def parse_known_args(  # type: ignore[override]  # overloaded there, for namespaces of other kinds
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """Refuse what is not known, also for a subparser: argparse would leave it to the main one to complain."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"there is no {unknown[0]!r}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        """End with exit code 2 and *message*, without the usage that would hide it."""
        self.exit(2, f"{self.prog}: {message.removesuffix('.')}. See {self.prog} --help.\n")


def parse_duration(text: str) -> float:
    """
    Return the seconds that *text* means: `90`, `90s`, `1.5m`, `2h`, `500ms`.

    Raises:
        ArgumentTypeError: It means none, or no time at all.
    """
    match = _DURATION(text.strip().lower())
    seconds = float(match["number"]) * _SECONDS[match["unit"]] if match else 0.0
    if not (seconds > 0 and isfinite(seconds)):
        raise ArgumentTypeError(f"{text!r} is no length of time. Give one above 0, such as 30s, 2m or 1h.")
    return seconds


def parse_number(text: str, *, lowest: float, highest: float) -> float:
    """
    Return the number that *text* is.

    Raises:
        ArgumentTypeError: It is none, or not from *lowest* to *highest*.
    """
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not lowest <= number <= highest:
        raise ArgumentTypeError(f"{text!r} is no number from {lowest:g} to {highest:g}.")
    return number


def parse_integer(text: str, *, lowest: int, highest: int) -> int:
    """
    Return the whole number that *text* is.

    Raises:
        ArgumentTypeError: It is none, or not from *lowest* to *highest*.
    """
    try:
        number = int(text)
    except ValueError:
        number = lowest - 1
    if not lowest <= number <= highest:
        raise ArgumentTypeError(f"{text!r} is no whole number from {lowest} to {highest}.")
    return number
