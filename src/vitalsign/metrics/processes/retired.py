"""What ended processes have counted, in one file: it names whom it has swallowed, so that nobody counts twice."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from stat import S_ISREG
from typing import TYPE_CHECKING, Any
from zlib import crc32

from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.processes.descriptors import read_part
from vitalsign.metrics.processes.directory import BROKEN, RETIRED
from vitalsign.metrics.processes.merge import MergedFamily
from vitalsign.metrics.processes.told import (
    NONSENSE,
    bound_from,
    exemplar_from,
    labels_from,
    numbers_from,
    spec_from,
    texts_from,
)

if TYPE_CHECKING:
    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.catalogue import MetricSpec
    from vitalsign.metrics.processes.directory import Directory
    from vitalsign.metrics.processes.reader import ProcessFiles, ToldFamily

__all__ = ["Retired", "add_told", "fold", "outlives", "shape_of"]

_MAX_SIZE = 1 << 30  # bytes: a gibibyte of counts is none of ours, and would fill our memory


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
        """
        Read the file; nothing is retired if there is none.

        Raises:
            OSError: It cannot be read.
            ValueError: It cannot be understood.
        """
        retired = cls()
        try:
            path = directory.path / RETIRED
            status = path.lstat()
            if not S_ISREG(status.st_mode) or status.st_size > _MAX_SIZE:
                raise ValueError("it is no file, or longer than any of ours")
            checksum, _, text = read_part(path).partition(b" ")
            if int(checksum, 16) != crc32(text):
                raise ValueError("its checksum is wrong")
            retired._take(json.loads(text))
        except FileNotFoundError:
            return retired
        except (*NONSENSE, MemoryError, RecursionError) as error:
            raise ValueError(f"{directory.path / RETIRED} is broken: {error!r}") from error
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
        # Not forced to the disk: if the machine ends, so does what the file is about.
        directory.replace(RETIRED, b"%08x %s" % (crc32(text), text))

    def _take(self, told: dict[str, Any]) -> None:
        self.swallowed = set(told["swallowed"])
        for each in told["families"]:
            spec = spec_from(each["spec"])
            family = self.family(str(each["registry"]), spec, bound_from(each["max_series"]))
            for labels, numbers, created, stamp, exemplars in each["children"]:
                key = labels_from(labels, spec)
                if spec.kind == "info":
                    family.add_facts(key, texts_from(numbers[0]), float(stamp))
                else:
                    told_exemplars = {
                        int(place): exemplar_from(int(place), exemplar, spec) for place, exemplar in exemplars.items()
                    }
                    counted = numbers_from(numbers, family.width)
                    family.add(key, counted, created=float(created), exemplars=told_exemplars)


def fold(directory: Directory, ended: list[ProcessFiles]) -> None:
    """
    Add what these processes have counted to the retired file, and remove their files.

    The new file replaces the old one before theirs are removed: dying in between neither loses nor doubles anything.
    The caller holds the directory's folding lock.

    Raises:
        OSError: The file cannot be written; nothing has changed then.
    """
    present = set(directory.names())
    retired = _load_or_set_aside(directory)
    retired.swallowed &= present  # who has no files left need not be remembered
    for files in ended:
        if files.name in present - retired.swallowed:  # or another process has been faster
            try:
                files.refresh()
            except OSError as error:
                internal_error("processes", error)
                continue
            _add_files(retired, files)
            retired.swallowed.add(files.name)
    if retired.swallowed:
        for family in retired.families.values():
            family.bound()
        retired.save(directory)
    for name in retired.swallowed:
        directory.remove(name)
    directory.remove_strays()


def _load_or_set_aside(directory: Directory) -> Retired:
    try:
        return Retired.load(directory)
    except ValueError as error:
        internal_error("processes", error)
        (directory.path / RETIRED).replace(directory.path / BROKEN)
        return Retired()


def _add_files(retired: Retired, files: ProcessFiles) -> None:
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


def add_told(family: MergedFamily, files: ProcessFiles, told: ToldFamily) -> None:
    """Add all that one process has for a metric."""
    children = told.children.values()
    if family.spec.kind == "info":
        for child in children:
            if child.facts is not None:
                family.add_facts(child.labels, *child.facts)
        return
    add, numbers, width, pid = family.add, files.numbers, family.width, files.pid
    for child in children:  # by position: this is most of the work of a scrape
        add(child.labels, numbers(child, width), child.created, pid, child.exemplars)


def shape_of(spec: MetricSpec) -> MetricSpec:
    """Return what tells two metrics apart: neither the help text nor the mode does."""
    return replace(spec, help="", mode="")


def _plain(exemplars: dict[int, Exemplar] | None) -> dict[int, tuple[Any, ...]]:
    return {place: tuple(exemplar) for place, exemplar in (exemplars or {}).items()}
