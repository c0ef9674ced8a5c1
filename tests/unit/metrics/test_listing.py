"""The catalogue tells every metric of a registry, whoever declared it, and never fails."""

from __future__ import annotations

import json
import threading
from math import inf
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
from hypothesis import given
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
    SummaryMetricFamily,
    UnknownMetricFamily,
)

import vitalsign
from tests import strategies
from vitalsign import Counter, Enum, Gauge, Histogram, Info, Summary, catalogue
from vitalsign.collectors import ProcessCollector
from vitalsign.metrics.listing import CatalogueEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Foreign:
    """A collector of the host's own."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self.collect = collect


class Described(Foreign):
    """One that describes what it has."""

    def __init__(self, described: list[Metric], collect: Callable[[], Iterable[Metric]]) -> None:
        super().__init__(collect)
        self.describe = lambda: described


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return an empty registry."""
    return CollectorRegistry()


def fail() -> Iterable[Metric]:
    """Collect nothing."""
    raise RuntimeError("no connection")


def test_metrics_of_ours_are_told_as_declared(registry: CollectorRegistry) -> None:
    """Every instrument is listed in the order of the page, with its shape, before anything was counted."""
    Counter("orders", "Orders.", ["channel"], registry=registry)
    Gauge("depth_bytes", "Depth.", unit="bytes", multiprocess_mode="livesum", registry=registry)
    Histogram("wait_seconds", "Wait.", ["queue"], buckets=[1, 2], registry=registry)
    Summary("size_bytes", "Size.", registry=registry)
    Info("build", "Build.", registry=registry)
    Enum("phase", "Phase.", ["job"], states=["idle", "busy"], registry=registry)
    assert list(catalogue(registry)) == [
        CatalogueEntry("orders", "counter", "Orders.", ("channel",)),
        CatalogueEntry("depth_bytes", "gauge", "Depth.", unit="bytes", mode="livesum"),
        CatalogueEntry("wait_seconds", "histogram", "Wait.", ("queue",), buckets=(1.0, 2.0, inf)),
        CatalogueEntry("size_bytes", "summary", "Size."),
        CatalogueEntry("build", "info", "Build."),
        CatalogueEntry("phase", "stateset", "Phase.", ("job",), states=("idle", "busy"), mode=""),
    ]
    assert catalogue(registry).left_out == ()


