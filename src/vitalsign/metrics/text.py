"""Families of ours in the Prometheus text format, version 0.0.4."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.lines import braced, created_line, fact_lines, gauge_line, histogram_lines, pieces, summary_lines
from vitalsign.metrics.samples import number, shows_created

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vitalsign.metrics.samples import Source

__all__ = ["write"]


def write(source: Source, children: Sequence[Any]) -> Iterator[bytes]:
    """Write one metric, with all its children."""
    spec = source.spec
    suffix, kind = _HEADS.get(spec.kind, ("", spec.kind))
    yield from pieces(_head(spec.name + suffix, spec.help, kind), children, partial(_LINES[spec.kind], source))
    if children and spec.kind in _DATED and shows_created():
        # This format has no place for the times of creation: they are a gauge of their own.
        name = f"{spec.name}_created"
        yield from pieces(_head(name, spec.help, "gauge"), children, partial(created_line, source))


def _head(name: str, text: str, kind: str) -> str:
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}\n"


def _counter(source: Source, child: Any) -> str:
    return f"{source.spec.name}_total{braced(child)} {number(child._read())}\n"


_DATED = ("counter", "summary", "histogram")
_HEADS = {"counter": ("_total", "counter"), "info": ("_info", "gauge"), "stateset": ("", "gauge")}
_LINES: dict[str, Callable[[Source, Any], str]] = {
    "counter": _counter,
    "gauge": gauge_line,
    "summary": summary_lines,
    "histogram": histogram_lines,
    "info": fact_lines,
    "stateset": fact_lines,
}
