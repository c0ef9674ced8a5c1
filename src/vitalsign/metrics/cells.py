"""
Where numbers live: the only module that knows how they are stored.

Every number is a cell and every cell has one writer. A child (one label set of one metric) keeps the cells of the
thread that wrote it first in its own slots, those of further threads in a table by shard. So an increment takes no
lock and loses nothing, and all cells of a child go when the child goes.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from vitalsign.exceptions import MetricError
from vitalsign.metrics.exemplars import Lookout, trace_labels, traces_may_come
from vitalsign.metrics.internal import internal_error_later
from vitalsign.metrics.shards import LOCK, Shard, ThreadLocal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.family import Family
    from vitalsign.metrics.storage import Cells, Storage

__all__ = ["Cell", "CounterCell", "DistributionCell", "use_storage"]

_SUMMARY_CELLS = 2


_storage: Storage | None = None
_thread_local = ThreadLocal([], None)


def use_storage(storage: Storage | None) -> None:
    """
    Let the cells of shared metrics lie in *storage* from now on.

    Every thread gets a new shard, so each child finds at its next write that its cells are of another storage. That
    makes a fork cheap: nothing is done for a child until it is written.
    """
    global _storage, _thread_local  # looked up at each write; an attribute would cost there
    with LOCK:
        _storage = storage
        _thread_local = ThreadLocal([], storage)
        if storage is not None:
            # Set on the class: so counters pay for this possibility only where many processes share them.
            CounterCell.inc = CounterCell._inc_shared  # type: ignore[method-assign]


class Cell:
    """
    Base of every child, and of every metric without labels.

    `_labelvalues` is None for a metric that has label names but no values yet: it cannot be written.
    `_text` keeps the rendered labels between scrapes.
    """

    __slots__ = ("__weakref__", "_family", "_labelvalues", "_text")

    _family: Family
    _labelvalues: tuple[str, ...] | None
    _text: Any

    def _open(self, family: Family, labelvalues: tuple[str, ...] | None) -> None:
        self._family = family
        self._labelvalues = labelvalues
        self._text = None

    def _storage(self) -> Storage | None:
        """Return where the cells of this metric lie if other processes read them too."""
        return _storage if self._family.is_shared else None

    def _held_exemplars(self) -> Mapping[int, Exemplar] | None:
        """Return the exemplars by bucket; a counter's only one is at 0."""
        return None

    def _look_out(self) -> None:
        """Let the next writes look for a trace whose ids they can bear; most kinds of metrics have no place for one."""

    def _move_to(self, storage: Storage) -> None:
        """Take what has been counted in this process alone along to *storage*."""
        raise NotImplementedError

    def _announce(self) -> None:
        storage = self._storage()
        if storage is not None:
            with LOCK:
                self._tell(storage.declare if self._labelvalues is None else storage.announce)

    def _withdraw(self) -> None:
        storage = self._storage()
        if storage is not None:
            with LOCK:
                self._tell(storage.forget)

    def _is_of_other_storage(self, shards: Iterable[Shard]) -> bool:
        """Tell whether what was counted is shared, and by the process from which this one was forked."""
        storage = self._storage()
        if storage is None:
            return False
        first, *_ = shards  # in one step: another thread, or a signal handler, may add to them meanwhile
        return first.storage is not storage

    def _tell(self, tell: Callable[..., None], *what: object) -> None:
        """Tell the other processes; that they do not get to know must not keep this one from going on."""
        try:
            tell(self, *what)
        except Exception as error:  # noqa: BLE001  # whatever it is, the host goes on
            internal_error_later("processes", error)

    def _take_cells(self, storage: Storage, width: int) -> Cells:
        """Take cells from *storage*; where it is full, this process's own memory keeps what is counted."""
        try:
            return storage.cells_for(self, width)
        except Exception as error:  # noqa: BLE001  # whatever it is, the host goes on
            internal_error_later("processes", error)
            return [0.0] * width

    def _check_writable(self) -> None:
        if self._labelvalues is None:
            spec = self._family.spec
            raise MetricError(
                f"{spec.kind} metric is missing label values: {spec.name} has the labels "
                f"{', '.join(spec.labels)}. Call .labels(...) first."
            )


