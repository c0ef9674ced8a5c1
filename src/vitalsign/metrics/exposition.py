"""The text page, fast: families of ours are written from their cells, all else by prometheus_client."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import exposition as _upstream
from prometheus_client.metrics_core import Metric

from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.registry import REGISTRY, collectors_of
from vitalsign.metrics.samples import LazyMetric, number, shows_created

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vitalsign.metrics.catalogue import MetricSpec

__all__ = ["CONTENT_TYPE", "generate_latest", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SLICE = 500  # children in one piece of text: no single C call holds the GIL for long


def generate_latest(registry: Any = REGISTRY) -> bytes:
    """
    Render *registry* in the Prometheus text format, byte for byte as prometheus_client does, many times faster.

    A collector that raises is left out, logged once and counted in `vitalsign_internal_errors_total`.

    Args:
        registry: A CollectorRegistry, or anything with a `collect()` like it.
    """
    return b"".join(render(registry))


def render(registry: Any = REGISTRY) -> Iterator[bytes]:
    """
    Render *registry* piece by piece, for servers that send while they render; the pieces join to the whole page.

    Args:
        registry: A CollectorRegistry, or anything with a `collect()` like it.
    """
    for source in _sources(registry):
        try:
            metrics = list(source())
        except Exception as error:  # noqa: BLE001  # a broken collector must not take the page with it
            internal_error("collect", error)
            continue
        for metric in metrics:
            try:
                yield from _render_metric(metric)
            except Exception as error:  # noqa: BLE001
                internal_error("render", error)


def _sources(registry: Any) -> Iterable[Callable[[], Iterable[Metric]]]:
    collectors = collectors_of(registry)
    if collectors is None:
        return [registry.collect]
    info = registry.get_target_info()
    head = [lambda: [_target_info(info)]] if info else []
    return [*head, *(collector.collect for collector in collectors)]


def _target_info(labels: dict[str, str]) -> Metric:
    metric = Metric("target", "Target metadata", "info")
    metric.add_sample("target_info", labels, 1)
    return metric


def _render_metric(metric: Metric) -> Iterator[bytes]:
    instrument = metric.instrument if isinstance(metric, LazyMetric) else None
    writer = _WRITERS.get(metric.type) if instrument is not None and instrument.spec.is_classic else None
    if writer is None:
        yield _upstream.generate_latest(_Page(metric))
        return
    yield from writer(instrument)


class _Page:
    """One metric as a registry, for prometheus_client's renderer."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return [self._metric]


def _header(name: str, text: str, kind: str) -> str:
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}\n"


def _children(instrument: Any) -> list[Any]:
    if instrument._labelvalues is not None:
        return [instrument]
    return list(instrument._family.children.values())


def _pairs(child: Any) -> list[str]:
    """Write a child's labels, sorted by name."""
    pairs = zip(child._family.spec.labels, child._labelvalues, strict=True)
    return [f'{name}="{_escape(value)}"' for name, value in sorted(pairs)]


def _labels(child: Any) -> str:
    """Return a child's labels as they stand between the braces, written once; empty without any."""
    text = child._text
    if text is None:
        text = child._text = ",".join(_pairs(child))
    return text if type(text) is str else text[-1]  # a histogram keeps them in parts, the last of which is the whole


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _slices(head: str, children: list[Any], lines: Callable[[list[Any]], list[str]]) -> Iterator[bytes]:
    for start in range(0, len(children), _SLICE):
        yield (head + "".join(lines(children[start : start + _SLICE]))).encode()
        head = ""
    if head:
        yield head.encode()


def _simple_lines(name: str, children: list[Any]) -> list[str]:
    lines = []
    for child in children:
        labels = _labels(child)
        lines.append(f"{name}{{{labels}}} {number(child._read())}\n" if labels else f"{name} {number(child._read())}\n")
    return lines


