"""Switching it on: by a call, by the environment, early, late, twice, and for registries by name."""

from __future__ import annotations

import json
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import run_script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.workers import Fleet

COMMON = """
    import json, os, signal, sys, threading
    from prometheus_client import CollectorRegistry
    from vitalsign import Counter, Enum, Gauge, Histogram, Info, Summary, generate_latest
    from vitalsign.exceptions import ProcessesError
    from vitalsign.metrics import configure

    def shown(*arguments):
        lines = generate_latest(*arguments).decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def in_child(work):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writing, json.dumps(work()).encode())
            os._exit(0)
        os.close(writing)
        answer = json.loads(os.fdopen(reading).read())
        os.waitpid(pid, 0)
        return answer

    def refused(**options):
        try:
            configure(**options)
        except ProcessesError as error:
            return str(error)
        return "not refused"
"""


def run(script: str, *arguments: object, **environment: str) -> Any:
    """Run a script after what all have in common; its `result` is the answer."""
    lines = "\n".join(f"os.environ[{name!r}] = {value!r}" for name, value in environment.items())
    text = f"import os\n{lines}\n" + dedent(COMMON) + dedent(script) + "\nprint(json.dumps(result))\n"
    return json.loads(run_script(text, *map(str, arguments)))


def test_what_was_counted_before_is_taken_along(tmp_path: Path) -> None:
    """Metrics of every kind that were written before the call are on the page of every process afterwards."""
    result = run(
        """
        counter, histogram = Counter("c", "c", ["k"]), Histogram("h", "h", buckets=[1])
        summary, info, enum = Summary("s", "s"), Info("i", "i"), Enum("e", "e", states=["a", "b"])
        gauge, never = Gauge("g", "g", multiprocess_mode="max"), Gauge("n", "g", multiprocess_mode="min")
        counter.labels("x").inc(2, {"trace": "1"})
        threads = [threading.Thread(target=write) for write in (counter.labels("x").inc, lambda: histogram.observe(3))]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        histogram.observe(3)
        summary.observe(4)
        gauge.set(5)
        info.info({"version": "1"})
        enum.state("b")
        bound = counter.labels("x").inc
        configure(processes=sys.argv[1])
        bound(10)
        counter.labels("x").inc(100)

        def work():
            counter.labels("x").inc(1000)
            never.set(7)
            return shown()

        result = [in_child(work), shown()]
        """,
        tmp_path / "shared",
    )
    for page in result:
        assert page['c_total{k="x"}'] == 1113
        assert (page['h_bucket{le="1.0"}'], page['h_bucket{le="+Inf"}'], page["h_sum"]) == (0, 2, 6)
        assert (page["s_sum"], page["g"], page['i_info{version="1"}'], page['e{e="b"}']) == (4, 5, 1, 1)
    assert result[0]["n"] == 7, "a gauge that was never set has no say"


def test_second_call_with_the_same_directory_changes_nothing(tmp_path: Path) -> None:
    """Several parts of an application may each name the directory, by whatever path."""
    result = run(
        """
        counter = Counter("c", "c")
        counter.inc()
        configure(processes=sys.argv[1])
        counter.inc()
        os.chdir(os.path.dirname(sys.argv[1]))
        configure(processes="shared")
        counter.inc()
        result = [shown()["c_total"], len([name for name in os.listdir("shared") if name.endswith(".alive")])]
        """,
        tmp_path / "shared",
    )
    assert result == [3, 1]


def test_another_directory_is_refused(tmp_path: Path) -> None:
    """One process shares in one directory; the error names both and says what to do."""
    result = run(
        """
        configure(processes=sys.argv[1])
        result = refused(processes=sys.argv[2])
        """,
        tmp_path / "one",
        tmp_path / "two",
    )
    assert str(tmp_path / "one") in result
    assert str(tmp_path / "two") in result
    assert "Configure one directory for the service" in result


@pytest.mark.parametrize("when", ["before", "with", "after"])
def test_registry_that_has_a_name_is_shared(tmp_path: Path, when: str) -> None:
    """A registry is shared by its name whenever it is named, with what was counted on it; one without is not."""
    result = run(
        f"""
        named, other = CollectorRegistry(), CollectorRegistry()
        counters = [Counter("c", "c", registry=each) for each in (named, other)]
        for each in counters:
            each.inc()
        when = {when!r}
        if when == "with":
            configure(processes=sys.argv[1], registries={{"n": named}})
        else:
            for step in ("before", "after"):
                configure(registries={{"n": named}}) if when == step else None
                configure(processes=sys.argv[1])
        late = Counter("late", "c", registry=named)

        def work():
            for each in (*counters, late):
                each.inc(10)
            return [shown(named), shown(other)]

        result = [in_child(work), [shown(named), shown(other)], shown()]
        """,
        tmp_path / "shared",
    )
    child, parent, default = result
    assert (child[0]["c_total"], child[0]["late_total"], child[1]["c_total"]) == (11, 10, 11)
    assert (parent[0]["c_total"], parent[0]["late_total"], parent[1]["c_total"]) == (11, 10, 1)
    assert "c_total" not in default


