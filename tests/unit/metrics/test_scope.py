"""Metrics of a scope have its prefix and labels, share their families, and cost what others cost."""

from __future__ import annotations

import copy
import pickle
import textwrap
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily, StateSetMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
from prometheus_client.parser import text_string_to_metric_families

import vitalsign
from tests.strategies import declarations
from tests.workers import Fleet
from vitalsign import Counter, Enum, Gauge, Histogram, Info, Scope, Summary, catalogue, generate_latest, unregister
from vitalsign.collectors import QueueCollector, WorkerCollector
from vitalsign.exceptions import DuplicateMetricError, LabelError, MetricError, UnknownMetricError
from vitalsign.metrics.exposition import generate_openmetrics
from vitalsign.metrics.registry import collectors_of
from vitalsign.testing import isolated, sample_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class Depths:
    """A foreign collector."""

    def __init__(self, depth: float, *, fails: bool = False) -> None:
        self.depth = depth
        self.fails = fails

    def describe(self) -> Iterable[Metric]:
        """Describe a gauge and a state."""
        return [GaugeMetricFamily("depth", "Depth."), StateSetMetricFamily("state", "State.")]

    def collect(self) -> Iterable[Metric]:
        """Return both."""
        if self.fails:
            raise RuntimeError("broken")
        yield GaugeMetricFamily("depth", "Depth.", value=self.depth)
        yield StateSetMetricFamily("state", "State.", value={"up": True})


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return an empty registry."""
    return CollectorRegistry()


def scopes(registry: CollectorRegistry, *shards: str, prefix: str = "shop_") -> list[Scope]:
    """Return a scope for each shard."""
    return [Scope(registry, prefix=prefix, labels={"shard": shard}) for shard in shards]


def test_two_scopes_share_one_family(registry: CollectorRegistry) -> None:
    """Two instances of a component are one metric on the page, told apart by the label."""
    for number, scope in enumerate(scopes(registry, "a", "b")):
        Counter("orders", "Orders.", ["channel"], registry=scope).labels("web").inc(number + 1)
        Counter("ticks", "Ticks.", registry=scope).inc(number + 1)
    page = generate_latest(registry).decode()
    assert page == prometheus_client.generate_latest(registry).decode()
    assert page.count("# TYPE shop_orders_total counter\n") == page.count("# TYPE shop_ticks_total counter\n") == 1
    assert 'shop_orders_total{channel="web",shard="a"} 1.0\n' in page
    assert 'shop_orders_total{channel="web",shard="b"} 2.0\n' in page
    assert 'shop_ticks_total{shard="b"} 2.0\n' in page
    assert [entry.labels for entry in catalogue(registry)] == [("shard", "channel"), ("shard",)]


def test_every_kind_in_a_scope(registry: CollectorRegistry) -> None:
    """All instruments work in a scope, with and without labels of their own."""
    (scope,) = scopes(registry, "a")
    Gauge("g", "g", registry=scope).set_function(lambda: 3)
    Histogram("h", "h", ["k"], registry=scope, buckets=[1]).labels(k="x").observe(0.5)
    Summary("s_bytes", "s", unit="bytes", registry=scope).observe(2)
    Info("i", "i", registry=scope).info({"version": "1"})
    Enum("e", "e", ["k"], states=["a", "b"], registry=scope).labels("x").state("b")
    assert sample_value(registry, "shop_g", shard="a") == 3
    assert sample_value(registry, "shop_h_bucket", shard="a", k="x", le="1.0") == 1
    assert sample_value(registry, "shop_s_bytes_sum", shard="a") == 2
    assert sample_value(registry, "shop_i_info", shard="a", version="1") == 1
    assert sample_value(registry, "shop_e", shard="a", k="x", shop_e="b") == 1
    assert len(list(strict(generate_openmetrics(registry).decode()))) == 5


def test_declaring_twice_in_a_scope(registry: CollectorRegistry) -> None:
    """The same declaration in an equal scope is the same instrument; another shape is an error that names both."""
    first, second = scopes(registry, "a", "a")
    labelled = Counter("orders", "Orders.", ["channel"], registry=first)
    plain = Counter("ticks", "Ticks.", registry=first)
    assert Counter("orders", "Orders.", ["channel"], registry=second) is labelled
    assert Counter("ticks", "Ticks.", registry=second) is plain
    for scope in (second, Scope(registry, prefix="shop_", labels={"tenant": "x"})):
        with pytest.raises(DuplicateMetricError, match="shop_orders"):
            Counter("orders", "Orders.", ["kind"], registry=scope)


def test_labels_of_a_scoped_metric(registry: CollectorRegistry) -> None:
    """labels() takes the labels besides the constant ones, and the child is found again as fast as any."""
    (scope,) = scopes(registry, "a")
    orders = Counter("orders", "Orders.", ["channel", "plan"], registry=scope)
    web = orders.labels("web", 1)
    assert orders.labels(plan="1", channel="web") is web
    assert orders._family.children == {("web", "1"): web}
    assert orders._labelnames == ("channel", "plan")
    assert orders.spec.labels == ("shard", "channel", "plan")
    for values in ((), ("a", "web", "1")):
        with pytest.raises(LabelError):
            orders.labels(*values)
    with pytest.raises(LabelError):
        orders.labels(shard="b", channel="web", plan="1")
    with pytest.raises(MetricError):
        Counter("bad", "b", ["shard"], registry=scope)
    with pytest.raises(MetricError):
        orders.inc()


def test_removing_concerns_the_scope_alone(registry: CollectorRegistry) -> None:
    """remove, remove_by_labels and clear leave other scopes' series, and free what is cached."""
    first, second = (Counter("orders", "Orders.", ["k"], registry=scope) for scope in scopes(registry, "a", "b"))
    for remove in (lambda: first.remove("x"), lambda: first.remove_by_labels({"k": "x"}), first.clear):
        old = first.labels("x")
        second.labels("x").inc()
        remove()
        old.inc(100)
        assert sample_value(registry, "shop_orders_total", shard="a", k="x") is None
        first.labels("x").inc(7)
        assert sample_value(registry, "shop_orders_total", shard="a", k="x") == 7
        first.clear()
    assert sample_value(registry, "shop_orders_total", shard="b", k="x") == 3
    plain = Counter("ticks", "t", registry=scopes(registry, "a")[0])
    plain.clear()
    assert sample_value(registry, "shop_ticks_total", shard="a") == 0


