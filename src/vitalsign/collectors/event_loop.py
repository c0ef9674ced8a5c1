"""Event loops: how late they run what is due, and how long they have been stuck."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from contextlib import suppress
from functools import partial
from itertools import accumulate
from threading import Event
from typing import TYPE_CHECKING

from prometheus_client.core import HistogramMetricFamily

from vitalsign._clock import monotonic
from vitalsign.collectors._families import filled, gauge
from vitalsign.collectors._sampled import SampledCollector
from vitalsign.exceptions import CollectorError, CollectorOptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

__all__ = ["EventLoopCollector"]

_LAG = partial(
    HistogramMetricFamily,
    "event_loop_lag_seconds",
    "Time from handing a callback to the loop until it ran.",
    labels=["loop"],
)
_BLOCKED = gauge("event_loop_blocked_seconds", "Time that the loop has not run a callback that is due.", "loop")
_TASKS = gauge("event_loop_tasks", "Tasks of the loop that are not done.", "loop")
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class _Ping:
    """A callback on its way through the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answered = Event()
        self.lag = 0.0
        self.tasks = 0
        self.sent = monotonic()
        loop.call_soon_threadsafe(self._answer, loop)

    def _answer(self, loop: asyncio.AbstractEventLoop) -> None:
        self.lag = monotonic() - self.sent
        self.tasks = len(asyncio.all_tasks(loop))
        self.answered.set()


class EventLoopCollector(SampledCollector):
    """
    Show how late an event loop runs its callbacks: what blocks it delays everything that it serves.

    At each interval another thread hands the loop a callback; the time until it has run is a lag. While one is on its
    way no other is sent: a loop that is stuck for a minute has one lag of a minute, and tells until then for how long
    it has been stuck.

    Args:
        loop: The loop to watch; the running one if none is given.
        name: Value of the label `loop`.
        refresh: Seconds from one callback to the next.
        deadline: Seconds that a sample may take; it never waits for the loop that long.

    Raises:
        CollectorOptionError: No loop is given and none is running, or a time is not above 0.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        name: str = "main",
        refresh: float = 1.0,
        deadline: float = 5.0,
    ) -> None:
        super().__init__(f"event_loop:{name}", refresh=refresh, deadline=deadline)
        watched = loop or _running_loop()
        if watched is None:
            raise CollectorOptionError(
                "No event loop is running here. Make the collector inside a coroutine, or give it loop=."
            )
        self._loop = watched
        self._who = [name]
        self._patience = min(refresh, deadline) / 2
        self._ping: _Ping | None = None
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0
        self._tasks = 0

    def describe(self) -> Iterable[Metric]:
        """Return the metrics."""
        return [_LAG(), _BLOCKED(), _TASKS()]

    def collect(self) -> Iterable[Metric]:
        """Hand the loop a callback, unless one is on its way, and see how far it has come."""
        if self._loop.is_closed():
            raise CollectorError(f"The event loop {self._who[0]!r} is closed. Call unbind() before it is.")
        ping = self._ping = self._ping or _Ping(self._loop)
        blocked = 0.0
        if ping.answered.wait(self._patience):
            self._record(ping)
        else:
            blocked = monotonic() - ping.sent
        yield self._histogram()
        yield filled(_BLOCKED, (self._who, blocked))
        yield filled(_TASKS, (self._who, self._tasks))

    def _record(self, ping: _Ping) -> None:
        self._ping = None
        self._counts[bisect_left(_BOUNDS, ping.lag)] += 1
        self._sum += ping.lag
        self._tasks = ping.tasks

    def _histogram(self) -> Metric:
        family = _LAG()
        bounds = [*map(str, _BOUNDS), "+Inf"]
        family.add_metric(self._who, list(zip(bounds, accumulate(self._counts), strict=True)), self._sum)
        return family

    def _after_bind(self) -> None:
        if _running_loop() is not self._loop:  # inside the loop, the first sample needs it to go on
            super()._after_bind()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None
