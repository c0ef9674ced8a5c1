"""Add up what all processes have counted, each kind of metric by its own rule."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from operator import add
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.catalogue import OVERFLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
        self.stamp: float = 0.0

    @property
    def _exemplar(self) -> Exemplar | None:
        return (self._exemplars or {}).get(0)

    def take(self, other: Series, join: Callable[[Any, Any], Any]) -> None:
        """Take over what *other* has."""
        self.numbers = other.numbers if self.numbers is None else join(self.numbers, other.numbers)
        self.stamp = max(self.stamp, other.stamp)
        self._created = min(self._created or other._created, other._created)
        if other._exemplars:
            self._exemplars = _latest(self._exemplars or {}, other._exemplars)

    def _read(self) -> Any:
        return list(self.numbers) if self._family.reads_lists else self.numbers[0]


class MergedFamily:
    """
    One metric over all processes, as one scrape sees it.

    Attributes:
        declared: As this process, or another that has declared it, describes it.
        spec: The same; with a label `pid` where each process has a series of its own.
        plan: Kept by the page.
        series: By label values.
    """

    def __init__(self, spec: MetricSpec, max_series: int, before: MergedFamily | None = None) -> None:
        """
        Begin with nothing.

        Args:
            spec: The description.
            max_series: Label sets before further ones are put together.
            before: The same metric at the scrape before; what was costly to write is taken over from it.
        """
        self.declared = spec
        # A host that has a label of that name tells its processes apart by itself.
        self.per_process: bool = (
            spec.kind == "gauge" and spec.mode.removeprefix("live") == "all" and "pid" not in spec.labels
        )
        self.spec: MetricSpec = replace(spec, labels=(*spec.labels, "pid")) if self.per_process else spec
        self.reads_lists: bool = spec.kind in ("histogram", "summary")
        self.width: int = width_of(spec)
        self.max_series = max_series
        self.plan: Any = before.plan if before is not None else None
        self.series: dict[tuple[str, ...], Series] = {}
        self._before = before.series if before is not None else {}
        self._join = _joining(spec)

    def add(
        self,
        labels: tuple[str, ...],
        numbers: list[float],
        created: float = 0.0,
        pid: int = 0,
        exemplars: Mapping[int, Exemplar] | None = None,
    ) -> None:
        """Add what one process has for one label set."""
        key = (*labels, str(pid)) if self.per_process else labels
        try:
            series = self.series[key]
        except KeyError:
            series = self._new(key)
            series.numbers, series._created = numbers, created
        else:
            series.numbers = self._join(series.numbers, numbers)
            if 0.0 < created < series._created:
                series._created = created
        if exemplars:
            series._exemplars = _latest(series._exemplars or {}, exemplars)

    def add_facts(self, labels: tuple[str, ...], facts: Mapping[str, str], stamp: float) -> None:
        """Tell what one process says in an Info; the latest word holds."""
        series = self.series.get(labels) or self._new(labels)
        if series.numbers is None or stamp >= series.stamp:
            series.numbers, series.stamp = [facts], stamp

    def add_all(self, other: MergedFamily) -> None:
        """Add what another sum of the same shape has."""
        for labels, series in other.series.items():
            if self.spec.kind == "info":
                self.add_facts(labels, series.numbers[0], series.stamp)
            else:
                self.add(labels, series.numbers, created=series._created, exemplars=series._exemplars)

    def bound(self) -> None:
        """
        Put together what is past `max_series`.

        The oldest stay, by their own account: whoever adds up, and in whatever order, the same ones do.
        """
        self._before = {}
        overflow = (OVERFLOW,) * len(self.spec.labels)
        surplus = len(self.series) - (overflow in self.series) - self.max_series
        if surplus <= 0 or not self.spec.labels:
            return
        by_age = sorted(self.series.keys() - {overflow}, key=lambda key: (self.series[key]._created, key))
        together = self.series.get(overflow) or self._new(overflow)
        for key in by_age[-surplus:]:
            together.take(self.series.pop(key), self._join)

    def _new(self, key: tuple[str, ...]) -> Series:
        series = self.series[key] = Series(self, key)
        before = self._before.get(key)
        if before is not None:
            series._text = before._text
        return series


def _joining(spec: MetricSpec) -> Callable[[Any, Any], Any]:
    if spec.kind == "gauge":
        return _COMBINE.get(spec.mode.removeprefix("live"), _most_recent)
    return {"stateset": _most_recent, "info": _other}.get(spec.kind, _total)


def _other(_: Any, other: Any) -> Any:
    return other


def _total(one: list[float], other: list[float]) -> list[float]:
    return list(map(add, one, other))


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


_COMBINE: dict[str, Callable[[Any, Any], Any]] = {"sum": _sum, "min": _extreme(min), "max": _extreme(max)}


def _latest(known: Mapping[int, Exemplar], more: Mapping[int, Exemplar]) -> dict[int, Exemplar]:
    latest = dict(known)
    for place, exemplar in more.items():
        held = latest.get(place)
        if held is None or _moment(held) <= _moment(exemplar):
            latest[place] = exemplar
    return latest


def _moment(exemplar: Exemplar) -> float:
    return float(exemplar.timestamp or 0.0)
