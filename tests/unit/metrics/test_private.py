"""Private names of prometheus_client's instruments, which tests and other libraries read, hold the same here."""

from __future__ import annotations

from typing import Any

import prometheus_client
import pytest

import vitalsign

LIBRARIES = pytest.mark.parametrize("library", [prometheus_client, vitalsign], ids=lambda library: library.__name__)


@LIBRARIES
def test_what_was_declared(library: Any) -> None:
    """Name, type, help text, unit and label names are found under prometheus_client's private names."""
    counter = library.Counter("sent_total", "Sent.", ["kind"], namespace="shop", unit="bytes", registry=None)
    assert counter._name == "shop_sent_bytes"
    assert (counter._type, counter._documentation, counter._unit) == ("counter", "Sent.", "bytes")
    assert counter._labelnames == ("kind",)


@LIBRARIES
def test_children(library: Any) -> None:
    """A metric's children are found by their label values."""
    gauge = library.Gauge("g", "g", ["a", "b"], registry=None)
    child = gauge.labels("x", 1)
    assert gauge._metrics == {("x", "1"): child}
    assert child._labelvalues == ("x", "1")


@LIBRARIES
def test_value_of_a_counter(library: Any) -> None:
    """A counter's number can be read, and set as tests do to start again."""
    counter = library.Counter("c", "c", registry=None)
    counter.inc(3)
    assert counter._value.get() == 3
    counter._value.set(0)
    assert counter._value.get() == 0
    counter.inc()
    assert counter._value.get() == 1


@LIBRARIES
def test_value_of_a_gauge(library: Any) -> None:
    """A gauge's number can be read and set."""
    gauge = library.Gauge("g", "g", registry=None)
    gauge._value.set(2.5)
    gauge.inc()
    assert gauge._value.get() == 3.5


@LIBRARIES
def test_numbers_of_a_summary(library: Any) -> None:
    """A summary's count and sum can be read."""
    summary = library.Summary("s", "s", registry=None)
    summary.observe(2)
    summary.observe(3)
    assert (summary._count.get(), summary._sum.get()) == (2, 5)


@LIBRARIES
def test_numbers_of_a_histogram(library: Any) -> None:
    """A histogram's bounds, its counts, not added up over the buckets, and its sum can be read."""
    histogram = library.Histogram("h", "h", buckets=(1, 2), registry=None)
    for value in (0.5, 1.5, 1.5, 7):
        histogram.observe(value)
    assert histogram._upper_bounds == [1, 2, float("inf")]
    assert [bucket.get() for bucket in histogram._buckets] == [1, 2, 1]
    assert histogram._sum.get() == 10.5


@LIBRARIES
def test_what_infos_and_enums_tell(library: Any) -> None:
    """An info's facts, an enum's states and the place of the one that holds can be read."""
    info, enum = library.Info("i", "i", registry=None), library.Enum("e", "e", states=["up", "down"], registry=None)
    info.info({"version": "1"})
    enum.state("down")
    assert info._value == {"version": "1"}
    assert enum._value == 1
    assert list(enum._states) == ["up", "down"]
