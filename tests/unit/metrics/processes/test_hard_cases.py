"""What goes wrong where many processes share their metrics, and what must happen then."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.processes import run_script
from tests.workers import Fleet, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Return workers that end with the test."""
    fleet = Fleet(tmp_path / "shared")
    yield fleet
    fleet.close()


def observe_sizes(worker: Worker, *sizes: float, buckets: list[float]) -> None:
    """Let a worker declare a histogram with these buckets and observe."""
    declared = f"Histogram('size', 's', buckets={buckets})"
    code = f"from vitalsign import Histogram\nfor size in {sizes}: {declared}.observe(size)"
    worker.do("run", code)


def sizes(worker: Worker) -> dict[str, float]:
    """Return the buckets of that histogram as a worker's page shows them."""
    return {labels[0][1]: value for (name, labels), value in worker.values().items() if name == "size_bucket"}


def errors(worker: Worker) -> dict[str, float]:
    """Return the internal errors on a worker's page, by place."""
    return {
        labels[0][1]: value
        for (name, labels), value in worker.values().items()
        if name == "vitalsign_internal_errors_total"
    }


def test_pid_reuse(tmp_path):
    """Processes that have, or had, the same process id are told apart: each counts once, and folding finds the dead."""
    script = """
        import json, os, signal, sys
        os.getpid = lambda: 4242
        from vitalsign import Counter, Gauge, generate_latest
        from vitalsign.metrics import configure

        configure(processes=sys.argv[1])
        jobs, level = Counter("jobs", "Jobs."), Gauge("level", "Level.")

        def shown():
            page = dict(line.rsplit(" ", 1) for line in generate_latest().decode().splitlines())
            return [float(page["jobs_total"]), len([key for key in page if key.startswith("level{")])]

        def child(amount):
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                jobs.inc(amount)
                level.set(amount)
                os.write(writing, b"!")
                signal.pause()
            os.read(reading, 1)
            return pid

        jobs.inc()
        answers = []
        for amount in (10, 100):
            pid = child(amount)
            answers.append(shown())
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            answers.append(shown())
        print(json.dumps([answers, len([name for name in os.listdir(sys.argv[1]) if name.endswith(".alive")])]))
    """
    answers, alive = json.loads(run_script(script, str(tmp_path / "shared")).splitlines()[0])
    assert answers == [[11, 1], [11, 1], [111, 1], [111, 1]]
    assert alive == 1


def test_two_services_sharing_a_directory(fleet):
    """What is alike is added up, another shape of a name is left out, logged and counted; both pages stay whole."""
    shop, office = fleet.start(), fleet.start()
    observe_sizes(shop, 1, 5, buckets=[1, 2])
    observe_sizes(office, 3, 3, 3, buckets=[4])
    office.do("run", "from vitalsign import Counter\nCounter('letters', 'l').inc(3)")
    for worker in (shop, office):
        worker.do("write", "plain", [], "inc", 2)
    assert sizes(shop) == {"1.0": 1, "2.0": 1, "+Inf": 2}
    assert sizes(office) == {"4.0": 3, "+Inf": 3}
    for worker in (shop, office):
        page = worker.values()
        assert page["plain_total", ()] == 4
        assert page["letters_total", ()] == 3
        assert set(errors(worker)) == {"processes, shape of size"}


def test_restart_with_other_buckets(fleet):
    """After a restart with other buckets, what was counted in the old ones is left out without complaint."""
    old = fleet.start()
    observe_sizes(old, 1, 5, buckets=[1, 2])
    old.do("write", "plain", [], "inc")
    fleet.kill(old)
    new = fleet.start()
    observe_sizes(new, 1, 5, 3, buckets=[1, 4])
    assert sizes(new) == {"1.0": 1, "4.0": 2, "+Inf": 3}
    assert new.values()["plain_total", ()] == 1
    fleet.kill(new)
    newest = fleet.start()
    observe_sizes(newest, 1, buckets=[1, 4])
    assert sizes(newest) == {"1.0": 2, "4.0": 3, "+Inf": 4}
    assert errors(newest) == {}


def test_sigkill_in_mid_write(fleet):
    """A worker that is killed while it writes loses at most what it was writing, and what it left can be read."""
    keeper = fleet.start()
    code = """
import itertools, threading
def count():
    for number in itertools.count():
        metrics["counter"].labels(str(number % 3000)).inc()
        metrics["plain"].inc()
threading.Thread(target=count, daemon=True).start()
"""
    for turn in range(1, 6):
        victim = fleet.start()
        victim.do("run", code)
        before = keeper.values()["plain_total", ()]
        while keeper.values()["plain_total", ()] < before + 100 * turn:
            time.sleep(0.001)
        fleet.kill(victim)
        page = keeper.values()
        counted = sum(value for (name, _), value in page.items() if name == "c_total")
        assert 0 <= counted - page["plain_total", ()] <= turn
    assert errors(keeper) == {}


def test_half_a_record(fleet):
    """A name that was not written to its end is not there; all that was written before counts."""
    keeper, victim = fleet.start(), fleet.start()
    victim.do("write", "counter", ["x"], "inc", 3)
    (journal,) = fleet.directory.glob(f"{victim.pid}-*.names")
    fleet.kill(victim)
    with journal.open("ab") as file:
        file.write(b'0badc0de ["child",99,')
    for _ in range(2):  # as it is left, and as it is folded
        assert keeper.values()["c_total", (("k", "x"),)] == 3
    assert not journal.exists()
    assert errors(keeper) == {}


