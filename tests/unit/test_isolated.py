"""What `isolated()` promises: metrics begin from nothing inside, and are as they were afterwards."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry

from tests.strategies import declarations
from tests.workers import Fleet, Worker
from vitalsign import Counter, Enum, Gauge, Histogram, Info, Summary, generate_latest, unregister
from vitalsign.metrics.exposition import generate_openmetrics
from vitalsign.metrics.registry import collectors_of
from vitalsign.testing import isolated, sample_value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return an empty registry."""
    return CollectorRegistry()


@pytest.fixture
def orders(registry: CollectorRegistry) -> Counter:
    """Return a counter as a module of the host's declares it."""
    return Counter("orders", "Orders.", ["channel"], registry=registry)


def count(registry: CollectorRegistry, channel: str) -> float | None:
    """Return the orders of one channel."""
    return sample_value(registry, "orders_total", channel=channel)


def test_everything_begins_from_nothing_and_comes_back(registry: CollectorRegistry) -> None:
    """Every kind of metric is empty inside, whatever is done to it there, and unchanged afterwards."""
    counter = Counter("c", "c", ["k"], registry=registry)
    counter.labels("x").inc(2, exemplar={"trace_id": "1"})
    plain = Counter("plain", "p", registry=registry)
    plain.inc(4)
    gauge = Gauge("g", "g", registry=registry)
    gauge.set(5)
    asked = Gauge("asked", "a", ["k"], registry=registry)
    asked.labels("x").set_function(lambda: 7)
    histogram = Histogram("h", "h", ["k"], buckets=[1, 2], registry=registry)
    histogram.labels("x").observe(1.5, exemplar={"trace_id": "2"})
    Summary("s", "s", registry=registry).observe(3)
    info = Info("i", "i", registry=registry)
    info.info({"version": "1"})
    state = Enum("e", "e", states=["a", "b"], registry=registry)
    state.state("b")
    before = generate_openmetrics(registry)
    with isolated(registry):
        inside = generate_latest(registry).decode()
        assert sample_value(registry, "plain_total") == sample_value(registry, "g") == 0
        assert sample_value(registry, "s_count") == 0
        assert sample_value(registry, "e", e="a") == 1
        assert "{k=" not in inside
        assert "version" not in inside
        counter.labels("x").inc(9, exemplar={"trace_id": "3"})
        counter.labels("y").inc()
        plain.inc()
        gauge.dec()
        asked.labels("x").set(1)
        histogram.labels("x").observe(0.5, exemplar={"trace_id": "4"})
        info.info({"version": "2", "more": "z"})
        state.state("a")
        assert sample_value(registry, "asked", k="x") == 1
        assert sample_value(registry, "i_info", version="2", more="z") == 1
        assert b'trace_id="3"' in generate_openmetrics(registry)
        assert b'trace_id="1"' not in generate_openmetrics(registry)
    assert generate_openmetrics(registry) == before


@pytest.mark.parametrize("is_declared_inside", [False, True])
def test_handle_from_before_counts_inside(registry: CollectorRegistry, is_declared_inside: bool) -> None:
    """A child that a module holds is the child of its labels inside too, and unseen until it is written."""
    orders = Counter("orders", "Orders.", ["channel"], registry=registry)
    web = orders.labels("web")
    web.inc(5)
    with isolated(registry):
        assert count(registry, "web") is None
        if is_declared_inside:
            assert Counter("orders", "Orders.", ["channel"], registry=registry) is orders
        web.inc()
        assert count(registry, "web") == 1
        assert orders.labels("web") is web
        orders.labels(channel="web").inc()
        assert count(registry, "web") == 2
    assert count(registry, "web") == 5
    web.inc()
    assert count(registry, "web") == 6


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        (Counter, lambda child: child.inc(0)),
        (Gauge, lambda child: child.set(0.0)),
        (Gauge, lambda child: child.inc(0)),
        (Gauge, lambda child: child.set_function(lambda: 0)),
        (Histogram, lambda child: child.observe(0)),
        (Summary, lambda child: child.observe(0)),
        (Info, lambda child: child.info({})),
    ],
)
def test_write_of_nothing_is_a_write(registry: CollectorRegistry, kind: Any, write: Any) -> None:
    """A held child is shown once it is written, also if its value stays at zero."""
    child = kind("m", "m", ["k"], registry=registry).labels("x")
    with isolated(registry):
        assert not [sample for metric in registry.collect() for sample in metric.samples]
        write(child)
        assert [sample for metric in registry.collect() for sample in metric.samples]


def test_handle_made_inside_is_its_own_series_afterwards(registry: CollectorRegistry, orders: Counter) -> None:
    """A child made inside is gone at the end; written later, it is a series of its own labels, from zero."""
    orders.labels("web").inc(3)
    with isolated(registry):
        app = orders.labels("app")
        app.inc(7)
        web = orders.labels("web")
        web.inc(7)
    assert count(registry, "app") is None
    assert count(registry, "web") == 3
    app.inc()
    assert count(registry, "app") == 1
    assert orders.labels("app") is app
    web.inc()
    assert count(registry, "web") == 4
    with isolated(registry):
        app.inc()
        assert count(registry, "app") == 1
    assert count(registry, "app") == 1


