"""The cells of this process, in a file that outlives it: the kernel keeps the pages of a killed process."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import time
import weakref
from collections import deque
from dataclasses import asdict
from math import inf
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.exemplars import traces_may_come
from vitalsign.metrics.internal import internal_error_later
from vitalsign.metrics.processes.directory import CELLS, NAMES, open_file
from vitalsign.metrics.processes.freshness import Freshness
from vitalsign.metrics.processes.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.cells import Cell
    from vitalsign.metrics.family import Family
    from vitalsign.metrics.processes.directory import Directory
    from vitalsign.metrics.storage import Cells

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

    Nothing is created before the first metric needs it. Every method is called under `shards.LOCK`, except the
    callback by which a child's end is noticed.

    Attributes:
        name: Of this process in the directory; empty until it has files there.
        worker: Its number among the living.
    """

    def __init__(self, directory: Directory, fresh: Iterable[Cell] = ()) -> None:
        """Prepare; *fresh* are the gauges whose functions were asked in the process that this one was forked from."""
        self.name: str = ""
        self.worker: int = 0
        self._directory = directory
        self._length = 0  # cells in the file
        self._segments: list[tuple[int, memoryview[float]]] = []  # where each begins
        self._next = 0
        self._free: dict[int, deque[tuple[float, int]]] = {}  # by size: since when, where
        self._families: weakref.WeakKeyDictionary[Family, int] = weakref.WeakKeyDictionary()
        self._entries: dict[int, _Entry] = {}
        self.freshness: Freshness = Freshness(fresh, self._entries)
        self._ended: deque[int] = deque()  # ids of children that have gone, until the next call
        self._unburied: deque[_Entry] = deque()
        self._last_number = 0

    def _open(self) -> None:
        directory, name = self._directory, self._directory.new_name()
        with contextlib.ExitStack() as undo:
            undo.callback(directory.remove, name)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            cells_file = open_file(directory.path / f"{name}{CELLS}", flags, directory.file_mode)
            undo.callback(os.close, cells_file)
            journal = Journal(directory.path / f"{name}{NAMES}", directory.file_mode)
            undo.callback(journal.close)
            worker, worker_lock = directory.claim_worker()
            undo.callback(worker_lock.let_go)
            journal.append(_process_record(worker))
            lock = directory.lock_alive(name)
            undo.callback(lock.let_go)
            if self.name:
                return  # a signal handler has come first
            # Nothing is called in between.
            self._cells_file, self._journal = cells_file, journal
            self.worker, self._worker_lock = worker, worker_lock
            self._lock, self.name = lock, name
            undo.pop_all()
        self.freshness.start()

    def announce(self, child: Cell) -> None:
        """
        Tell the others that a child is there, if they do not know it yet.

        Raises:
            OSError: The journal cannot be written.
        """
        self._entry(child)

    def cells_for(self, child: Cell, width: int) -> Cells:
        """
        Return *width* new cells for *child*, all zero, that only this process writes.

        Raises:
            OSError: There is no room on the disk.
        """
        entry = self._entry(child)
        if entry.is_gone:  # nobody is shown what is counted in it
            return [0.0] * width
        start, view = self._allocate(width)
        try:
            self._journal.append(["cells", entry.number, start])
        except OSError:
            self._free.setdefault(width, deque()).appendleft((-inf, start))
            raise
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
        if not entry.is_gone:
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
        if not entry.is_gone:
            self._journal.append(_exemplar_record(entry, place))
            self._compact()
        if traces_may_come():
            self.freshness.look_out()

    def forget(self, child: Cell) -> None:
        """
        Tell the others that a child is no longer shown; its cells stay its own while anybody holds it.

        Raises:
            OSError: The journal cannot be written.
        """
        entry = self._shown(child)
        if entry is not None:
            self._journal.append(["gone", entry.number])
            entry.is_gone = True

    def renew(self, child: Cell) -> None:
        """
        Tell the others that a child starts from nothing again, in other cells; not if it is no longer shown.

        Raises:
            OSError: The journal cannot be written.
        """
        entry = self._shown(child)
        if entry is not None:
            self._journal.append(["gone", entry.number])
            del self._entries[id(child)]
            self._release(entry)
            self._entry(child)

    def keep_fresh(self, child: Cell) -> None:
        """Ask a gauge's function now and then, and write down what it says."""
        self.freshness.add(child)

    def abandon(self) -> None:
        """Let go of all files, as a forked child must: they are its parent's."""
        self._directory.let_go()
        if self.name:
            self._lock.let_go()
            self._worker_lock.let_go()
            self._journal.close()
            with contextlib.suppress(OSError):  # a process that has become a daemon may have closed it
                os.close(self._cells_file)

    def _shown(self, child: Cell) -> _Entry | None:
        entry = self._entries.get(id(child))
        return entry if entry is not None and entry.reference() is child and not entry.is_gone else None

    def _entry(self, child: Cell) -> _Entry:
        if not self.name:
            self._open()
        self._bury()
        known = self._entries.get(id(child))
        if known is not None:
            return known
        family = self._number_of(child._family)
        entry = _Entry(self._new_number(), weakref.ref(child, self._noticer(id(child))))
        self._journal.append(_child_record(entry, child, family))
        known = self._entries.setdefault(id(child), entry)
        if known is not entry:  # a signal handler has come first
            self._journal.append(["gone", entry.number])
        return known

    def _number_of(self, family: Family) -> int:
        number = self._families.get(family)
        if number is None:
            number = self._new_number()
            # Written before it is known: a signal handler must not find a number that no reader has seen.
            self._journal.append(_family_record(number, family))
            self._families[family] = number
        return number

    def _new_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _noticer(self, key: int) -> Any:
        ended = self._ended  # not self: the callback must not keep a store of before a fork
        return lambda _reference: ended.append(key)

    def _bury(self) -> None:
        """Forget the children that have ended. A signal handler that comes in between finds another one to bury."""
        while self._ended:
            self._unburied.append(self._entries.pop(self._ended.popleft()))
        while self._unburied:
            entry = self._unburied.popleft()
            if not entry.is_gone:
                try:
                    self._journal.append(["gone", entry.number])
                except OSError:
                    self._unburied.appendleft(entry)
                    raise
            self._release(entry)
        self._compact()

    def _release(self, entry: _Entry) -> None:
        now = time.monotonic()
        for start, width in entry.blocks:
            self._free.setdefault(width, deque()).append((now, start))

    def _allocate(self, width: int) -> tuple[int, memoryview[float]]:
        # Signal handlers allocate too; between calls nothing comes in between.
        free = self._free.get(width)
        if free:
            since, start = free.popleft()
            if time.monotonic() - since >= _QUARANTINE:
                view = self._view(start, width)
                view[:] = memoryview(bytes(width * CELL)).cast("d")
                return start, view
            free.appendleft((since, start))
        while self._next + width > self._length:
            self._next = self._length
            self._grow(width)
        start, self._next = self._next, self._next + width
        return start, self._view(start, width)

    def _grow(self, width: int) -> None:
        """Add a segment; the disk's room is claimed now, for a write into a hole of a full disk would kill us."""
        # In step with what there is, since each segment keeps a descriptor of the file.
        start, cells = self._length, -(-max(width, self._length // 4) // _SEGMENT) * _SEGMENT
        _claim(self._cells_file, start * CELL, cells * CELL)
        try:
            mapped = mmap.mmap(self._cells_file, cells * CELL, mmap.MAP_SHARED, offset=start * CELL)
        except ValueError as error:
            raise OSError(errno.EIO, f"somebody has cut off the file of cells: {error}") from error
        view: memoryview[Any] = memoryview(mapped)
        segment = start, view.cast("d")
        if self._length == start:  # no signal handler has been here
            self._segments = [*self._segments, segment]
            self._length = start + cells

    def _view(self, start: int, width: int) -> memoryview[float]:
        first, view = next((first, view) for first, view in reversed(self._segments) if first <= start)
        return view[start - first : start - first + width]

    def _compact(self) -> None:
        if self._journal.is_long:
            try:
                self._journal.rewrite(self._records)
            except OSError as error:  # the long one is as good
                internal_error_later("processes", error)

    def _records(self) -> Iterator[list[Any]]:
        yield _process_record(self.worker)
        for family, number in list(self._families.items()):
            yield _family_record(number, family)
        for entry in list(self._entries.values()):
            child = entry.reference()
            if child is None or entry.is_gone:
                continue
            yield _child_record(entry, child, self._families[child._family])
            yield from (["cells", entry.number, start] for start, _ in list(entry.blocks))
            if entry.facts is not None:
                yield ["info", entry.number, *entry.facts]
            yield from (_exemplar_record(entry, place) for place in list(entry.exemplars))


def _claim(file: int, start: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, start, size)
    elif os.pwrite(file, bytes(size), start) != size:
        raise OSError(errno.ENOSPC, "there is no room for more cells")


def _process_record(worker: int) -> list[Any]:
    return ["process", os.getpid(), worker, time.time()]


def _family_record(number: int, family: Family) -> list[Any]:
    return ["family", number, family.registry_name, asdict(family.spec), family.max_series]


def _child_record(entry: _Entry, child: Cell, family: int) -> list[Any]:
    return ["child", entry.number, family, child._labelvalues, getattr(child, "_created", 0.0)]


def _exemplar_record(entry: _Entry, place: int) -> list[Any]:
    labels, value, moment = entry.exemplars[place]
    return ["exemplar", entry.number, place, labels, float(value), moment]
