"""
Cells that are set rather than added to: gauges, enums, infos. They are rare, and a lock is fine.

When one was set is told by the monotonic clock, which all processes of a machine share, and which nobody sets back.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from vitalsign.metrics import cells
from vitalsign.metrics.cells import Cell
from vitalsign.metrics.shards import LOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vitalsign.metrics.family import Family
    from vitalsign.metrics.storage import Cells, Storage

__all__ = ["FactsCell", "GaugeCell", "ValueCell"]

_HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
_PLAIN = frozenset((float, int) if _HAS_GIL else ())
"""
Types that are added to a number without a lock.

Where one thread runs at a time, it goes on from reading the number to writing the sum back: CPython hands over, and
runs signal handlers, only at calls, at loops and where functions start. Another type's addition may be a call.
"""


class ValueCell(Cell):
    """A value that is set; the last write holds, whoever wrote it."""

    __slots__ = ("_cells", "_home", "_number")

    _cells: Cells  # where processes share metrics: the value, and when it was set
    _home: Storage | None  # where those lie
    _number: float

    def _open(self, family: Family, labelvalues: tuple[str, ...] | None) -> None:
        super()._open(family, labelvalues)
        self._home = None
        self._number = 0.0

    def _put(self, value: float) -> None:
        with LOCK:
            storage = self._storage()
            if storage is None:
                self._number = value
            else:
                cells = self._cells_in(storage)
                cells[0] = value
                cells[1] = time.monotonic()

    def _add(self, amount: float) -> None:
        with LOCK:
            storage = self._storage()
            if storage is None:
                self._number += amount
            else:
                cells = self._cells_in(storage)
                cells[0] += amount
                cells[1] = time.monotonic()

    def _cells_in(self, storage: Storage) -> Cells:
        if self._home is not storage:
            taken = self._take_cells(storage, 2)
            if self._home is not storage:  # no signal handler has come first
                self._cells, self._home = taken, storage
        return self._cells

    def _move_to(self, storage: Storage) -> None:
        cells = self._cells_in(storage)
        if self._number:  # a gauge that was never set has no time of it
            cells[0] = self._number
            cells[1] = time.monotonic()

    def _time_of_write(self) -> float:
        """Return when the value was set, where processes share metrics; 0 if it never was."""
        return self._cells[1] if self._home is not None and self._home is self._storage() else 0.0

    def _read(self) -> float:
        storage = self._storage()
        if storage is None:
            return float(self._number)
        return float(self._cells[0]) if self._home is storage else 0.0


class GaugeCell(ValueCell):
    """A value that goes up and down."""

    __slots__ = ("_function",)

    _function: Callable[[], float] | None

    def _open(self, family: Family, labelvalues: tuple[str, ...] | None) -> None:
        super()._open(family, labelvalues)
        self._function = None

    def inc(self, amount: float = 1) -> None:
        """Add *amount*, which may be negative."""
        if self._labelvalues is None or self._family.is_most_recent:
            self._refuse("inc")
        if cells._storage is None and type(amount) in _PLAIN:
            self._number += amount
        else:
            self._add(amount)

    def dec(self, amount: float = 1) -> None:
        """Subtract *amount*."""
        if self._labelvalues is None or self._family.is_most_recent:
            self._refuse("dec")
        if cells._storage is None and type(amount) in _PLAIN:
            self._number -= amount
        else:
            self._add(-amount)

    def _begin_one(self) -> None:
        """Do what inc() does, sooner: for code of ours that has made sure that the gauge can be added to."""
        if cells._storage is None and _HAS_GIL:
            self._number += 1
        else:
            self._add(1)

    def _end_one(self) -> None:
        """Do so for dec()."""
        if cells._storage is None and _HAS_GIL:
            self._number -= 1
        else:
            self._add(-1)

    def set(self, value: float) -> None:
        """Set the gauge to *value*."""
        if self._labelvalues is None:
            self._check_writable()
        if cells._storage is None:
            self._number = float(value)
        else:
            self._put(float(value))

    def set_function(self, f: Callable[[], float]) -> None:
        """
        Take the value from *f* at each scrape, from whatever thread that runs on; writes no longer show.

        Where many processes share metrics, *f* is also called every few seconds, for those who cannot call it.
        """
        self._check_writable()
        self._function = f
        self._family.asks = True
        storage = self._storage()
        if storage is not None:
            with LOCK:
                storage.keep_fresh(self)

    def _move_to(self, storage: Storage) -> None:
        super()._move_to(storage)
        if self._function is not None:
            storage.keep_fresh(self)

    def _refuse(self, method: str) -> None:
        self._check_writable()
        raise RuntimeError(
            f"{method} must not be used with the mostrecent mode of gauge {self._family.spec.name}: use set."
        )

    def _read(self) -> float:
        function = self._function
        if function is None:
            return super()._read()
        value = float(function())
        if self._storage() is not None:
            self._put(value)  # for the others, who cannot call it
        return value


class FactsCell(Cell):
    """Texts by name; the last ones hold."""

    __slots__ = ("_facts", "_stamp")

    _facts: Mapping[str, str]
    _stamp: float  # when they were told; 0 if never

    def _open(self, family: Family, labelvalues: tuple[str, ...] | None) -> None:
        super()._open(family, labelvalues)
        self._facts = {}
        self._stamp = 0.0

    def _tell_facts(self, facts: Mapping[str, str]) -> None:
        with LOCK:
            self._facts = facts
            self._stamp = time.monotonic()
            storage = self._storage()
            if storage is not None:
                self._tell(storage.tell_facts, facts)

    def _move_to(self, storage: Storage) -> None:
        if self._stamp:
            self._tell(storage.tell_facts, self._facts)

    def _read(self) -> Mapping[str, str]:
        return self._facts
