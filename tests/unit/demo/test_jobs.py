"""The demo's queue of jobs."""

from __future__ import annotations

import asyncio
from time import time

import pytest

from vitalsign.demo.jobs import Job, JobQueue, QueueFullError


def jobs(*orders):
    """Return an invoice job for each order."""
    return [Job("invoice", order) for order in orders]


def test_jobs_come_out_in_order():
    """The first job in is the first out, and is in flight until it is done."""

    async def work():
        queue = JobQueue()
        queue.put(*jobs(1, 2))
        taken = [await queue.take(), await queue.take()]
        assert (queue.depth(), queue.in_flight()) == (0, 2)
        queue.done()
        assert queue.in_flight() == 1
        return [job.order for job in taken]

    assert asyncio.run(work()) == [1, 2]


def test_taking_waits_for_a_job():
    """Who takes from an empty queue gets the next job that is put there."""

    async def work():
        queue = JobQueue()
        taking = asyncio.create_task(queue.take())
        await asyncio.sleep(0)
        queue.put(*jobs(7))
        return (await taking).order

    assert asyncio.run(work()) == 7


def test_given_up_taking_loses_no_job():
    """A worker that stops waiting leaves the queue as it was."""

    async def work():
        queue = JobQueue()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await queue.take()
        queue.put(*jobs(7))
        assert queue.in_flight() == 0
        return (await queue.take()).order

    assert asyncio.run(work()) == 7


def test_full_queue_takes_all_or_none():
    """Jobs that do not all fit are refused together; one that was taken before may come back all the same."""
    queue = JobQueue(limit=2)
    queue.put(*jobs(1))
    with pytest.raises(QueueFullError):
        queue.put(*jobs(2, 3))
    assert queue.depth() == 1
    queue.put(*jobs(2))
    queue.put_back(*jobs(3))
    assert queue.depth() == 3


def test_oldest_age_is_that_of_the_first_job():
    """The age is that of the job that has waited longest, 0 if none waits."""
    queue = JobQueue()
    assert queue.oldest_age() == 0
    before = time()
    queue.put(*jobs(1, 2))
    queue._waiting[0].enqueued_at -= 100
    assert 100 <= queue.oldest_age() <= 100 + time() - before


def test_dead_letters_are_counted():
    """Jobs that were set aside are counted apart."""
    queue = JobQueue()
    queue.bury(*jobs(1))
    assert (queue.dead_letters(), queue.depth()) == (1, 0)
