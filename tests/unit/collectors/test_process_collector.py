"""ProcessCollector: it completes what prometheus_client shows, and never shows a name twice."""

from __future__ import annotations

import os
import sys
import threading

import prometheus_client
import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from tests.processes import forked, run_script
from tests.servers import wait_until
from vitalsign.collectors import ProcessCollector
from vitalsign.metrics import generate_latest, processes
from vitalsign.testing import sample_value

STANDARD = {
    "process_cpu_seconds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
}
OURS = {
    "process_cpu_mode_seconds",
    "process_threads",
    "process_context_switches",
    "process_io_read_bytes",
    "process_io_written_bytes",
}
linux = pytest.mark.skipif(sys.platform != "linux", reason="prometheus_client's collector needs /proc")


def names(registry):
    """Return the names of the process's metrics, as often as they are on the registry."""
    return sorted(metric.name for metric in registry.collect() if metric.name.startswith("process_"))


def test_fresh_registry_has_all(registry):
    """Where prometheus_client's collector is not registered, the standard metrics are shown too, with values."""
    with ProcessCollector().bind(registry):
        assert names(registry) == sorted(STANDARD | OURS)
        assert all(metric.samples for metric in registry.collect())


@linux
@pytest.mark.parametrize("auto_describe", [True, False])
def test_standard_metrics_are_left_to_prometheus_client(auto_describe):
    """Where its collector is registered, by name or not, its metrics are shown once, by it."""
    registry = CollectorRegistry(auto_describe=auto_describe)
    prometheus_client.ProcessCollector(registry=registry)
    with ProcessCollector().bind(registry):
        assert names(registry) == sorted(STANDARD | OURS)
        assert sample_value(registry, "process_threads") >= 1
    assert names(registry) == sorted(STANDARD)


@linux
def test_default_registry():
    """On the default registry only what prometheus_client does not tell is added."""
    with ProcessCollector():
        assert names(REGISTRY) == sorted(STANDARD | OURS)
    assert names(REGISTRY) == sorted(STANDARD)


def test_silent_collector_of_prometheus_client_is_replaced(registry, tmp_path):
    """Where its collector is registered but tells nothing, as on macOS, the standard metrics come from this one."""
    prometheus_client.ProcessCollector(registry=registry, proc=str(tmp_path))
    with ProcessCollector().bind(registry):
        assert set(names(registry)) >= STANDARD


@linux
def test_values_agree_with_prometheus_client(registry):
    """The standard metrics have the values that prometheus_client's collector shows."""
    theirs = CollectorRegistry()
    prometheus_client.ProcessCollector(registry=theirs)
    with ProcessCollector().bind(registry):
        for name in ("process_start_time_seconds", "process_max_fds"):
            assert sample_value(registry, name) == pytest.approx(sample_value(theirs, name), abs=1)
        for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_virtual_memory_bytes"):
            assert sample_value(registry, name) == pytest.approx(sample_value(theirs, name), rel=0.5, abs=1)


def test_another_librarys_name_is_left_to_it(registry):
    """A name that some other library has taken is left to it, and everything else is shown."""
    Gauge("process_threads", "Another library's.", registry=registry).set(-1)
    with ProcessCollector().bind(registry):
        assert names(registry) == sorted(STANDARD | OURS)
        assert sample_value(registry, "process_threads") == -1
    assert names(registry) == ["process_threads"]


def test_modes_add_up(registry):
    """User and system time together are the process's time."""
    with ProcessCollector().bind(registry):
        modes = [sample_value(registry, "process_cpu_mode_seconds_total", mode=mode) for mode in ("user", "system")]
        assert sum(modes) == pytest.approx(sample_value(registry, "process_cpu_seconds_total"))


def test_threads_are_counted(registry):
    """A thread that runs is among the threads of the process."""
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    with ProcessCollector().bind(registry):
        assert sample_value(registry, "process_threads") >= 6
    stop.set()
    for thread in threads:
        thread.join()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_forked_child_shows_itself(registry):
    """In a forked child the process is the child, not its parent."""
    with ProcessCollector(refresh=0.05).bind(registry):
        parent = sample_value(registry, "process_start_time_seconds")

        def child():
            return wait_until(lambda: sample_value(registry, "process_start_time_seconds"), "a sample of the child")

        assert forked(child) > parent
        assert sample_value(registry, "process_start_time_seconds") == parent


def test_page_is_readable(registry):
    """The page of the process can be rendered."""
    with ProcessCollector().bind(registry):
        assert b"# TYPE process_cpu_seconds_total counter" in generate_latest(registry)


@linux
def test_each_worker_is_shown(tmp_path):
    """Where workers share their metrics, each that lives is shown by whichever answers, told apart by its number."""
    script = """
        import os, signal, sys
        from prometheus_client import CollectorRegistry
        from vitalsign import Counter, configure, generate_latest
        from vitalsign.collectors import ProcessCollector

        private = CollectorRegistry()
        configure(processes=sys.argv[1])
        Counter("jobs", "Jobs.")
        reading, writing = os.pipe()
        pids = []
        for _ in range(2):
            pids.append(os.fork())
            if pids[-1] == 0:
                os.write(writing, b"1")
                signal.pause()
        while len(os.read(reading, 1)) + len(os.read(reading, 1)) < 2:
            pass

        def shown(registry, name):
            lines = generate_latest(registry).decode().splitlines()
            return sorted(line.split(" ")[0] for line in lines if line.startswith(name))

        def on_page(registry=None):
            collector = ProcessCollector()
            from prometheus_client import REGISTRY
            with collector.bind(registry or REGISTRY):
                return shown(registry or REGISTRY, "process_cpu_mode_seconds_total{mode=\\"user")

        three = ['process_cpu_mode_seconds_total{mode="user",worker="%d"}' % number for number in range(3)]
        assert on_page() == three, on_page()
        os.kill(pids[0], signal.SIGKILL)
        os.waitpid(pids[0], 0)
        assert len(on_page()) == 2, on_page()
        assert on_page(private) == ['process_cpu_mode_seconds_total{mode="user"}'], on_page(private)
        os.kill(pids[1], signal.SIGKILL)
        os.waitpid(pids[1], 0)
    """
    assert run_script(script, str(tmp_path / "shared")) == ""


def test_worker_that_has_ended_meanwhile_is_left_out(registry, monkeypatch):
    """A worker that ends between being listed and being asked keeps no other from being shown."""
    monkeypatch.setattr(processes, "workers", lambda _registry: [(0, 1 << 30), (1, os.getpid())])
    with ProcessCollector().bind(registry):
        assert sample_value(registry, "process_threads", worker="1") >= 1
        assert sample_value(registry, "process_threads", worker="0") is None
