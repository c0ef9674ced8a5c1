"""The page: our own metrics are written from their cells, fast, all else by prometheus_client."""

from __future__ import annotations

import time
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from prometheus_client.exposition import generate_latest as _upstream_text
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as _upstream_openmetrics
from prometheus_client.registry import RestrictedRegistry

from vitalsign.metrics import openmetrics as _openmetrics
from vitalsign.metrics import processes
from vitalsign.metrics import text as _text
from vitalsign.metrics.base import Instrument
from vitalsign.metrics.catalogue import is_classic_label
from vitalsign.metrics.exemplars import traces_may_come
from vitalsign.metrics.internal import collecting, internal_error
from vitalsign.metrics.openmetrics import END
from vitalsign.metrics.patience import ask
from vitalsign.metrics.registry import REGISTRY, collectors_of, holding, target_info_of
from vitalsign.metrics.samples import LazyMetric, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vitalsign.metrics.catalogue import MetricSpec

__all__ = [
    "CONTENT_TYPE",
    "OPENMETRICS_CONTENT_TYPE",
    "Escaping",
    "gather",
    "generate_latest",
    "generate_openmetrics",
    "render",
]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Escaping = Literal["underscores", "allow-utf-8", "dots", "values"]
"""How names past the letters that every Prometheus reads are written, in prometheus_client's words."""


def generate_latest(registry: Any = REGISTRY, escaping: Escaping = "underscores") -> bytes:
    """
    Render *registry* in the Prometheus text format, byte for byte as prometheus_client does, many times faster.

    A collector that raises is left out, logged once and counted in `vitalsign_internal_errors_total`. Where many
    processes share their metrics, the page shows what all of them have counted.

    Args:
        registry: A CollectorRegistry, or anything with a `collect()` like it.
        escaping: How names past the letters that every Prometheus reads are written.
    """
    return b"".join(render(registry, escaping=escaping))


def generate_openmetrics(registry: Any = REGISTRY, escaping: Escaping = "underscores", version: str = "1.0.0") -> bytes:
    """
    Render *registry* in the OpenMetrics text format, as `generate_latest` does in the older one.

    Args:
        registry: A CollectorRegistry, or anything with a `collect()` like it.
        escaping: How names past the letters that every Prometheus reads are written.
        version: Of OpenMetrics, for metrics of others: from 2.0.0 on, their native histograms are shown.
    """
    return b"".join(render(registry, openmetrics=True, escaping=escaping, version=version))


def render(
    registry: Any = REGISTRY,
    *,
    openmetrics: bool = False,
    deadline: float | None = None,
    escaping: Escaping = "underscores",
    version: str = "1.0.0",
) -> Iterator[bytes]:
    """
    Render *registry* piece by piece, for servers that send while they render; the pieces join to the whole page.

    Args:
        registry: A CollectorRegistry, or anything with a `collect()` like it.
        openmetrics: Whether to write OpenMetrics in place of the Prometheus text format.
        deadline: Seconds after which a collector that has not answered is left out, logged once and counted; None
            waits for ever.
        escaping: How names past the letters that every Prometheus reads are written.
        version: Of OpenMetrics, for metrics of others: from 2.0.0 on, their native histograms are shown.
    """
    write = _openmetrics_writer(escaping, version) if openmetrics else _text_writer(escaping)
    if openmetrics and traces_may_come():
        _look_out(registry)
    for metric in gather(registry, deadline=deadline):
        try:
            yield from write(metric)
        except Exception as error:  # noqa: BLE001
            internal_error(f"render of {metric.name}", error)
    if openmetrics:
        yield END


def gather(registry: Any = REGISTRY, *, deadline: float | None = None) -> Iterator[Metric]:
    """
    Collect *registry* as its page shows it: of all processes, where they share their metrics.

    A collector that raises is left out, logged once and counted.

    Args:
        registry: A CollectorRegistry, or anything with a `collect()` like it.
        deadline: Seconds after which a collector that has not answered is left out, as in `render`.
    """
    until = None if deadline is None else time.monotonic() + deadline
    for source in _sources(registry, until):
        try:
            metrics = _collect(source, until)
        except Exception as error:  # noqa: BLE001  # a broken collector must not take the page with it
            internal_error(collecting(_asked(source)), error)
            continue
        yield from metrics


