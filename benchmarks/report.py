"""Show what was measured: the machine, a Markdown table for people, JSON for programs."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.rows import OURS, SECONDS, SHARE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.measuring import Figures, Outcome
    from benchmarks.rows import Target

__all__ = ["Machine", "as_json", "as_markdown"]

_HEAD = ("what", "vitalsign", "peer", "ratio", "target", "reached")
_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_VERDICTS = {True: "yes", False: "**no**", None: ""}


@dataclass(frozen=True)
class Machine:
    """
    Where and when a run was made.

    Attributes:
        is_compiled: Whether vitalsign has its compiled part.
        load: The system's average over the minute before the start.
    """

    date: str
    cpu: str
    cores: int
    system: str
    python: str
    is_compiled: bool
    load: float

    @classmethod
    def present(cls) -> Machine:
        """Describe this machine now."""
        return cls(
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            cpu=_cpu(),
            cores=os.cpu_count() or 1,
            system=f"{platform.system()} {platform.release()}",
            python=f"{platform.python_implementation()} {platform.python_version()}",
            is_compiled=find_spec("vitalsign._native") is not None,
            load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
        )


def as_json(machine: Machine, outcomes: Sequence[Outcome], *, rounds: int, short: bool) -> dict[str, Any]:
    """Return everything that was measured, in seconds and bytes, as plain data."""
    return {
        "machine": vars(machine),
        "rounds": rounds,
        "short": short,
        "versions": _versions(outcomes),
        "rows": [
            {
                "key": outcome.row.key,
                "title": outcome.row.title,
                "unit": outcome.row.unit,
                "target": vars(outcome.row.target),
                "is_met": None if short else outcome.is_met,
                "contenders": [_contender(outcome, figures) for figures in outcome.figures],
            }
            for outcome in outcomes
        ],
    }


def as_markdown(machine: Machine, outcomes: Sequence[Outcome], *, rounds: int, short: bool) -> str:
    """Return the run as a paragraph about the machine and a table."""
    versions = ", ".join(f"{name} {version}" for name, version in _versions(outcomes).items())
    kind = "Short: proves that it runs, the figures mean nothing. " if short else ""
    about = (
        f"{kind}{machine.date}; {machine.cpu}, {machine.cores} cores, {machine.system}; {machine.python}; "
        f"vitalsign {'with' if machine.is_compiled else 'without'} its compiled part; "
        f"load at the start {machine.load}; rounds: {rounds}, median (least to most).\n{versions}."
    )
    lines = [_HEAD, ("---",) * len(_HEAD), *(line for outcome in outcomes for line in _lines(outcome, short))]
    return about + "\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _versions(outcomes: Iterable[Outcome]) -> dict[str, str]:
    return {each.name: each.version for outcome in outcomes for each in outcome.figures if each.version}


def _contender(outcome: Outcome, figures: Figures) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": figures.name, "is_missing": figures.is_missing}
    if not figures.is_missing:
        shown |= {
            "median": figures.median,
            "min": min(figures.samples),
            "max": max(figures.samples),
            "ratio": outcome.ratio(figures),
            "samples": figures.samples,
        }
    return shown


def _lines(outcome: Outcome, short: bool) -> Iterator[tuple[str, ...]]:
    """Write a row of the table: one line with the best peer, then one for each further peer."""
    row = outcome.row
    peers = sorted(outcome.figures[1:], key=lambda each: inf if each.is_missing else each.median)
    first, *further = [_peer(outcome, peer) for peer in peers] or [("", "")]
    verdict = "" if short else _VERDICTS[outcome.is_met]
    ours = _shown(outcome.ours, row.unit)
    if outcome.ours.name != OURS[0]:
        ours = f"{outcome.ours.name} {ours}"
    yield (row.title, ours, *first, _asked(row.target, row.unit), verdict)
    for cells in further:
        yield ("", "", *cells, "", "")


def _peer(outcome: Outcome, peer: Figures) -> tuple[str, str]:
    if peer.is_missing:
        return f"{peer.name}: not installed", ""
    return f"{peer.name} {_shown(peer, outcome.row.unit)}", _times(outcome.ratio(peer))


def _times(ratio: float | None) -> str:
    if ratio is None or ratio < 0.01:
        return ""
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:,.1f}x"


def _shown(figures: Figures, unit: str) -> str:
    """Write the median and the spread in the unit that fits the median."""
    factor, name = _scale(figures.median, unit)
    digits = _digits(figures.median / factor) if unit in (SECONDS, SHARE) else 0
    values = (figures.median, min(figures.samples), max(figures.samples))
    middle, least, most = (f"{value / factor:,.{digits}f}" for value in values)
    return f"{middle} {name} ({least} to {most})"


def _digits(value: float) -> int:
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2


def _scale(value: float, unit: str) -> tuple[float, str]:
    if unit != SECONDS:
        return (0.01 if unit == SHARE else 1.0), unit
    return next((scale for scale in _SCALES if abs(value) >= scale[0]), _SCALES[-1])


def _asked(target: Target, unit: str) -> str:
    asked = []
    if target.factor is not None:
        asked.append(f"{target.factor:g}x")
    for bound, word in ((target.limit, "at most"), (target.surplus, "at most +")):
        if bound is not None:
            factor, name = _scale(bound, unit)
            asked.append(f"{word} {bound / factor:,.0f} {name}".replace("+ ", "+"))
    return ", ".join(asked)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
