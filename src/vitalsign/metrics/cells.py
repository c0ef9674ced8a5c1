"""
Where numbers live: the only module that knows how they are stored.

Every number is a cell and every cell has one writer. A child (one label set of one metric) keeps the cells of the
thread that wrote it first in its own slots, those of further threads in a table by shard. A shard is a thread's
right to write; it outlives its thread: when a thread ends, its shard goes to a pool and the next new thread adopts
it, with what was counted under it. So there are as many shards as threads ever ran at once, an increment takes no
lock and loses nothing, and all cells of a child go when the child goes.
"""

from __future__ import annotations

import _thread
import os
import sys
import time
from bisect import bisect_left
from operator import add
from typing import TYPE_CHECKING, Any

from vitalsign.exceptions import MetricError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.family import Family

__all__ = ["LOCK", "Cell", "CounterCell", "DistributionCell", "GaugeCell"]


def _unpatched(name: str) -> Any:
    """Return the interpreter's own *name* of `_thread`, also where gevent has put a greenlet's in its place."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original("_thread", name) if monkey else getattr(_thread, name)


LOCK = _unpatched("RLock")()
"""
Guards what is rare: new children, first writes, gauges.

Re-entrant, because a signal handler may count while the main thread holds it. Nothing that blocks runs under it.
"""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)


class _Shard:
    """A right to write cells; an identity and nothing else."""

    __slots__ = ()


_free: list[_Shard] = []


class _Holder:
    """Hold a shard for one thread, and give it back when the thread's locals go."""

    __slots__ = ("shard",)

    def __init__(self) -> None:
        try:
            self.shard = _free.pop()
        except IndexError:
            self.shard = _Shard()

    def __del__(self, _give_back: Callable[[_Shard], None] = _free.append) -> None:
        _give_back(self.shard)


class _ThreadLocal(_unpatched("_local")):  # type: ignore[misc]  # the class is looked up at run time
    """Give each operating-system thread its shard at its first use."""

    shard: _Shard

    def __init__(self) -> None:
        self.holder = _Holder()
        self.shard = self.holder.shard


_thread_local = _ThreadLocal()


class Cell:
    """
    Base of every child, and of every metric without labels.

    `_labelvalues` is None for a metric that has label names but no values yet: it cannot be written.
    `_text` keeps the rendered labels between scrapes.
    """

    __slots__ = ("_family", "_labelvalues", "_text")

    _family: Family
    _labelvalues: tuple[str, ...] | None
    _text: Any

    def _open(self, family: Family, labelvalues: tuple[str, ...] | None) -> None:
        self._family = family
        self._labelvalues = labelvalues
        self._text = None

    def _check_writable(self) -> None:
        if self._labelvalues is None:
            spec = self._family.spec
            raise MetricError(
                f"{spec.kind} metric is missing label values: {spec.name} has the labels "
                f"{', '.join(spec.labels)}. Call .labels(...) first."
            )


class CounterCell(Cell):
    """A sum that only grows."""

    __slots__ = ("_created", "_exemplar", "_others", "_owner", "_value")

    _created: float
    _exemplar: Exemplar | None
    _owner: _Shard | None
    _others: dict[_Shard, float] | None
    _value: float

    def _open(self, family: Family, labelvalues: tuple[str, ...] | None) -> None:
        super()._open(family, labelvalues)
        self._exemplar = None
        self._start()

    def _start(self) -> None:
        self._created = time.time()
        self._owner = self._others = None
        self._value = 0.0

    def inc(self, amount: float = 1, exemplar: Mapping[str, str] | None = None) -> None:
        """
        Add *amount*.

        Args:
            amount: Not negative.
            exemplar: Labels of one event that stands for many, such as a trace id; at most 128 characters.

        Raises:
            MetricError: The amount is negative, the exemplar invalid, or label values are missing.
        """
        if amount < 0:
            raise MetricError(
                f"Counters can only be incremented by non-negative amounts, not {amount!r}: "
                f"{self._family.spec.name} counts up. Use a Gauge for what goes down."
            )
        shard = _thread_local.shard
        if self._owner is shard:
            self._value += amount
        else:
            try:
                self._others[shard] += amount  # type: ignore[index]  # None is the miss that the except is for
            except (KeyError, TypeError):
                self._first_write(shard, amount)
        if exemplar:
            self._exemplar = self._family.make_exemplar(exemplar, amount)

    def _first_write(self, shard: _Shard, amount: float) -> None:
        self._check_writable()
        amount = 0.0 + amount  # refuses what is no number before a cell is made for it
        with LOCK:
            if self._owner is None:
                self._owner = shard
                self._value += amount
            elif self._others is None:
                self._others = {shard: amount}
            else:
                self._others[shard] = amount

    def _read(self) -> float:
        others = self._others
        return float(self._value if others is None else sum(list(others.values()), self._value))

    def reset(self) -> None:
        """Start from zero again, as after a restart of the process."""
        self._check_writable()
        with LOCK:
            self._start()


