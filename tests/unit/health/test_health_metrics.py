"""What Prometheus is told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client import Gauge as ForeignGauge

from vitalsign.exceptions import DuplicateMetricError
from vitalsign.health import Check, HealthChecker, Result, checks

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event


def statuses(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a gauge by their label values."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_status_is_1_half_or_0_by_check_name(health: HealthChecker, registry: CollectorRegistry) -> None:
    """A passing check is 1, a warning 0.5, a failing 0; the labels are the names that the host wrote."""
    outcomes: dict[str, Any] = {"good": None, "slow": Result("warn", "slow"), "bad": False}
    for name, outcome in outcomes.items():
        health.add(Check(name, lambda outcome=outcome: outcome))
    assert statuses(registry, "service_health_check_status") == {}
    health.run_sync()
    expected = {("shop", "good"): 1.0, ("shop", "slow"): 0.5, ("shop", "bad"): 0.0}
    assert statuses(registry, "service_health_check_status") == expected
    assert statuses(registry, "service_health_check_duration_seconds_count") == dict.fromkeys(expected, 1.0)


def test_status_follows_the_check(make_checker: Callable[..., HealthChecker], registry: CollectorRegistry) -> None:
    """The last run counts."""
    health = make_checker(timeout=30.0, deadline=20.0, ttl=0.0)
    outcomes = [True, False, True]
    health.add(Check("database", lambda: outcomes.pop(0)))
    seen = []
    for _ in range(3):
        health.run_sync()
        seen.append(registry.get_sample_value("service_health_check_status", {"service": "shop", "check": "database"}))
    assert seen == [1.0, 0.0, 1.0]


def test_dependencies_are_the_checks_that_look_outside(health: HealthChecker, registry: CollectorRegistry) -> None:
    """A dependency has a status of its own; the disk, the process and what says so are none."""
    health.add(Check("database", lambda: False))
    health.add(checks.disk("/", min_free=0))
    health.add(Check("loop", lambda: None, groups=("liveness",)))
    health.add(Check("warm", lambda: None, external=False))
    health.run_sync("full")
    assert statuses(registry, "service_dependency_status") == {("shop", "database"): 0.0}


def test_hanging_check_counts_as_failed_with_its_timeout(
    make_checker: Callable[..., HealthChecker], registry: CollectorRegistry, gate: Event
) -> None:
    """A check that does not answer is down, and its duration is its timeout, once for the run that hangs."""
    health = make_checker(timeout=0.05, deadline=20.0, ttl=0.0)
    health.add(Check("hangs", gate.wait))
    for _ in range(3):
        health.run_sync()
    labels = {"service": "shop", "check": "hangs"}
    assert registry.get_sample_value("service_health_check_status", labels) == 0.0
    assert registry.get_sample_value("service_health_check_duration_seconds_count", labels) == 1.0
    assert registry.get_sample_value("service_health_check_duration_seconds_sum", labels) == pytest.approx(0.05)


def test_cached_result_is_not_counted_again(health: HealthChecker, registry: CollectorRegistry) -> None:
    """The duration counts runs, not callers."""
    health.add(Check("database", lambda: None, ttl=60.0))
    for _ in range(5):
        health.run_sync()
    labels = {"service": "shop", "check": "database"}
    assert registry.get_sample_value("service_health_check_duration_seconds_count", labels) == 1.0


def test_uptime_counts_from_the_making(make_checker: Callable[..., HealthChecker], registry: CollectorRegistry) -> None:
    """The uptime is the time since the checker was made, read when it is scraped."""
    before = time.perf_counter()
    make_checker()
    time.sleep(0.01)
    uptime = registry.get_sample_value("service_uptime_seconds", {"service": "shop"})
    assert uptime is not None
    assert 0.01 <= uptime <= time.perf_counter() - before


def test_checkers_on_one_registry_share_families(registry: CollectorRegistry) -> None:
    """Two services in one process are two label values, not two metrics of one name."""
    for service, outcome in (("shop", True), ("admin", False)):
        health = HealthChecker(service, registry=registry, timeout=30.0, deadline=20.0)
        health.add(Check("database", lambda outcome=outcome: outcome))
        health.run_sync()
    assert statuses(registry, "service_health_check_status") == {("shop", "database"): 1.0, ("admin", "database"): 0.0}
    assert statuses(registry, "service_uptime_seconds").keys() == {("shop",), ("admin",)}


def test_no_registry_means_no_metrics() -> None:
    """A checker can do without metrics."""
    health = HealthChecker("shop", registry=None, timeout=30.0, deadline=20.0)
    health.add(Check("database", lambda: None))
    assert health.run_sync().status == "pass"


def test_name_that_is_taken_is_an_error_at_start(registry: CollectorRegistry) -> None:
    """Where another library holds one of the names, making the checker says so."""
    ForeignGauge("service_uptime_seconds", "Not ours.", registry=registry)
    with pytest.raises(DuplicateMetricError, match="service_uptime_seconds"):
        HealthChecker("shop", registry=registry)
