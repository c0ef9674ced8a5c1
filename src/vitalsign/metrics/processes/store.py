"""The cells of this process, in a file that outlives it: the kernel keeps the pages of a killed process."""

from __future__ import annotations

import mmap
import os
import time
import weakref
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.processes.directory import CELLS, NAMES
from vitalsign.metrics.processes.freshness import Freshness
from vitalsign.metrics.processes.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.cells import Cell
    from vitalsign.metrics.family import Family
    from vitalsign.metrics.processes.directory import Directory

__all__ = ["CELL", "Store"]

CELL = 8
"""Bytes of a cell: an IEEE 754 double, in the machine's byte order."""

_SEGMENT = 8192  # cells: 64 KiB
_QUARANTINE = 60.0
"""
Seconds that cells rest between two owners.

A scrape reads the names first and the numbers a moment later; what it took for one series must not be another by then.
"""


class _Entry:
    """What the journal knows of one child."""

    __slots__ = ("blocks", "exemplars", "facts", "is_gone", "number", "reference")

    def __init__(self, number: int, reference: weakref.ref[Cell]) -> None:
        self.number = number
        self.reference = reference
        self.blocks: list[tuple[int, int]] = []  # where they begin, and how many cells they are
        self.exemplars: dict[int, Exemplar] = {}
        self.facts: tuple[Mapping[str, str], float] | None = None
        self.is_gone = False


