"""Binding: shared families, names that are taken, registries, and what loading the package costs."""

from __future__ import annotations

import asyncio
import math

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily

from tests.processes import run_script
from vitalsign import collectors
from vitalsign.collectors import (
    ApiClientCollector,
    ProcessCollector,
    QueueCollector,
    SampledCollector,
    SystemCollector,
    WorkerCollector,
)
from vitalsign.exceptions import CollectorBoundError, CollectorOptionError, DuplicateMetricError
from vitalsign.metrics import generate_latest
from vitalsign.metrics.registry import collectors_of
from vitalsign.testing import sample_value


class Shared(SampledCollector):
    """Two of these show the same series."""

    def __init__(self, value):
        super().__init__("shared")
        self.value = value

    def describe(self):
        """Return the gauge."""
        return [GaugeMetricFamily("shared_value", "Shared.")]

    def collect(self):
        """Return the value."""
        return [GaugeMetricFamily("shared_value", "Shared.", value=self.value)]


def test_names_load_their_modules_on_demand():
    """Importing the collectors loads neither psutil nor httpx and starts no thread; SystemCollector loads psutil."""
    script = """
        import sys, threading
        import vitalsign.collectors
        print(sorted({"psutil", "httpx"} & sys.modules.keys()), threading.active_count())
        from vitalsign.collectors import SystemCollector
        print(sorted({"psutil", "httpx"} & sys.modules.keys()), threading.active_count())
    """
    assert run_script(script).splitlines() == ["[] 1", "['psutil'] 1"]


def test_public_names_are_there():
    """Every name in __all__ can be had, and is listed by dir(); another name is an AttributeError."""
    assert all(getattr(collectors, name) for name in collectors.__all__)
    assert set(collectors.__all__) <= set(dir(collectors))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        collectors.Nothing  # noqa: B018


def test_default_registry(request):
    """Without an argument a collector is bound to prometheus_client's default registry, also as a context manager."""
    with QueueCollector("default-registry", depth=lambda: 4):
        assert sample_value(REGISTRY, "queue_depth", queue="default-registry") == 4
    assert sample_value(REGISTRY, "queue_depth", queue="default-registry") is None


def test_context_manager_keeps_the_registry_it_was_bound_to(registry):
    """Entering a collector that is bound already leaves it where it is."""
    with QueueCollector("mail", depth=lambda: 4).bind(registry) as queue:
        assert sample_value(registry, "queue_depth", queue="mail") == 4
        with pytest.raises(CollectorBoundError, match=r"<QueueCollector 'queue:mail'> is bound to another registry"):
            queue.bind(CollectorRegistry())


def test_one_name_for_two_queues(registry):
    """Two queues are two label values of one metric, and leave one by one."""
    first, second = (
        QueueCollector("a", depth=lambda: 1).bind(registry),
        QueueCollector("b", depth=lambda: 2).bind(registry),
    )
    assert generate_latest(registry).count(b"# TYPE queue_depth gauge") == 1
    first.unbind()
    assert sample_value(registry, "queue_depth", queue="a") is None
    assert sample_value(registry, "queue_depth", queue="b") == 2
    second.unbind()
    assert generate_latest(registry) == b""


def test_of_two_that_show_the_same_series_the_last_is_believed(registry):
    """The same series is shown once, by the collector that was bound last; when it leaves, by the other."""
    with Shared(1).bind(registry):
        with Shared(2).bind(registry):
            assert generate_latest(registry).count(b"\nshared_value ") == 1
            assert sample_value(registry, "shared_value") == 2
        assert sample_value(registry, "shared_value") == 1


@pytest.mark.parametrize("make", [SystemCollector, ProcessCollector])
def test_there_is_only_one_machine_and_process(registry, make):
    """Binding a second collector of the same thing, as a second application in the process does, changes nothing."""
    with make().bind(registry):
        before = [line.split()[0] for line in generate_latest(registry).splitlines()]
        with make().bind(registry):
            assert [line.split()[0] for line in generate_latest(registry).splitlines()] == before
        assert [line.split()[0] for line in generate_latest(registry).splitlines()] == before


@pytest.mark.parametrize(
    ("taken", "collector"),
    [
        ("queue_dead_letters", QueueCollector("mail", depth=lambda: 1, dead_letters=lambda: 1)),
        ("worker_active", WorkerCollector("pricing")),
        ("api_client_rate_limit_remaining", ApiClientCollector("zoho")),
        ("vitalsign_collector_up", Shared(1)),
    ],
)
def test_taken_name_is_refused_and_nothing_is_left(registry, taken, collector):
    """A name that another library holds is an error that names it, and no metric of the collector is left behind."""
    theirs = Gauge(taken, "Another library's.", registry=registry)
    with pytest.raises(DuplicateMetricError, match=taken) as caught:
        collector.bind(registry)
    assert caught.value.existing is theirs
    assert collectors_of(registry) == [theirs]
    with collector.bind(CollectorRegistry()):  # it is not bound to the first
        pass


def test_unbinding_survives_an_emptied_registry(registry):
    """When the host has unregistered everything itself, unbinding still works."""
    bound = [Shared(1).bind(registry), WorkerCollector("pricing").bind(registry)]
    for collector in collectors_of(registry):
        registry.unregister(collector)
    for collector in bound:
        collector.unbind()


def test_users_own_metric_of_the_same_shape_is_left_alone(registry):
    """A series that the host wrote to a metric of the collector's stays when the collector goes."""
    from vitalsign.metrics import Gauge

    with WorkerCollector("pricing").bind(registry):
        theirs = Gauge("worker_active", "Whether the worker takes jobs (1) or not (0).", ["worker", "queue"],
                       registry=registry)  # fmt: skip
        theirs.labels("other", "default").set(1)
    assert sample_value(registry, "worker_active", worker="other", queue="default") == 1
    assert sample_value(registry, "worker_active", worker="pricing", queue="default") is None


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("option", ["refresh", "deadline"])
def test_time_must_be_above_zero(option, seconds):
    """A refresh or deadline that is no time is refused, with its value."""
    with pytest.raises(CollectorOptionError, match=rf"{option}={seconds!r} of collector 'queue:mail'"):
        QueueCollector("mail", depth=lambda: 1, **{option: seconds})


def test_description_is_complete_without_binding():
    """What a collector will show can be told before it is bound: names, kinds, help texts."""
    described = {metric.name: metric for metric in WorkerCollector("pricing").describe()}
    assert described["worker_jobs"].type == "counter"
    assert described["worker_job_duration_seconds"].type == "histogram"
    assert all(metric.documentation for metric in described.values())


def test_prometheus_client_can_collect_once_without_binding():
    """A collector is one of prometheus_client's too: collect() measures now, in the calling thread."""
    (depth,) = QueueCollector("mail", depth=lambda: 4).collect()
    assert [sample.value for sample in depth.samples] == [4]


def test_binding_from_many_threads_registers_once(registry):
    """Threads that bind and unbind collectors of one family at the same time leave nothing behind."""

    async def main():
        def churn(name):
            for _ in range(30):
                with QueueCollector(name, depth=lambda: 1).bind(registry), WorkerCollector(name).bind(registry):
                    pass

        await asyncio.gather(*(asyncio.to_thread(churn, f"queue-{number}") for number in range(8)))

    asyncio.run(main())
    assert collectors_of(registry) == []
