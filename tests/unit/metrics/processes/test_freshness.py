"""Gauges that are asked: others see what their functions said a moment ago."""

from __future__ import annotations

import gc
import json
import threading
from typing import TYPE_CHECKING, Any

from tests.processes import run_script
from tests.servers import wait_until
from vitalsign.metrics.processes import freshness
from vitalsign.metrics.processes.freshness import Freshness

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Asked:
    """A gauge that tells when it is asked."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.is_broken = is_broken
        self.times = 0
        self.twice = threading.Event()

    def _read(self) -> float:
        self.times += 1
        if self.times >= 2:
            self.twice.set()
        if self.is_broken:
            raise ZeroDivisionError
        return 1.0


def test_gauges_are_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One function that raises keeps no other from being asked, nor itself from being asked again."""
    monkeypatch.setattr(freshness, "INTERVAL", 0.001)
    broken, whole, late = Asked(is_broken=True), Asked(), Asked()
    fresh = Freshness([broken])
    fresh.start()
    fresh.add(whole)
    assert all(each.twice.wait(20) for each in (broken, whole))
    fresh.add(late)
    assert late.twice.wait(20)
    broken.is_broken = False  # the thread goes on: what it counted as failures would be other tests' too
    del late
    wait_until(lambda: gc.collect() is not None and len(fresh.gauges) == 2, "a gauge that is gone is asked no longer")


def test_no_thread_without_gauges() -> None:
    """Where nothing is to be asked, no thread is started; one serves all."""
    before = threading.active_count()
    fresh = Freshness()
    fresh.start()
    assert threading.active_count() == before
    gauges = [Asked(), Asked()]
    for gauge in gauges:
        fresh.add(gauge)
    assert threading.active_count() == before + 1


class Sent:
    """A child, as the store refers to it, that tells when it goes on the lookout for a trace."""

    def __init__(self) -> None:
        self.times = 0
        self.twice = threading.Event()

    def reference(self) -> Sent:
        """Return the child."""
        return self

    def _look_out(self) -> None:
        self.times += 1
        if self.times >= 2:
            self.twice.set()


class Gone:
    """A child that is no more."""

    def reference(self) -> None:
        """Return nothing."""


def test_children_look_for_a_trace_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there has been an exemplar, all children go on the lookout now and then, those made later too."""
    monkeypatch.setattr(freshness, "INTERVAL", 0.001)
    first, late = Sent(), Sent()
    entries: dict[int, Any] = {}
    fresh = Freshness(entries=entries)
    entries.update({0: Gone(), 1: first})
    fresh.start()
    assert first.times == 0
    fresh.look_out()
    assert first.twice.wait(20)
    entries[2] = late
    assert late.twice.wait(20)


def test_functions_value_reaches_the_other_processes(tmp_path: Path) -> None:
    """Another process shows what a gauge's function said; a child asks its own copy, and a dead one is not shown."""
    script = """
        import json, os, sys, time
        from vitalsign.metrics.processes import freshness
        freshness.INTERVAL = 0.01
        from vitalsign import Counter, Gauge, generate_latest
        from vitalsign.metrics import configure
        configure(processes=sys.argv[1])
        gauge = Gauge("depth", "d", ["k"], multiprocess_mode="livesum")
        level = {"parent": 1}
        gauge.labels("x").set_function(lambda: level["parent"])

        def shown():
            page = generate_latest().decode().splitlines()
            return [float(line.rpartition(" ")[2]) for line in page if line.startswith("depth{")]

        def until(value):
            end = time.monotonic() + 20
            while shown() != value and time.monotonic() < end:
                time.sleep(0.01)
            return shown()

        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            level["parent"] = 10
            Counter("c", "c").inc()
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
        answers = [until([11.0])]
        os.close(writing)
        os.waitpid(pid, 0)
        print(json.dumps([*answers, until([1.0])]))
    """
    assert json.loads(run_script(script, str(tmp_path / "shared"))) == [[11], [1]]
