"""The shop's background worker: writes invoices, prints shipping labels, and sometimes cannot."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from vitalsign.collectors import WorkerCollector
from vitalsign.health import Result

if TYPE_CHECKING:
    from random import Random

    from prometheus_client import CollectorRegistry

    from vitalsign.demo.jobs import Job, JobQueue

__all__ = ["PrinterJamError", "Worker"]

_PARALLEL = 2
_ATTEMPTS = 3
_BEAT = 0.5  # seconds
_SECONDS = {"invoice": (0.01, 0.05), "shipment": (0.04, 0.16)}


class PrinterJamError(Exception):
    """A shipping label could not be printed."""


class Worker:
    """Take jobs from *jobs* and do them, two at a time."""

    def __init__(self, jobs: JobQueue, randomness: Random) -> None:
        self._jobs = jobs
        self._random = randomness
        self._collector = WorkerCollector("fulfilment", queue="orders")
        self._is_paused = False
        self._last_beat = monotonic()

    @property
    def is_paused(self) -> bool:
        """Whether it leaves its jobs in the queue."""
        return self._is_paused

    @is_paused.setter
    def is_paused(self, paused: bool) -> None:
        self._is_paused = paused
        self._collector.set_active(not paused)

    async def run(self, registry: CollectorRegistry) -> None:
        """Work until cancelled."""
        with self._collector.bind(registry):
            async with asyncio.TaskGroup() as hands:
                for _ in range(_PARALLEL):
                    hands.create_task(self._work())

    async def check(self) -> Result:
        """Tell whether the worker is alive; being paused is no illness."""
        silence = monotonic() - self._last_beat
        if silence > 10 * _BEAT:
            return Result("fail", "the worker gives no sign of life", silence, "seconds")
        return Result("pass", "paused" if self._is_paused else "takes jobs", silence, "seconds")

    async def _work(self) -> None:
        while True:
            self._last_beat = monotonic()
            self._collector.heartbeat()
            if self._is_paused:
                await asyncio.sleep(_BEAT)
                continue
            try:
                async with asyncio.timeout(_BEAT):
                    job = await self._jobs.take()
            except TimeoutError:
                continue
            try:
                await self._do(job)
            finally:
                self._jobs.done()

    async def _do(self, job: Job) -> None:
        job.attempts += 1
        with self._collector.job(job.kind, enqueued_at=job.enqueued_at) as measured:
            try:
                await self._carry_out(job)
            except PrinterJamError as error:
                measured.failed(error)
                if job.attempts < _ATTEMPTS:
                    measured.retried()
                    self._jobs.put_back(job)
                else:
                    measured.dead_lettered()
                    self._jobs.bury(job)

    async def _carry_out(self, job: Job) -> None:
        await asyncio.sleep(self._random.uniform(*_SECONDS[job.kind]))
        has_bad_address = job.order % 40 == 0  # no number of attempts helps
        if job.kind == "shipment" and (has_bad_address or self._random.random() < 0.03):
            raise PrinterJamError
