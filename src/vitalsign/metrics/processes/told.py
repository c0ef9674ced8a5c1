"""What files tell, made into what the rest works with: nothing that comes from a file is taken on trust."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

from prometheus_client.samples import Exemplar

from vitalsign.metrics.catalogue import Kind, MetricSpec

__all__ = ["NONSENSE", "bound_from", "exemplar_from", "labels_from", "numbers_from", "spec_from", "texts_from"]

_KINDS = get_args(Kind)
NONSENSE = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What is raised where a file tells what none of us would."""

_TEXTS = ("name", "help", "unit", "mode")


def spec_from(told: dict[str, Any]) -> MetricSpec:
    """
    Make a description again from what was written down of it.

    Raises:
        TypeError: It has other members than a description has, or such of another type.
        ValueError: It describes no metric.
    """
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    spec = MetricSpec(**values)
    for each in fields(spec):
        if not isinstance(getattr(spec, each.name), str if each.name in (*_TEXTS, "kind") else tuple):
            raise TypeError(f"{each.name} of a metric is {getattr(spec, each.name)!r}")
    if spec.kind not in _KINDS or not all(isinstance(text, str) for text in (*spec.labels, *spec.states)):
        raise ValueError(f"no metric is {told!r}")
    if (spec.kind == "histogram") != bool(spec.buckets) or list(spec.buckets) != sorted(map(float, spec.buckets)):
        raise ValueError(f"no metric has the buckets {spec.buckets!r}")
    return spec


def bound_from(told: int) -> int:
    """
    Make a metric's `max_series`.

    Raises:
        ValueError: It is no number above 0.
    """
    if type(told) is not int or told < 1:
        raise ValueError(f"no metric is bounded by {told!r}")
    return told


def labels_from(told: list[str], spec: MetricSpec) -> tuple[str, ...]:
    """
    Make label values.

    Raises:
        TypeError: They are no texts.
        ValueError: There is not one for each label.
    """
    if type(told) is not list or len(told) != len(spec.labels):
        raise ValueError(f"{told!r} are no label values of {spec.name}")
    "".join(told)  # the fastest way to find what is no text
    return tuple(told)


def texts_from(told: dict[str, str]) -> dict[str, str]:
    """
    Make texts by name.

    Raises:
        ValueError: There is something else among them.
    """
    if not all(isinstance(text, str) for pair in told.items() for text in pair):
        raise ValueError(f"{told!r} are no texts")
    return dict(told)


def numbers_from(told: list[float], width: int) -> list[float]:
    """
    Make a child's numbers.

    Raises:
        ValueError: There is another number of them, or something else among them.
    """
    if len(told) != width:
        raise ValueError(f"{told!r} are not {width} numbers")
    return list(map(float, told))


def exemplar_from(place: int, told: list[Any], spec: MetricSpec) -> Exemplar:
    """
    Make the exemplar of a bucket.

    Raises:
        ValueError: It is none, or there is no such bucket.
    """
    labels, value, moment = told
    if type(place) is not int or not 0 <= place < max(1, len(spec.buckets)):
        raise ValueError(f"{spec.name} has no bucket {place!r}")
    return Exemplar(texts_from(labels), float(value), float(moment))