class _SharedOut(Cell):
    """
    Base of what each thread has cells of its own in: the owner in slots of the child, others in a table.

    While the child looks for a trace, a Lookout stands in place of both. Who has read one of them before goes on
    writing to the same cells as ever, so nothing is lost when that changes. Who changes it does so under LOCK; but a
    signal handler that has come in between, to which the lock is open, puts none up under the hands of who is at work.
    """

    __slots__ = ("_others", "_owner")

    _owner: Any  # a Shard, or None; or a Lookout
    _others: Any  # a dict from Shard, or None; or a Lookout

    def _look_out(self) -> None:
        if LOCK._is_owned():
            return
        with LOCK:
            if self._others.__class__ is Lookout:
                self._others.begin()
            elif self._family.places and (self._owner is not None or self._others is not None):
                self._put_in_place(Lookout())

    def _put_in_place(self, lookout: Lookout) -> None:
        # No calls in here: in between, signal handlers could write.
        lookout.owner, lookout.others = self._owner, self._others
        self._owner = self._others = lookout

    def _take_away(self) -> Lookout | None:
        lookout = self._others
        if lookout.__class__ is not Lookout:
            return None
        self._owner, self._others = lookout.owner, lookout.others  # no calls, as above
        return lookout

    def _trace_for(self, place: int) -> Mapping[str, str] | None:
        """Return the exemplar of the present trace, on the slow way of a write, if one is wanted at *place*."""
        others = self._others
        is_new = others.__class__ is not Lookout
        is_wanted = (self._family.places and traces_may_come()) if is_new else others.wants(place)
        return trace_labels() if is_wanted else None

    def _go_on_looking(self, lookout: Lookout | None, place: int, *, is_found: bool) -> None:
        """Let the next writes look for a trace too, after the slow way of a write, unless it has been long enough."""
        places = self._family.places
        if lookout is None and places and traces_may_come():
            lookout = Lookout()  # a child or thread that is new begins with one
        if lookout is not None and lookout.note(place, is_found=is_found, places=places):
            self._put_in_place(lookout)

    def _bear_no_traces(self) -> None:
        """Look for no trace in any child of this metric; exemplars that are given stay welcome."""
        self._family.places = 0

    def _all_others(self) -> dict[Shard, Any] | None:
        others = self._others
        return others.others if others.__class__ is Lookout else others  # type: ignore[no-any-return]  # as above