def _created(spec: MetricSpec, children: list[Any]) -> Iterator[bytes]:
    """Write the creation times as a gauge of their own, as this format has no place for them."""
    if not children or not shows_created():
        return
    name = f"{spec.name}_created"

    def lines(part: list[Any]) -> list[str]:
        texts = [(_labels(child), number(child._created)) for child in part]
        return [f"{name}{{{labels}}} {value}\n" if labels else f"{name} {value}\n" for labels, value in texts]

    yield from _slices(_header(name, spec.help, "gauge"), children, lines)


def _write_counter(instrument: Any) -> Iterator[bytes]:
    spec, children = instrument.spec, _children(instrument)
    name = f"{spec.name}_total"
    yield from _slices(_header(name, spec.help, "counter"), children, lambda part: _simple_lines(name, part))
    yield from _created(spec, children)


def _write_gauge(instrument: Any) -> Iterator[bytes]:
    spec = instrument.spec

    def lines(part: list[Any]) -> list[str]:
        return _simple_lines(spec.name, part)

    yield from _slices(_header(spec.name, spec.help, "gauge"), _children(instrument), lines)


def _write_summary(instrument: Any) -> Iterator[bytes]:
    spec, children = instrument.spec, _children(instrument)
    name = spec.name

    def lines(part: list[Any]) -> list[str]:
        texts = []
        for child in part:
            count, total = map(float, child._read())
            braced = f"{{{labels}}}" if (labels := _labels(child)) else ""
            texts.append(f"{name}_count{braced} {number(count)}\n{name}_sum{braced} {number(total)}\n")
        return texts

    yield from _slices(_header(name, spec.help, "summary"), children, lines)
    yield from _created(spec, children)


def _write_histogram(instrument: Any) -> Iterator[bytes]:
    family, children = instrument._family, _children(instrument)
    spec = family.spec
    if family.plan is None:
        family.plan = _HistogramPlan(spec)
    yield from _slices(_header(spec.name, spec.help, "histogram"), children, family.plan.lines)
    yield from _created(spec, children)


class _HistogramPlan:
    """What all children of a histogram have in common on the page: the bounds, and where `le` stands in the labels."""

    def __init__(self, spec: MetricSpec) -> None:
        self._name = spec.name
        self._has_sum = spec.buckets[0] >= 0
        self._before = sum(name < "le" for name in spec.labels)
        self._bounds = [f'le="{number(bound)}"' for bound in spec.buckets]

    def lines(self, children: list[Any]) -> list[str]:
        """Write all lines of each child."""
        return [self._lines(child) for child in children]

    def _lines(self, child: Any) -> str:
        cells = child._read()
        total = cells.pop()
        seen: tuple[Any, ...] = tuple(accumulate(cells))
        count = number(float(seen[-1]))
        value = "%d.0"
        if seen[-1] >= 1_000_000:
            value = "%s"
            seen = tuple(number(float(each)) for each in seen)
        before, after, whole = child._text or self._split_labels(child)
        name = self._name
        start, end = f"{name}_bucket{{{before}", f"{after}}} {value}\n"
        buckets = f"{start}{(end + start).join(self._bounds)}{end}" % seen
        braced = f"{{{whole}}}" if whole else ""
        if not self._has_sum:
            return f"{buckets}{name}_count{braced} {count}\n"
        return f"{buckets}{name}_count{braced} {count}\n{name}_sum{braced} {number(float(total))}\n"

    def _split_labels(self, child: Any) -> tuple[str, str, str]:
        """Write a child's labels once: for its bucket lines, where % is doubled, and whole."""
        pairs = _pairs(child)
        before = "".join(f"{pair}," for pair in pairs[: self._before]).replace("%", "%%")
        after = "".join(f",{pair}" for pair in pairs[self._before :]).replace("%", "%%")
        child._text = (before, after, ",".join(pairs))
        return child._text  # type: ignore[no-any-return]


_WRITERS: dict[str, Callable[[Any], Iterator[bytes]]] = {
    "counter": _write_counter,
    "gauge": _write_gauge,
    "summary": _write_summary,
    "histogram": _write_histogram,
}
