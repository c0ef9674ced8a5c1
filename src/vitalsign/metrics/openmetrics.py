"""Families of ours in the OpenMetrics text format, version 1.0, with units, exemplars and times of creation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.lines import (
    braced,
    bucket_lines,
    created_line,
    escape,
    exemplar_note,
    fact_lines,
    gauge_line,
    histogram_lines,
    pieces,
    summary_lines,
)
from vitalsign.metrics.samples import number, shows_created

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vitalsign.metrics.samples import Source

__all__ = ["END", "write"]

END = b"# EOF\n"
"""The last line of every page."""


def write(source: Source, children: Sequence[Any]) -> Iterator[bytes]:
    """Write one metric, with all its children."""
    spec = source.spec
    head = f"# HELP {spec.name} {escape(spec.help)}\n# TYPE {spec.name} {spec.kind}\n"
    if spec.unit:
        head += f"# UNIT {spec.name} {spec.unit}\n"
    yield from pieces(head, children, partial(_LINES[spec.kind], source))


def _created(source: Source, child: Any) -> str:
    return created_line(source, child) if shows_created() else ""


def _counter(source: Source, child: Any) -> str:
    name, exemplar = source.spec.name, child._exemplar
    note = exemplar_note(exemplar) if exemplar else ""
    return f"{name}_total{braced(child)} {number(child._read())}{note}\n{_created(source, child)}"


def _summary(source: Source, child: Any) -> str:
    return summary_lines(source, child) + _created(source, child)


def _histogram(source: Source, child: Any) -> str:
    exemplars = child._exemplars
    if not exemplars:
        return histogram_lines(source, child) + _created(source, child)
    lines = bucket_lines(source, child)
    for place, exemplar in exemplars.items():
        lines[place] += exemplar_note(exemplar)
    return "\n".join([*lines, _created(source, child)])


_LINES: dict[str, Callable[[Source, Any], str]] = {
    "counter": _counter,
    "gauge": gauge_line,
    "summary": _summary,
    "histogram": _histogram,
    "info": fact_lines,
    "stateset": fact_lines,
}
