"""What a row of the table is: contenders that do the same thing, and the figure that ours has to reach."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BYTES",
    "FILES",
    "OURS",
    "RUNS",
    "SECONDS",
    "SHARE",
    "STATED",
    "Contender",
    "Row",
    "Target",
    "beside",
    "uncompiled",
]

SECONDS = "s"
BYTES = "B"
FILES = "files"
RUNS = "runs"
SHARE = "%"
"""Of one; shown in percent."""

OURS = ("vitalsign", "vitalsign")
"""Name and distribution, as for a contender."""

PEER = ("prometheus_client", "prometheus-client")


@dataclass(frozen=True)
class Contender:
    """
    One library in one row.

    Attributes:
        name: As shown; of a library, the name that it is imported by.
        distribution: What pip installs; the contender is reported as missing when it is not there. Empty for a
            yardstick that needs none.
        measure: Take one figure, in the row's unit, from start to end in a fresh process: import the library, set up,
            warm up, measure. Gets True when it has only to prove that it runs. It is sent to that process by name, so
            it must be a function of a module, or a partial of one.
    """

    name: str
    distribution: str
    measure: Callable[[bool], float]


@dataclass(frozen=True)
class Target:
    """
    What our figure must reach; a condition that is not given is not asked.

    Attributes:
        factor: Times less than the best peer, round by round.
        limit: At most this, in the row's unit.
        surplus: At most this more than the best peer's median, in the row's unit.
    """

    factor: float | None = None
    limit: float | None = None
    surplus: float | None = None

    def is_met(self, ours: float, peer: float | None = None, ratio: float | None = None) -> bool | None:
        """
        Tell whether our median is good enough, beside the best peer's median and how many times less ours is.

        Returns:
            None if nothing is asked, or if what is asked needs what is not given.
        """
        verdicts: list[bool | None] = [] if self.limit is None else [ours <= self.limit]
        if self.factor is not None:
            verdicts.append(None if ratio is None else ratio >= self.factor)
        if self.surplus is not None:
            verdicts.append(None if peer is None else ours <= peer + self.surplus)
        return all(verdicts) if verdicts and None not in verdicts else None


STATED = Target()
"""No target: the figure is for the reader."""


@dataclass(frozen=True)
class Row:
    """
    One line of the table.

    Attributes:
        key: Name for `--only` and for JSON: `area.what`.
        title: What is measured, in Markdown.
        unit: `SECONDS`, `BYTES`, `FILES`, `RUNS` or `SHARE`; less is better.
        contenders: Ours first; or a yardstick alone.
    """

    key: str
    title: str
    unit: str
    contenders: tuple[Contender, ...]
    target: Target = STATED


def beside(measure: Callable[[str, bool], float]) -> tuple[Contender, ...]:
    """Put prometheus_client beside vitalsign, where one piece of code measures both: *measure* gets the import name."""
    return tuple(Contender(name, distribution, partial(measure, name)) for name, distribution in (OURS, PEER))


def uncompiled(measure: Callable[[bool], float], short: bool) -> float:
    """Measure in pure Python, what has a compiled part."""
    os.environ["VITALSIGN_NATIVE"] = "0"  # for this process alone, which has not imported that part yet
    return measure(short)