def test_handles_that_nobody_holds_are_forgotten(registry: CollectorRegistry, orders: Counter) -> None:
    """Nothing is left of many isolated tests whose label sets are held by nobody."""
    for number in range(100):
        with isolated(registry):
            orders.labels(str(number)).inc()
    gc.collect()
    generate_latest(registry)
    assert not orders._family.aside
    assert not orders._family.children


def test_collectors_are_as_before(registry: CollectorRegistry, orders: Counter) -> None:
    """What was registered inside goes, what was taken off comes back, in the old order and with the old names."""
    prometheus_client.Gauge("theirs", "t", registry=registry).set(2)
    last = Counter("last", "l", registry=registry)
    before, page = collectors_of(registry), generate_latest(registry)
    with isolated(registry):
        assert sample_value(registry, "theirs") == 2
        Counter("inside", "i", registry=registry).inc()
        prometheus_client.Gauge("theirs_too", "t", registry=registry)
        unregister(orders, registry)
        registry.unregister(last)
        Gauge("orders", "Another shape.", registry=registry)
    assert collectors_of(registry) == before
    assert generate_latest(registry) == page
    Counter("inside", "In another shape.", ["k"], registry=registry).labels("x").inc()
    assert Counter("orders", "Orders.", ["channel"], registry=registry) is orders


def test_metric_declared_inside_may_be_used_afterwards(registry: CollectorRegistry) -> None:
    """Its handle writes to nothing that is shown, also if the name has been declared anew."""
    with isolated(registry):
        old = Counter("inside", "i", registry=registry)
    new = Counter("inside", "i", registry=registry)
    old.inc()
    assert sample_value(registry, "inside_total") == 0
    assert new is not old


def test_exception_passes_through_and_all_is_back(registry: CollectorRegistry, orders: Counter) -> None:
    """An exception that leaves the block changes nothing of what is put back."""
    orders.labels("web").inc(3)

    def fail() -> None:
        with isolated(registry):
            orders.labels("web").inc()
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert count(registry, "web") == 3


def test_nesting(registry: CollectorRegistry, orders: Counter) -> None:
    """Each level begins from nothing, and leaves the one around it as it was; one object may do both."""
    web = orders.labels("web")
    web.inc(1)
    both = isolated(registry)
    with both:
        web.inc(2)
        with both:
            assert count(registry, "web") is None
            web.inc(4)
            assert count(registry, "web") == 4
        assert count(registry, "web") == 2
    assert count(registry, "web") == 1


def test_removing_inside(registry: CollectorRegistry, orders: Counter) -> None:
    """Removed inside, a held child is shown no more there; afterwards it is what it was."""
    for remove in (lambda: orders.remove("web"), orders.clear, lambda: orders.remove_by_labels({"channel": "web"})):
        web = orders.labels("web")
        web.reset()
        web.inc(3)
        with isolated(registry):
            remove()
            web.inc()
            assert count(registry, "web") is None
            orders.labels("web").inc(5)
            assert count(registry, "web") == 5
        assert count(registry, "web") == 3
        assert orders.labels("web") is web


def test_child_made_after_a_removal_inside_is_shown_no_more(registry: CollectorRegistry, orders: Counter) -> None:
    """Of two children of the same labels the one from before is shown afterwards, and the other one never."""
    web = orders.labels("web")
    web.inc(3)
    with isolated(registry):
        orders.clear()
        other = orders.labels("web")
        other.inc()
    other.inc(100)
    assert count(registry, "web") == 3
    assert orders.labels("web") is web
    other.inc(100)
    with isolated(registry):
        assert count(registry, "web") is None
        web.inc()
        assert count(registry, "web") == 1


def test_overflow_is_as_before(registry: CollectorRegistry) -> None:
    """The bound on label sets counts those inside only, and afterwards those of before."""
    metric = Counter("m", "m", ["k"], max_series=1, registry=registry)
    metric.labels("a").inc()
    with isolated(registry):
        metric.labels("b").inc()
        metric.labels("c").inc()
        assert sample_value(registry, "m_total", k="b") == 1
        assert sample_value(registry, "m_total", k="__overflow__") == 1
    assert sample_value(registry, "m_total", k="a") == 1
    assert sample_value(registry, "m_total", k="__overflow__") is None


def test_threads_count_inside_and_go_with_it(registry: CollectorRegistry, orders: Counter) -> None:
    """Threads that wrote before write inside too, and after the end to what was there before."""
    web = orders.labels("web")
    turn = [threading.Semaphore(0), threading.Semaphore(0)]

    def work() -> None:
        for _ in range(3):
            turn[0].acquire()
            web.inc()
            turn[1].release()

    def let_it_count() -> None:
        turn[0].release()
        turn[1].acquire()

    thread = threading.Thread(target=work)
    thread.start()
    let_it_count()
    web.inc()
    with isolated(registry):
        let_it_count()
        assert count(registry, "web") == 1
    let_it_count()
    thread.join()
    assert count(registry, "web") == 3


