"""From cells to prometheus_client's samples, for whoever collects by its protocol."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import metrics as _upstream
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client.samples import Exemplar

    from vitalsign.metrics.catalogue import MetricSpec

__all__ = ["LazyMetric", "Source", "number", "samples_of", "settled", "shows_created"]

Point = tuple[str, dict[str, str], float, "Exemplar | None"]
"""A sample of a child: suffix of the name, labels besides the child's own, value, exemplar."""


class Source(Protocol):
    """What the children of one metric share: of this process, or added up over many."""

    spec: MetricSpec
    plan: Any


class LazyMetric(Metric):
    """
    A metric whose samples are made when somebody looks at them.

    Our own page never does: it takes the numbers from `children` and writes them out without making samples.
    """

    def __init__(self, source: Source, children: Sequence[Any]) -> None:
        spec = source.spec
        self.name: str = spec.name
        self.documentation: str = spec.help
        self.unit: str = spec.unit
        self.type = spec.kind
        self.source = source
        self.children = children
        self._samples: list[Sample] | None = None

    @property
    def samples(self) -> list[Sample]:  # type: ignore[override]  # a list in the base: here made at first look
        """The samples as they were at the first look."""
        if self._samples is None:
            self._samples = samples_of(self.source.spec, self.children)
        return self._samples

    def __reduce__(self) -> tuple[Any, ...]:
        return (_plain, (self.name, self.documentation, self.type, self.unit, self.samples))


def samples_of(spec: MetricSpec, children: Sequence[Any]) -> list[Sample]:
    """Make the samples of all children, as prometheus_client's instruments do."""
    points = _POINTS[spec.kind]
    samples = []
    for child in children:
        labels = dict(zip(spec.labels, child._labelvalues, strict=True))
        samples += [
            Sample(spec.name + suffix, {**labels, **more}, value, None, exemplar)
            for suffix, more, value, exemplar in points(spec, child)
        ]
    return samples


def _counter(_: MetricSpec, child: Any) -> list[Point]:
    return [("_total", {}, child._read(), child._exemplar), *_created(child)]


def _gauge(_: MetricSpec, child: Any) -> list[Point]:
    return [("", {}, child._read(), None)]


def _summary(_: MetricSpec, child: Any) -> list[Point]:
    total, count = child._read()
    return [("_count", {}, float(count), None), ("_sum", {}, float(total), None), *_created(child)]


def _histogram(spec: MetricSpec, child: Any) -> list[Point]:
    total, *counts = child._read()
    exemplars = child._exemplars or {}
    points: list[Point] = []
    seen = 0.0
    for place, (bound, count) in enumerate(zip(spec.buckets, counts, strict=True)):
        seen += count
        points.append(("_bucket", {"le": number(bound)}, seen, exemplars.get(place)))
    points.append(("_count", {}, seen, None))
    if spec.buckets[0] >= 0:
        points.append(("_sum", {}, float(total), None))
    return [*points, *_created(child)]


def _info(_: MetricSpec, child: Any) -> list[Point]:
    return [("_info", dict(child._read()), 1.0, None)]


def _stateset(spec: MetricSpec, child: Any) -> list[Point]:
    holds = child._read()
    return [("", {spec.name: state}, float(place == holds), None) for place, state in enumerate(spec.states)]


def _created(child: Any) -> list[Point]:
    return [("_created", {}, child._created, None)] if shows_created() else []


_POINTS: dict[str, Callable[[MetricSpec, Any], list[Point]]] = {
    "counter": _counter,
    "gauge": _gauge,
    "summary": _summary,
    "histogram": _histogram,
    "info": _info,
    "stateset": _stateset,
}


def settled(metric: Metric) -> Metric:
    """Return *metric* with its samples as they are now, so that nothing is asked any more to write it."""
    if isinstance(metric, LazyMetric):
        return _plain(metric.name, metric.documentation, metric.type, metric.unit, metric.samples)
    return metric


def _plain(name: str, documentation: str, kind: str, unit: str, samples: list[Sample]) -> Metric:
    metric = Metric(name, documentation, kind, unit)
    metric.samples = samples
    return metric


def shows_created() -> bool:
    """Tell whether `_created` series are on: the host decides, by prometheus_client's own switch."""
    return bool(getattr(_upstream, "_use_created", True))


def number(value: float) -> str:
    """Write *value* as prometheus_client does: Python's repr, but Go's exponent from a million up."""
    if -1e6 < value < 1e6:
        return repr(value)
    if value == inf:
        return "+Inf"
    if value == -inf:
        return "-Inf"
    if value != value:
        return "NaN"
    text = repr(value)
    point = text.find(".")
    if point < 7 or value < 0:
        return text
    rest = (text[1:point] + text[point + 1 :]).rstrip("0")
    return f"{text[0]}.{rest}e+{point - 1:02d}" if rest else f"{text[0]}e+{point - 1:02d}"
