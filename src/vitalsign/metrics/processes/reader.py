"""What another process has counted, read by `pread` from its files: a truncated file would kill who maps it."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.catalogue import MetricSpec
from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.processes.directory import CELLS, NAMES
from vitalsign.metrics.processes.journal import JournalTail

if TYPE_CHECKING:
    from pathlib import Path

    from vitalsign.metrics.processes.directory import Directory

__all__ = ["ProcessFiles", "Told", "ToldFamily", "spec_from"]


@dataclass(slots=True)
class ToldFamily:
    """A metric as another process has declared it."""

    registry: str
    spec: MetricSpec
    max_series: int
    children: dict[int, Told] = field(default_factory=dict)


@dataclass(slots=True)
class Told:
    """One label set as another process has it."""

    labels: tuple[str, ...]
    created: float
    starts: list[int] = field(default_factory=list)
    facts: tuple[dict[str, str], float] | None = None
    exemplars: dict[int, list[Any]] = field(default_factory=dict)


class ProcessFiles:
    """
    The files of one process, followed from scrape to scrape.

    What cannot be understood is skipped, reported once and counted; what was understood before it still counts.

    Attributes:
        pid: Its process id; 0 if it has not said.
        worker: Its number among the living.
        started: When it opened its files, in seconds since 1970.
        is_living: Whether it held its lock when last looked at.
        families: What it has declared.
    """

    def __init__(self, directory: Directory, name: str) -> None:
        self.name = name
        self.pid = self.worker = 0
        self.started = 0.0
        self.is_living = True
        self.families: dict[int, ToldFamily] = {}
        self._owners: dict[int, ToldFamily] = {}  # by the number of a child
        self._tail = JournalTail(directory.path / f"{name}{NAMES}")
        self._cells_path: Path = directory.path / f"{name}{CELLS}"
        self._is_corrupt = False
        self.cells = array("d")

    def refresh(self) -> None:
        """
        Read what has been added to the names, then all numbers as they are now.

        Raises:
            OSError: A file cannot be read.
        """
        self._read_names()
        self.cells = self._read_cells()

    def numbers(self, told: Told, width: int) -> list[float]:
        """Add up the cells of all threads of a child."""
        cells = self.cells
        starts = [start for start in told.starts if 0 <= start <= len(cells) - width]
        if len(starts) == 1:
            return cells[starts[0] : starts[0] + width].tolist()
        return [sum(cells[start + place] for start in starts) for place in range(width)]

    def _read_names(self) -> None:
        if self._is_corrupt:
            return
        is_new, records, broken = self._tail.read()
        error: ValueError | None = broken
        if is_new:
            self.families.clear()
            self._owners.clear()
        try:
            for record in records:
                self._take(*record)
        except (AttributeError, KeyError, TypeError, ValueError) as cause:
            error = ValueError(f"{self._cells_path.stem} has a record that makes no sense: {cause!r}")
        if error is not None:
            self._is_corrupt = True
            internal_error("processes", error)

    def _take(self, kind: str, *what: Any) -> None:
        match kind:
            case "process":
                self.pid, self.worker, self.started = what
            case "family":
                number, registry, spec, max_series = what
                self.families[number] = ToldFamily(registry, spec_from(spec), max_series)
            case "child":
                number, family, labels, created = what
                self._owners[number] = self.families[family]
                self.families[family].children[number] = Told(tuple(labels), float(created))
            case "cells":
                number, start = what
                self._told(number).starts.append(int(start))
            case "info":
                number, facts, moment = what
                self._told(number).facts = (dict(facts), float(moment))
            case "exemplar":
                number, place, *exemplar = what
                self._told(number).exemplars[place] = exemplar
            case "gone":
                (number,) = what
                self._owners.pop(number).children.pop(number, None)
            case _:
                raise ValueError(f"no such record: {kind!r}")

    def _told(self, number: int) -> Told:
        return self._owners[number].children[number]

    def _read_cells(self) -> array[float]:
        descriptor = os.open(self._cells_path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            data = os.pread(descriptor, size, 0)
        finally:
            os.close(descriptor)
        cells = array("d")
        cells.frombytes(data[: len(data) // cells.itemsize * cells.itemsize])
        return cells


def spec_from(told: dict[str, Any]) -> MetricSpec:
    """Make a description again from what was written down of it."""
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    return MetricSpec(**values)
