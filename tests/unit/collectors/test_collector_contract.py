"""Every collector keeps the contract, and a collector that breaks a rule of it is found out."""

# ruff: noqa: D102  # the methods of the protocol need no introduction in each collector

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from vitalsign.collectors import (
    ApiClientCollector,
    ProcessCollector,
    QueueCollector,
    SampledCollector,
    SystemCollector,
    WorkerCollector,
)
from vitalsign.metrics import Gauge
from vitalsign.testing import CollectorContract, metric_problems


class Tenants(SampledCollector):
    """A user's collector that measures by a plain function."""

    def __init__(self, shop="first"):
        super().__init__(f"tenants:{shop}")
        self.shop = shop

    def describe(self):
        return [GaugeMetricFamily("shop_tenants", "Tenants of a shop.", labels=["shop"])]

    def collect(self):
        (tenants,) = self.describe()
        tenants.add_metric([self.shop], 3)
        yield tenants


class AwaitedTenants(Tenants):
    """A user's collector that measures by a coroutine."""

    async def sample(self):
        return list(self.collect())


class StreamedTenants(Tenants):
    """A user's collector that measures by an async generator."""

    async def sample(self):
        for metric in self.collect():
            yield metric


class TestSystem(CollectorContract):
    shares_labels = True

    def make_collector(self, name):
        return SystemCollector()


class TestProcess(CollectorContract):
    shares_labels = True

    def make_collector(self, name):
        return ProcessCollector()


class TestQueue(CollectorContract):
    def make_collector(self, name):
        return QueueCollector(
            name, depth=lambda: 1, oldest_age=lambda: 2.5, in_flight=lambda: 3, dead_letters=lambda: 0
        )


class TestWorker(CollectorContract):
    def make_collector(self, name):
        return WorkerCollector(name, queue="backtests")

    def exercise(self, collector):
        with collector.job("backtest", enqueued_at=0) as job:
            job.retried()
            job.dead_lettered()
            job.failed(ValueError())


class TestWorkerOfTwoQueues(CollectorContract):
    def make_collector(self, name):
        return WorkerCollector("pricing", queue=name)

    def exercise(self, collector):
        with collector.job("backtest"):
            pass


class TestApiClient(CollectorContract):
    def make_collector(self, name):
        return ApiClientCollector(name)

    def exercise(self, collector):
        with collector.call("sync") as call:
            call.response(429, {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0", "Retry-After": "5"})


class TestOwn(CollectorContract):
    def make_collector(self, name):
        return Tenants(name)


class TestOwnAsync(CollectorContract):
    def make_collector(self, name):
        return AwaitedTenants(name)


class TestOwnAsyncGenerator(CollectorContract):
    def make_collector(self, name):
        return StreamedTenants(name)


# -- the contract can fail


class Eager(Tenants):
    def __init__(self, shop):
        super().__init__(shop)
        Gauge("registered_too_early", "Registered too early.")


class Leaky(Tenants):
    def unbind(self):
        pass


class Measuring(Tenants):
    def describe(self):
        return self.collect()

    def collect(self):
        return [GaugeMetricFamily("shop_tenants", "Tenants of a shop.", value=1)]


class Careless(Tenants):
    def bind(self, registry=REGISTRY):
        if self._registry is not registry:
            self.unbind()
        return super().bind(registry)


class Swallowing(Tenants):
    def __exit__(self, *error):
        super().__exit__(*error)
        return True


class Greedy(Tenants):
    def unbind(self):
        registry = self._registry
        super().unbind()
        if registry is not None:
            for collector in list(registry._collector_to_names):
                registry.unregister(collector)


class Misnamed(Tenants):
    def describe(self):
        return [GaugeMetricFamily("shopTenants_total", "", labels=["id"])]


class Unbounded(Tenants):
    def collect(self):
        (tenants,) = self.describe()
        tenants.add_metric(["https://shop.example/?session=1"], 3)
        yield tenants


class Fragile(Tenants):
    def bind(self, registry=REGISTRY):
        list(self.collect())
        return super().bind(registry)


class Confused(Tenants):
    def bind(self, registry=REGISTRY):
        super().bind(registry)
        return registry


@pytest.mark.parametrize(
    ("collector", "rule"),
    [
        (Eager, "test_constructing_registers_nothing"),
        (Confused, "test_bind_returns_the_collector_and_shows_its_metrics"),
        (Leaky, "test_unbind_leaves_the_registry_as_it_was"),
        (Careless, "test_a_second_registry_is_refused"),
        (Leaky, "test_context_manager_unbinds"),
        (Swallowing, "test_context_manager_unbinds"),
        (Measuring, "test_describe_measures_nothing"),
        (Greedy, "test_two_collectors_share_their_metrics"),
        (Leaky, "test_two_collectors_share_their_metrics"),
        (Fragile, "test_a_failing_sample_is_isolated_and_counted"),
        (Misnamed, "test_names_follow_the_conventions"),
        (Unbounded, "test_labels_are_bounded"),
    ],
)
def test_broken_rule_is_found(collector, rule, request):
    """A collector that breaks a rule fails the test of that rule."""
    made = []

    class Contract(CollectorContract):
        def make_collector(self, name):
            made.append(collector(name))
            return made[-1]

    before = set(REGISTRY._collector_to_names)
    try:
        with pytest.raises((AssertionError, RuntimeError)):
            getattr(Contract(), rule)()
    finally:
        for each in made:
            SampledCollector.unbind(each)
        for extra in set(REGISTRY._collector_to_names) - before:
            REGISTRY.unregister(extra)


@pytest.mark.parametrize(
    ("metric", "complaint"),
    [
        (GaugeMetricFamily("shop_Tenants", "Tenants."), "lower_snake_case"),
        (GaugeMetricFamily("shop_tenants", " "), "help text"),
        (GaugeMetricFamily("shop_tenants_total", "Tenants."), "suffix"),
        (GaugeMetricFamily("shop_wait_ms", "Wait."), "base unit"),
        (CounterMetricFamily("shop_wait_minutes", "Wait."), "base unit"),
        (GaugeMetricFamily("shop_full_percent", "Fill."), "base unit"),
    ],
)
def test_problem_is_named(metric, complaint):
    """Each kind of problem with a name is told in a sentence."""
    (problem,) = metric_problems(metric)
    assert complaint in problem
    assert metric.name in problem


def test_unbounded_label_is_named():
    """A label that says that it carries ids is a problem."""
    metric = GaugeMetricFamily("shop_tenants", "Tenants.", labels=["user_id"])
    metric.add_metric(["17"], 1)
    assert metric_problems(metric) == ["label user_id of shop_tenants is unbounded"]


def test_good_metric_has_no_problem():
    """A metric that keeps the conventions is let pass."""
    metric = CounterMetricFamily("shop_wait_seconds", "Time waited.", labels=["queue"])
    metric.add_metric(["mail"], 1)
    assert metric_problems(metric) == []
