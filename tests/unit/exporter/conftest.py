"""What the tests of the exporter share."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from vitalsign import Counter
from vitalsign.exporter import start_exporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import CollectorRegistry

    from vitalsign.exporter import Exporter


@pytest.fixture
def start(registry: CollectorRegistry) -> Iterator[Callable[..., Exporter]]:
    """Start exporters of the test's registry on free ports, which end with the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> Exporter:
            return stack.enter_context(start_exporter(**{"port": 0, "registry": registry, **options}))

        yield start


@pytest.fixture(autouse=True)
def orders(registry: CollectorRegistry) -> Counter:
    """Count something."""
    counter = Counter("shop_orders", "Orders.", registry=registry)
    counter.inc()
    return counter
