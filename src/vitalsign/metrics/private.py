"""The private names of prometheus_client's instruments, under which tests and other libraries look numbers up."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vitalsign.metrics.cells import CounterCell, DistributionCell
from vitalsign.metrics.values import FactsCell, GaugeCell, ValueCell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CounterNames", "EnumNames", "GaugeNames", "HistogramNames", "InfoNames", "SummaryNames"]


class _Number:
    """One number, as prometheus_client holds it; made when it is looked at."""

    __slots__ = ("get",)

    def __init__(self, get: Callable[[], float]) -> None:
        self.get = get


class _Settable(_Number):
    """One number that may be set from outside."""

    __slots__ = ("set",)

    def __init__(self, get: Callable[[], float], put: Callable[[float], None]) -> None:
        super().__init__(get)
        self.set = put


class CounterNames(CounterCell):
    """A counter's."""

    __slots__ = ()

    @property
    def _value(self) -> _Settable:
        return _Settable(self._read, self._restart)

    def _restart(self, value: float) -> None:
        """Start again, from *value*."""
        self.reset()
        self.inc(value)


class GaugeNames(GaugeCell):
    """A gauge's."""

    __slots__ = ()

    @property
    def _value(self) -> _Settable:
        return _Settable(self._read, self.set)


class SummaryNames(DistributionCell):
    """A summary's."""

    __slots__ = ()

    @property
    def _count(self) -> _Number:
        return _Number(lambda: float(self._read()[1]))

    @property
    def _sum(self) -> _Number:
        return _Number(lambda: float(self._read()[0]))


class HistogramNames(DistributionCell):
    """A histogram's."""

    __slots__ = ()

    @property
    def _buckets(self) -> list[_Number]:
        return [_Number(partial(self._observed_in, place)) for place in range(1, len(self._family.zero))]

    def _observed_in(self, place: int) -> float:
        """Return how many observations fell into one bucket, and into none below it."""
        return float(self._read()[place])

    @property
    def _sum(self) -> _Number:
        return _Number(lambda: float(self._read()[0]))

    @property
    def _upper_bounds(self) -> list[float]:
        return list(self._family.spec.buckets)


class InfoNames(FactsCell):
    """An info's."""

    __slots__ = ()

    @property
    def _value(self) -> Mapping[str, str]:
        return self._read()


class EnumNames(ValueCell):
    """An enum's."""

    __slots__ = ()

    @property
    def _value(self) -> int:
        return int(self._read())

    @property
    def _states(self) -> tuple[str, ...]:
        return self._family.spec.states
