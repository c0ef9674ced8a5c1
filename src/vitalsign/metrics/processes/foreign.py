"""Collectors that are not ours, where many processes share a page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prometheus_client import GC_COLLECTOR, PROCESS_COLLECTOR, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from vitalsign.metrics.base import Instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Workers = list[tuple[int, int]]

__all__ = ["foreign_sources"]

_UPSTREAM_VARIABLES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")


def foreign_sources(collectors: Iterable[Any], workers: Callable[[], Workers]) -> list[Callable[[], Iterable[Metric]]]:
    """
    Return what gives the metrics of collectors that know nothing of other processes.

    prometheus_client's process metrics are shown for each living worker; its metrics that lie in its own multiprocess
    files are added up by it; its garbage-collector counts, which are of one process and would jump with whichever
    answers, are left out. Any other collector is asked in this process.
    """
    upstream_path = next((os.environ[name] for name in _UPSTREAM_VARIABLES if name in os.environ), None)
    found: list[Callable[[], Iterable[Metric]]] = []
    for collector in collectors:
        if isinstance(collector, Instrument) or collector is GC_COLLECTOR:
            continue
        if collector is PROCESS_COLLECTOR:
            found.append(lambda: _process_metrics(workers()))
        elif upstream_path is None or not isinstance(collector, MetricWrapperBase):
            found.append(collector.collect)
    if upstream_path is not None:
        found.append(lambda: _upstream_metrics(upstream_path))
    return found


def _upstream_metrics(path: str) -> Iterable[Metric]:
    from prometheus_client.multiprocess import MultiProcessCollector  # only for those who use it

    upstream: Any = MultiProcessCollector
    metrics: Iterable[Metric] = upstream(None, path).collect()
    return metrics


def _process_metrics(workers: Workers) -> Iterable[Metric]:
    if not workers:  # nobody counts: then this process is the service
        return PROCESS_COLLECTOR.collect()
    together: dict[str, Metric] = {}
    for worker, pid in workers:
        for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
            shown = together.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type, metric.unit)
            )
            for sample in metric.samples:
                shown.samples.append(sample._replace(labels={**sample.labels, "worker": str(worker)}))
    return list(together.values())