def test_overflow_in_a_scope(registry: CollectorRegistry) -> None:
    """The bound is on the whole metric, and what is past it goes to the one overflow series."""
    for scope in scopes(registry, "a", "b"):
        metric = Counter("m", "m", ["k"], registry=scope, max_series=1)
        metric.labels("x").inc()
        metric.labels("x").inc()
    assert sample_value(registry, "shop_m_total", shard="a", k="x") == 2
    assert sample_value(registry, "shop_m_total", shard="__overflow__", k="__overflow__") == 2


def test_scopes_can_be_nested_and_ordered_at_will(registry: CollectorRegistry) -> None:
    """The scope beneath has its prefix first; labels add up, in whatever order they are given."""
    outer = Scope(registry, prefix="shop_", labels={"tenant": "t"})
    Counter("c", "c", registry=Scope(outer, prefix="db_", labels={"shard": 1})).inc()
    Counter("c", "c", registry=Scope(registry, prefix="shop_db_", labels={"shard": "2", "tenant": "t"})).inc()
    assert sample_value(registry, "shop_db_c_total", tenant="t", shard="1") == 1
    assert sample_value(registry, "shop_db_c_total", tenant="t", shard="2") == 1
    assert len(collectors_of(registry) or ()) == 1
    for labels in ({"tenant": "u"}, {"__x": "y"}, {"": "y"}):
        with pytest.raises(MetricError):
            Scope(outer, labels=labels)


def test_scope_of_a_prefix_alone(registry: CollectorRegistry) -> None:
    """Without labels, what is declared is the metric of the longer name itself."""
    orders = Counter("orders", "Orders.", ["k"], registry=Scope(registry, prefix="shop_"))
    assert Counter("shop_orders", "Orders.", ["k"], registry=registry) is orders


def test_scope_is_a_registry_of_what_is_its_own(registry: CollectorRegistry) -> None:
    """A page of a scope shows its series only, also restricted to some names."""
    first, second = scopes(registry, "a", "b")
    for scope in (first, second):
        Counter("orders", "Orders.", ["k"], registry=scope).labels("x").inc()
        scope.register(Depths(1))
    Counter("elsewhere", "e", registry=registry)
    page = generate_latest(first)
    assert page == prometheus_client.generate_latest(first)
    assert b'shop_orders_total{k="x",shard="a"} 1.0' in page
    assert b'shop_depth{shard="a"} 1.0' in page
    assert b'shard="b"' not in page
    assert b"elsewhere" not in page
    restricted = generate_latest(first.restricted_registry(["shop_depth"]))
    assert restricted == b'# HELP shop_depth Depth.\n# TYPE shop_depth gauge\nshop_depth{shard="a"} 1.0\n'


