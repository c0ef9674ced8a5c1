"""A metric that is taken off a registry is gone, and its names are free."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry

from tests.workers import Fleet
from vitalsign import Counter, Gauge, Histogram, generate_latest, unregister
from vitalsign.exceptions import MetricError, UnknownMetricError
from vitalsign.metrics.registry import collectors_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return an empty registry."""
    return CollectorRegistry()


@pytest.mark.parametrize("name", ["shop_orders", "shop_orders_total", "shop_orders_created", None])
def test_unregistered_metric_is_gone(registry: CollectorRegistry, name: str | None) -> None:
    """Taken off by itself or by any of its names, a metric leaves nothing on the page."""
    orders = Counter("shop_orders", "Orders.", ["channel"], registry=registry)
    orders.labels("web").inc()
    unregister(name or orders, registry)
    assert generate_latest(registry) == b""
    assert collectors_of(registry) == []


@pytest.mark.parametrize("by_ours", [True, False])
def test_name_can_be_declared_anew_in_another_shape(registry: CollectorRegistry, by_ours: bool) -> None:
    """The name is free for a metric of another kind, and what writes to the old one never reaches the new one."""
    old = Counter("shop_orders", "Orders.", ["channel"], registry=registry)
    web = old.labels("web")
    web.inc()
    if by_ours:
        unregister(old, registry)
    else:
        registry.unregister(old)
    new = Gauge("shop_orders", "Orders.", ["channel"], registry=registry)
    new.labels("web").set(7)
    web.inc()
    old.labels("app").inc()
    assert registry.get_sample_value("shop_orders", {"channel": "web"}) == 7
    assert b"shop_orders_total" not in generate_latest(registry)
    assert b"app" not in generate_latest(registry)


def test_same_shape_after_unregistering_is_another_metric(registry: CollectorRegistry) -> None:
    """Declared anew in the same shape, the metric begins from nothing."""
    old = Counter("shop_orders", "Orders.", registry=registry)
    old.inc(5)
    unregister(old, registry)
    new = Counter("shop_orders", "Orders.", registry=registry)
    old.inc()
    assert new is not old
    assert registry.get_sample_value("shop_orders_total") == 0


def test_unknown_metric_is_refused(registry: CollectorRegistry) -> None:
    """What is not on the registry is an error that says so, and one that callers of unregister() know."""
    elsewhere = Counter("shop_orders", "Orders.", registry=CollectorRegistry())
    for metric in ("shop_orders", elsewhere):
        with pytest.raises(UnknownMetricError, match="is not on this registry") as caught:
            unregister(metric, registry)
        assert isinstance(caught.value, LookupError)
        assert isinstance(caught.value, MetricError)
        assert caught.value.name == "shop_orders"


def test_metric_of_another_library_is_refused(registry: CollectorRegistry) -> None:
    """A name that another library holds is left to it, and the error says how to take it off."""
    prometheus_client.Gauge("theirs", "t", registry=registry)
    with pytest.raises(UnknownMetricError, match=r"metrics\.Gauge.*registry\.unregister\(collector\)"):
        unregister("theirs", registry)
    assert b"theirs 0.0" in generate_latest(registry)


def test_unregistering_among_scrapes(registry: CollectorRegistry) -> None:
    """Pages that are made meanwhile show a metric whole or not at all."""

    def declare(number: int) -> Histogram:
        histogram = Histogram("h", "h", ["k"], registry=registry, buckets=[1, 2])
        histogram.labels(str(number)).observe(1)
        return histogram

    stop = threading.Event()
    pages: list[bytes] = []

    def scrape() -> None:
        while not stop.is_set():
            pages.append(generate_latest(registry))

    threads = [threading.Thread(target=scrape) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(200):
        unregister(declare(number), registry)
    stop.set()
    for thread in threads:
        thread.join(60)
    declare(0)
    whole = generate_latest(registry).count(b"\n")
    assert {page.count(b"\n") for page in pages} <= {0, 2, whole}  # nothing, declared without a label set, whole


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Return workers that end with the test."""
    fleet = Fleet(tmp_path / "shared")
    yield fleet
    fleet.close()


def test_unregistered_metric_leaves_the_pages_of_all_workers(fleet: Fleet) -> None:
    """A worker takes its own part away from all pages; when all have done so, the name is free for another shape."""
    first, second = fleet.start(), fleet.start()
    for worker in (first, second):
        worker.do("write", "counter", ["x"], "inc", 2)
    off = "from vitalsign import Counter, Gauge, unregister\nunregister(metrics['counter'])\n"
    first.do("run", off + "metrics['counter'].labels('x').inc(9); metrics['counter'].labels('y').inc()")
    series = ("c_total", (("k", "x"),))
    assert [worker.values()[series] for worker in (first, second)] == [2, 2]
    assert ("c_total", (("k", "y"),)) not in second.values()
    for worker in (second, first):
        anew = "Gauge('c', 'c', multiprocess_mode='livesum').set(3)"
        worker.do("run", (off if worker is second else "from vitalsign import Gauge\n") + anew)
    for worker in (first, second):
        values = worker.values()
        assert series not in values
        assert values["c", ()] == 6
        assert not [name for name, _ in values if name.startswith("vitalsign_internal_errors")]
