"""The cells of this process, in a file that outlives it: the kernel keeps the pages of a killed process."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.exemplars import traces_may_come
from vitalsign.metrics.internal import internal_error_later
from vitalsign.metrics.processes.cellsfile import CellsFile
from vitalsign.metrics.processes.directory import CELLS, NAMES
from vitalsign.metrics.processes.entries import Entry, child_record, exemplar_record, family_record, process_record
from vitalsign.metrics.processes.freshness import Freshness
from vitalsign.metrics.processes.journal import Journal
from vitalsign.metrics.processes.merge import width_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.cells import Cell
    from vitalsign.metrics.family import Family
    from vitalsign.metrics.processes.directory import Directory
    from vitalsign.metrics.storage import Cells

__all__ = ["Store"]


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
        self._families: weakref.WeakKeyDictionary[Family, int] = weakref.WeakKeyDictionary()
        self._entries: dict[int, Entry] = {}
        self.freshness: Freshness = Freshness(fresh, self._entries)
        self._ended: deque[int] = deque()  # ids of children that have gone, until the next call
        self._unburied: deque[Entry] = deque()
        self._last_number = 0
        self._is_counting = False  # whether somebody has cells to write to

    def _open_once(self) -> None:
        if self.name and (self._is_counting or self._lock.is_ours):
            return
        # Whoever becomes a daemon closes all descriptors, and the others would take us for dead: a new life begins.
        self._let_go()
        for told in (self._families, self._entries, self._ended, self._unburied):
            told.clear()
        self.name = ""
        self._open()

    def _open(self) -> None:
        directory, name = self._directory, self._directory.new_name()
        with contextlib.ExitStack() as undo:
            undo.callback(directory.remove, name)
            cells = CellsFile(directory.path / f"{name}{CELLS}", directory.file_mode)
            undo.callback(cells.close)
            journal = Journal(directory.path / f"{name}{NAMES}", directory.file_mode)
            undo.callback(journal.close)
            worker, worker_lock = directory.claim_worker()
            undo.callback(worker_lock.let_go)
            journal.append(process_record(worker))
            lock = directory.lock_alive(name)
            undo.callback(lock.let_go)
            if self.name:
                return  # a signal handler has come first
            # Nothing is called in between.
            self._cells, self._journal = cells, journal
            self.worker, self._worker_lock = worker, worker_lock
            self._lock, self.name = lock, name
            undo.pop_all()
        self.freshness.start()

    def appear(self) -> None:
        """Let the others know that this process lives, as well as that can be done."""
        try:
            self._open()
        except Exception as error:  # noqa: BLE001  # the host goes on; the first count tries again
            internal_error_later("processes", error)

    def declare(self, child: Cell) -> None:
        """
        Tell the others that a metric is there, if they do not know it yet.

        Raises:
            OSError: The journal cannot be written.
        """
        self._open_once()
        self._number_of(child._family)

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
        self._is_counting = True
        unused, entry.unused = entry.unused, None  # nothing comes in between
        if unused is not None:
            return unused
        start, view = self._cells.allocate(width)
        try:
            self._journal.append(["cells", entry.number, start])
        except OSError:
            self._cells.put_back(start, width)
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
        entry.facts = (facts, time.monotonic())
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
            self._journal.append(exemplar_record(entry, place))
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
        self._let_go()

    def _let_go(self) -> None:
        if self.name:
            self._lock.let_go()
            self._worker_lock.let_go()
            self._journal.close()
            self._cells.close()

    def _shown(self, child: Cell) -> Entry | None:
        entry = self._entries.get(id(child))
        return entry if entry is not None and entry.reference() is child and not entry.is_gone else None

    def _entry(self, child: Cell) -> Entry:
        self._open_once()
        self._bury()
        known = self._entries.get(id(child))
        if known is not None:
            return known
        family = self._number_of(child._family)
        width = width_of(child._family.spec)
        start, cells = self._cells.allocate(width) if width else (None, None)
        entry = Entry(self._new_number(), weakref.ref(child, self._noticer(id(child))), start, cells)
        try:
            self._journal.append(child_record(entry, child, family))
        except OSError:
            if start is not None:
                self._cells.put_back(start, width)
            raise
        known = self._entries.setdefault(id(child), entry)
        if known is not entry:  # a signal handler has come first
            self._journal.append(["gone", entry.number])
            self._release(entry)
        return known

    def _number_of(self, family: Family) -> int:
        number = self._families.get(family)
        if number is None:
            number = self._new_number()
            # Written before it is known: a signal handler must not find a number that no reader has seen.
            self._journal.append(family_record(number, family))
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

    def _release(self, entry: Entry) -> None:
        for start, width in entry.blocks:
            self._cells.release(start, width)

    def _compact(self) -> None:
        if self._journal.is_long:
            try:
                self._journal.rewrite(self._records)
            except OSError as error:  # the long one is as good
                internal_error_later("processes", error)

    def _records(self) -> Iterator[list[Any]]:
        yield process_record(self.worker)
        for family, number in list(self._families.items()):
            yield family_record(number, family)
        for entry in list(self._entries.values()):
            child = entry.reference()
            if child is None or entry.is_gone:
                continue
            yield from entry.records(child, self._families[child._family])
