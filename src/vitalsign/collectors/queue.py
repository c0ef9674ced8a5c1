"""Queues, observed through functions that ask the broker."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING

from vitalsign.collectors._families import filled, gauge
from vitalsign.collectors._sampled import SampledCollector, each_of
from vitalsign.exceptions import CollectorOptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

    from vitalsign.collectors._families import Declaration

__all__ = ["QueueCollector"]

_DEPTH = gauge("queue_depth", "Jobs that wait in the queue.", "queue")
_AGE = gauge("queue_oldest_age_seconds", "Age of the oldest waiting job.", "queue")
_IN_FLIGHT = gauge("queue_in_flight", "Jobs taken by a worker and not done.", "queue")
_DEAD = gauge("queue_dead_letters", "Jobs in the dead-letter queue.", "queue")


class QueueCollector(SampledCollector):
    """
    Show how full a queue is, and how long its jobs have waited.

    ```python
    QueueCollector("backtests", depth=lambda: redis.llen("q"), refresh=5.0, deadline=1.0).bind()
    ```

    Args:
        queue: Value of the label `queue`.
        depth: Returns how many jobs wait.
        oldest_age: Returns the age of the oldest waiting job, in seconds; 0 if none waits.
        in_flight: Returns how many jobs workers have taken and not finished.
        dead_letters: Returns how many jobs have been given up and set aside.
        refresh: Seconds from one sample to the next.
        deadline: Seconds that all functions together may take.

    Raises:
        CollectorOptionError: No function is given, or a time is not above 0.
    """

    def __init__(
        self,
        queue: str,
        *,
        depth: Callable[[], float] | None = None,
        oldest_age: Callable[[], float] | None = None,
        in_flight: Callable[[], float] | None = None,
        dead_letters: Callable[[], float] | None = None,
        refresh: float = 5.0,
        deadline: float = 1.0,
    ) -> None:
        super().__init__(f"queue:{queue}", refresh=refresh, deadline=deadline)
        given = ((_DEPTH, depth), (_AGE, oldest_age), (_IN_FLIGHT, in_flight), (_DEAD, dead_letters))
        self._questions = [(make, ask) for make, ask in given if ask is not None]
        self._queue = queue
        if not self._questions:
            raise CollectorOptionError(
                f"Queue collector {queue!r} has nothing to ask. Give at least depth=, a function that returns how many "
                "jobs wait."
            )

    def describe(self) -> Iterable[Metric]:
        """Return the metrics that a function is there for."""
        return [make() for make, _ in self._questions]

    def collect(self) -> Iterable[Metric]:
        """Ask the broker now; one function that fails does not keep the others from being asked."""
        return each_of(*(partial(self._ask, make, ask) for make, ask in self._questions))

    def _ask(self, make: Declaration, ask: Callable[[], float]) -> Iterable[Metric]:
        answer = ask()
        if inspect.iscoroutine(answer):
            answer.close()
            raise CollectorOptionError(
                f"A function of queue collector {self._queue!r} returned a coroutine. Give functions that return a "
                "number; for an async client, subclass SampledCollector and write an async sample()."
            )
        return [filled(make, ([self._queue], answer))]
