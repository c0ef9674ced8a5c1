"""What leaves the process: the metrics of a registry, made fit for those who take a push."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client.metrics_core import Metric

from vitalsign.exceptions import PushOptionError
from vitalsign.metrics.catalogue import encodable, is_classic_label
from vitalsign.metrics.exposition import gather, generate_latest
from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.samples import LazyMetric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.samples import Sample

__all__ = ["Page", "checked_labels", "checked_registry", "checked_seconds", "labelled"]

_log = logging.getLogger("vitalsign")
_SUFFIXES = {"counter": "_total", "info": "_info"}
_OF_THE_PROCESS = frozenset({
    "process_virtual_memory_bytes", "process_resident_memory_bytes", "process_start_time_seconds",
    "process_cpu_seconds", "process_open_fds", "process_max_fds", "python_info", "python_gc_objects_collected",
    "python_gc_objects_uncollectable", "python_gc_collections",
})  # fmt: skip
"""
What prometheus_client tells of the process and its Python. The process is at its end, and whoever shows the page of
all who push (node_exporter, the Pushgateway) has metrics of these names itself.
"""


class Page:
    """
    The metrics of a registry, each name once, without times of its own: who takes a push refuses the others.

    Args:
        registry: What is pushed.
        more: Metrics that are added, where the registry has none of their name.
        deadline: Seconds after which a collector that has not answered is left out.
    """

    def __init__(self, registry: Any, more: Iterable[Metric] = (), *, deadline: float) -> None:
        self._registry = checked_registry(registry)
        self._more = more
        self._deadline = deadline

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        seen: set[str] = set()
        for metric in self._all():
            try:
                name = metric.name + _SUFFIXES.get(metric.type, "")
                if name in seen:
                    _log.warning("Metric %s is collected twice; only the first is pushed. Rename one.", name)
                elif metric.name not in _OF_THE_PROCESS:
                    yield metric if isinstance(metric, LazyMetric) else _with(metric, _once(metric.samples))
                seen.add(name)
            except Exception as error:  # noqa: BLE001  # a broken metric must not take the others with it
                internal_error("push", error)

    def text(self, labels: Mapping[str, str] | None = None) -> bytes:
        """
        Render the metrics in the Prometheus text format.

        Args:
            labels: Added to every series.
        """
        return generate_latest(_Labelled(self, labels) if labels else self)

    def _all(self) -> Iterator[Metric]:
        yield from gather(self._registry, deadline=self._deadline)
        yield from self._more


class _Labelled:
    """A page with more labels."""

    def __init__(self, page: Page, labels: Mapping[str, str]) -> None:
        self._page = page
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        for metric in self._page.collect():
            yield _with(metric, (each._replace(labels=labelled(each.labels, self._labels)) for each in metric.samples))


def _with(metric: Metric, samples: Iterable[Sample]) -> Metric:
    """Return a copy of *metric* that has these samples."""
    copy = Metric(metric.name, metric.documentation, metric.type, metric.unit)
    copy.samples = list(samples)
    return copy


def _once(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Leave out the second sample of a series, and the times of all."""
    seen = set()
    for sample in samples:
        series = (sample.name, frozenset(sample.labels.items()))
        if series not in seen:
            seen.add(series)
            yield sample._replace(value=float(sample.value), timestamp=None)


def labelled(labels: Mapping[str, str], target: Mapping[str, str]) -> dict[str, str]:
    """Add the labels of a target to those of a series, as a scrape does: a label of the same name is `exported_`."""
    together = {**labels, **target}
    for name in sorted(labels.keys() & target.keys()):
        renamed = f"exported_{name}"
        while renamed in together:
            renamed = f"exported_{renamed}"
        together[renamed] = labels[name]
    return together


def checked_labels(what: str, labels: Mapping[str, str] | None) -> dict[str, str]:
    """
    Return *labels* with values that can be encoded.

    Raises:
        PushOptionError: A name is not that of a label, or there are no names at all.
    """
    if not isinstance(labels or {}, Mapping):
        raise PushOptionError(f"{what}={labels!r} is not understood. Give a dict of label names and values.")
    for name in labels or {}:
        if not is_classic_label(name) or name.startswith("__"):
            raise PushOptionError(
                f"{name!r} in {what} is no label name. Use letters, digits and _, not beginning with a digit or __."
            )
    return {name: encodable(str(value)) for name, value in (labels or {}).items()}


def checked_registry(registry: Any) -> Any:
    """
    Return *registry* if there is something to collect from.

    Raises:
        PushOptionError: There is not.
    """
    if not hasattr(registry, "collect"):
        raise PushOptionError(f"registry={registry!r} is not understood. Give a CollectorRegistry.")
    return registry


def checked_seconds(deadline: float) -> float:
    """
    Return *deadline* if it is a time to wait.

    Raises:
        PushOptionError: It is not above 0, or is infinite.
    """
    if not isinstance(deadline, int | float) or not 0 < deadline < float("inf"):
        raise PushOptionError(f"deadline={deadline!r} is not understood. Give seconds, above 0, such as 10.0.")
    return deadline
