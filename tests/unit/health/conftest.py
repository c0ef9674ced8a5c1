"""What the tests of health checks share."""

from __future__ import annotations

from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import pytest

from vitalsign.health import HealthChecker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import CollectorRegistry


@pytest.fixture
def make_checker(registry: CollectorRegistry) -> Callable[..., HealthChecker]:
    """Make checkers of the shop on the test's registry."""
    return partial(HealthChecker, "shop", registry=registry)


@pytest.fixture
def health(make_checker: Callable[..., HealthChecker]) -> HealthChecker:
    """Make a checker with patience, so that only tests about deadlines meet one."""
    return make_checker(timeout=30.0, deadline=20.0)


@pytest.fixture
def gate() -> Iterator[Event]:
    """Give an event that hanging checks wait for; opened when the test is over, so that their threads end."""
    event = Event()
    yield event
    event.set()
