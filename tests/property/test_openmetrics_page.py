"""The OpenMetrics page against prometheus_client's, and through its strict parser, on registries nobody thinks of."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest as upstream_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import vitalsign
from tests.property.test_text_page import build, needs_mended_numbers
from tests.strategies import declarations, utf8_names
from vitalsign.metrics.exposition import generate_latest, generate_openmetrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from vitalsign.metrics.exposition import Escaping

ESCAPINGS = ["underscores", "allow-utf-8", "dots", "values"]


@contextmanager
def created_series(shown: bool) -> Iterator[None]:
    """Turn `_created` series on or off by prometheus_client's switch, for a while."""
    if not shown:
        prometheus_client.disable_created_metrics()
    try:
        yield
    finally:
        prometheus_client.enable_created_metrics()


def without_colons(declared: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the names of which prometheus_client makes another in some lines: it writes `a_b_total` for `a:b`."""
    return [metric for metric in declared if ":" not in metric["name"]]


def as_told(family: Metric) -> object:
    """Return what a metric says, in a form in which NaN equals NaN; the parser trims the help text."""
    samples = [
        (name, sorted(labels.items()), repr(float(value)), exemplar and as_plain(exemplar))
        for name, labels, value, _, exemplar, *_ in family.samples
    ]
    return family.name, family.type, family.documentation.strip(), family.unit, samples


def as_plain(exemplar: Any) -> object:
    """Return what an exemplar says."""
    return dict(exemplar.labels), repr(float(exemplar.value)), round(float(exemplar.timestamp), 3)


@needs_mended_numbers
@given(declarations(exemplars=True), st.booleans())
def test_page_equals_prometheus_clients_byte_for_byte(declared: list[dict[str, Any]], created: bool) -> None:
    """With exemplars, units, and times of creation shown or not, both libraries write one and the same page."""
    declared = without_colons(declared)
    ours, theirs = build(vitalsign, declared), build(prometheus_client, declared)
    with created_series(created):
        page = upstream_openmetrics(theirs)
        assert generate_openmetrics(ours) == page
        assert generate_openmetrics(ours) == page, "the second page differs from the first"
        assert upstream_openmetrics(ours) == page
        assert generate_openmetrics(theirs) == page


@given(declarations(sane=True, exemplars=True), st.booleans())
def test_page_comes_back_whole_from_the_strict_parser(declared: list[dict[str, Any]], created: bool) -> None:
    """The parser finds on the page every metric and sample that prometheus_client's own instruments would tell."""
    declared = [metric for metric in declared if metric["kind"] != "Enum"] + without_colons(
        [metric for metric in declared if metric["kind"] == "Enum"]  # whose label would need the colon too
    )
    ours, theirs = build(vitalsign, declared), build(prometheus_client, declared)
    with created_series(created):
        parsed = list(text_string_to_metric_families(generate_openmetrics(ours).decode()))
        assert list(map(as_told, parsed)) == list(map(as_told, theirs.collect()))


@pytest.mark.parametrize("escaping", ESCAPINGS)
@given(name=utf8_names, label=utf8_names)
def test_utf8_names_are_escaped_as_by_prometheus_client(escaping: Escaping, name: str, label: str) -> None:
    """Names past the classic letters are quoted or rewritten by the scheme that is asked for, in both formats."""

    def made_by(library: Any) -> CollectorRegistry:
        registry = CollectorRegistry()
        library.Gauge(name, "g", [label], registry=registry).labels("x").set(1)
        return registry

    ours, theirs = made_by(vitalsign), made_by(prometheus_client)
    assert generate_latest(ours, escaping) == prometheus_client.generate_latest(theirs, escaping)
    if not re.fullmatch("[a-zA-Z_:][a-zA-Z0-9_:]*", name) or (":" not in name and escaping != "values"):
        assert generate_openmetrics(ours, escaping) == upstream_openmetrics(theirs, escaping)


@example({"0:": "x"})
@given(st.dictionaries(utf8_names, st.just("x"), min_size=1, max_size=8))
def test_exemplars_never_break_the_page(labels: dict[str, str]) -> None:
    """An exemplar may have any label names: on the page they are such as every parser takes."""
    registry = CollectorRegistry()
    vitalsign.Counter("c", "c", registry=registry).inc(1, labels)
    (family,) = text_string_to_metric_families(generate_openmetrics(registry).decode())
    (exemplar,) = (sample.exemplar for sample in family.samples if sample.exemplar)
    assert len(exemplar.labels) <= len(labels)