class GaugeCell(Cell):
    """A value that goes up and down; the last write holds, whoever wrote it."""

    __slots__ = ("_function", "_value")

    _function: Callable[[], float] | None
    _value: float

    def _open(self, family: Family, labelvalues: tuple[str, ...] | None) -> None:
        super()._open(family, labelvalues)
        self._function = None
        self._value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Add *amount*, which may be negative."""
        if self._labelvalues is None or self._family.is_most_recent:
            self._refuse("inc")
        with LOCK:
            self._value += amount

    def dec(self, amount: float = 1) -> None:
        """Subtract *amount*."""
        if self._labelvalues is None or self._family.is_most_recent:
            self._refuse("dec")
        with LOCK:
            self._value -= amount

    def set(self, value: float) -> None:
        """Set the gauge to *value*."""
        if self._labelvalues is None:
            self._check_writable()
        value = float(value)
        with LOCK:
            self._value = value

    def _refuse(self, method: str) -> None:
        self._check_writable()
        raise RuntimeError(
            f"{method} must not be used with the mostrecent mode of gauge {self._family.spec.name}: use set."
        )

    def _read(self) -> float:
        function = self._function
        return float(self._value if function is None else function())


class DistributionCell(Cell):
    """
    Observations: how many fell below each bound, and their sum.

    The cells of one thread are a list: one count for each bucket, the last of them for +Inf, then the sum.
    A summary is a distribution whose only bucket is +Inf.
    """

    __slots__ = ("_bounds", "_cells", "_created", "_exemplars", "_others", "_owner")

    _bounds: list[float]
    _cells: list[float]
    _created: float
    _exemplars: dict[int, Exemplar] | None
    _others: dict[_Shard, list[float]] | None
    _owner: _Shard | None

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
            exemplar: Labels of one event that stands for many, such as a trace id; at most 128 characters.

        Raises:
            MetricError: The exemplar is invalid, or label values are missing.
        """
        shard = _thread_local.shard
        if self._owner is shard:
            cells = self._cells
        else:
            try:
                cells = self._others[shard]  # type: ignore[index]  # None is the miss that the except is for
            except (KeyError, TypeError):
                cells = self._first_write(shard)
        cells[-1] += amount
        if (
            amount == amount or not self._bounds
        ):  # NaN alone differs from itself: in no bucket, but in a summary's count
            cells[bisect_left(self._bounds, amount)] += 1
        if exemplar:
            self._keep_exemplar(exemplar, amount)

    def _first_write(self, shard: _Shard) -> list[float]:
        self._check_writable()
        cells = self._family.zero.copy()
        with LOCK:
            if self._owner is None:
                self._cells = cells
                self._owner = shard
            elif self._others is None:
                self._others = {shard: cells}
            else:
                self._others[shard] = cells
        return cells

    def _keep_exemplar(self, exemplar: Mapping[str, str], amount: float) -> None:
        made = self._family.make_exemplar(exemplar, amount)
        if amount == amount:
            with LOCK:
                self._exemplars = {**(self._exemplars or {}), bisect_left(self._bounds, amount): made}

    def _read(self) -> list[float]:
        """Return the counts of the buckets, not cumulated, then the sum."""
        cells, others = self._cells, self._others
        if others is None:
            return cells.copy()
        for more in list(others.values()):
            cells = list(map(add, cells, more))
        return cells