def test_unregistering_in_a_scope(registry: CollectorRegistry) -> None:
    """A scope's part can be taken off; the last one takes the metric; old handles reach nobody."""
    first, second = scopes(registry, "a", "b")
    for name, labels in (("orders", ["k"]), ("ticks", [])):
        old, other = (Counter(name, "o", labels, registry=scope) for scope in (first, second))
        old_child, other_child = (each.labels("x") if labels else each for each in (old, other))
        old_child.inc()
        other_child.inc()
        unregister(name, first)
        old_child.inc()
        if labels:
            old.labels("y").inc()
        assert b'shard="a"' not in generate_latest(registry)
        assert b'shard="b"' in generate_latest(registry)
        with pytest.raises(UnknownMetricError):
            unregister("nothing", first)
        assert Counter(name, "o", labels, registry=first) is not old
        unregister(name, first)
        unregister(other, second)
        assert collectors_of(registry) == []
        with pytest.raises(UnknownMetricError):
            unregister(other, second)


def test_foreign_collectors_share_their_metrics(registry: CollectorRegistry) -> None:
    """Collectors of one kind in two scopes are one family each on the page; one that fails leaves the other's."""
    first, second = scopes(registry, "a", "b")
    one, two = Depths(1), Depths(2)
    first.register(one)
    second.register(two)
    page = generate_latest(registry).decode()
    assert page.count("# TYPE shop_depth gauge") == 1
    assert sample_value(registry, "shop_depth", shard="b") == 2
    assert sample_value(registry, "shop_state", shard="a", shop_state="up") == 1
    assert {entry.origin for entry in catalogue(registry)} == {f"{__name__}.Depths"}
    one.fails = True
    assert 'shop_depth{shard="b"} 2.0' in generate_latest(registry).decode()
    with pytest.raises(ValueError, match="shop_depth"):
        first.register(Depths(3))
    first.unregister(one)
    second.unregister(two)
    assert collectors_of(registry) == []
    with pytest.raises(KeyError):
        second.unregister(two)


def test_collector_that_has_the_scopes_label_is_left_out(registry: CollectorRegistry) -> None:
    """A foreign series that bears the constant label itself is not overwritten but left out."""
    scope = Scope(registry, labels={"state": "x"})
    scope.register(Depths(1))
    where = f"collect of {__name__}.Depths"
    before = sample_value(prometheus_client.REGISTRY, "vitalsign_internal_errors_total", where=where) or 0
    assert b"state=" not in generate_latest(registry)
    assert sample_value(prometheus_client.REGISTRY, "vitalsign_internal_errors_total", where=where) == before + 1


def test_our_collectors_bind_to_scopes(registry: CollectorRegistry) -> None:
    """Collectors of ours work in several scopes, and unbinding one leaves the other's series."""
    bound: list[Any] = []
    for number, scope in enumerate(scopes(registry, "a", "b")):
        bound.append(QueueCollector("mail", depth=lambda number=number: number).bind(scope))  # type: ignore[misc]
        bound.append(QueueCollector("chat", depth=lambda: 7).bind(scope))
        worker = WorkerCollector("pricing", queue="mail").bind(scope)
        with worker.job("price"):
            pass
        bound.append(worker)
    page = generate_latest(registry).decode()
    families = [family.name for family in text_string_to_metric_families(page)]
    assert len(families) == len(set(families))
    assert sample_value(registry, "shop_queue_depth", shard="b", queue="mail") == 1
    assert sample_value(registry, "shop_queue_depth", shard="a", queue="chat") == 7
    assert {entry.origin for entry in catalogue(registry)} == {"vitalsign"}
    for collector in bound[:3]:
        collector.unbind()
    assert b'shard="a"' not in generate_latest(registry)
    assert sample_value(registry, "shop_queue_depth", shard="b", queue="mail") == 1
    for collector in bound[3:]:
        collector.unbind()
    assert collectors_of(registry) == []


def test_scoped_metrics_are_pickled_and_copied() -> None:
    """A part of a metric of the default registry is found again as the same part."""
    with isolated():
        (scope,) = scopes(prometheus_client.REGISTRY, "a")
        orders = Counter("orders", "Orders.", ["k"], registry=scope)
        for thing in (orders, orders.labels("x"), Counter("ticks", "t", registry=scope)):
            assert pickle.loads(pickle.dumps(thing)) is thing
            assert copy.deepcopy(thing) is thing


