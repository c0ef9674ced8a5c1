"""Add up what all processes have counted, each kind of metric by its own rule."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from operator import add
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.catalogue import OVERFLOW

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.catalogue import MetricSpec

__all__ = ["MergedFamily", "Series", "width_of"]


def width_of(spec: MetricSpec) -> int:
    """Return how many cells one thread (or one process, of a gauge) has for a child."""
    match spec.kind:
        case "counter":
            return 1
        case "histogram":
            return len(spec.buckets) + 1
        case "info":
            return 0
        case _:  # a summary's count and sum; the value of a gauge or enum, and when it was set
            return 2


class Series:
    """One label set, added up; to the page it looks like a child."""

    __slots__ = ("_created", "_exemplars", "_family", "_labelvalues", "_text", "numbers", "stamp")

    def __init__(self, family: MergedFamily, labelvalues: tuple[str, ...]) -> None:
        self._family = family
        self._labelvalues = labelvalues
        self._text: Any = None
        self._created = 0.0
        self._exemplars: dict[int, Exemplar] | None = None
        self.numbers: Any = None
        self.stamp = 0.0

    @property
    def _exemplar(self) -> Exemplar | None:
        return (self._exemplars or {}).get(0)

    def _read(self) -> Any:
        return list(self.numbers) if self._family.reads_lists else self.numbers[0]


class MergedFamily:
    """
    One metric over all processes, made anew at each scrape; what is costly to write is kept from one to the next.

    Attributes:
        spec: As this process, or the newest that has declared it, describes it; with a label `pid` where each process
            has a series of its own.
        plan: Kept by the page.
    """

    def __init__(self, spec: MetricSpec, max_series: int) -> None:
        self.declared = spec
        self.per_process = spec.kind == "gauge" and spec.mode.removeprefix("live") == "all"
        self.spec = replace(spec, labels=(*spec.labels, "pid")) if self.per_process else spec
        self.plan: Any = None
        self.reads_lists = spec.kind in ("histogram", "summary")
        self.width = width_of(spec)
        self.max_series = max_series
        self._kept: dict[tuple[str, ...], Series] = {}
        self.series: dict[tuple[str, ...], Series] = {}
        self._combine = _COMBINE.get(spec.mode.removeprefix("live")) if spec.kind == "gauge" else None

    def begin(self) -> None:
        """Start a scrape."""
        self._kept, self.series = self.series, {}

    def add(
        self,
        labels: tuple[str, ...],
        numbers: list[float],
        *,
        created: float = 0.0,
        pid: int = 0,
        exemplars: Mapping[int, Exemplar] | None = None,
    ) -> None:
        """Add what one process has for one label set."""
        key = (*labels, str(pid)) if self.per_process else labels
        series = self.series.get(key)
        if series is None:
            series = self._new(key)
        if series.numbers is None:
            series.numbers, series._created = numbers, created
        else:
            self._join(series, numbers)
            if 0.0 < created < series._created:
                series._created = created
        if exemplars:
            series._exemplars = _latest(series._exemplars or {}, exemplars)

    def add_facts(self, labels: tuple[str, ...], facts: Mapping[str, str], stamp: float) -> None:
        """Tell what one process says in an Info; the latest word holds."""
        series = self.series.get(labels) or self._new(labels)
        if series.numbers is None or stamp >= series.stamp:
            series.numbers, series.stamp = [facts], stamp

    def _new(self, key: tuple[str, ...]) -> Series:
        if self.spec.labels and len(self.series) >= self.max_series:
            key = (OVERFLOW,) * len(key)
            if key in self.series:
                return self.series[key]
        series = self._kept.get(key) or Series(self, key)
        series.numbers = series._exemplars = None
        self.series[key] = series
        return series

    def _join(self, series: Series, numbers: list[float]) -> None:
        kind = self.spec.kind
        if kind == "gauge" and self._combine is not None:
            series.numbers = self._combine(series.numbers, numbers)
        elif kind in ("gauge", "stateset"):
            series.numbers = _most_recent(series.numbers, numbers)
        else:
            series.numbers = list(map(add, series.numbers, numbers))


def _most_recent(one: list[float], other: list[float]) -> list[float]:
    return other if other[1] >= one[1] else one


def _sum(one: list[float], other: list[float]) -> list[float]:
    return [one[0] + other[0], max(one[1], other[1])]


def _extreme(choose: Any) -> Any:
    def combine(one: list[float], other: list[float]) -> list[float]:
        # A gauge that was never set has nothing to say about a minimum or maximum.
        if not one[1] or isnan(one[0]):
            return other
        if not other[1] or isnan(other[0]):
            return one
        chosen: list[float] = choose(one, other)
        return chosen

    return combine


_COMBINE = {"sum": _sum, "min": _extreme(min), "max": _extreme(max)}


def _latest(known: Mapping[int, Exemplar], more: Mapping[int, Exemplar]) -> dict[int, Exemplar]:
    latest = dict(known)
    for place, exemplar in more.items():
        held = latest.get(place)
        if held is None or _moment(held) <= _moment(exemplar):
            latest[place] = exemplar
    return latest


def _moment(exemplar: Exemplar) -> float:
    return float(exemplar.timestamp or 0.0)