def _look_out(registry: Any) -> None:
    """Let metrics look for a trace again, for the exemplars of the next page."""
    for collector in collectors_of(getattr(registry, "_registry", registry)) or ():
        if isinstance(collector, Instrument):
            for child in collector._children():
                child._look_out()


def _sources(registry: Any, until: float | None, names: set[str] | None = None) -> list[Callable[[], Iterable[Metric]]]:
    if isinstance(registry, RestrictedRegistry) and collectors_of(registry._registry) is not None:
        names = registry._name_set
        return [_restricted(source, names) for source in _sources(registry._registry, until, names)]
    collectors = collectors_of(registry)
    if collectors is None:
        return [registry.collect]
    if names is not None:
        collectors = holding(registry, collectors, names)
    info = target_info_of(registry)
    head = [lambda: [_target_info(info)]] if info else []
    return [*head, *processes.sources(registry, collectors, until)]


def _restricted(source: Callable[[], Iterable[Metric]], names: set[str]) -> Callable[[], Iterable[Metric]]:
    """Leave only the samples of these names, as prometheus_client's restricted registry does; who is asked stays."""

    def collect(_: object) -> Iterable[Metric]:
        return filter(None, (metric._restricted_metric(names) for metric in source()))  # type: ignore[no-untyped-call]

    collector = getattr(source, "__self__", None)
    return partial(collect, None) if collector is None else MethodType(collect, collector)


def _collect(source: Callable[[], Iterable[Metric]], until: float | None) -> list[Metric]:
    """Ask one collector. Ours answer at once, unless they ask functions of the host's."""
    collector = _asked(source)
    if until is None or collector is None or (isinstance(collector, Instrument) and not collector._family.asks):
        return list(source())
    return ask(collector, lambda: list(map(settled, source())), until)


def _asked(source: Callable[[], Iterable[Metric]]) -> object:
    """Return the collector that *source* asks; for a plain function None."""
    return getattr(source, "__self__", None)


def _target_info(labels: dict[str, str]) -> Metric:
    metric = Metric("target", "Target metadata", "info")
    metric.add_sample("target_info", labels, 1)
    return metric


def _text_writer(escaping: Escaping) -> Callable[[Metric], Iterator[bytes]]:
    def write(metric: Metric) -> Iterator[bytes]:
        if _is_ours(metric, escaping):
            yield from _text.write(metric.source, metric.children)
        else:
            yield _upstream_text(_Page(metric), escaping)

    return write


def _openmetrics_writer(escaping: Escaping, version: str) -> Callable[[Metric], Iterator[bytes]]:
    def write(metric: Metric) -> Iterator[bytes]:
        if _is_ours(metric, escaping):
            yield from _openmetrics.write(metric.source, metric.children)
        else:
            page: bytes = _upstream_openmetrics(_Page(metric), escaping, version)  # type: ignore[no-untyped-call]
            yield page.removesuffix(END)

    return write


def _is_ours(metric: Metric, escaping: Escaping) -> TypeGuard[LazyMetric]:
    """
    Tell whether we write the metric ourselves.

    Names past the classic letters are left to prometheus_client, and so is the escaping that changes classic ones.
    """
    if not isinstance(metric, LazyMetric) or escaping == "dots":
        return False
    spec = metric.source.spec
    return spec.is_classic and all(map(is_classic_label, _labels_besides(spec, metric.children)))


def _labels_besides(spec: MetricSpec, children: Iterable[Any]) -> Iterable[str]:
    """Return the label names that infos and enums bring along."""
    if spec.kind == "info":
        return {name for child in children for name in child._read()}
    return [spec.name] if spec.kind == "stateset" else []


class _Page:
    """One metric as a registry, for prometheus_client's renderer."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return [self._metric]
