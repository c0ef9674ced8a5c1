"""What another process has counted, read by `pread` from its files: a truncated file would kill who maps it."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.processes.directory import CELLS, NAMES
from vitalsign.metrics.processes.journal import JournalTail
from vitalsign.metrics.processes.merge import width_of
from vitalsign.metrics.processes.told import exemplar_from, labels_from, spec_from, texts_from

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.catalogue import MetricSpec
    from vitalsign.metrics.processes.directory import Directory

__all__ = ["ProcessFiles", "Told", "ToldFamily"]

_MAX_CELLS = 1 << 27
"""A gibibyte; who tells of cells beyond is not one of us, and would make us read any amount."""


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
    exemplars: dict[int, Exemplar] = field(default_factory=dict)


class ProcessFiles:
    """
    The files of one process, followed from scrape to scrape.

    What cannot be understood is skipped, reported once and counted; what was understood before it still counts.

    Attributes:
        pid: Its process id; 0 if it has not said.
        worker: Its number among the living.
        is_living: Whether it held its lock when last looked at.
        families: What it has declared.
    """

    def __init__(self, directory: Directory, name: str) -> None:
        self.name = name
        self.pid: int = 0
        self.worker: int = 0
        self.is_living = True
        self.families: dict[int, ToldFamily] = {}
        self._owners: dict[int, ToldFamily] = {}  # by the number of a child
        self._tail = JournalTail(directory.path / f"{name}{NAMES}")
        self._cells_path: Path = directory.path / f"{name}{CELLS}"
        self._end = 0  # of the cells that are in use
        self.cells: array[float] = array("d")

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
        last = len(cells) - width
        starts = [start for start in told.starts if start <= last]
        if len(starts) == 1:
            (start,) = starts
            return cells[start : start + width].tolist()
        return [sum(cells[start + place] for start in starts) for place in range(width)]

    def _read_names(self) -> None:
        is_new, records, broken = self._tail.read()
        error: Exception | None = broken
        if is_new:
            self.families.clear()
            self._owners.clear()
            self._end = 0
        try:
            for record in records:
                self._take(*record)
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as cause:
            error = ValueError(f"{self._cells_path.stem} has a record that makes no sense: {cause!r}")
            self._tail.stop()
        if error is not None:
            internal_error("processes", error)

    def _take(self, kind: str, *what: Any) -> None:
        match kind:
            case "process":
                self.pid, self.worker, _ = map(int, what)
            case "family":
                number, registry, spec, max_series = what
                self.families[number] = ToldFamily(str(registry), spec_from(spec), int(max_series))
            case "child":
                number, family, labels, created = what
                told = self.families[family]
                told.children[number] = Told(labels_from(labels, told.spec), float(created))
                self._owners[number] = told
            case "cells":
                number, start = what
                if type(start) is not int or not 0 <= start < _MAX_CELLS:
                    raise ValueError(f"no cell is at {start!r}")
                self._told(number).starts.append(start)
                self._end = max(self._end, start + width_of(self._owners[number].spec))
            case "info":
                number, facts, moment = what
                self._told(number).facts = (texts_from(facts), float(moment))
            case "exemplar":
                number, place, *exemplar = what
                self._told(number).exemplars[place] = exemplar_from(place, exemplar, self._owners[number].spec)
            case "gone":
                (number,) = what
                del self._owners.pop(number).children[number]
            case _:
                raise ValueError(f"no such record: {kind!r}")

    def _told(self, number: int) -> Told:
        return self._owners[number].children[number]

    def _read_cells(self) -> array[float]:
        """Read the file as far as it is in use; what is missing of it, counts nothing."""
        cells = array("d")
        try:
            descriptor = os.open(self._cells_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return cells
        try:
            data = os.pread(descriptor, min(os.fstat(descriptor).st_size, self._end * cells.itemsize), 0)
        finally:
            os.close(descriptor)
        cells.frombytes(data[: len(data) // cells.itemsize * cells.itemsize])
        return cells