class Store:
    """
    Give out cells in a mapped file, and write down whose they are.

    Nothing is created before the first metric needs it. Every method is called under `cells.LOCK`, except the
    callback by which a child's end is noticed.

    Attributes:
        name: Of this process in the directory; empty until it has files there.
        worker: Its number among the living.
    """

    def __init__(self, directory: Directory, fresh: Iterable[Cell] = ()) -> None:
        """Prepare; *fresh* are the gauges whose functions were asked in the process that this one was forked from."""
        self.name = ""
        self.freshness = Freshness(fresh)
        self.worker = 0
        self._directory = directory
        self._length = 0  # cells in the file
        self._segments: list[tuple[int, memoryview[float]]] = []  # where each begins
        self._next = 0
        self._free: dict[int, deque[tuple[float, int]]] = {}  # by size: since when, where
        self._families: dict[int, tuple[int, Family]] = {}
        self._entries: dict[int, _Entry] = {}
        self._ended: deque[int] = deque()  # ids of children that have gone, until the next call
        self._last_number = 0

    def _open(self) -> None:
        directory, name = self._directory, self._directory.new_name()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._cells_file = os.open(directory.path / f"{name}{CELLS}", flags, directory.file_mode)
        self._journal = Journal(directory.path / f"{name}{NAMES}", directory.file_mode)
        self.worker, self._worker_lock = directory.claim_worker()
        self._process = ["process", os.getpid(), self.worker, time.time()]
        self._journal.append(self._process)
        self._lock = directory.lock_alive(name)
        self.name = name
        self.freshness.start()

    def announce(self, child: Cell) -> None:
        """
        Tell the others that a child is there, if they do not know it yet.

        Raises:
            OSError: The journal cannot be written.
        """
        self._entry(child)

    def cells_for(self, child: Cell, width: int) -> memoryview[float]:
        """
        Return *width* new cells for *child*, all zero, that only this process writes.

        Raises:
            OSError: There is no room on the disk.
        """
        entry = self._entry(child)
        start, view = self._allocate(width)
        self._journal.append(["cells", entry.number, start])
        entry.blocks.append((start, width))
        return view

    def tell_facts(self, child: Cell, facts: Mapping[str, str]) -> None:
        """
        Write down what an Info tells.

        Raises:
            OSError: The journal cannot be written.
        """
        entry = self._entry(child)
        entry.facts = (facts, time.time())
        self._journal.append(["info", entry.number, *entry.facts])
        self._compact()

    def tell_exemplar(self, child: Cell, place: int, exemplar: Exemplar) -> None:
        """
        Write down the latest exemplar of a bucket.

        Raises:
            OSError: The journal cannot be written.
        """
        entry = self._entry(child)
        entry.exemplars[place] = exemplar
        self._journal.append(_exemplar_record(entry, place))
        self._compact()

    def forget(self, child: Cell) -> None:
        """
        Tell the others that a child is no longer shown; its cells stay its own while anybody holds it.

        Raises:
            OSError: The journal cannot be written.
        """
        entry = self._entries.get(id(child))
        if entry is not None and entry.reference() is child and not entry.is_gone:
            entry.is_gone = True
            self._journal.append(["gone", entry.number])

    def keep_fresh(self, child: Cell) -> None:
        """Ask a gauge's function now and then, and write down what it says."""
        self.freshness.add(child)

    def abandon(self) -> None:
        """Let go of all files, as a forked child must: they are its parent's."""
        if self.name:
            self._lock.let_go()
            self._worker_lock.let_go()
            self._journal.close()
            os.close(self._cells_file)

    def _entry(self, child: Cell) -> _Entry:
        if not self.name:
            self._open()
        self._bury()
        entry = self._entries.get(id(child))
        if entry is None:
            family = self._number_of(child._family)
            entry = _Entry(self._new_number(), weakref.ref(child, self._noticer(id(child))))
            self._journal.append(_child_record(entry, child, family))
            entry = self._entries.setdefault(id(child), entry)
        return entry

    def _number_of(self, family: Family) -> int:
        known = self._families.get(id(family))
        if known is None:
            known = self._new_number(), family
            # Written before it is known: a signal handler must not find a number that no reader has seen.
            self._journal.append(_family_record(*known))
            self._families[id(family)] = known
        return known[0]

    def _new_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _noticer(self, key: int) -> Any:
        ended = self._ended  # not self: the callback must not keep a store of before a fork
        return lambda _reference: ended.append(key)

    def _bury(self) -> None:
        while self._ended:
            entry = self._entries.pop(self._ended.popleft())
            if not entry.is_gone:
                self._journal.append(["gone", entry.number])
            now = time.monotonic()
            for start, width in entry.blocks:
                self._free.setdefault(width, deque()).append((now, start))
        self._compact()

    def _allocate(self, width: int) -> tuple[int, memoryview[float]]:
        free = self._free.get(width)
        if free and time.monotonic() - free[0][0] >= _QUARANTINE:
            _, start = free.popleft()
            view = self._view(start, width)
            view[:] = memoryview(bytes(width * CELL)).cast("d")
            return start, view
        if self._next + width > self._length:
            self._next = self._length
            self._grow(-(-width // _SEGMENT) * _SEGMENT)
        start, self._next = self._next, self._next + width
        return start, self._view(start, width)

    def _grow(self, cells: int) -> None:
        """Add a segment; the disk's room is claimed now, for a write into a hole of a full disk would kill us."""
        start, size = self._length * CELL, cells * CELL
        os.posix_fallocate(self._cells_file, start, size)
        mapped = mmap.mmap(self._cells_file, size, mmap.MAP_SHARED, offset=start)
        view: memoryview[Any] = memoryview(mapped)
        self._segments.append((self._length, view.cast("d")))
        self._length += cells

    def _view(self, start: int, width: int) -> memoryview[float]:
        first, view = next((first, view) for first, view in reversed(self._segments) if first <= start)
        return view[start - first : start - first + width]

    def _compact(self) -> None:
        if self._journal.is_long:
            self._journal.rewrite(self._records())

    def _records(self) -> Iterator[list[Any]]:
        yield self._process
        for known in self._families.values():
            yield _family_record(*known)
        for entry in self._entries.values():
            child = entry.reference()
            if child is None or entry.is_gone:
                continue
            yield _child_record(entry, child, self._families[id(child._family)][0])
            yield from (["cells", entry.number, start] for start, _ in entry.blocks)
            if entry.facts is not None:
                yield ["info", entry.number, *entry.facts]
            yield from (_exemplar_record(entry, place) for place in entry.exemplars)


def _family_record(number: int, family: Family) -> list[Any]:
    return ["family", number, family.registry_name, asdict(family.spec), family.max_series]


def _child_record(entry: _Entry, child: Cell, family: int) -> list[Any]:
    return ["child", entry.number, family, child._labelvalues, getattr(child, "_created", 0.0)]


def _exemplar_record(entry: _Entry, place: int) -> list[Any]:
    labels, value, moment = entry.exemplars[place]
    return ["exemplar", entry.number, place, labels, value, moment]
