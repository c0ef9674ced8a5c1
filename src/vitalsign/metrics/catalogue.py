"""What a metric is, as frozen data: the one description that instruments, pages and generators share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isnan
from typing import TYPE_CHECKING, Literal

from prometheus_client.validation import get_legacy_validation

from vitalsign.exceptions import MetricError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "DEFAULT_BUCKETS",
    "OVERFLOW",
    "RESERVED_LABELS",
    "Kind",
    "MetricSpec",
    "bucket_bounds",
    "check_legacy",
    "class_name",
    "classic_label",
    "encodable",
    "full_name",
    "is_classic_label",
    "label_names",
    "series_names",
    "spec_of",
]

Kind = Literal["counter", "gauge", "histogram", "summary", "info", "stateset"]

OVERFLOW = "__overflow__"
"""Value of every label of the one series that takes what is past a metric's `max_series`."""

RESERVED_LABELS: dict[str, str] = {"histogram": "le", "gaugehistogram": "le", "summary": "quantile"}
"""By kind, the label that tells the series of one label set apart."""

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, inf)
"""Seconds; the bounds of prometheus_client's histograms."""

_SUFFIXES: dict[str, tuple[str, ...]] = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}
_CLASSIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*").fullmatch
_CLASSIC_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*").fullmatch
_NOT_IN_LABEL = re.compile(r"\A[0-9]|[^a-zA-Z0-9_]").sub


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """
    Describe one metric.

    Attributes:
        name: Full name, without the `_total` of a counter or the `_info` of an info.
        kind: One of counter, gauge, histogram, summary, info, stateset.
        help: One sentence for people.
        labels: Label names, in the order that `labels()` takes their values.
        unit: Base unit, the last part of the name, or empty.
        buckets: Upper bounds of a histogram, ascending, the last +Inf; empty for other kinds.
        states: States of a stateset; empty for other kinds.
        mode: How a gauge's values from several processes become one, by prometheus_client's names.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    states: tuple[str, ...] = ()
    mode: str = ""

    @property
    def series(self) -> tuple[str, ...]:
        """Every name that the metric takes on a page."""
        return series_names(self.name, self.kind)

    @property
    def is_classic(self) -> bool:
        """Whether all names are made of the letters that every Prometheus reads without quoting."""
        return bool(_CLASSIC_NAME(self.name)) and all(map(is_classic_label, self.labels))

    def same_shape(self, other: MetricSpec) -> bool:
        """Tell whether both can be one metric: all but the help text and the gauge mode is equal."""
        return self._shape() == other._shape()

    def _shape(self) -> tuple[object, ...]:
        return (self.name, self.kind, self.labels, self.unit, self.buckets, self.states)

    def __str__(self) -> str:
        shape = [self.kind, f"labels ({', '.join(self.labels)})" if self.labels else "no labels"]
        if self.unit:
            shape.append(f"unit {self.unit}")
        if self.buckets:
            shape.append(f"buckets {self.buckets}")
        if self.states:
            shape.append(f"states {self.states}")
        return f"{self.name} ({', '.join(shape)})"


def series_names(name: str, kind: str) -> tuple[str, ...]:
    """Return every name that a metric of this kind takes on a page."""
    return (name, *(name + suffix for suffix in _SUFFIXES.get(kind, ())))


def class_name(thing: object) -> str:
    """Return the class of *thing*, with its module."""
    kind = type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"


def spec_of(collector: object) -> MetricSpec | None:
    """Return the description that a collector of ours has; None for a foreign one, which may have another `spec`."""
    try:
        spec = getattr(collector, "spec", None)
    except Exception:  # noqa: BLE001  # a property of the host's
        return None
    return spec if isinstance(spec, MetricSpec) else None


def is_classic_label(name: str) -> bool:
    """Tell whether every Prometheus reads the label name without quoting."""
    return bool(_CLASSIC_LABEL(name))


def check_legacy(what: str, name: str, is_classic: Callable[[str], object] = is_classic_label) -> None:
    """
    Refuse a name for which the host's Prometheus may be too old, if the host has said so to prometheus_client.

    Raises:
        MetricError: The name is not classic, and prometheus_client's legacy validation is on.
    """
    if get_legacy_validation() and not is_classic(name):
        raise MetricError(
            f"{what} {name!r} is invalid: prometheus_client's legacy validation is on, which takes letters, digits "
            "and _ alone, and : in the names of metrics. Choose another, or disable_legacy_validation()."
        )


def classic_label(name: str) -> str:
    """Write a label name with nothing but letters, digits and _, and not as a reserved one."""
    if is_classic_label(name):
        return name
    written = _NOT_IN_LABEL("_", name)
    return f"_{written.lstrip('_')}" if written.startswith("__") else written


def encodable(text: str) -> str:
    """Replace what UTF-8 cannot carry (lone surrogates), so that one bad value never breaks a page."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def full_name(kind: Kind, name: str, namespace: str = "", subsystem: str = "", unit: str = "") -> str:
    """
    Join the parts of a metric's name as prometheus_client does.

    Raises:
        MetricError: The name is empty or cannot be encoded, or the kind cannot have a unit.
    """
    if not name:
        raise MetricError("A metric needs a name: the first argument is empty.")
    whole = "_".join(part for part in (namespace, subsystem, name) if part)
    if kind == "counter":
        whole = whole.removesuffix("_total")
    if unit and not whole.endswith(f"_{unit}"):
        whole = f"{whole}_{unit}"
    if unit and kind in ("info", "stateset"):
        raise MetricError(f"Metric {whole!r} is of kind {kind}, which cannot have a unit. Leave unit= out.")
    if encodable(whole) != whole:
        raise MetricError(f"Metric name {whole!r} is not valid UTF-8. Remove the lone surrogates.")
    check_legacy("Metric name", whole, _CLASSIC_NAME)
    return whole


