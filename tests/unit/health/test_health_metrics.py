"""What Prometheus is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client import Gauge as ForeignGauge

from vitalsign.exceptions import DuplicateMetricError
from vitalsign.health import Check, HealthChecker, Result, checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
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


def test_last_success_is_the_time_of_the_last_run_that_did_not_fail(
    make_checker: Callable[..., HealthChecker], registry: CollectorRegistry
) -> None:
    """The time of the last success stays while a check fails, so that its age can be asked; degraded is no failure."""
    health = make_checker(timeout=30.0, deadline=20.0, ttl=0.0)
    outcomes: list[Any] = [True, False, Result("warn", "slow")]
    health.add(Check("database", lambda: outcomes.pop(0)))
    seen = []
    before = time.time()
    for _ in range(3):
        health.run_sync()
        seen.append(
            registry.get_sample_value(
                "service_health_check_last_success_timestamp_seconds", {"service": "shop", "check": "database"}
            )
        )
    assert before - 1 <= seen[0] <= time.time()
    assert seen[0] == seen[1] < seen[2]


def test_check_that_never_passed_has_no_last_success(health: HealthChecker, registry: CollectorRegistry) -> None:
    """There is no time of a success that was not."""
    health.add(Check("database", lambda: False))
    health.run_sync()
    assert statuses(registry, "service_health_check_last_success_timestamp_seconds") == {}


def test_status_is_the_state_and_failures_are_counted_in_a_row(
    make_checker: Callable[..., HealthChecker], registry: CollectorRegistry
) -> None:
    """With fall=3 the status stays until the third failure in a row; the failures show that something is coming."""
    health = make_checker(timeout=30.0, deadline=20.0, ttl=0.0, fall=3)
    outcomes = [True, False, False, False, True]
    health.add(Check("database", lambda: outcomes.pop(0)))
    seen = []
    for _ in range(5):
        health.run_sync()
        seen.append(
            [
                statuses(registry, f"service_health_check_{name}")[("shop", "database")]
                for name in ("status", "consecutive_failures")
            ]
        )
    assert seen == [[1, 0], [1, 1], [1, 2], [0, 3], [1, 0]]


WORKER = """
    import json, sys
    from vitalsign import generate_latest
    from vitalsign.health import HealthChecker

    outcomes = json.loads(sys.argv[1])
    health = HealthChecker("shop", timeout=30, deadline=30, ttl=0)
    health.check("database")(lambda: outcomes.pop(0))
    while outcomes:
        health.run_sync()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(generate_latest().decode() + "# end", flush=True)
"""


def test_workers_that_share_metrics_speak_for_the_service(tmp_path: Path) -> None:
    """
    Of two worker processes the worse one gives state and failures, both give the counts, and the latest success counts.

    When the worse one is gone, so are its state and failures; that something worked there is not forgotten.
    """
    with worker(tmp_path, [True, True, True, False, True]) as better:
        first = page_of(better)
        with worker(tmp_path, [True, False, False]) as worse:
            both = page_of(better)
            worse.kill()
            worse.wait(60)
            alone = page_of(better)
    prefix = 'service_health_check_{}{{check="database",service="shop"}}'.format
    assert (both[prefix("status")], alone[prefix("status")]) == (0.0, 1.0)
    dependency = 'service_dependency_status{dependency="database",service="shop"}'
    assert (both[dependency], alone[dependency]) == (0.0, 1.0)
    assert (both[prefix("consecutive_failures")], alone[prefix("consecutive_failures")]) == (2.0, 0.0)
    success = prefix("last_success_timestamp_seconds")
    assert first[success] < both[success] == alone[success] <= time.time()
    for page in (both, alone):
        changes = 'service_health_check_state_changes_total{{check="database",service="shop",status="{}"}}'.format
        assert (page[changes("fail")], page[changes("pass")]) == (2.0, 1.0)
        assert page[prefix("duration_seconds_count")] == 8.0


@contextmanager
def worker(directory: Path, outcomes: list[bool]) -> Iterator[subprocess.Popen[str]]:
    """Run a process that shares its metrics, and whose check has found *outcomes*."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORKER), json.dumps(outcomes)],
        env={**environment, "VITALSIGN_PROCESSES_DIR": str(directory)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def page_of(process: subprocess.Popen[str]) -> dict[str, float]:
    """Scrape a worker, and return its samples."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("scrape\n")
    process.stdin.flush()
    lines = iter(process.stdout.readline, "# end\n")
    samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples}


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
