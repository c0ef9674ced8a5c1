"""Collectors that measure, at an interval and off the scrape."""

from __future__ import annotations

from functools import partial
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING

from vitalsign.collectors._base import Collector
from vitalsign.collectors._families import SharedFamily
from vitalsign.collectors._loop import PrivateLoop
from vitalsign.collectors._sampling import Schedule
from vitalsign.exceptions import CollectorOptionError
from vitalsign.typing import AsyncCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.samples import Sample

    from vitalsign.collectors._sampling import Measuring

__all__ = ["SampledCollector", "each_of"]


class SampledCollector(Collector):
    """
    Base of collectors that measure something: at an interval, on a thread of their own, never during a scrape.

    A subclass has `describe()` and either `collect()` or an async `sample()`, all three returning prometheus_client's
    metric families; `sample()` may be an async generator too. It runs on a private event loop, so clients that it uses
    must be made there: in `sample()` itself.

    ```python
    class Tenants(SampledCollector):
        def __init__(self, pool):
            super().__init__("tenants", refresh=60.0)
            self._pool = pool

        def describe(self):
            return [GaugeMetricFamily("shop_tenants", "Tenants.", labels=["plan"])]

        def collect(self):
            (tenants,) = self.describe()
            for plan, count in self._pool.count_by_plan():
                tenants.add_metric([plan], count)
            yield tenants
    ```

    Args:
        name: Tells it apart from other collectors, as the label `collector` of `vitalsign_collector_up` and its like.
        refresh: Seconds from one sample to the next. A value that could not be renewed is dropped after three.
        deadline: Seconds that a sample may take. `bind` waits for the first one, at most that long.

    Raises:
        CollectorOptionError: One of the two is not above 0, or not finite.
    """

    _schedule: Schedule | None = None
    _families: Sequence[SharedFamily] = ()

    def __init__(self, name: str, *, refresh: float = 15.0, deadline: float = 5.0) -> None:
        for option, value in (("refresh", refresh), ("deadline", deadline)):
            if not 0 < value <= TIMEOUT_MAX:
                raise CollectorOptionError(
                    f"{option}={value!r} of collector {name!r} is no time: give seconds above 0."
                )
        self.name = name
        self.refresh = refresh
        self.deadline = deadline

    def collect(self) -> Iterable[Metric]:
        """Measure now, in the calling thread, and return the metrics with their samples."""
        raise NotImplementedError(f"{type(self).__qualname__} needs a method collect() or async sample().")

    def _offered(self, registry: CollectorRegistry) -> Iterable[Metric]:  # noqa: ARG002  # for subclasses that look
        """Return the metrics to show on *registry*: some may be left to what is there already."""
        return self.describe()

    def _attach(self, registry: CollectorRegistry) -> None:
        schedule = self._make_schedule()
        offered: list[tuple[Metric, Callable[[], Iterable[Sample]]]] = [
            (metric, partial(schedule.read, metric.name)) for metric in self._offered(registry)
        ]
        joined: list[SharedFamily] = []
        try:
            for metric, read in (*offered, *schedule.vitals()):
                family = SharedFamily.on(registry, metric)
                family.join(self, read)
                joined.append(family)
        except BaseException:
            _leave(joined, self, registry)
            raise
        self._families, self._schedule = joined, schedule
        schedule.start()

    def _after_bind(self) -> None:
        if self._schedule is not None:
            self._schedule.wait()

    def _detach(self, registry: CollectorRegistry) -> None:
        if self._schedule is not None:
            self._schedule.stop()
        _leave(self._families, self, registry)
        self._families, self._schedule = (), None

    def _make_schedule(self) -> Schedule:
        names = frozenset(metric.name for metric in self.describe())
        return Schedule(self.name, _measuring(self), names=names, refresh=self.refresh, deadline=self.deadline)

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} {self.name!r}>"


def each_of(*parts: Callable[[], Iterable[Metric]]) -> Iterator[Metric]:
    """
    Yield the metrics of every part, also when one of them fails.

    Raises:
        Exception: What a part raised, when all have been asked; an ExceptionGroup if several did.
    """
    errors: list[Exception] = []
    for part in parts:
        try:
            yield from part()
        except Exception as error:  # noqa: BLE001  # raised below
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("several parts of the collector failed", errors)


class _Direct:
    """Take samples by a plain `collect()`."""

    def __init__(self, collector: SampledCollector) -> None:
        self.sample = collector.collect

    def close(self) -> None:
        """Do nothing: nothing is held."""


def _leave(families: Iterable[SharedFamily], owner: Collector, registry: CollectorRegistry) -> None:
    for family in families:
        family.leave(owner, registry)


def _measuring(collector: SampledCollector) -> Measuring:
    if isinstance(collector, AsyncCollector):
        return PrivateLoop(collector, collector.deadline)
    return _Direct(collector)
