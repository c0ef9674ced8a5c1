"""The text page: whole, bounded in its pieces, and never broken by one collector."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as upstream_openmetrics

from vitalsign import Counter, Gauge, Histogram, Summary, generate_latest
from vitalsign.metrics import internal
from vitalsign.metrics.exposition import generate_openmetrics, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vitalsign.metrics.exposition import Escaping


class Broken:
    """A foreign collector that raises."""

    def describe(self) -> list[Metric]:
        """Describe nothing, so that registering collects nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield one metric, then raise."""
        yield GaugeMetricFamily("half", "h", value=1)
        raise RuntimeError("broken")


class Unprintable(Broken):
    """A foreign collector whose metric cannot be written."""

    def collect(self) -> Iterator[Metric]:
        """Yield a label value that is no string."""
        family = GaugeMetricFamily("bad", "b", labels=["a"])
        family.add_metric([None], 1)  # type: ignore[list-item]
        yield family
        yield GaugeMetricFamily("good", "g", value=2)


def internal_errors(where: str) -> float:
    """Read how often something of ours has failed at *where*."""
    return REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": where}) or 0


def test_foreign_collectors_stand_on_the_same_page(registry: CollectorRegistry) -> None:
    """Metrics of prometheus_client's, of users' own collectors and ours are on one page, in order of registration."""

    class Own:
        def collect(self) -> Iterator[Metric]:
            yield HistogramMetricFamily("own", "o", buckets=[("1.0", 1), ("+Inf", 2)], sum_value=3)
            yield GaugeMetricFamily("room", "r", value=20)

    prometheus_client.Counter("theirs", "t", registry=registry).inc()
    Counter("ours", "o", registry=registry).inc()
    registry.register(Own())
    prometheus_client.Info("build", "b", registry=registry).info({"a": "1"})
    page = generate_latest(registry)
    assert page == prometheus_client.generate_latest(registry)
    assert [page.index(name) for name in (b"theirs_total 1", b"ours_total 1", b"own_bucket", b"build_info{")] == sorted(
        page.index(name) for name in (b"theirs_total 1", b"ours_total 1", b"own_bucket", b"build_info{")
    )


def test_default_registry_is_prometheus_clients() -> None:
    """Without an argument the page is that of prometheus_client's registry."""
    assert b"python_info{" in generate_latest()