def label_names(kind: Kind, metric: str, names: Iterable[str]) -> tuple[str, ...]:
    """
    Validate label names.

    Raises:
        MetricError: A name is empty, reserved, used twice, or one string was given instead of several names.
    """
    if isinstance(names, str):
        raise MetricError(
            f"labelnames of {metric!r} is the string {names!r}; it would be read letter by letter. "
            f"Give a list: [{names!r}]."
        )
    labels = tuple(names)
    for label in labels:
        if not isinstance(label, str) or not label or encodable(label) != label:
            raise MetricError(f"{label!r} of metric {metric!r} is no label name. Give a non-empty string.")
        check_legacy(f"Label name of {kind} {metric!r}:", label)
        if label.startswith("__") or label == RESERVED_LABELS.get(kind) or (kind == "stateset" and label == metric):
            raise MetricError(f"Label name {label!r} of {kind} {metric!r} is reserved. Choose another.")
    if len(set(labels)) != len(labels):
        raise MetricError(f"Label names of metric {metric!r} are not distinct: {', '.join(labels)}.")
    return labels


def bucket_bounds(metric: str, buckets: Sequence[float | str]) -> tuple[float, ...]:
    """
    Turn *buckets* into ascending upper bounds that end with +Inf.

    Raises:
        MetricError: They are not ascending, not distinct, not numbers, or there is none but +Inf.
    """
    try:
        bounds = tuple(map(float, buckets))
    except (TypeError, ValueError) as error:
        raise MetricError(f"Buckets of histogram {metric!r} must be numbers, not {buckets!r}.") from error
    if any(map(isnan, bounds)) or any(low >= high for low, high in pairwise(bounds)):
        raise MetricError(
            f"Buckets of histogram {metric!r} are not in sorted order or not distinct: {bounds}. "
            "Give each upper bound once, ascending."
        )
    if bounds and bounds[-1] != inf:
        bounds = (*bounds, inf)
    if len(bounds) < 2:
        raise MetricError(f"Histogram {metric!r} must have at least two buckets: one bound besides +Inf.")
    return bounds
