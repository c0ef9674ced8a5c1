"""What the tests of the ASGI middleware share."""

from __future__ import annotations

import pytest


class Clock:
    """A clock that moves when it is told to, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put a clock that stands still under the middleware."""
    clock = Clock()
    monkeypatch.setattr("vitalsign._http_exchange.monotonic", clock)
    return clock