class CounterCell(_SharedOut):
    """A sum that only grows."""

    __slots__ = ("_created", "_exemplar", "_number")

    _created: float
    _exemplar: Exemplar | None
    _number: float  # the owner's; others have a number each or, where processes share metrics, a cell

    def _open(self, family: Family, labelvalues: tuple[str, ...] | None) -> None:
        super()._open(family, labelvalues)
        self._exemplar = None
        self._start()

    def _start(self) -> None:
        self._created = time.time()
        self._owner = self._others = None
        self._number = 0.0

    def inc(self, amount: float = 1, exemplar: Mapping[str, str] | None = None) -> None:
        """
        Add *amount*.

        Args:
            amount: Not negative.
            exemplar: Labels of one event that stands for many, such as a trace id; at most 128 characters. One that
                no page can show is dropped, and counted as such.

        Raises:
            MetricError: The amount is negative, or label values are missing.
        """
        if amount < 0:
            self._refuse_negative(amount)
        shard = _thread_local.shard
        if self._owner is shard:
            self._number += amount
        else:
            try:
                self._others[shard] += amount  # None, or a lookout, is the miss that the except is for
            except (KeyError, TypeError):
                exemplar = self._first_write(amount, exemplar)
        if exemplar:
            self._keep_exemplar(exemplar, amount)

    def _inc_shared(self, amount: float = 1, exemplar: Mapping[str, str] | None = None) -> None:
        """Add *amount*, where many processes share metrics; takes the place of `inc`."""
        try:
            if amount >= 0 and exemplar is None:
                self._others[_thread_local.shard][0] += amount
                return
        except (KeyError, TypeError):
            pass
        if amount < 0:
            self._refuse_negative(amount)
        exemplar = self._first_write(amount, exemplar)
        if exemplar:
            self._keep_exemplar(exemplar, amount)

    def _refuse_negative(self, amount: float) -> None:
        raise MetricError(
            f"Counters can only be incremented by non-negative amounts, not {amount!r}: "
            f"{self._family.spec.name} counts up. Use a Gauge for what goes down."
        )

    def _first_write(self, amount: float, exemplar: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """Write where there is no cell yet, or none by the way that the caller knows; return the exemplar to keep."""
        self._check_writable()
        amount = 0.0 + amount  # refuses what is no number before a cell is made for it
        exemplar = exemplar or self._trace_for(0)
        is_nested = LOCK._is_owned()
        with LOCK:
            lookout = self._take_away()
            shard = _thread_local.shard
            storage = self._storage()
            if storage is None and self._owner in (None, shard):
                self._owner = shard
                self._number += amount
            elif _storage is None:
                self._keep_cell(shard, 0.0)  # alone in its process, a number is its own cell
                self._others[shard] += amount
            else:
                others = self._others
                if others is None or shard not in others:
                    cells = [0.0] if storage is None else self._take_cells(storage, 1)
                    self._keep_cell(shard, cells)
                self._others[shard][0] += amount
            if not is_nested:
                self._go_on_looking(lookout, 0, is_found=bool(exemplar))
        return exemplar

    def _keep_cell(self, shard: Shard, cell: Any) -> None:
        """Keep a cell, unless a signal handler has come first; what a parent process had is left to it."""
        others = self._others
        is_stale = others is None or self._is_of_other_storage(others)
        if is_stale and self._others is others:
            self._others = {shard: cell}  # never empty: its first shard tells whose it is
        else:
            self._others.setdefault(shard, cell)

    def _move_to(self, storage: Storage) -> None:
        value = self._added_up()
        self._owner, self._number = None, 0.0
        cells = self._take_cells(storage, 1)
        cells[0] = value
        self._others = {Shard(storage): cells}
        if self._exemplar is not None:
            self._tell(storage.tell_exemplar, 0, self._exemplar)

    def _keep_exemplar(self, exemplar: Mapping[str, str], amount: float) -> None:
        made = self._family.make_exemplar(exemplar, amount)
        if made is None:
            return
        self._exemplar = made
        storage = self._storage()
        if storage is not None:
            with LOCK:
                self._tell(storage.tell_exemplar, 0, made)

    def _read(self) -> float:
        others = self._all_others()
        if others is not None and _storage is not None and self._is_of_other_storage(others):
            return 0.0
        return self._added_up()

    def _added_up(self) -> float:
        others = self._all_others()
        if others is None:
            return float(self._number)
        cells = list(others.values())
        if _storage is None:
            return float(sum(cells, self._number))
        return float(sum((cell if isinstance(cell, float) else cell[0] for cell in cells), self._number))

    def _held_exemplars(self) -> Mapping[int, Exemplar] | None:
        return {0: self._exemplar} if self._exemplar else None

    def reset(self) -> None:
        """Start from zero again, as after a restart of the process; only this process's part where many share it."""
        self._check_writable()
        with LOCK:
            storage = self._storage()
            if storage is not None:
                self._tell(storage.renew)
            self._start()


class DistributionCell(_SharedOut):
    """
    Observations: how many fell below each bound, and their sum.

    The cells of one thread are a list: the sum, then one count for each bucket, the last of them for +Inf.
    A summary is a distribution whose only bucket is +Inf. The bounds have -Inf before them, so that a bucket's place
    among the cells is what bisection finds, and nothing is found for NaN.
    """

    __slots__ = ("_bounds", "_cells", "_created", "_exemplars")

    _bounds: list[float]
    _cells: Cells  # the owner's
    _created: float
    _exemplars: dict[int, Exemplar] | None

    def _open(self, family: Family, labelvalues: tuple[str, ...] | None) -> None:
        super()._open(family, labelvalues)
        self._bounds = family.bounds
        self._cells = family.zero
        self._created = time.time()
        self._owner = self._others = self._exemplars = None

    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        """
        Record one observation. NaN is added to the sum, and counted in no bucket of a histogram.

        Args:
            amount: In the metric's base unit.
            exemplar: Labels of one event that stands for many, such as a trace id; at most 128 characters. One that
                no page can show is dropped, and counted as such.

        Raises:
            MetricError: Label values are missing.
        """
        shard = _thread_local.shard
        if self._owner is shard:
            cells = self._cells
        else:
            try:
                cells = self._others[shard]  # None, or a lookout, is the miss that the except is for
            except (KeyError, TypeError):
                cells, exemplar = self._first_write(amount, exemplar)
        cells[0] += amount
        place = bisect_left(self._bounds, amount)
        if place:
            cells[place] += 1
        else:
            self._count_unordered(cells, amount)
        if exemplar:
            self._keep_exemplar(exemplar, amount)

    def _count_unordered(self, cells: Cells, amount: float) -> None:
        """Count -Inf, in the first bucket, or NaN, in a summary's count alone."""
        if amount == amount or len(cells) == _SUMMARY_CELLS:
            cells[1] += 1

    def _first_write(self, amount: float, exemplar: Mapping[str, str] | None) -> tuple[Cells, Mapping[str, str] | None]:
        """Return the cells to write to, by whatever way they are found, and the exemplar to keep."""
        self._check_writable()
        place = self._bucket_of(amount)
        exemplar = exemplar or self._trace_for(place)
        is_nested = LOCK._is_owned()
        with LOCK:
            lookout = self._take_away()
            cells = self._cells_of(_thread_local.shard)
            if not is_nested:
                self._go_on_looking(lookout, place, is_found=bool(exemplar))
        return cells, exemplar

    def _cells_of(self, shard: Shard) -> Cells:
        if self._owner is shard:
            return self._cells
        if self._others is not None and shard in self._others:
            return self._others[shard]  # type: ignore[no-any-return]
        storage, zero, owner = self._storage(), self._family.zero, self._owner
        is_free = owner is None or self._is_of_other_storage([owner])
        cells = zero.copy() if storage is None else self._take_cells(storage, len(zero))
        if is_free and self._owner is owner:  # no signal handler has come first
            self._others = None
            self._cells = cells
            self._owner = shard
        elif self._owner is shard:
            return self._cells
        elif self._others is None:
            self._others = {shard: cells}
        else:
            return self._others.setdefault(shard, cells)  # type: ignore[no-any-return]
        return cells

    def _move_to(self, storage: Storage) -> None:
        numbers = self._added_up()
        self._cells = self._take_cells(storage, len(numbers))
        for place, number in enumerate(numbers):
            self._cells[place] = number
        self._owner, self._others = Shard(storage), None
        for place, exemplar in (self._exemplars or {}).items():
            self._tell(storage.tell_exemplar, place, exemplar)

    def _keep_exemplar(self, exemplar: Mapping[str, str], amount: float) -> None:
        made = self._family.make_exemplar(exemplar, amount)
        if made is None or amount != amount:
            return
        place = self._bucket_of(amount)
        with LOCK:
            self._exemplars = {**(self._exemplars or {}), place: made}
            storage = self._storage()
            if storage is not None:
                self._tell(storage.tell_exemplar, place, made)

    def _bucket_of(self, amount: float) -> int:
        """Return the number of the bucket of *amount*, from 0."""
        return max(bisect_left(self._bounds, amount) - 1, 0)

    def _held_exemplars(self) -> Mapping[int, Exemplar] | None:
        return self._exemplars

    def _read(self) -> list[float]:
        """Return the sum, then the counts of the buckets, not cumulated."""
        owner = self._owner
        if owner is None or self._is_of_other_storage([owner]):
            return self._family.zero.copy()
        return self._added_up()

    def _added_up(self) -> list[float]:
        cells, others = self._cells, self._all_others()
        if others is None:
            return list(cells)
        return list(map(sum, zip(cells, *list(others.values()), strict=True)))
