"""What ended processes have counted, in one file: it names whom it has swallowed, so that nobody counts twice."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any
from zlib import crc32

from prometheus_client.samples import Exemplar

from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.processes.directory import RETIRED
from vitalsign.metrics.processes.merge import MergedFamily
from vitalsign.metrics.processes.reader import ProcessFiles, spec_from

if TYPE_CHECKING:
    from vitalsign.metrics.catalogue import MetricSpec
    from vitalsign.metrics.processes.directory import Directory

__all__ = ["Retired", "add_files", "fold", "shape_of"]

_NO_STAMP = 0


class Retired:
    """
    The counts of those that have ended.

    Attributes:
        swallowed: Names of the processes that are in it, and whose files, if any are left, must not be read.
        families: What they have counted, by registry and shape.
    """

    def __init__(self) -> None:
        self.swallowed: set[str] = set()
        self.families: dict[tuple[str, MetricSpec], MergedFamily] = {}

    def family(self, registry: str, spec: MetricSpec, max_series: int) -> MergedFamily:
        """Find or make the family of this shape."""
        key = (registry, shape_of(spec))
        family = self.families.get(key)
        if family is None:
            family = self.families[key] = MergedFamily(spec, max_series)
        return family

    @classmethod
    def load(cls, directory: Directory) -> Retired:
        """Read the file; one that cannot be understood is put aside, reported and counted."""
        retired = cls()
        path = directory.path / RETIRED
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return retired
        try:
            checksum, _, text = data.partition(b" ")
            if int(checksum, 16) != crc32(text):
                raise ValueError("its checksum is wrong")  # noqa: TRY301  # it ends with the other ways to be broken
            retired._take(json.loads(text))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            internal_error("processes", ValueError(f"{path} is broken and is put aside: {error}"))
            path.replace(path.with_suffix(".broken"))
            return cls()
        return retired

    def save(self, directory: Directory) -> None:
        """
        Put the file in the place of the one before, in one step.

        Raises:
            OSError: It cannot be written; the one before stays.
        """
        text = json.dumps(
            {
                "swallowed": sorted(self.swallowed),
                "families": [
                    {
                        "registry": registry,
                        "spec": asdict(family.declared),
                        "max_series": family.max_series,
                        "children": [
                            [key, series.numbers, series._created, series.stamp, _plain(series._exemplars)]
                            for key, series in family.series.items()
                        ],
                    }
                    for (registry, _), family in self.families.items()
                ],
            },
            separators=(",", ":"),
        ).encode("ascii")
        temporary = directory.path / f"{RETIRED}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, directory.file_mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"%08x %s" % (crc32(text), text))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(directory.path / RETIRED)

    def _take(self, told: dict[str, Any]) -> None:
        self.swallowed = set(told["swallowed"])
        for each in told["families"]:
            family = self.family(each["registry"], spec_from(each["spec"]), int(each["max_series"]))
            for labels, numbers, created, stamp, exemplars in each["children"]:
                if family.spec.kind == "info":
                    family.add_facts(tuple(labels), dict(numbers[0]), stamp)
                else:
                    family.add(tuple(labels), numbers, created=created, exemplars=_exemplars(exemplars))


def fold(directory: Directory, ended: list[ProcessFiles]) -> None:
    """
    Add what these processes have counted to the retired file, and remove their files.

    The new file replaces the old one before theirs are removed: dying in between neither loses nor doubles anything.
    The caller holds the directory's folding lock.

    Raises:
        OSError: The file cannot be written; nothing has changed then.
    """
    present = set(directory.names())
    retired = Retired.load(directory)
    retired.swallowed &= present  # who has no files left need not be remembered
    for files in ended:
        if files.name in present - retired.swallowed:  # or another process has been faster
            try:
                files.refresh()
            except OSError as error:
                internal_error("processes", error)
                continue
            add_files(retired, files)
            retired.swallowed.add(files.name)
    if retired.swallowed:
        retired.save(directory)
    for name in retired.swallowed:
        directory.remove(name)
    directory.remove_strays()


def add_files(retired: Retired, files: ProcessFiles) -> None:
    """Add what is kept of a process that has ended: not what told of itself while it lived."""
    for told in files.families.values():
        if outlives(told.spec):
            family = retired.family(told.registry, told.spec, told.max_series)
            add_told(family, files, told)


def outlives(spec: MetricSpec) -> bool:
    """Tell whether the metric keeps what an ended process had: counts do, gauges unless they are of the living."""
    if spec.kind == "gauge":
        return spec.mode in ("min", "max", "sum", "mostrecent")
    return spec.kind != "stateset"


def add_told(family: MergedFamily, files: ProcessFiles, told: Any) -> None:
    """Add all that one process has for a metric."""
    for child in told.children.values():
        if family.spec.kind == "info":
            if child.facts is not None:
                family.add_facts(child.labels, *child.facts)
            continue
        family.add(
            child.labels,
            files.numbers(child, family.width),
            created=child.created,
            pid=files.pid,
            exemplars=_exemplars(child.exemplars),
        )


def shape_of(spec: MetricSpec) -> MetricSpec:
    """Return what tells two metrics apart: neither the help text nor the mode does."""
    return replace(spec, help="", mode="")


def _exemplars(told: Any) -> dict[int, Exemplar] | None:
    return {int(place): Exemplar(*exemplar) for place, exemplar in told.items()} if told else None


def _plain(exemplars: dict[int, Exemplar] | None) -> dict[int, tuple[Any, ...]]:
    return {place: tuple(exemplar) for place, exemplar in (exemplars or {}).items()}