def test_names_of_registries_are_unique_and_stay(tmp_path: Path) -> None:
    """An empty name, a second name for a registry and a second registry for a name are refused with the reason."""
    result = run(
        """
        one, two = CollectorRegistry(), CollectorRegistry()
        configure(registries={"one": one})
        configure(registries={"one": one})
        result = [
            refused(registries={"": two}), refused(registries={"two": one}), refused(registries={"one": two}),
        ]
        """
    )
    assert [text.split(":")[0] for text in result] == [
        "A shared registry needs a name",
        "The registry to be shared as 'two' is shared as 'one' already.",
        "Two registries cannot be shared as 'one'. Give each a name of its own.",
    ]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"VITALSIGN_PROCESSES_DIR": "{}/own"}, "own"),
        ({"PROMETHEUS_MULTIPROC_DIR": "{}/upstream"}, "upstream/vitalsign"),
        ({"VITALSIGN_PROCESSES_DIR": "{}/own", "PROMETHEUS_MULTIPROC_DIR": "{}/upstream"}, "own"),
        ({"VITALSIGN_PROCESSES_DIR": ""}, None),
    ],
)
def test_environment_switches_it_on(tmp_path: Path, environment: dict[str, str], expected: str | None) -> None:
    """Our variable names the directory; else prometheus_client's does, beside whose files ours lie."""
    (tmp_path / "upstream").mkdir()
    result = run(
        """
        Counter("c", "c").inc()
        result = shown()["c_total"]
        """,
        **{name: value.format(tmp_path) for name, value in environment.items()},
    )
    assert result == 1
    found = [path.parent for path in tmp_path.rglob("*.alive")]
    assert found == ([tmp_path / expected] if expected else [])


def test_environment_that_names_no_directory_is_a_clear_error(tmp_path: Path) -> None:
    """A file in the place of the directory ends the start with one sentence that names it."""
    (tmp_path / "file").touch()
    with pytest.raises(
        AssertionError, match=r"ProcessesError: .*/file' for the metrics of all processes cannot be used"
    ):
        run("result = 0", VITALSIGN_PROCESSES_DIR=str(tmp_path / "file"))


def test_full_disk_after_the_start_does_not_stop_the_application(tmp_path: Path) -> None:
    """Where there is no room any more, a process goes on counting for itself, logs once and counts the failures."""
    result = run(
        """
        import logging, resource, time
        lines = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())
        logging.getLogger("vitalsign").addHandler(handler)
        configure(processes=sys.argv[1])
        known = Counter("known", "c")
        known.inc()
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        counter, histogram, info = Counter("c", "c", ["k"]), Histogram("h", "h"), Info("i", "i")
        for number in range(50):
            counter.labels(str(number % 5)).inc(1, {"trace": "1"})
            histogram.observe(1, {"trace": "1"})
        info.info({"version": "1"})
        known.inc()
        counter.remove("4")
        counter.labels("0").reset()
        until = time.monotonic() + 30
        while time.monotonic() < until and not shown().get('vitalsign_internal_errors_total{where="processes"}'):
            time.sleep(0.01)
        page = shown()
        result = [page["known_total"], page['c_total{k="1"}'], page["h_count"], len(lines),
                  page['vitalsign_internal_errors_total{where="processes"}'] > 1]
        """,
        tmp_path / "shared",
    )
    assert result == [2, 10, 50, 1, True]


def test_failure_under_the_lock_is_reported_without_it(tmp_path: Path) -> None:
    """A log handler that needs a lock, whose holder waits for ours, does not stop either."""
    result = run(
        """
        import errno, logging
        from vitalsign.metrics import cells
        configure(processes=sys.argv[1])
        theirs, inside, logged = threading.Lock(), threading.Event(), threading.Event()
        level = Gauge("level", "g")

        class Handler(logging.Handler):
            def emit(self, record):
                with theirs:
                    level.inc()
                logged.set()

        logging.getLogger("vitalsign").addHandler(Handler())

        def hold():
            with theirs:
                inside.set()
                taken.wait()
                level.inc()

        def fail(*_):
            taken.set()
            raise OSError(errno.ENOSPC, "full")

        taken = threading.Event()
        thread = threading.Thread(target=hold)
        thread.start()
        inside.wait()
        cells._storage.tell_facts = fail
        Info("i", "i").info({"version": "1"})
        thread.join(20)
        logged.wait(20)
        result = [thread.is_alive(), logged.is_set()]
        """,
        tmp_path / "shared",
    )
    assert result == [False, True]


