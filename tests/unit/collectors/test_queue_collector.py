"""QueueCollector: what its functions say is shown by queue."""

from __future__ import annotations

import asyncio

import pytest

from vitalsign.collectors import QueueCollector
from vitalsign.exceptions import CollectorOptionError
from vitalsign.testing import sample_value


def errors(registry, name):
    """Return how many samples of the collector raised."""
    return sample_value(registry, "vitalsign_collector_errors_total", collector=name, reason="error")


def test_all_four_questions(registry):
    """Depth, oldest age, jobs in flight and dead letters each come from their function."""
    with QueueCollector(
        "backtests", depth=lambda: 12, oldest_age=lambda: 3.5, in_flight=lambda: 2, dead_letters=lambda: 1
    ).bind(registry):
        shown = {
            name: sample_value(registry, name, queue="backtests")
            for name in ("queue_depth", "queue_oldest_age_seconds", "queue_in_flight", "queue_dead_letters")
        }
    assert list(shown.values()) == [12, 3.5, 2, 1]


def test_only_what_is_asked_is_there(registry):
    """A question without a function has no metric."""
    with QueueCollector("backtests", depth=lambda: 12).bind(registry):
        names = {metric.name for metric in registry.collect()}
    assert {name for name in names if name.startswith("queue_")} == {"queue_depth"}


def test_one_failing_function_leaves_the_others(registry):
    """A function that raises costs its own metric only, in whatever order they are asked."""

    def fail():
        raise ConnectionError("no dead-letter queue")

    with QueueCollector("mail", depth=fail, in_flight=lambda: 3, dead_letters=fail).bind(registry):
        assert sample_value(registry, "queue_depth", queue="mail") is None
        assert sample_value(registry, "queue_in_flight", queue="mail") == 3
        assert sample_value(registry, "vitalsign_collector_up", collector="queue:mail") == 0
        assert errors(registry, "queue:mail") == 1


def test_coroutine_function_is_refused(registry, caplog):
    """A function of an async client is a failed sample, whose log says what to do instead."""

    async def depth():
        return await asyncio.sleep(0, 1)

    with QueueCollector("mail", depth=depth).bind(registry):
        assert errors(registry, "queue:mail") == 1
    assert "returned a coroutine" in caplog.text
    assert "write an async sample()" in caplog.text


def test_queue_without_a_question_is_refused():
    """A queue collector that could show nothing says which function it needs."""
    with pytest.raises(CollectorOptionError, match="has nothing to ask"):
        QueueCollector("mail")
