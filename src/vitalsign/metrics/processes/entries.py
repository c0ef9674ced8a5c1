"""What a process's journal knows of its metrics, and the records that say it."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import weakref
    from collections.abc import Iterator, Mapping

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.cells import Cell
    from vitalsign.metrics.family import Family
    from vitalsign.metrics.storage import Cells

__all__ = ["Entry", "child_record", "exemplar_record", "family_record", "process_record"]


class Entry:
    """What the journal knows of one child."""

    __slots__ = ("blocks", "exemplars", "facts", "is_gone", "number", "reference", "unused")

    def __init__(self, number: int, reference: weakref.ref[Cell], start: int | None, cells: Cells | None) -> None:
        self.number: int = number
        self.reference: weakref.ref[Cell] = reference
        # Where they begin, and how many cells they are; those of the first are for the first thread that writes.
        self.blocks: list[tuple[int, int]] = [] if start is None or cells is None else [(start, len(cells))]
        self.unused: Cells | None = cells
        self.exemplars: dict[int, Exemplar] = {}
        self.facts: tuple[Mapping[str, str], float] | None = None
        self.is_gone: bool = False

    def records(self, child: Cell, family: int) -> Iterator[list[Any]]:
        """Return all that the journal says of it; a signal handler may add to it meanwhile."""
        yield child_record(self, child, family)
        yield from (["cells", self.number, start] for start, _ in list(self.blocks)[1:])
        if self.facts is not None:
            yield ["info", self.number, *self.facts]
        yield from (exemplar_record(self, place) for place in list(self.exemplars))


def process_record(worker: int) -> list[Any]:
    """Tell who writes the journal."""
    return ["process", os.getpid(), worker, time.time()]


def family_record(number: int, family: Family) -> list[Any]:
    """Tell of a metric."""
    return ["family", number, family.registry_name, asdict(family.spec), family.max_series]


def child_record(entry: Entry, child: Cell, family: int) -> list[Any]:
    """Tell of a label set, and where its first cells are."""
    start = entry.blocks[0][0] if entry.blocks else None
    return ["child", entry.number, family, child._labelvalues, getattr(child, "_created", 0.0), start]


def exemplar_record(entry: Entry, place: int) -> list[Any]:
    """Tell the latest exemplar of a bucket."""
    labels, value, moment = entry.exemplars[place]
    return ["exemplar", entry.number, place, labels, float(value), moment]
