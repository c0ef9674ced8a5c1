"""A page with every collector on it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vitalsign.collectors import (
    ApiClientCollector,
    EventLoopCollector,
    ExecutorCollector,
    ProcessCollector,
    QueueCollector,
    SystemCollector,
    WorkerCollector,
)
from vitalsign.metrics import generate_latest


@pytest.fixture
def page(registry):
    """Return the page of a registry on which every collector has something to show."""
    queue = QueueCollector("mail", depth=lambda: 1, oldest_age=lambda: 2, in_flight=lambda: 3, dead_letters=lambda: 4)
    worker, api = WorkerCollector("pricing", queue="mail"), ApiClientCollector("zoho")
    loop, pool = asyncio.new_event_loop(), ThreadPoolExecutor(1)
    lag = EventLoopCollector(loop, refresh=0.01)
    collectors = [SystemCollector(), ProcessCollector(), queue, worker, api, lag, ExecutorCollector("render", pool)]
    for collector in collectors:
        collector.bind(registry)
    with worker.job("send", enqueued_at=0) as job:
        job.failed(ValueError())
        job.retried()
        job.dead_lettered()
    with api.call("sync") as call:
        call.response(429, {"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "0", "Retry-After": "5"})
    with api.call("sync"):
        pass
    yield generate_latest(registry).decode()
    for collector in collectors:
        collector.unbind()
    loop.close()


def test_page_satisfies_promtool(page, promtool):
    """The page has nothing that promtool complains about."""
    assert promtool(page) == ""


def test_page_can_be_parsed_and_shows_every_described_metric(page):
    """prometheus_client's parser reads the page, and every metric on it has a series."""
    empty = [metric.name for metric in text_string_to_metric_families(page) if not metric.samples]
    assert empty == []
