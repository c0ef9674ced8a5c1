"""The state of a process that shares its metrics: where, what it has counted there, what all have together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from vitalsign.metrics import cells, shards
from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.processes.foreign import foreign_sources
from vitalsign.metrics.processes.reader import living
from vitalsign.metrics.processes.store import Store
from vitalsign.metrics.processes.view import View, instruments_of
from vitalsign.metrics.registry import shared_name
from vitalsign.metrics.samples import LazyMetric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from vitalsign.metrics.processes.directory import Directory

__all__ = ["Sharing"]


class Sharing:
    """
    The directory that this process shares its metrics in; a forked child has a store and a view of its own there.

    Attributes:
        directory: The directory.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._begin()
        os.register_at_fork(after_in_child=self._begin_in_child)

    def take_along(self, registries: Iterable[CollectorRegistry], *, known_too: bool) -> None:
        """Share what has been counted so far; on registries that are shared already, only if they are *known_too*."""
        for registry in list(registries):
            for instrument in instruments_of(registry):
                if known_too or not instrument._family.is_shared:
                    instrument._family.registry_name = shared_name(registry)
                    for child in instrument._children():
                        child._move_to(self._store)

    def sources(
        self, registry: Any, name: str, collectors: Iterable[Any], until: float | None
    ) -> list[Callable[[], Iterable[Metric]]]:
        """Return what gives the metrics of a page: first what all processes have together, then what is not ours."""

        def together() -> list[Metric]:
            families = self._view.families(registry, name, until)
            return [LazyMetric(family, list(family.series.values())) for family in families]

        return [together, *foreign_sources(collectors, self.workers)]

    def workers(self) -> list[tuple[int, int]]:
        """Return number and process id of each living process that has metrics, or is the child of one."""
        try:
            return living(self.directory)
        except OSError as error:
            internal_error("processes", error)
            return []

    def _begin(self, fresh: Iterable[cells.Cell] = ()) -> None:
        self._store = Store(self.directory, fresh)
        self._view = View(self.directory, self._store)
        cells.use_storage(self._store)

    def _begin_in_child(self) -> None:
        parent = self._store
        parent.abandon()
        self._begin(parent.freshness.gauges)
        if parent.name:  # a worker is one as soon as it lives, not only when it counts
            with shards.LOCK:
                self._store.appear()
