"""The queue between the shop and its worker; in memory, where a real shop would have a broker."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from time import time
from typing import Literal

__all__ = ["Job", "JobQueue", "QueueFullError"]

_DEAD_LETTERS_KEPT = 1_000


class QueueFullError(Exception):
    """The queue takes no more jobs."""


@dataclass(slots=True)
class Job:
    """
    One thing to do for an order.

    Attributes:
        kind: What is to be done.
        order: Number of the order.
        attempts: How often it was tried.
        enqueued_at: Unix time at which it was put into the queue, last time.
    """

    kind: Literal["invoice", "shipment"]
    order: int
    attempts: int = 0
    enqueued_at: float = field(default_factory=time)


class JobQueue:
    """First in, first out, of limited length."""

    def __init__(self, limit: int = 2_000) -> None:
        self._limit = limit
        self._waiting: deque[Job] = deque()
        self._arrivals = asyncio.Semaphore(0)
        self._dead: deque[Job] = deque(maxlen=_DEAD_LETTERS_KEPT)
        self._in_flight = 0

    def put(self, *jobs: Job) -> None:
        """
        Append all *jobs*, or none.

        Raises:
            QueueFullError: There is no room for all of them.
        """
        if len(self._waiting) + len(jobs) > self._limit:
            raise QueueFullError
        for job in jobs:
            self.put_back(job)

    def put_back(self, job: Job) -> None:
        """Append a job that was taken before, whatever the limit says."""
        job.enqueued_at = time()
        self._waiting.append(job)
        self._arrivals.release()

    async def take(self) -> Job:
        """Wait for a job and remove it; say `done` when it has been dealt with."""
        await self._arrivals.acquire()
        self._in_flight += 1
        return self._waiting.popleft()

    def done(self) -> None:
        """Say that a job that was taken has been dealt with."""
        self._in_flight -= 1

    def bury(self, job: Job) -> None:
        """Set *job* aside for good; the newest 1,000 are kept."""
        self._dead.append(job)

    def depth(self) -> int:
        """Return how many jobs wait."""
        return len(self._waiting)

    def oldest_age(self) -> float:
        """Return how long the first job has waited, in seconds; 0 if none waits."""
        try:
            return max(0.0, time() - self._waiting[0].enqueued_at)
        except IndexError:  # asked from another thread, so that looking first would not help
            return 0.0

    def in_flight(self) -> int:
        """Return how many jobs are being worked on."""
        return self._in_flight

    def dead_letters(self) -> int:
        """Return how many jobs have been set aside."""
        return len(self._dead)
