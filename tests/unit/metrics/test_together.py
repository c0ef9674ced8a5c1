"""Several metrics written by one call."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tests.processes import run_script
from vitalsign import Counter, Histogram, generate_latest
from vitalsign.metrics.together import counted_with

pytestmark = pytest.mark.usefixtures("both_ways")

INF = float("inf")
BOUNDS = [(1, 2, 3), (0,), (-2.5, -1, 0, 0.5)]
FIGURES = [(0.0, 0.0, 1.0), (0.5, 1.0, 2.0), (1.0, 3.0, 2.5), (7.5, 99.0, INF)]


class Metrics:
    """A counter and three histograms on a registry of their own."""

    def __init__(self, buckets=(1, 2, 3)) -> None:
        self.registry = CollectorRegistry()
        self.count = Counter("events", "Events.", ["kind"], registry=self.registry).labels("a")
        self.first, self.second, self.third = (
            Histogram(name, "Figures.", ["kind"], buckets=buckets, registry=self.registry).labels("a")
            for name in ("first", "second", "third")
        )

    def page(self) -> list[bytes]:
        """Return what is shown, without the times of creation."""
        return [line for line in generate_latest(self.registry).splitlines() if b"_created" not in line]

    def write_apart(self, one: float, two: float, three: float) -> None:
        """Do the same by four calls."""
        self.count.inc()
        self.first.observe(one)
        self.second.observe(two)
        self.third.observe(three)


def in_a_thread(function, *arguments):
    """Call *function* on a thread of its own."""
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


@pytest.mark.parametrize(("is_in_thread", "events"), [(False, 8), (True, 9)])
def test_one_call_does_what_four_do(is_in_thread, events):
    """Each figure is where four calls would put it, from the thread that owns the cells and from others."""
    together, apart = Metrics(), Metrics()
    write = counted_with(together.count, together.first, together.second, together.third)
    if is_in_thread:
        in_a_thread(write, 0.1, 0.2, 0.3)
        in_a_thread(apart.write_apart, 0.1, 0.2, 0.3)
    for figures in FIGURES:
        write(*figures)
        apart.write_apart(*figures)
        in_a_thread(write, *figures)
        in_a_thread(apart.write_apart, *figures)
    assert together.page() == apart.page()
    assert f'events_total{{kind="a"}} {events}.0'.encode() in together.page()


finite = st.sampled_from([0.0, -0.0, 0.5, 1.0, 3.0, -2.5]) | st.floats(allow_nan=False, min_value=-1e300)


@given(st.sampled_from(BOUNDS), st.lists(st.tuples(finite, finite, finite), min_size=1))
def test_any_figures_fall_where_they_belong(buckets, events):
    """Whatever the bounds and the figures, on a bound or beside it, the page is that of four calls each."""
    together, apart = Metrics(buckets), Metrics(buckets)
    write = counted_with(together.count, together.first, together.second, together.third)
    for figures in events:
        write(*figures)
        apart.write_apart(*figures)
    assert together.page() == apart.page()


def test_cells_of_different_threads():
    """Where one of the four is another thread's, nothing is lost."""
    metrics = Metrics()
    in_a_thread(metrics.second.observe, 1)
    counted_with(metrics.count, metrics.first, metrics.second, metrics.third)(1, 2, 3)
    page = metrics.page()
    assert b'second_sum{kind="a"} 3.0' in page
    assert b'third_sum{kind="a"} 3.0' in page
    assert b'events_total{kind="a"} 1.0' in page


def test_processes_share_what_is_written(tmp_path):
    """Where many processes share the metrics, the figures are shared too."""
    script = f"""
        import os
        from vitalsign import configure, generate_latest, Counter, Histogram
        from vitalsign.metrics.together import counted_with
        configure(processes={str(tmp_path / "shared")!r})
        count = Counter("events", "Events.")
        first, second, third = (Histogram(name, "F.", buckets=(1, 2)) for name in ("first", "second", "third"))
        write = counted_with(count, first, second, third)
        write(1, 2, 3)
        if os.fork() == 0:
            write(1, 2, 3)
            os._exit(0)
        os.wait()
        page = generate_latest().decode().splitlines()
        print([line for line in page if line.startswith(("events_total", "third_sum", "second_bucket"))])
    """
    expected = ["events_total 2.0", 'second_bucket{le="1.0"} 0.0', 'second_bucket{le="2.0"} 2.0']
    expected += ['second_bucket{le="+Inf"} 2.0', "third_sum 6.0"]
    assert run_script(script).strip() == repr(expected)
