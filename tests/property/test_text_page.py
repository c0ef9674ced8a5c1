"""The text page against prometheus_client's, on registries that nobody would think of."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any
from unittest import mock

import prometheus_client
import pytest
from hypothesis import example, given
from prometheus_client import CollectorRegistry
from prometheus_client.utils import floatToGoString

import vitalsign
from tests.strategies import declarations, label_values, numbers
from vitalsign.metrics.samples import number

needs_mended_numbers = pytest.mark.skipif(
    floatToGoString(1e10) != "1e+10",
    reason=f"prometheus_client {version('prometheus_client')} prints 1e+10 as {floatToGoString(1e10)}",
)


def build(library: Any, declared: list[dict[str, Any]]) -> CollectorRegistry:
    """Declare and write the same metrics with one of the two libraries."""
    registry = CollectorRegistry()
    with mock.patch("time.time", return_value=1_780_000_000.123):
        for metric in declared:
            make = getattr(library, metric["kind"])
            instrument = make(metric["name"], metric["help"], metric["labels"], registry=registry, **metric["extra"])
            for values, writes in metric["series"]:
                child = instrument.labels(*values) if values else instrument
                for method, *arguments in writes:
                    getattr(child, method)(*arguments)
    return registry


@needs_mended_numbers
@given(declarations())
def test_page_equals_prometheus_clients_byte_for_byte(declared: list[dict[str, Any]]) -> None:
    """Ours written by us, ours written by prometheus_client and theirs are one and the same page."""
    ours, theirs = build(vitalsign, declared), build(prometheus_client, declared)
    page = prometheus_client.generate_latest(theirs)
    assert vitalsign.generate_latest(ours) == page
    assert vitalsign.generate_latest(ours) == page, "the second page differs from the first"
    assert prometheus_client.generate_latest(ours) == page
    assert vitalsign.generate_latest(theirs) == page


@needs_mended_numbers
@given(declarations())
def test_page_without_created_series_equals_prometheus_clients(declared: list[dict[str, Any]]) -> None:
    """The host's switch for `_created` series holds for ours too."""
    ours, theirs = build(vitalsign, declared), build(prometheus_client, declared)
    prometheus_client.disable_created_metrics()
    try:
        assert vitalsign.generate_latest(ours) == prometheus_client.generate_latest(theirs)
    finally:
        prometheus_client.enable_created_metrics()


@given(declarations())
def test_openmetrics_by_prometheus_client_equals_its_own(declared: list[dict[str, Any]]) -> None:
    """Our instruments give the same OpenMetrics page as prometheus_client's do."""
    from prometheus_client.openmetrics.exposition import generate_latest

    assert generate_latest(build(vitalsign, declared)) == generate_latest(build(prometheus_client, declared))


@needs_mended_numbers
@given(numbers)
@example(1_000_000.0)
@example(123456.0)
@example(1_780_000_000.123)
@example(-12345678.9)
def test_numbers_print_as_prometheus_clients(value: float) -> None:
    """Every float is written as prometheus_client writes it."""
    assert number(value) == floatToGoString(value)


@given(label_values, label_values)
def test_label_values_are_told_apart(one: str, other: str) -> None:
    """Two label values share a series if and only if they are equal."""
    counter = vitalsign.Counter("c", "c", ["a"], registry=None)
    assert (counter.labels(one) is counter.labels(a=other)) == (one == other)
