"""One truth for a scrape: this process's own metrics, those of the living, and what the dead have left."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.base import Instrument
from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.patience import ask
from vitalsign.metrics.processes.merge import MergedFamily
from vitalsign.metrics.processes.reader import ProcessFiles
from vitalsign.metrics.processes.retired import Retired, add_told, fold, outlives, shape_of
from vitalsign.metrics.registry import collectors_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vitalsign.metrics.catalogue import MetricSpec
    from vitalsign.metrics.processes.directory import Directory
    from vitalsign.metrics.processes.store import Store

__all__ = ["View", "instruments_of"]


class View:
    """What all processes together have on their shared registries; follows their files from scrape to scrape."""

    def __init__(self, directory: Directory, store: Store) -> None:
        self._directory = directory
        self._store = store
        self._lock = Lock()
        self._files: dict[str, ProcessFiles] = {}
        self._retired: tuple[object, Retired] = None, Retired()
        self._merged: dict[tuple[str, MetricSpec], MergedFamily] = {}

    def families(self, registry: Any, registry_name: str, until: float | None = None) -> list[MergedFamily]:
        """
        Add up the metrics of one registry.

        Args:
            registry: The registry, as this process has it.
            registry_name: The name by which the others know it.
            until: When the time to ask gauges' functions is over, by `time.monotonic()`; None for never.

        Raises:
            OSError: The directory cannot be read.
        """
        with self._lock:
            self._fold_the_dead()
            with self._directory.reading():
                living, dead, retired = self._read_files()
            merged: dict[str, MergedFamily] = {}
            self._add_own(registry, registry_name, merged, until)
            for files in living:
                self._add(files, registry_name, merged, lambda _spec: True)
            for files in dead:
                self._add(files, registry_name, merged, outlives)
            self._add_retired(retired, registry_name, merged)
            return list(merged.values())

    def workers(self) -> list[tuple[int, int]]:
        """Return number and process id of each living worker, as of the last scrape."""
        with self._lock:
            others = [(files.worker, files.pid) for files in self._files.values() if files.is_living]
        return sorted([(self._store.worker, os.getpid()), *others])

    def _fold_the_dead(self) -> None:
        directory = self._directory
        dead = [name for name in directory.names() if name != self._store.name and not directory.is_alive(name)]
        if not dead:
            return
        try:
            with directory.folding() as is_alone:
                if is_alone:
                    fold(
                        directory,
                        [
                            self._files.pop(name) if name in self._files else ProcessFiles(directory, name)
                            for name in dead
                        ],
                    )
        except OSError as error:
            internal_error("processes", error)

    def _read_files(self) -> tuple[list[ProcessFiles], list[ProcessFiles], Retired]:
        directory = self._directory
        retired = self._load_retired()
        names = [name for name in directory.names() if name != self._store.name and name not in retired.swallowed]
        self._files = {name: self._files.get(name) or ProcessFiles(directory, name) for name in names}
        living: list[ProcessFiles] = []
        dead: list[ProcessFiles] = []
        for files in self._files.values():
            files.is_living = directory.is_alive(files.name)  # first: what it counts until it dies is then read
            try:
                files.refresh()
            except OSError as error:
                internal_error("processes", error)
                continue
            (living if files.is_living else dead).append(files)
        return living, dead, retired

    def _load_retired(self) -> Retired:
        mark = self._directory.mark_of_retired()
        if mark is None or mark != self._retired[0]:
            self._retired = mark, Retired.load(self._directory)
        return self._retired[1]

    def _add_own(self, registry: Any, registry_name: str, merged: dict[str, MergedFamily], until: float | None) -> None:
        for instrument in instruments_of(registry):
            family = self._begin(registry_name, instrument.spec, instrument._family.max_series)
            merged[instrument.spec.name] = family
            for child in instrument._children():
                try:
                    _add_child(family, child, until if instrument._family.asks else None)
                except Exception as error:  # noqa: BLE001  # a gauge's function may raise
                    internal_error("collect", error)

    def _add(self, files: ProcessFiles, registry_name: str, merged: dict[str, MergedFamily], counts: Any) -> None:
        for told in list(files.families.values()):
            if told.registry == registry_name and counts(told.spec):
                family = self._place(registry_name, told.spec, told.max_series, merged)
                if family is not None:
                    add_told(family, files, told)

    def _add_retired(self, retired: Retired, registry_name: str, merged: dict[str, MergedFamily]) -> None:
        for (registry, _), held in retired.families.items():
            family = (
                self._place(registry_name, held.declared, held.max_series, merged)
                if registry == registry_name
                else None
            )
            if family is None:
                continue
            for labels, series in held.series.items():
                if family.spec.kind == "info":
                    family.add_facts(labels, series.numbers[0], series.stamp)
                else:
                    family.add(labels, series.numbers, created=series._created, exemplars=series._exemplars)

    def _place(
        self, registry_name: str, spec: MetricSpec, max_series: int, merged: dict[str, MergedFamily]
    ) -> MergedFamily | None:
        """Return the family to add to; None if another shape holds the name: two shapes cannot be added up."""
        family = merged.get(spec.name)
        if family is None:
            family = merged[spec.name] = self._begin(registry_name, spec, max_series)
        elif shape_of(family.declared) != shape_of(spec):
            message = f"processes have declared {spec.name} in two shapes: {family.declared}; {spec}"
            internal_error(f"processes, shape of {spec.name}", ValueError(message))
            return None
        return family

    def _begin(self, registry_name: str, spec: MetricSpec, max_series: int) -> MergedFamily:
        key = (registry_name, shape_of(spec))
        family = self._merged.get(key)
        if family is None or family.declared != spec:
            family = self._merged[key] = MergedFamily(spec, max_series)
        family.begin()
        return family


def instruments_of(registry: Any) -> Iterable[Instrument]:
    """Return our own metrics among the collectors of *registry*."""
    return [each for each in collectors_of(registry) or [] if isinstance(each, Instrument)]


def _add_child(family: MergedFamily, child: Any, until: float | None) -> None:
    kind = family.spec.kind
    if kind == "info":
        if child._stamp:
            family.add_facts(child._labelvalues, child._read(), child._stamp)
        return
    numbers = ask(child, child._read, until)
    if kind in ("gauge", "stateset"):
        numbers = [numbers, child._time_of_write()]
    elif kind == "counter":
        numbers = [numbers]
    family.add(
        child._labelvalues,
        numbers,
        created=getattr(child, "_created", 0.0),
        pid=os.getpid(),
        exemplars=child._held_exemplars(),
    )
