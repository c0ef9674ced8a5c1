"""Where cells lie that many processes share, as far as cells need to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.cells import Cell

__all__ = ["Cells", "Storage"]


class Cells(Protocol):
    """Numbers side by side: a list, or a view of a file that is mapped."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: int, /) -> float: ...
    def __setitem__(self, place: int, value: float, /) -> None: ...
    def __iter__(self) -> Iterator[float]: ...


class Storage(Protocol):
    """Where cells lie that other processes read too."""

    def declare(self, child: Cell) -> None:
        """Tell the others that the metric of *child* is there."""

    def announce(self, child: Cell) -> None:
        """Tell the others that *child* is there."""

    def cells_for(self, child: Cell, width: int) -> Cells:
        """Return that many cells for *child*, all zero."""

    def tell_facts(self, child: Cell, facts: Mapping[str, str]) -> None:
        """Tell the others what an Info tells."""

    def tell_exemplar(self, child: Cell, place: int, exemplar: Exemplar) -> None:
        """Tell the others the latest exemplar of a bucket."""

    def forget(self, child: Cell) -> None:
        """Tell the others that *child* is no longer shown."""

    def renew(self, child: Cell) -> None:
        """Tell the others that *child* starts from nothing again."""

    def keep_fresh(self, child: Cell) -> None:
        """Ask *child* for its value now and then, since the others cannot."""
