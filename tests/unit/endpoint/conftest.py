"""What the tests of the metrics endpoint share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.core import GaugeMetricFamily

from tests.unit.endpoint.faces import ASGI, WSGI, Face
from vitalsign import Counter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry


class Slow:
    """A collector that waits until it is told to go on."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.may_end = threading.Event()
        self.threads: list[threading.Thread] = []

    def describe(self) -> list[Any]:
        """Describe nothing, so that registering collects nothing."""
        return []

    def collect(self) -> Iterator[Any]:
        """Wait."""
        self.threads.append(threading.current_thread())
        self.started.set()
        assert self.may_end.wait(60)
        yield GaugeMetricFamily("slow", "A value that took its time.", value=1)


@pytest.fixture(params=[ASGI, WSGI])
def make(request: pytest.FixtureRequest) -> type[Face]:
    """Return what makes the endpoint, for either protocol."""
    face: type[Face] = request.param
    return face


@pytest.fixture
def slow(registry: CollectorRegistry) -> Iterator[Slow]:
    """Register a collector that waits, and let it go on when the test ends."""
    collector = Slow()
    registry.register(collector)
    yield collector
    collector.may_end.set()
    for thread in collector.threads:
        thread.join(60)


@pytest.fixture
def orders(registry: CollectorRegistry) -> Counter:
    """Count something."""
    counter = Counter("shop_orders", "Orders.", registry=registry)
    counter.inc()
    return counter
