"""
Take the figures of a row: in turns, each in a process of its own.

A fresh process for every figure keeps the contenders' heaps, threads and imports apart, and lets chance (hash seed,
memory layout) fall anew each time; taking turns lets a busy machine slow all of them alike.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.rows import Contender, Row

__all__ = ["Figures", "Outcome", "measure"]


@dataclass(frozen=True)
class Figures:
    """What one contender showed in one row; no samples if its distribution is not installed."""

    name: str
    version: str
    samples: tuple[float, ...]

    @property
    def is_missing(self) -> bool:
        return not self.samples

    @property
    def median(self) -> float:
        return median(self.samples)


@dataclass(frozen=True)
class Outcome:
    """A row with the figures of its contenders, in the same order."""

    row: Row
    figures: tuple[Figures, ...]

    @property
    def ours(self) -> Figures:
        return self.figures[0]

    @property
    def best_peer(self) -> Figures | None:
        """The peer with the smallest median, if any is installed."""
        return min((each for each in self.figures[1:] if each.samples), key=lambda each: each.median, default=None)

    def ratio(self, peer: Figures) -> float | None:
        """
        Return how many times less ours is: the median over the rounds, each compared with itself.

        A machine that changes its speed from round to round, as a busy one does, moves this less than the medians.

        Returns:
            None where one of the two figures is nothing, or missing.
        """
        pairs = list(zip(self.ours.samples, peer.samples, strict=False))
        return median(theirs / ours for ours, theirs in pairs) if pairs and min(map(min, pairs)) > 0 else None

    @property
    def is_met(self) -> bool | None:
        """Whether our figures reach the target; None where that cannot be said or is not asked."""
        peer = self.best_peer
        if peer is None:
            return self.row.target.is_met(self.ours.median)
        return self.row.target.is_met(self.ours.median, peer.median, self.ratio(peer))


def measure(row: Row, *, rounds: int, short: bool) -> Outcome:
    """Measure all installed contenders of *row* in turns, *rounds* times."""
    versions = {each.name: installed_version(each) for each in row.contenders}
    samples: dict[str, list[float]] = {each.name: [] for each in row.contenders}
    for _ in range(rounds):
        for contender in row.contenders:
            if versions[contender.name] is not None:
                samples[contender.name].append(_in_fresh_process(contender, short))
    return Outcome(row, tuple(Figures(name, versions[name] or "", tuple(taken)) for name, taken in samples.items()))


def installed_version(contender: Contender) -> str | None:
    """Return the version of a contender's distribution: empty if it needs none, None if it is not installed."""
    try:
        return version(contender.distribution) if contender.distribution else ""
    except PackageNotFoundError:
        return "(source tree)" if find_spec(contender.name) else None


def _in_fresh_process(contender: Contender, short: bool) -> float:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(contender.measure, short).result()