@given(declared=strategies.declarations())
def test_metrics_of_both_libraries_are_told_alike(declared: list[dict[str, Any]]) -> None:
    """prometheus_client's instruments have the same entries as ours of the same declaration, but for their origin."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    for spec in declared:
        for module, registry in ((vitalsign, ours), (prometheus_client, theirs)):
            make = getattr(module, spec["kind"])
            make(spec["name"], spec["help"], spec["labels"], registry=registry, **spec["extra"])

    def told(registry: CollectorRegistry) -> list[dict[str, Any]]:
        return [{**entry.to_dict(), "origin": ""} for entry in catalogue(registry)]

    assert told(theirs) == told(ours)
    assert json.loads(json.dumps(told(ours))) == told(ours)


def test_foreign_kinds(registry: CollectorRegistry) -> None:
    """Kinds that we have no instrument for are listed too; the labels that tell parts of a series apart are none."""
    gauge_histogram = GaugeHistogramMetricFamily("ages", "Ages.", labels=["team"])
    gauge_histogram.add_metric(["a"], [("1.0", 2), ("+Inf", 3)], gsum_value=7)
    summary = SummaryMetricFamily("sizes", "Sizes.", labels=["team"])
    summary.add_metric(["a"], 3, 4.0)
    summary.add_sample("sizes", {"team": "a", "quantile": "0.5"}, 1)
    states = StateSetMetricFamily("state", "State.", value={"up": True, "down": False})
    info = InfoMetricFamily("release", "Release.", value={"version": "1"})
    unknown = UnknownMetricFamily("thing", "Thing.", value=1)
    registry.register(Foreign(lambda: [gauge_histogram, summary, states, info, unknown]))
    origin = f"{__name__}.Foreign"
    assert list(catalogue(registry)) == [
        CatalogueEntry("ages", "gaugehistogram", "Ages.", ("team",), buckets=(1.0, inf), origin=origin),
        CatalogueEntry("sizes", "summary", "Sizes.", ("team",), origin=origin),
        CatalogueEntry("state", "stateset", "State.", states=("down", "up"), origin=origin),
        CatalogueEntry("release", "info", "Release.", ("version",), origin=origin),
        CatalogueEntry("thing", "unknown", "Thing.", origin=origin),
    ]


def test_description_and_samples_complete_each_other(registry: CollectorRegistry) -> None:
    """What has no sample now is known by its description, and labels that are not described by the samples."""
    jobs = CounterMetricFamily("jobs", "Jobs.", labels=["queue"])
    jobs.add_metric(["mail"], 1)
    described = [CounterMetricFamily("jobs", "Jobs."), GaugeMetricFamily("idle", "Idle.", labels=["queue"])]
    registry.register(Described([*described], lambda: [jobs]))
    assert {entry.name: entry.labels for entry in catalogue(registry)} == {"jobs": ("queue",), "idle": ("queue",)}


def test_collector_that_raises_is_left_out_and_named(registry: CollectorRegistry) -> None:
    """One that fails costs what it has not described; the list says which one, and why."""
    registry.register(Foreign(fail))
    registry.register(Described([GaugeMetricFamily("idle", "Idle.")], fail))
    Counter("orders", "Orders.", registry=registry)
    found = catalogue(registry)
    assert [entry.name for entry in found] == ["idle", "orders"]
    assert [(each.collector, each.reason) for each in found.left_out] == [
        (f"{__name__}.Foreign", "RuntimeError: no connection"),
        (f"{__name__}.Described", "RuntimeError: no connection"),
    ]
    assert json.loads(json.dumps(found.to_dict()))["left_out"][0]["reason"] == "RuntimeError: no connection"


def test_collector_that_hangs_is_left_out(registry: CollectorRegistry) -> None:
    """One that does not answer in time costs nobody else anything."""
    release = threading.Event()

    def hang() -> Iterable[Metric]:
        release.wait(60)
        return []

    registry.register(Foreign(hang))
    Counter("orders", "Orders.", registry=registry)
    registry.register(Foreign(lambda: [GaugeMetricFamily("idle", "Idle.", value=1)]))
    found = catalogue(registry, deadline=0.1)
    release.set()
    assert [entry.name for entry in found] == ["orders", "idle"]
    (left_out,) = found.left_out
    assert left_out.reason.startswith("TimeoutError")


def test_functions_of_gauges_are_not_asked(registry: CollectorRegistry) -> None:
    """Listing instruments of either library calls no function of the host's."""
    Gauge("ours", "o", registry=registry).set_function(lambda: 1 / 0)
    prometheus_client.Gauge("theirs", "t", registry=registry).set_function(lambda: 1 / 0)
    found = catalogue(registry)
    assert [entry.name for entry in found] == ["ours", "theirs"]
    assert found.left_out == ()


def test_collectors_of_ours_are_ours(registry: CollectorRegistry) -> None:
    """What vitalsign's collectors show is listed as vitalsign's, with its labels."""
    with ProcessCollector().bind(registry):
        assert {entry.origin for entry in catalogue(registry)} == {"vitalsign"}
        up = catalogue(registry).find("vitalsign_collector_up")
    assert up is not None
    assert up.labels == ("collector",)


def test_catalogue_can_be_searched_hashed_and_counted(registry: CollectorRegistry) -> None:
    """Metrics are found by their own names and those of their series; equal catalogues are equal."""
    Histogram("wait_seconds", "Wait.", registry=registry)
    Counter("orders", "Orders.", registry=registry)
    found = catalogue(registry)
    assert [found.find(name) and found.find(name).name for name in ("orders_total", "wait_seconds_bucket", "no")] == [  # type: ignore[union-attr]
        "orders",
        "wait_seconds",
        None,
    ]
    assert len(found) == 2
    assert {found} == {catalogue(registry)}


def test_target_and_unusual_registries() -> None:
    """The target's labels are listed first, and a restricted registry or a subclass is asked as a whole."""
    registry = CollectorRegistry(target_info={"env": "test"})
    Counter("orders", "Orders.", ["channel"], registry=registry)
    prometheus_client.Counter("theirs", "t", registry=registry)
    assert [(entry.name, entry.labels) for entry in catalogue(registry)][:2] == [
        ("target", ("env",)),
        ("orders", ("channel",)),
    ]
    restricted = catalogue(registry.restricted_registry(["theirs_total"]))
    assert [entry.name for entry in restricted] == ["theirs"]