def test_decorator(registry: CollectorRegistry, orders: Counter) -> None:
    """Functions and coroutine functions begin from nothing at each call, and stay what they are."""
    orders.labels("web").inc(3)

    @isolated(registry)
    def once(amount: float, /) -> float | None:
        """Count once."""
        orders.labels("web").inc(amount)
        return count(registry, "web")

    @isolated(registry)
    async def twice() -> float | None:
        orders.labels("web").inc()
        await asyncio.sleep(0)
        orders.labels("web").inc()
        return count(registry, "web")

    assert [once(1), once(2), asyncio.run(twice())] == [1, 2, 2]
    assert count(registry, "web") == 3
    assert (once.__name__, once.__doc__) == ("once", "Count once.")
    assert asyncio.iscoroutinefunction(twice)


def test_misuse_as_decorator_is_an_error() -> None:
    """What would not be isolated at all is refused, with what to write."""

    def fixture() -> Iterator[None]:
        yield

    with pytest.raises(TypeError, match=r"write @isolated\(\)"):
        isolated(fixture)  # type: ignore[arg-type]
    for target in (fixture, CollectorRegistry):
        with pytest.raises(TypeError, match=r"Write `with isolated\(\):` in its body"):
            isolated()(target)  # type: ignore[arg-type]


def test_default_registry() -> None:
    """Without an argument the default registry is isolated, which `with` returns."""
    with isolated() as registry:
        Counter("only_here", "o").inc()
        assert registry is REGISTRY
        assert sample_value(REGISTRY, "only_here_total") == 1
        assert sample_value(REGISTRY, "python_info", **_python()) == 1
    assert sample_value(REGISTRY, "only_here_total") is None


def _python() -> dict[str, str]:
    (platform,) = (metric for metric in prometheus_client.PLATFORM_COLLECTOR.collect() if metric.name == "python_info")
    return platform.samples[0].labels


@given(declared=declarations(exemplars=True), more=declarations(exemplars=True), depth=st.integers(1, 3))
def test_page_is_as_before(declared: list[dict[str, Any]], more: list[dict[str, Any]], depth: int) -> None:
    """Whatever is declared and written inside, the page afterwards is byte for byte the one of before."""
    registry = CollectorRegistry()
    held = _write(declared, registry)
    before = generate_openmetrics(registry)
    for _ in range(depth):
        with isolated(registry):
            empty = generate_openmetrics(registry)
            with isolated(registry):
                _write([{**spec, "name": f"more_{spec['name']}"} for spec in more], registry)
                for child, writes in held:
                    for method, *arguments in writes:
                        getattr(child, method)(*arguments)
            assert generate_openmetrics(registry) == empty
    assert generate_openmetrics(registry) == before


def _write(declared: list[dict[str, Any]], registry: CollectorRegistry) -> list[tuple[Any, list[Any]]]:
    held = []
    for spec in declared:
        make = getattr(sys.modules["vitalsign"], spec["kind"])
        metric = make(spec["name"], spec["help"], spec["labels"], registry=registry, **spec["extra"])
        for labels, writes in spec["series"]:
            child = metric.labels(*labels) if labels else metric
            held.append((child, writes))
            for method, *arguments in writes:
                getattr(child, method)(*arguments)
    return held


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Return workers that end with the test."""
    fleet = Fleet(tmp_path / "shared")
    yield fleet
    fleet.close()


def counted(worker: Worker) -> dict[Any, float]:
    """Return what a worker's page shows of the instruments that are not of one process."""
    shown = worker.values()
    return {key: value for key, value in shown.items() if not key[0].startswith(("process_", "python_"))}


def test_other_processes_see_nothing_of_it(fleet: Fleet) -> None:
    """Inside, the page is this process's alone; to the others nothing changes, during and after."""
    first, second = fleet.start(), fleet.start()
    for worker in (first, second):
        worker.do("write", "counter", ["x"], "inc", 2)
        worker.do("write", "livesum", [], "set", 3)
        worker.do("write", "histogram", ["x"], "observe", 1)
    before = counted(second)
    code = """
        from vitalsign.testing import isolated
        held["block"] = isolated()
        held["block"].__enter__()
        metrics["counter"].labels("x").inc(5)
        held["new"] = metrics["counter"].labels("y")
        held["new"].inc()
        metrics["livesum"].set(9)
        metrics["histogram"].labels("x").observe(1)
    """
    first.do("run", "\n".join(line.strip() for line in code.splitlines()))
    inside = first.values()
    assert inside["c_total", (("k", "x"),)] == 5
    assert inside["g_livesum", ()] == 9
    assert inside["h_count", (("k", "x"),)] == 1
    assert counted(second) == before
    first.do("run", "held['block'].__exit__(None, None, None)")
    assert counted(first) == counted(second) == before
    first.do("run", "held['new'].inc(4); metrics['counter'].labels('x').inc(); metrics['livesum'].inc()")
    for worker in (first, second):
        values = worker.values()
        assert values["c_total", (("k", "y"),)] == 4
        assert values["c_total", (("k", "x"),)] == 5
        assert values["g_livesum", ()] == 7