def test_collector_that_raises_is_left_out_logged_once_and_counted(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One broken collector costs its own metrics and nothing else, at every scrape."""
    monkeypatch.setattr(internal, "_reported", set())
    where = f"collect of {__name__}.Broken"
    before = internal_errors(where)
    Gauge("first", "f", registry=registry).set(1)
    registry.register(Broken())
    Gauge("last", "l", registry=registry).set(3)
    with caplog.at_level(logging.ERROR, "vitalsign"):
        pages = [generate_latest(registry) for _ in range(3)]
    assert all(b"first 1.0" in page and b"last 3.0" in page and b"half" not in page for page in pages)
    assert internal_errors(where) == before + 3
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [f"vitalsign failed in {where}"]
    assert "RuntimeError: broken" in caplog.text


def test_each_broken_collector_is_logged_and_counted_for_itself(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collectors that raise or hang are told apart by their classes, in the log and in the count."""

    class Hanging:
        def collect(self) -> Iterator[Metric]:
            released.wait(30)
            return iter([])

    released = threading.Event()
    monkeypatch.setattr(internal, "_reported", set())
    places = [f"collect of {kind.__module__}.{kind.__qualname__}"[:100] for kind in (Broken, Hanging)]
    before = [*map(internal_errors, places)]
    registry.register(Broken())
    registry.register(Hanging())
    with caplog.at_level(logging.ERROR, "vitalsign"):
        for _ in range(2):
            list(render(registry, deadline=0.2))
    released.set()
    assert [*map(internal_errors, places)] == [count + 2 for count in before]
    assert [record.args for record in caplog.records] == [(place,) for place in places]


def test_gauge_that_cannot_be_asked_is_counted_by_its_name(registry: CollectorRegistry) -> None:
    """A gauge's function that raises is counted under the metric's name: its class would say nothing."""
    Gauge("broken_depth", "b", registry=registry).set_function(lambda: 1 / 0)
    before = internal_errors("collect of broken_depth")
    list(render(registry, deadline=5.0))
    assert internal_errors("collect of broken_depth") == before + 1


def test_metric_that_cannot_be_written_is_left_out(registry: CollectorRegistry) -> None:
    """A sample that no renderer can write costs its own metric only."""
    before = internal_errors("render of bad")
    registry.register(Unprintable())
    page = generate_latest(registry)
    assert b"good 2.0" in page
    assert b"bad" not in page
    assert internal_errors("render of bad") == before + 1


def test_gauge_whose_function_raises_is_left_out(registry: CollectorRegistry) -> None:
    """A function of the host's that raises at a scrape costs its gauge only."""
    Gauge("broken", "b", registry=registry).set_function(lambda: 1 / 0)
    Gauge("whole", "w", registry=registry).set(1)
    page = generate_latest(registry)
    assert b"whole 1.0" in page
    assert b"\nbroken" not in page


def test_restricted_registry_is_rendered(registry: CollectorRegistry) -> None:
    """What restricted_registry leaves is what is on the page."""
    Counter("a", "a", ["k"], registry=registry).labels("x").inc()
    Counter("b", "b", registry=registry).inc()
    page = generate_latest(registry.restricted_registry(["a_total"]))
    assert page == prometheus_client.generate_latest(registry.restricted_registry(["a_total"]))
    assert b'a_total{k="x"} 1.0' in page
    assert b"b_total" not in page


def test_subclass_of_a_registry_collects_in_its_own_way(registry: CollectorRegistry) -> None:
    """A registry that overrides collect() is asked by it."""

    class Doubling(CollectorRegistry):
        def collect(self) -> Iterator[Metric]:
            yield from super().collect()
            yield GaugeMetricFamily("extra", "e", value=1)

    doubling = Doubling()
    Counter("a", "a", registry=doubling).inc()
    assert generate_latest(doubling) == prometheus_client.generate_latest(doubling)


def test_target_info_leads_the_page() -> None:
    """A registry's target info is written first, as prometheus_client does."""
    registry = CollectorRegistry(target_info={"env": "prod"})
    Counter("a", "a", registry=registry).inc()
    page = generate_latest(registry)
    assert page == prometheus_client.generate_latest(registry)
    assert page.startswith(b"# HELP target_info")


def test_names_past_the_classic_letters_are_escaped_as_by_prometheus_client(registry: CollectorRegistry) -> None:
    """A name or label name with other letters is written with underscores, as prometheus_client writes it."""
    Counter("größe.x", "g", ["label.name"], registry=registry).labels("v").inc()
    page = generate_latest(registry)
    assert page == prometheus_client.generate_latest(registry)
    assert b'gr__e_x_total{label_name="v"} 1.0' in page


@pytest.mark.parametrize("escaping", ["underscores", "allow-utf-8", "dots", "values"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(generate_latest, prometheus_client.generate_latest), (generate_openmetrics, upstream_openmetrics)],
    ids=["text", "OpenMetrics"],
)
def test_escaping_can_be_chosen(registry: CollectorRegistry, escaping: Escaping, ours: Any, theirs: Any) -> None:
    """Names are quoted or rewritten by prometheus_client's schemes, ours and others' alike."""
    Gauge("queue.depth", "q", ["host.name"], registry=registry).labels("a").set(1)
    prometheus_client.Gauge("foreign.depth", "q", ["host.name"], registry=registry).labels("a").set(1)
    assert ours(registry, escaping) == theirs(registry, escaping)


def test_page_of_others_is_asked_of_prometheus_client_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that puts our renderer in prometheus_client's place still gets its other metrics, and no recursion."""
    registry = CollectorRegistry()
    prometheus_client.Gauge("g", "g", registry=registry)
    monkeypatch.setattr(prometheus_client.exposition, "generate_latest", generate_latest)
    assert b"g 0.0" in generate_latest(registry)


@pytest.mark.parametrize("count", [999_999, 1_000_000, 1_234_567, 2**60])
def test_counts_of_a_million_and_more_print_as_prometheus_clients(registry: CollectorRegistry, count: int) -> None:
    """From a million on, counts are written with an exponent, in buckets as elsewhere."""
    histogram = Histogram("h", "h", ["a"], registry=registry, buckets=[1])
    histogram.labels("x").observe(1)
    histogram.labels("x")._cells[0] = count
    assert generate_latest(registry) == prometheus_client.generate_latest(registry)


def test_page_comes_in_pieces_that_join_to_the_whole(registry: CollectorRegistry) -> None:
    """A large metric is rendered in many pieces, none of them large; an empty one still shows its header."""
    counter = Counter("c", "c", ["a"], registry=registry)
    for number in range(2_300):
        counter.labels(str(number)).inc()
    Gauge("empty", "e", ["a"], registry=registry)
    Summary("nothing", "n", ["a"], registry=registry)
    Histogram("none", "n", ["a"], registry=registry)
    pieces = list(render(registry))
    assert max(map(len, pieces)) < 50_000
    assert b"".join(pieces) == prometheus_client.generate_latest(registry)


def test_metrics_found_on_a_page_can_be_copied_and_compared(registry: CollectorRegistry) -> None:
    """What collect() returns behaves as prometheus_client's Metric: equal, printable, picklable."""
    import pickle

    Counter("c", "c", ["a"], registry=registry).labels("x").inc(3)
    [one], [other] = list(registry.collect()), list(registry.collect())
    assert one == other == pickle.loads(pickle.dumps(one))
    assert "Sample(name='c_total', labels={'a': 'x'}, value=3.0" in repr(one)


def test_promtool_finds_nothing_to_mend(registry: CollectorRegistry, promtool: Callable[[str], str]) -> None:
    """Prometheus' own linter reads a page of all instruments and is content with it."""
    metrics: list[Any] = [
        Counter("shop_orders_total", "Orders placed.", ["channel"], registry=registry),
        Gauge("shop_temperature_celsius", "Temperature of the shop.", ["channel"], registry=registry),
        Histogram("shop_checkout_duration_seconds", "Time to check out.", ["channel"], registry=registry),
        Summary("shop_basket_bytes", "Size of a basket.", ["channel"], registry=registry),
    ]
    for metric in metrics:
        for value in ('a"b', "c\\d", "e\nf", "☃", ""):
            child = metric.labels(value)
            (getattr(child, "inc", None) or child.observe)(3)
    prometheus_client.disable_created_metrics()
    try:
        page = generate_latest(registry)
    finally:
        prometheus_client.enable_created_metrics()
    assert promtool(page.decode()) == ""
