"""One truth for a scrape: this process's own metrics, those of the living, and what the dead have left."""

from __future__ import annotations

import contextlib
import os
from threading import RLock
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.base import Instrument
from vitalsign.metrics.internal import collecting, internal_error
from vitalsign.metrics.patience import ask
from vitalsign.metrics.processes.merge import MergedFamily
from vitalsign.metrics.processes.reader import ProcessFiles
from vitalsign.metrics.processes.retired import Retired, add_told, fold, outlives, shape_of
from vitalsign.metrics.registry import collectors_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vitalsign.metrics.catalogue import MetricSpec
    from vitalsign.metrics.processes.directory import Directory
    from vitalsign.metrics.processes.store import Store

__all__ = ["View", "instruments_of"]


class View:
    """What all processes together have on their shared registries; follows their files from scrape to scrape."""

    def __init__(self, directory: Directory, store: Store) -> None:
        self._directory = directory
        self._store = store
        self._lock = RLock()
        self._is_busy = False
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
            RuntimeError: A signal handler asks in the middle of a scrape.
        """
        merged = self._own(registry, registry_name, until)  # functions of the host's are asked before we lock anything
        with self._alone():
            self._read()
            for files in self._files.values():
                self._add(files, registry_name, merged)
            self._add_retired(registry_name, merged)
            for family in merged.values():
                family.bound()
                self._merged[registry_name, shape_of(family.declared)] = family
        return list(merged.values())

    def workers(self) -> list[tuple[int, int]]:
        """Return number and process id of each living worker, as of the last scrape; who counts nothing is none."""
        with self._alone():
            others = [(files.worker, files.pid) for files in self._files.values() if files.is_living]
        own = [(self._store.worker, os.getpid())] if self._store.name else []
        return sorted([*own, *others])

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock:
            if self._is_busy:
                raise RuntimeError("a signal handler cannot add up the processes' metrics while that is being done")
            self._is_busy = True
            try:
                yield
            finally:
                self._is_busy = False

    def _read(self) -> None:
        try:
            self._fold_the_dead()
            with self._directory.reading():
                self._read_files()
        except OSError as error:  # what was read the last time is better than nothing
            internal_error("processes", error)

    def _fold_the_dead(self) -> None:
        directory = self._directory
        dead = [name for name in directory.names() if name != self._store.name and not directory.is_alive(name)]
        if not dead:
            return
        ended = [self._files.get(name) or ProcessFiles(directory, name) for name in dead]
        try:
            with directory.folding() as is_alone:
                if is_alone:
                    fold(directory, ended)
        except OSError as error:
            internal_error("processes", error)

    def _read_files(self) -> None:
        directory = self._directory
        self._load_retired()
        swallowed = self._retired[1].swallowed
        names = [name for name in directory.names() if name != self._store.name and name not in swallowed]
        self._files = {name: self._files.get(name) or ProcessFiles(directory, name) for name in names}
        for files in self._files.values():
            files.is_living = directory.is_alive(files.name)  # first: what it counts until it dies is then read
            try:
                files.refresh()
            except OSError as error:
                internal_error("processes", error)

    def _load_retired(self) -> None:
        mark = self._directory.mark_of_retired()
        if mark != self._retired[0]:
            try:
                retired = Retired.load(self._directory)
            except ValueError as error:
                internal_error("processes", error)
                retired = Retired()
            self._retired = mark, retired

    def _own(self, registry: Any, registry_name: str, until: float | None) -> dict[str, MergedFamily]:
        merged = {}
        for instrument in instruments_of(registry):
            family = self._begin(registry_name, instrument.spec, instrument._family.max_series)
            merged[instrument.spec.name] = family
            for child in instrument._children():
                try:
                    _add_child(family, child, until if instrument._family.asks else None)
                except Exception as error:  # noqa: BLE001  # a gauge's function may raise
                    internal_error(collecting(instrument), error)
        return merged

    def _add(self, files: ProcessFiles, registry_name: str, merged: dict[str, MergedFamily]) -> None:
        for told in files.families.values():
            is_shown = files.is_living or outlives(told.spec)
            # One without children may be what was unregistered, and its name another metric's now.
            if told.registry == registry_name and told.children and is_shown:
                family = self._place(registry_name, told.spec, told.max_series, merged, is_living=files.is_living)
                if family is not None:
                    add_told(family, files, told)

    def _add_retired(self, registry_name: str, merged: dict[str, MergedFamily]) -> None:
        for (registry, _), held in self._retired[1].families.items():
            if registry == registry_name:
                family = self._place(registry_name, held.declared, held.max_series, merged, is_living=False)
                if family is not None:
                    family.add_all(held)

    def _place(
        self, registry_name: str, spec: MetricSpec, max_series: int, merged: dict[str, MergedFamily], *, is_living: bool
    ) -> MergedFamily | None:
        """
        Return the family to add to; None if another shape holds the name: two shapes cannot be added up.

        That is an error among the living, and the way of things after a release that has changed the shape.
        """
        family = merged.get(spec.name)
        if family is None:
            family = merged[spec.name] = self._begin(registry_name, spec, max_series)
        elif shape_of(family.declared) != shape_of(spec):
            if is_living:
                message = f"processes have declared {spec.name} in two shapes: {family.declared}; {spec}"
                internal_error(f"processes, shape of {spec.name}", ValueError(message))
            return None
        return family

    def _begin(self, registry_name: str, spec: MetricSpec, max_series: int) -> MergedFamily:
        before = self._merged.get((registry_name, shape_of(spec)))
        return MergedFamily(spec, max_series, before if before is not None and before.declared == spec else None)


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