def test_scope_taken_off_inside_isolated_is_back(registry: CollectorRegistry) -> None:
    """What is unregistered through a scope inside isolated() works as before at the end."""
    (scope,) = scopes(registry, "a")
    orders, ticks = Counter("orders", "o", ["k"], registry=scope), Counter("ticks", "t", registry=scope)
    orders.labels("x").inc()
    ticks.inc()
    with isolated(registry):
        unregister(orders, scope)
        unregister(ticks, scope)
        assert generate_latest(registry) == b""
    orders.labels("x").inc()
    ticks.inc()
    assert sample_value(registry, "shop_orders_total", shard="a", k="x") == 2
    assert sample_value(registry, "shop_ticks_total", shard="a") == 2
    assert Counter("orders", "o", ["k"], registry=scope) is orders


def test_isolated_metrics_of_scopes(registry: CollectorRegistry) -> None:
    """Scoped metrics begin from nothing in isolated(), which may be given the scope, and come back."""
    (scope,) = scopes(registry, "a")
    orders = Counter("orders", "Orders.", ["k"], registry=scope)
    held = orders.labels("x")
    held.inc(5)
    depths = Depths(1)
    scope.register(depths)
    before = generate_latest(registry)
    with isolated(scope):
        assert b"k=" not in generate_latest(registry)
        held.inc()
        orders.labels("x").inc()
        assert sample_value(registry, "shop_orders_total", shard="a", k="x") == 2
        scopes(registry, "b")[0].register(Depths(2))
        Counter("inside", "i", registry=scope)
    assert generate_latest(registry) == before
    assert orders.labels("x") is held
    scope.unregister(depths)


@given(declared=declarations(sane=True, exemplars=True), values=st.lists(st.text(max_size=3), min_size=1, max_size=3))
def test_page_of_scopes_is_as_if_labels_were_written_by_hand(declared: list[dict[str, Any]], values: list[str]) -> None:
    """Scoped metrics give byte for byte the page of plain ones with one label more and a longer name."""
    scoped, plain = CollectorRegistry(), CollectorRegistry()
    for value in values:
        for spec in declared:
            make, extra = getattr(vitalsign, spec["kind"]), spec["extra"]
            scope = Scope(scoped, prefix="x_", labels={"zone": value})
            if "zone" in spec["labels"]:
                continue
            part = make(spec["name"], spec["help"], spec["labels"], registry=scope, **extra)
            whole = make(f"x_{spec['name']}", spec["help"], ["zone", *spec["labels"]], registry=plain, **extra)
            if not spec["labels"]:
                whole.labels(value)
            for labels, writes in spec["series"]:
                for method, *arguments in writes:
                    getattr(part.labels(*labels) if labels else part, method)(*arguments)
                    getattr(whole.labels(value, *labels), method)(*arguments)
    pages = [_undated(generate_openmetrics(registry).decode()) for registry in (scoped, plain)]
    assert pages[0] == pages[1]


def _undated(page: str) -> list[str]:
    lines = [line.partition(" # ")[0] for line in page.split("\n")]
    return [line for line in lines if "_created" not in line]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Return workers that end with the test."""
    fleet = Fleet(tmp_path / "shared")
    yield fleet
    fleet.close()


def test_scopes_of_many_processes_add_up(fleet: Fleet) -> None:
    """Scoped metrics of several workers are one family, added up, and go with those who take them off."""
    first, second = fleet.start(), fleet.start()
    code = """
        from vitalsign import Counter, Histogram, Scope
        for shard in ("a", "b"):
            scope = Scope(prefix="shop_", labels={"shard": shard})
            Counter("orders", "Orders.", ["k"], registry=scope).labels("x").inc(2)
            Histogram("wait", "Wait.", registry=scope, buckets=[1]).observe(0.5)
    """
    for worker in (first, second):
        worker.do("run", textwrap.dedent(code))
    for worker in (first, second):
        values = worker.values()
        assert values["shop_orders_total", (("k", "x"), ("shard", "b"))] == 4
        assert values["shop_wait_count", (("shard", "a"),)] == 2
    off = "from vitalsign import Scope, unregister\nunregister('orders', Scope(prefix='shop_', labels={'shard': 'a'}))"
    first.do("run", off)
    assert second.values()["shop_orders_total", (("k", "x"), ("shard", "a"))] == 2
    assert first.values()["shop_orders_total", (("k", "x"), ("shard", "b"))] == 4
