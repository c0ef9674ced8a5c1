"""Metrics on a registry whose series come from several collectors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, get_args

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from vitalsign.exceptions import MetricError
from vitalsign.metrics.catalogue import Kind, MetricSpec
from vitalsign.metrics.registry import declare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.samples import Sample

__all__ = ["Declaration", "SharedFamily", "counter", "filled", "gauge"]

Declaration: TypeAlias = Callable[[], GaugeMetricFamily | CounterMetricFamily]
"""A metric that a collector measures, declared once: calling it makes an empty one to fill."""

_KINDS = frozenset(get_args(Kind))


class SharedFamily:
    """
    One metric on one registry: all collectors that publish it are told apart by their labels.

    Where two of them show the same label set, the one that joined last is believed. A scrape reads what the
    collectors remember and measures nothing.

    Attributes:
        spec: What the metric is.
    """

    def __init__(self, spec: MetricSpec) -> None:
        self.spec = spec
        self._readers: dict[object, Callable[[], Iterable[Sample]]] = {}

    @classmethod
    def on(cls, registry: CollectorRegistry, metric: Metric) -> SharedFamily:
        """
        Find or make the family of *metric* on *registry*.

        Raises:
            DuplicateMetricError: The name is taken by a metric of another shape, or by another library.
            MetricError: The metric is of a kind that Prometheus cannot tell.
        """
        spec = _spec(metric)
        family: SharedFamily = declare(spec, registry, lambda: cls(spec), cls)
        return family

    def join(self, owner: object, read: Callable[[], Iterable[Sample]]) -> None:
        """Show the samples that *read* returns, until *owner* leaves."""
        self._readers = {**self._readers, owner: read}

    def leave(self, owner: object, registry: CollectorRegistry) -> None:
        """Stop showing the samples of *owner*; the last one to leave takes the family off *registry*."""
        self._readers = {other: read for other, read in self._readers.items() if other is not owner}
        if not self._readers:
            with suppress(KeyError):  # the host may have emptied its registry
                registry.unregister(self)

    def describe(self) -> Iterable[Metric]:
        """Return the metric without samples."""
        return [self._empty()]

    def collect(self) -> Iterable[Metric]:
        """Return the metric with the samples that its owners remember."""
        metric = self._empty()
        series = {(sample.name, *sample.labels.items()): sample for read in self._readers.values() for sample in read()}
        metric.samples = list(series.values())
        return [metric]

    def _empty(self) -> Metric:
        return Metric(self.spec.name, self.spec.help, self.spec.kind, self.spec.unit)


def gauge(name: str, documentation: str, *labels: str) -> Declaration:
    """Return a function that makes the gauge, without samples, each time that it is called."""
    return partial(GaugeMetricFamily, name, documentation, labels=labels)


def counter(name: str, documentation: str, *labels: str) -> Declaration:
    """Return a function that makes the counter, without samples, each time that it is called."""
    return partial(CounterMetricFamily, name, documentation, labels=labels)


def filled(make: Declaration, *rows: tuple[Sequence[str], float]) -> Metric:
    """Make a metric, with a series for each row of label values and value."""
    metric = make()
    for labels, value in rows:
        metric.add_metric(labels, value)
    return metric


def _spec(metric: Metric) -> MetricSpec:
    if metric.type not in _KINDS:
        raise MetricError(
            f"Metric {metric.name!r} is of kind {metric.type!r}, which a collector cannot publish. "
            "Describe it by GaugeMetricFamily or CounterMetricFamily."
        )
    kind: Kind = metric.type  # type: ignore[assignment]  # one of its literals, as just checked
    labels = tuple(getattr(metric, "_labelnames", ()))
    return MetricSpec(name=metric.name, kind=kind, help=metric.documentation, labels=labels, unit=metric.unit)