def test_same_boot_keeps_what_the_last_worker_has_left(fleet):
    """When the only worker is replaced, its counts stay."""
    first = fleet.start()
    first.do("write", "plain", [], "inc", 7)
    fleet.kill(first)
    assert fleet.start().values()["plain_total", ()] == 7


def test_new_boot_starts_clean(fleet):
    """What an earlier boot has left is removed by the first worker of the next."""
    first, second = fleet.start(), fleet.start()
    first.do("write", "plain", [], "inc", 7)
    fleet.kill(first)
    second.values()  # folds
    second.do("write", "plain", [], "inc", 1)
    fleet.kill(second)
    (fleet.directory / "boot").write_text("of yesterday")
    assert fleet.start().values()["plain_total", ()] == 0
    assert len(list(fleet.directory.glob("*.alive"))) == 1
    assert not (fleet.directory / "retired").exists()


def test_another_boot_joins_the_living(fleet):
    """While workers live, those who see another boot, as another container does, share with them and wipe nothing."""
    first = fleet.start()
    first.do("write", "plain", [], "inc", 7)
    (fleet.directory / "boot").write_text("of another container")
    second = fleet.start()
    second.do("write", "plain", [], "inc", 1)
    assert first.values()["plain_total", ()] == second.values()["plain_total", ()] == 8


def test_fork_while_other_threads_count(tmp_path):
    """A process whose threads count and scrape all the time may fork: children count from nothing, none is lost."""
    script = """
        import json, os, signal, sys, threading
        from vitalsign import Counter, Histogram, generate_latest
        from vitalsign.metrics import configure

        configure(processes=sys.argv[1])
        jobs, sizes = Counter("jobs", "Jobs.", ["who"]), Histogram("sizes", "Sizes.")
        is_over = threading.Event()
        tally = [0] * 3

        def count(number):
            while not is_over.is_set():
                jobs.labels(str(tally[number] % 50)).inc()
                sizes.observe(1)
                tally[number] += 1

        def scrape():
            while not is_over.is_set():
                generate_latest()

        threads = [threading.Thread(target=count, args=[number]) for number in range(3)]
        threads.append(threading.Thread(target=scrape))
        for thread in threads:
            thread.start()
        for _ in range(30):
            if os.fork() == 0:
                signal.alarm(30)  # a lock that the fork has left behind would keep it for ever
                jobs.labels("child").inc()
                thread = threading.Thread(target=sizes.observe, args=[1])
                thread.start()
                thread.join()
                generate_latest()
                os._exit(0)
            _, status = os.wait()
            assert status == 0, status
        is_over.set()
        for thread in threads:
            thread.join()
        page = dict(line.rsplit(" ", 1) for line in generate_latest().decode().splitlines())
        counted = sum(float(value) for key, value in page.items() if key.startswith("jobs_total{"))
        errors = [key for key in page if "internal_errors_total{" in key]
        alive = len([name for name in os.listdir(sys.argv[1]) if name.endswith(".alive")])
        print(json.dumps([counted - sum(tally), float(page["sizes_count"]) - sum(tally), errors, alive]))
    """
    assert json.loads(run_script(script, str(tmp_path / "shared"), timeout=100).splitlines()[0]) == [30, 30, [], 1]


@pytest.mark.parametrize("lock", ["reading()", "folding(wait=True)"])
def test_fork_while_another_thread_scrapes(tmp_path, lock):
    """A child that is forked in the middle of a scrape does not go on holding the lock of the scrape."""
    script = f"""
        import os, signal, sys, threading
        from vitalsign.metrics.processes.directory import Directory

        directory = Directory(sys.argv[1])
        forked, held = threading.Event(), threading.Event()

        def scrape():
            with directory.{lock}:
                held.set()
                forked.wait()

        thread = threading.Thread(target=scrape)
        thread.start()
        held.wait()
        child = os.fork()
        if child == 0:
            signal.pause()
        forked.set()
        thread.join()
        with Directory(sys.argv[1]).folding() as is_alone:
            print(is_alone)
        os.kill(child, signal.SIGKILL)
    """
    assert run_script(script, str(tmp_path / "shared")).splitlines()[0] == "True"


def test_interpreter_shutting_down(tmp_path):
    """What exit hooks, finalizers and daemon threads count while their worker ends is on the others' pages."""
    ending = """
        import atexit, sys, threading
        from vitalsign import Counter, Gauge
        from vitalsign.metrics import configure

        configure(processes=sys.argv[1])
        counter, gauge = Counter("c", "c", ["k"]), Gauge("g", "g")
        atexit.register(lambda: counter.labels("hook").inc())

        class Late:
            def __del__(self, counter=counter):
                counter.labels("finalizer").inc()

        late = Late()  # Python finalizes it unless daemon threads run
        is_running = threading.Event()

        def forever():
            while True:
                counter.labels("daemon").inc()
                gauge.inc()
                counter.labels("gone")
                counter.remove("gone")
                is_running.set()

        if sys.argv[2:]:
            threading.Thread(target=forever, daemon=True).start()
            is_running.wait()
    """
    reading = """
        import sys
        from vitalsign import generate_latest
        from vitalsign.metrics import configure

        configure(processes=sys.argv[1])
        print(*[line for line in generate_latest().decode().splitlines() if line.startswith("c_total{")], sep="\\n")
    """
    shared = str(tmp_path / "shared")
    assert run_script(ending, shared) == ""
    assert run_script(ending, shared, "with a daemon thread") == ""
    page = dict(line.rsplit(" ", 1) for line in run_script(reading, shared).splitlines())
    assert (page['c_total{k="hook"}'], page['c_total{k="finalizer"}']) == ("2.0", "1.0")
    assert float(page['c_total{k="daemon"}']) > 0
