"""Types of the instruments; read by mypy, never run."""

from __future__ import annotations

from typing import assert_type

from prometheus_client import CollectorRegistry

from vitalsign import Counter, Enum, Gauge, Histogram, Info, Summary, generate_latest, timer

registry = CollectorRegistry()

requests = Counter("requests", "Requests.", ["method"], registry=registry, max_series=10)
assert_type(requests, Counter)
assert_type(requests.labels("GET"), Counter)
assert_type(requests.labels(method="GET"), Counter)
assert_type(requests.labels("GET").inc(), None)
assert_type(requests.labels("GET").inc(2, exemplar={"trace_id": "1"}), None)

depth = Gauge("depth", "Depth.", registry=registry)
assert_type(depth.set(1.5), None)
depth.set_function(lambda: 3)
assert_type(depth.dec(), None)

seconds = Histogram("seconds", "Seconds.", ("step",), buckets=(0.1, 1), registry=registry)
assert_type(seconds.labels("read"), Histogram)
assert_type(seconds.labels("read").observe(0.2), None)

Summary("size_bytes", "Size.", registry=registry).observe(12)
Info("build", "Build.", registry=registry).info({"version": "1"})
Enum("phase", "Phase.", states=["up", "down"], registry=registry).state("up")

assert_type(generate_latest(registry), bytes)

with timer(seconds.labels("read")) as block:
    assert_type(block.elapsed, float)


async def awaited() -> None:
    """Time a block of a coroutine."""
    async with timer(seconds.labels("read")) as block:
        assert_type(block.elapsed, float)


requests.labels("GET").inc("2")  # type: ignore[arg-type]
Counter("no_help")  # type: ignore[call-arg]
Histogram("wrong", "Wrong.", buckets=0.1)  # type: ignore[arg-type]
