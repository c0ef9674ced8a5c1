"""The shop as an application, with what makes it observable: what a user would add to a service of their own."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route

from vitalsign.asgi import MetricsMiddleware, metrics_app
from vitalsign.collectors import ProcessCollector, QueueCollector, SystemCollector
from vitalsign.demo.checkout import Checkout
from vitalsign.demo.jobs import JobQueue
from vitalsign.demo.luck import luck
from vitalsign.demo.page import Switch, page_routes
from vitalsign.demo.payments import Payments
from vitalsign.demo.provider import Mood, PaymentProvider
from vitalsign.demo.shop import Shop
from vitalsign.demo.worker import Worker
from vitalsign.health import HealthChecker, Result, Status, checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prometheus_client import CollectorRegistry
    from starlette.routing import BaseRoute

__all__ = ["make_app"]

_UNMEASURED = ("/metrics", "/health", "/health/*", "/ready", "/startup")
_LOOPBACK = ("127.0.0.0/8", "::1")
_LONG_QUEUE, _HOPELESS_QUEUE = 20, 100  # jobs
_CHECK_INTERVAL = 2.0  # seconds


def make_app(registry: CollectorRegistry, seed: int) -> Starlette:
    """
    Make the shop; its worker works as long as its lifespan lasts.

    Args:
        registry: Where all its metrics go.
        seed: The same seed gives the same luck.
    """
    service = _Service(registry, seed)
    middleware = [Middleware(MetricsMiddleware, registry=registry, exclude=_UNMEASURED)]
    return Starlette(routes=service.routes(), middleware=middleware, lifespan=service.live)


class _Service:
    """The parts of the service, and how they belong together."""

    def __init__(self, registry: CollectorRegistry, seed: int) -> None:
        self._registry = registry
        self._jobs = JobQueue()
        self._provider = PaymentProvider(luck(seed, "provider"))
        self._payments = Payments(self._provider, registry)
        self._worker = Worker(self._jobs, luck(seed, "worker"))
        self._shop = Shop(Checkout(self._payments, self._jobs, registry), luck(seed, "shop"))
        self._health = self._declare_health()

    def routes(self) -> list[BaseRoute]:
        return [
            *page_routes(self._switches()),
            Mount("/api", routes=self._shop.routes()),
            Route("/metrics", metrics_app(registry=self._registry)),
            *self._health.routes(allow=_LOOPBACK),
        ]

    @asynccontextmanager
    async def live(self, _app: Starlette) -> AsyncIterator[None]:
        """Do in the background what belongs to the service: the application's lifespan."""
        queue = QueueCollector(
            "orders",
            depth=self._jobs.depth,
            oldest_age=self._jobs.oldest_age,
            in_flight=self._jobs.in_flight,
            dead_letters=self._jobs.dead_letters,
            refresh=1.0,
        )
        with ExitStack() as bound:
            for collector in (SystemCollector(), ProcessCollector(), queue):
                bound.enter_context(collector.bind(self._registry))
            async with self._payments, asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(self._worker.run(self._registry)),
                    tasks.create_task(self._keep_checking()),
                ]
                self._health.started()
                yield
                for task in background:
                    task.cancel()

    def _declare_health(self) -> HealthChecker:
        health = HealthChecker("shop", version="1.4.0", registry=self._registry)
        health.check("worker", group="liveness")(self._worker.check)
        health.add(checks.disk("/", min_free="100MB"), group="liveness")
        health.add(checks.memory(min_available="1%"))
        health.check("orders-queue", external=False)(self._check_queue)
        # Not critical, since all instances share it: its failing must not take every one of them out of service.
        health.check("payments", critical=False)(self._payments.check)
        return health

    async def _check_queue(self) -> Result:
        depth = self._jobs.depth()
        status = Status.FAIL if depth >= _HOPELESS_QUEUE else Status.WARN if depth >= _LONG_QUEUE else Status.PASS
        return Result(status, f"{depth} jobs wait", depth, "jobs")

    async def _keep_checking(self) -> None:
        """Run all checks again and again, so that their metrics are fresh though nobody asks for a report."""
        while True:
            await self._health.run("full")
            await asyncio.sleep(_CHECK_INTERVAL)

    def _switches(self) -> list[Switch]:
        def set_mood(position: str) -> None:
            self._provider.mood = Mood(position)

        def worker_position() -> str:
            return "paused" if self._worker.is_paused else "working"

        def set_worker(position: str) -> None:
            self._worker.is_paused = position == "paused"

        return [
            Switch("payments", "Payment provider", tuple(Mood), lambda: self._provider.mood, set_mood),
            Switch("worker", "Worker", ("working", "paused"), worker_position, set_worker),
        ]