@pytest.mark.parametrize("kind", ["Counter('m', 'm').inc", "Histogram('m', 'm', buckets=[0.5]).observe"])
def test_handlers_within_handlers_lose_nothing_at_the_first_write(tmp_path: Path, kind: str) -> None:
    """Writes that interrupt one another while the first cells are taken, three deep, all count."""
    result = run(
        f"""
        from vitalsign.metrics import cells
        configure(processes=sys.argv[1])
        write = {kind}
        take, depth = cells._storage.cells_for, 0

        def interrupted(child, width):
            global depth
            depth += 1
            if depth <= 3:
                write(1)
            return take(child, width)

        cells._storage.cells_for = interrupted
        write(1)
        result = shown()
        """,
        tmp_path / "shared",
    )
    assert result.get("m_total", result.get("m_count")) == 4


@pytest.mark.parametrize("kind", ["Counter('m', 'm').inc", "Histogram('m', 'm', buckets=[0.5]).observe"])
def test_signal_handler_loses_nothing_where_processes_share(tmp_path: Path, kind: str) -> None:
    """A handler that interrupts the same metric thousands of times, and makes label sets, is counted whole."""
    result = run(
        f"""
        configure(processes=sys.argv[1])
        write, labelled, gauge = {kind}, Counter("l", "c", ["k"]), Gauge("g", "g", multiprocess_mode="sum")
        handled = 0

        def handler(*_):
            global handled
            handled += 1
            write(1)
            gauge.inc()
            labelled.labels(str(handled % 200)).inc()
            if handled % 50 == 0:
                labelled.remove(str(handled % 200))
                removed.append(handled)

        removed = []
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        counted = 0
        while handled < 2000:
            write(1)
            gauge.inc()
            labelled.labels(f"own{{counted % 300}}").inc()
            if counted % 100 == 99:
                labelled.remove("own0")
            counted += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        result = [counted + handled, shown(), in_child(shown)]
        """,
        tmp_path / "shared",
    )
    expected, own, others = result
    for page in (own, others):
        assert page.get("m_total", page.get("m_count")) == page["g"] == expected
    assert 'vitalsign_internal_errors_total{where="processes"}' not in others
    assert {k: v for k, v in own.items() if k.startswith("l_total")} == {
        k: v for k, v in others.items() if k.startswith("l_total")
    }


def test_reset_of_a_counter_is_seen_by_all(fleet: Fleet) -> None:
    """After a reset, and after writing to a child that was removed, the others' pages stay right."""
    one, two = fleet.start(), fleet.start()
    one.do("write", "plain", [], "inc", 5)
    two.do("write", "plain", [], "inc", 3)
    assert two.values()["plain_total", ()] == 8
    one.do("write", "plain", [], "reset")
    assert two.values()["plain_total", ()] == 3
    one.do("write", "plain", [], "inc", 1)
    one.do("hold", "x")
    one.do("remove", "counter", "x")
    one.do("write_held", "x", 50)
    one.do("write", "counter", ["y"], "inc", 2)
    for worker in (one, two):
        page = worker.values()
        assert page["plain_total", ()] == 4
        assert {dict(labels)["k"]: v for (name, labels), v in page.items() if name == "c_total"} == {"y": 2}
        assert not [name for name, _ in page if name.startswith("vitalsign_internal")]


def test_descriptors_and_files_do_not_grow_with_forks(tmp_path: Path) -> None:
    """A process whose children fork again and again keeps as few files as one that never did."""
    result = run(
        """
        configure(processes=sys.argv[1])
        counter = Counter("c", "c")
        counter.inc()

        def descend(depth):
            counter.inc()
            if depth:
                return in_child(lambda: descend(depth - 1))
            shown()
            return [len(os.listdir("/proc/self/fd")), shown()["c_total"], len(os.listdir(sys.argv[1]))]

        result = [in_child(lambda: descend(0)), in_child(lambda: descend(8))]
        """,
        tmp_path / "shared",
    )
    (few, first, _), (many, last, files) = result
    assert (first, last) == (2, 11)
    assert many == few + 16, "both ends of each ancestor's pipe, and nothing more"
    assert files <= 3 * 10 + 10 + 3
    assert len(list((tmp_path / "shared").iterdir())) == files
