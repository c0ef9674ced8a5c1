"""What another process has counted, read by `pread` from its files: a truncated file would kill who maps it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.processes.descriptors import read_part
from vitalsign.metrics.processes.directory import CELL, CELLS, NAMES
from vitalsign.metrics.processes.journal import HEAD, JournalTail, decode
from vitalsign.metrics.processes.merge import width_of
from vitalsign.metrics.processes.told import NONSENSE, bound_from, exemplar_from, labels_from, spec_from, texts_from

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.catalogue import MetricSpec
from vitalsign.metrics.processes.directory import Directory

__all__ = ["ProcessFiles", "Told", "ToldFamily", "living"]

_MAX_CELLS = 1 << 27
"""A gibibyte; who tells of cells beyond is not one of us, and would make us read any amount."""


@dataclass(slots=True)
class ToldFamily:
    """A metric as another process has declared it."""

    registry: str
    spec: MetricSpec
    max_series: int
    width: int
    children: dict[int, Told] = field(default_factory=dict)


@dataclass(slots=True)
class Told:
    """One label set as another process has it."""

    labels: tuple[str, ...]
    created: float
    starts: tuple[int, ...] = ()
    facts: tuple[dict[str, str], float] | None = None
    exemplars: dict[int, Exemplar] | None = None


class ProcessFiles:
    """
    The files of one process, followed from scrape to scrape.

    What cannot be understood is skipped, reported once and counted; what was understood before it still counts.

    Attributes:
        pid: Its process id; 0 if it has not said.
        is_living: Whether it held its lock when last looked at.
        families: What it has declared.
    """

    def __init__(self, directory: Directory, name: str) -> None:
        self.name = name
        self.pid: int = 0
        self.is_living = True
        self.families: dict[int, ToldFamily] = {}
        self._owners: dict[int, ToldFamily] = {}  # by the number of a child
        self._tail = JournalTail(directory.path / f"{name}{NAMES}")
        self._cells_path: Path = directory.path / f"{name}{CELLS}"
        self._end = 0  # of the cells that are in use
        self._cells: list[float] = []

    def refresh(self) -> None:
        """
        Read what has been added to the names, then all numbers as they are now.

        Raises:
            OSError: A file cannot be read.
        """
        self._read_names()
        self._cells = self._read_cells()

    def numbers(self, told: Told, width: int) -> list[float]:
        """Add up the cells of all threads of a child."""
        cells, starts = self._cells, told.starts
        if len(starts) == 1:
            numbers = cells[starts[0] : starts[0] + width]
            if len(numbers) == width:
                return numbers
        last = len(cells) - width
        return [sum(cells[start + place] for start in starts if start <= last) for place in range(width)]

    def _read_names(self) -> None:
        is_new, records = self._tail.read()
        if is_new:
            self.families.clear()
            self._owners.clear()
            self._end = 0
        try:
            for record in records:
                if record[0] == "child":
                    self._take_child(record)
                else:
                    self._take(*record)
        except NONSENSE as error:
            self._tail.stop()
            message = f"{self._cells_path.stem} has told what makes no sense, and is read no further: {error!r}"
            internal_error("processes", ValueError(message))

    def _take(self, kind: str, *what: Any) -> None:
        match kind:
            case "cells":
                number, start = what
                told = self._owners[number]
                self._claim(start, told.width)
                told.children[number].starts += (start,)
            case "process":
                self.pid, _, _ = map(int, what)
            case "family":
                number, registry, spec, max_series = what
                self.families[number] = _family(str(registry), spec_from(spec), bound_from(max_series))
            case "info":
                number, facts, moment = what
                self._told(number).facts = (texts_from(facts), float(moment))
            case "exemplar":
                number, place, *exemplar = what
                made = exemplar_from(place, exemplar, self._owners[number].spec)
                told_child = self._told(number)
                told_child.exemplars = {**(told_child.exemplars or {}), place: made}
            case "gone":
                (number,) = what
                del self._owners.pop(number).children[number]
            case _:
                raise ValueError(f"no such record: {kind!r}")

    def _take_child(self, record: list[Any]) -> None:
        # Most of what is read by one who has never read: hence by one call, and the cells before the rest is judged.
        _, number, family, labels, created, start = record
        told = self.families[family]
        if start is not None:
            self._claim(start, told.width)
        told.children[number] = Told(labels_from(labels, told.spec), float(created), () if start is None else (start,))
        self._owners[number] = told

    def _claim(self, start: int, width: int) -> None:
        if type(start) is not int or not 0 <= start < _MAX_CELLS:
            raise ValueError(f"no cell is at {start!r}")
        end = start + width
        if end > self._end:
            self._end = end

    def _told(self, number: int) -> Told:
        return self._owners[number].children[number]

    def _read_cells(self) -> list[float]:
        """Read the file as far as it is in use; what is missing of it, counts nothing."""
        try:
            data = read_part(self._cells_path, size=self._end * CELL)
        except FileNotFoundError:
            return []
        cells: memoryview[Any] = memoryview(data[: len(data) // CELL * CELL])
        return cells.cast("d").tolist()  # type: ignore[return-value]  # the stubs know no other format than bytes


def living(directory: Directory) -> list[tuple[int, int]]:
    """
    Return number and process id of each process that lives now.

    Raises:
        OSError: The directory cannot be read.
    """
    found = []
    for name in filter(directory.is_alive, directory.names()):
        with suppress(OSError, *NONSENSE):  # whose names cannot be read is reported by those who read them all
            kind, pid, worker, _ = decode(read_part(directory.path / f"{name}{NAMES}", size=HEAD).split(b"\n")[0])
            if kind == "process":
                found.append((int(worker), int(pid)))
    return sorted(found)


def _family(registry: str, spec: MetricSpec, max_series: int) -> ToldFamily:
    return ToldFamily(registry, spec, max_series, width_of(spec))
