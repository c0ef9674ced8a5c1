"""Collectors of others on a shared page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prometheus_client import GC_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from prometheus_client import Counter as UpstreamCounter
from prometheus_client.core import GaugeMetricFamily

from tests.peers import Peer
from tests.processes import run_script
from vitalsign import Counter
from vitalsign.metrics.processes.foreign import foreign_sources
from vitalsign.metrics.processes.journal import encode
from vitalsign.metrics.processes.reader import living
from vitalsign.metrics.processes.store import Store
from vitalsign.metrics.processes.view import View

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from vitalsign.metrics.processes.directory import Directory


class Collector:
    """A collector of the host's."""

    def collect(self) -> Any:
        """Give one metric."""
        return [GaugeMetricFamily("own", "o", value=3)]


def samples(sources: list[Any]) -> list[tuple[str, dict[str, str], float]]:
    """Return what the sources give."""
    return [
        (sample.name, sample.labels, sample.value)
        for source in sources
        for metric in source()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    ]


def test_collectors_of_others_are_asked_here(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host's collector and prometheus_client's metrics stay on the page; the garbage collector's counts do not."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    registry = CollectorRegistry()
    theirs = UpstreamCounter("theirs", "t", registry=registry)
    theirs.inc(2)
    ours = Counter("ours", "o", registry=registry)
    assert samples(foreign_sources([ours, GC_COLLECTOR, Collector(), theirs], list)) == [
        ("own", {}, 3.0),
        ("theirs_total", {}, 2.0),
    ]


def test_process_metrics_are_shown_for_each_worker(directory: Directory) -> None:
    """prometheus_client's process metrics appear once for each living worker, by its number."""
    peers = [Peer(directory) for _ in range(3)]
    for peer in peers:
        peer.write(Counter("c", "c", registry=peer.registry), 1)
    peers[2].die()
    workers = living(directory)
    assert workers == [(0, os.getpid()), (1, os.getpid())]
    found = samples(foreign_sources([PROCESS_COLLECTOR], lambda: workers))
    shown = [labels for name, labels, _ in found if name == "process_resident_memory_bytes"]
    assert shown == [{"worker": "0"}, {"worker": "1"}]


def test_process_that_counts_nothing_is_no_worker(directory: Directory) -> None:
    """Somebody who only scrapes has no number, and does not take the one of a worker."""
    peer = Peer(directory)
    peer.write(Counter("c", "c", registry=peer.registry), 1)
    View(directory, Store(directory)).families(CollectorRegistry(), "peers")
    assert living(directory) == [(0, os.getpid())]


def test_process_without_workers_shows_itself() -> None:
    """Where nobody counts, the process metrics are those of the one that answers, without a label."""
    found = samples(foreign_sources([PROCESS_COLLECTOR], list))
    assert [labels for name, labels, _ in found if name == "process_resident_memory_bytes"] == [{}]


def test_worker_that_cannot_be_read_is_left_out(directory: Directory) -> None:
    """Files of the living that hold anything else do not keep the others from being shown."""
    peer = Peer(directory)
    peer.write(Counter("c", "c", registry=peer.registry), 1)
    locks = [directory.lock_alive(name) for name in ("1-nothing", "1-folder", "1-garbage", "1-other")]
    (directory.path / "1-folder.names").mkdir()
    (directory.path / "1-garbage.names").write_bytes(b"garbage\n")
    (directory.path / "1-other.names").write_bytes(encode(["surprise", 1, 2, 3]))
    assert living(directory) == [(0, os.getpid())]
    for lock in locks:
        lock.let_go()


def test_prometheus_clients_own_files_are_read_too(tmp_path: Path) -> None:
    """Where its variable is set, prometheus_client's metrics of all processes are on our page, once."""
    script = """
        import os, sys
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
        import prometheus_client
        from vitalsign import Counter, generate_latest
        theirs, ours = prometheus_client.Counter("theirs", "t"), Counter("ours", "o")
        for _ in range(3):
            if os.fork() == 0:
                theirs.inc()
                ours.inc()
                os._exit(0)
            os.wait()
        theirs.inc()
        ours.inc()
        page = generate_latest().decode().splitlines()
        assert page.count("theirs_total 4.0") == page.count("ours_total 4.0") == 1, page
        assert not [line for line in page if line.startswith("python_gc")]
        assert [line for line in page if line.startswith('process_cpu_seconds_total{worker="0"}')]
    """
    run_script(script, str(tmp_path))


def test_prometheus_clients_directory_that_is_gone_costs_only_its_metrics(tmp_path: Path) -> None:
    """A variable that names no directory is logged; our own metrics, of all processes, are on the page."""
    script = """
        import os, sys
        os.environ["VITALSIGN_PROCESSES_DIR"] = sys.argv[1] + "/ours"
        from vitalsign import Counter, generate_latest
        Counter("ours", "o").inc()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1] + "/nowhere"
        assert "ours_total 1.0" in generate_latest().decode().splitlines()
        assert "vitalsign_internal_errors_total" in generate_latest().decode()
    """
    assert "vitalsign failed in collect" in run_script(script, str(tmp_path))
