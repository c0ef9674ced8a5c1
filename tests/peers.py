"""Processes that share a directory, played in one process: each has its store, locks and files as a real one has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from vitalsign.metrics.processes.reader import ProcessFiles
from vitalsign.metrics.processes.store import Store
from vitalsign.metrics.processes.view import View
from vitalsign.metrics.registry import name_registry

if TYPE_CHECKING:
    from vitalsign.metrics.processes.directory import Directory

__all__ = ["Peer", "page_of"]

NAME = "peers"


class Peer:
    """One process, as its files show it; end it by `die`."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.store = Store(directory)
        self.registry = CollectorRegistry()
        name_registry(self.registry, NAME)

    def write(self, child: Any, *numbers: float) -> Any:
        """Take cells for *child* and write these numbers into them; returns the cells."""
        cells: Any = self.store.cells_for(child, len(numbers))
        for place, number in enumerate(numbers):
            cells[place] = number
        return cells

    def die(self) -> None:
        """Let go of all locks, as a process that is killed does."""
        self.store.abandon()

    def files(self) -> ProcessFiles:
        """Return what another process reads of this one."""
        files = ProcessFiles(self.directory, self.store.name)
        files.refresh()
        return files


def page_of(view: View | Directory, registry: CollectorRegistry | None = None) -> dict[str, dict[tuple[str, ...], Any]]:
    """Return what a scrape shows: the numbers by metric and label values; a directory is asked by a newcomer."""
    if not isinstance(view, View):
        view = View(view, Store(view))
    families = view.families(registry or CollectorRegistry(), NAME)
    return {family.spec.name: {key: each._read() for key, each in family.series.items()} for family in families}
