"""The demo's worker and payment provider, where their time has to be made up."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from vitalsign.demo.jobs import JobQueue
from vitalsign.demo.luck import luck
from vitalsign.demo.provider import Mood, PaymentProvider
from vitalsign.demo.worker import Worker


class Clock:
    """A clock that stands still until it is set."""

    now = 1000.0

    def __call__(self):
        """Tell the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """Put such a clock under worker and provider."""
    clock = Clock()
    monkeypatch.setattr("vitalsign.demo.worker.monotonic", clock)
    monkeypatch.setattr("vitalsign.demo.provider.monotonic", clock)
    return clock


def test_silent_worker_is_not_alive(clock):
    """A worker that has given no sign of life for more than five seconds fails its check."""
    worker = Worker(JobQueue(), luck(1, "worker"))
    clock.now += 5.0
    assert asyncio.run(worker.check()).status == "pass"
    clock.now += 0.1
    assert asyncio.run(worker.check()).status == "fail"


def test_paused_worker_is_alive(clock):
    """A worker that is told to pause passes its check, and says that it pauses."""
    worker = Worker(JobQueue(), luck(1, "worker"))
    worker.is_paused = True
    found = asyncio.run(worker.check())
    assert (found.status, found.message) == ("pass", "paused")


def test_flaky_provider_is_out_for_ten_seconds_of_ninety(clock):
    """In its usual mood it is out from second 40 to 50, again and again; in the others always or never."""
    provider = PaymentProvider(luck(1, "provider"))
    out = []
    for _ in range(180):
        out.append(provider.is_out)
        clock.now += 1.0
    assert out == ([False] * 40 + [True] * 10 + [False] * 40) * 2
    provider.mood = Mood.DOWN
    assert provider.is_out
    provider.mood = Mood.UP
    clock.now += 45.0
    assert not provider.is_out


def test_quota_is_used_up_and_renewed(clock):
    """Each charge takes one from the quota that the headers tell, until the minute is over."""
    provider = PaymentProvider(luck(1, "provider"))
    provider.mood = Mood.UP

    async def left():
        async with httpx.AsyncClient(transport=provider, base_url="http://provider.example") as client:
            headers = (await client.post("/charges")).headers
        return [int(headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset")]

    assert asyncio.run(left()) == [600, 599, 60]
    clock.now += 15.0
    assert asyncio.run(left()) == [600, 598, 45]
    clock.now += 60.0
    assert asyncio.run(left()) == [600, 599, 45]
