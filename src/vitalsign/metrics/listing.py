"""Every metric of a registry as data, whoever declared it: what documentation, dashboards and alerts are made from."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from math import isinf
from typing import TYPE_CHECKING, Any

from prometheus_client.metrics import MetricWrapperBase

from vitalsign.metrics.catalogue import RESERVED_LABELS, class_name, series_names, spec_of
from vitalsign.metrics.groups import ForeignGroup
from vitalsign.metrics.patience import ask
from vitalsign.metrics.registry import REGISTRY, collectors_of, target_info_of
from vitalsign.metrics.samples import LazyMetric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from vitalsign.metrics.catalogue import MetricSpec

__all__ = ["OURS", "Catalogue", "CatalogueEntry", "LeftOut", "catalogue"]

OURS = "vitalsign"
"""Origin of the metrics that were declared by vitalsign's instruments and collectors."""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """
    Describe one metric, ours or another library's.

    Attributes:
        name: Full name, without the `_total` of a counter or the `_info` of an info.
        kind: One of counter, gauge, histogram, summary, info, stateset; of foreign metrics also unknown and
            gaugehistogram.
        help: One sentence for people.
        labels: Label names, without `le`, `quantile` and a stateset's own. Of a foreign metric that does not say them
            they are those on its series, so none while it has no series.
        unit: Base unit, the last part of the name, or empty.
        buckets: Upper bounds of a histogram, ascending, the last +Inf.
        states: States of a stateset.
        mode: How a gauge's values from several processes become one, by prometheus_client's names.
        origin: `vitalsign`, or the class of the foreign collector with its module.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    states: tuple[str, ...] = ()
    mode: str = ""
    origin: str = OURS

    @property
    def series(self) -> tuple[str, ...]:
        """Every name that the metric takes on a page."""
        return series_names(self.name, self.kind)

    def to_dict(self) -> dict[str, Any]:
        """Return the same in lists, texts and numbers that JSON knows; the bound +Inf is a text."""
        return {
            **asdict(self),
            "labels": list(self.labels),
            "buckets": ["+Inf" if isinf(bound) else bound for bound in self.buckets],
            "states": list(self.states),
        }


@dataclass(frozen=True, slots=True)
class LeftOut:
    """
    Name a collector that could not say all that it has.

    Attributes:
        collector: Its class, with its module.
        reason: What went wrong.
    """

    collector: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the same as a dict."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """
    List the metrics of one registry, in the order of its page.

    Attributes:
        metrics: The metrics.
        left_out: Collectors that raised or hung when they were asked; what they had said before is in the list.
    """

    metrics: tuple[CatalogueEntry, ...]
    left_out: tuple[LeftOut, ...] = ()

    def find(self, name: str) -> CatalogueEntry | None:
        """Return the metric of this name, which may also be one of its series', such as `…_total` or `…_bucket`."""
        named = (entry for entry in self.metrics if entry.name == name)
        return next(named, None) or next((entry for entry in self.metrics if name in entry.series), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the same in lists, texts and numbers that JSON knows."""
        return {
            "metrics": [entry.to_dict() for entry in self.metrics],
            "left_out": [each.to_dict() for each in self.left_out],
        }

    def __iter__(self) -> Iterator[CatalogueEntry]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)


def catalogue(registry: Any = REGISTRY, *, deadline: float = 5.0) -> Catalogue:
    """
    List every metric of *registry* as data, those of other libraries too.

    Metrics of vitalsign and of prometheus_client's instruments are taken as they were declared. Other collectors are
    asked to describe themselves, and to collect once, since only their samples tell their labels.

    Args:
        registry: A CollectorRegistry, or anything with a `collect()` like it.
        deadline: Seconds that a foreign collector may take.

    Returns:
        The list. A collector that raises or hangs is named in it, and never raises.
    """
    collectors = collectors_of(registry)
    if collectors is None:
        answers = [_ask(registry, deadline)]
    else:
        answers = [_ask(collector, deadline) for collector in collectors]
        if labels := target_info_of(registry):
            target = CatalogueEntry("target", "info", "Target metadata", tuple(labels), origin=class_name(registry))
            answers.insert(0, ([target], None))
    return Catalogue(
        tuple(entry for entries, _ in answers for entry in entries),
        tuple(left_out for _, left_out in answers if left_out is not None),
    )


def _ask(collector: Any, deadline: float) -> tuple[list[CatalogueEntry], LeftOut | None]:
    spec = spec_of(collector)
    if spec is not None:
        return [_of_spec(spec)], None
    found: dict[str, CatalogueEntry] = {}
    try:
        until = time.monotonic() + deadline
        for step in _steps(collector):
            for entry in ask(collector, step, until):
                _add(found, entry)
    except Exception as error:  # noqa: BLE001  # a foreign collector can raise anything
        return list(found.values()), LeftOut(class_name(collector), f"{type(error).__name__}: {error}")
    return list(found.values()), None


def _steps(collector: Any) -> Iterable[Callable[[], list[CatalogueEntry]]]:
    """Return what asks a foreign collector for its metrics, first what costs least."""
    asked = collector.members[0].collector if isinstance(collector, ForeignGroup) else collector
    origin = OURS if spec_of(asked) else class_name(asked)
    if isinstance(collector, MetricWrapperBase):
        return [lambda: [_of_upstream(metric, collector, origin) for metric in collector.describe()]]
    methods = (getattr(collector, "describe", None), collector.collect)
    return [lambda ask=ask: [_of_metric(metric, origin) for metric in ask()] for ask in filter(None, methods)]  # type: ignore[misc]


def _add(found: dict[str, CatalogueEntry], entry: CatalogueEntry) -> None:
    """Add what has been learnt of a metric to what was known of it before."""
    known = found.get(entry.name, entry)
    found[entry.name] = replace(
        entry,
        labels=tuple(dict.fromkeys((*known.labels, *entry.labels))),
        buckets=tuple(sorted({*known.buckets, *entry.buckets})),
        states=tuple(dict.fromkeys((*known.states, *entry.states))),
    )


def _of_spec(spec: MetricSpec) -> CatalogueEntry:
    return CatalogueEntry(
        spec.name, spec.kind, spec.help, spec.labels, spec.unit, spec.buckets, spec.states, spec.mode
    )  # fmt: skip


def _of_upstream(metric: Metric, instrument: Any, origin: str) -> CatalogueEntry:
    return replace(
        _of_metric(metric, origin),
        labels=tuple(instrument._labelnames),
        buckets=tuple(getattr(instrument, "_upper_bounds", ())),
        states=tuple(instrument._kwargs.get("states", ())),
        mode=instrument._kwargs.get("multiprocess_mode", ""),
    )


def _of_metric(metric: Metric, origin: str) -> CatalogueEntry:
    if isinstance(metric, LazyMetric):
        return _of_spec(metric.source.spec)
    inner = RESERVED_LABELS.get(metric.type, metric.name if metric.type == "stateset" else None)
    values: dict[str, None] = {}
    labels = dict.fromkeys(getattr(metric, "_labelnames", ()))
    for sample in metric.samples:
        labels.update(dict.fromkeys(sample.labels))
        if inner in sample.labels:
            values[sample.labels[inner]] = None
    labels.pop(inner, None)
    return CatalogueEntry(
        metric.name,
        metric.type,
        metric.documentation,
        tuple(labels),
        metric.unit,
        buckets=tuple(sorted(map(float, values))) if inner == "le" else (),
        states=tuple(values) if inner == metric.name else (),
        origin=origin,
    )
