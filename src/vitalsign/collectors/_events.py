"""Collectors that are told what happens, and count it at once."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar
from weakref import WeakSet

from vitalsign.collectors._base import Collector
from vitalsign.metrics.base import OWN_MAX_SERIES, Instrument
from vitalsign.metrics.instruments import Counter, Gauge, Histogram
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client import CollectorRegistry, Metric

    from vitalsign.metrics.instruments import GaugeMode

__all__ = ["Declaring", "EventCollector", "harmless"]

_P = ParamSpec("_P")
_InstrumentT = TypeVar("_InstrumentT", bound=Instrument)
_MetricsT = TypeVar("_MetricsT")


class Declaring:
    """
    Declare the metrics of one event collector; each begins with the labels that tell the collector apart.

    Attributes:
        made: What was declared so far.
    """

    def __init__(self, registry: CollectorRegistry | None, labels: Iterable[str]) -> None:
        self._registry = registry
        self._labels = tuple(labels)
        self.made: list[Instrument] = []

    def counter(self, name: str, documentation: str, *labels: str) -> Counter:
        """Declare a counter with these further labels."""
        return self._keep(Counter(name, documentation, (*self._labels, *labels), **self._options))

    def gauge(self, name: str, documentation: str, *labels: str, mode: GaugeMode) -> Gauge:
        """Declare a gauge with these further labels, and how the values of several processes become one."""
        return self._keep(Gauge(name, documentation, (*self._labels, *labels), multiprocess_mode=mode, **self._options))

    def histogram(self, name: str, documentation: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        """Declare a histogram with these further labels."""
        return self._keep(Histogram(name, documentation, (*self._labels, *labels), buckets=buckets, **self._options))

    @property
    def _options(self) -> dict[str, Any]:
        return {"registry": self._registry, "max_series": OWN_MAX_SERIES}

    def _keep(self, instrument: _InstrumentT) -> _InstrumentT:
        self.made.append(instrument)
        return instrument


class EventCollector(Collector, Generic[_MetricsT]):
    """
    Base of collectors that are told what happens, and count it at once.

    A subclass declares its metrics in `_declare` and writes to what `metrics` then holds. While it is not bound,
    that is None: it takes what it is told and records nothing.

    Args:
        labels: The labels, with their values, that tell this collector's series from those of others.
    """

    metrics: _MetricsT | None = None
    _instruments: Sequence[Instrument] = ()

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)

    @abstractmethod
    def _declare(self, declaring: Declaring) -> _MetricsT:
        """Declare the metrics, and return them."""

    def describe(self) -> Iterable[Metric]:
        """Return the metrics of this collector without samples."""
        declaring = Declaring(None, self._labels)
        self._declare(declaring)
        return [metric for instrument in declaring.made for metric in instrument.describe()]

    def _attach(self, registry: CollectorRegistry) -> None:
        declaring = Declaring(registry, self._labels)
        try:
            self.metrics = self._declare(declaring)
        except BaseException:
            self._withdraw(declaring.made, registry)
            raise
        self._instruments = declaring.made
        _bound.add(self)

    def _detach(self, registry: CollectorRegistry) -> None:
        self.metrics = None
        _bound.discard(self)
        self._withdraw(self._instruments, registry)
        self._instruments = ()

    def _withdraw(self, instruments: Iterable[Instrument], registry: CollectorRegistry) -> None:
        """Remove this collector's series, unless another one writes to them too; and what is then left empty."""
        others = [other for other in _bound if other is not self and other._registry is registry]
        if not any(type(other) is type(self) and other._labels == self._labels for other in others):
            for instrument in instruments:
                instrument.remove_by_labels(self._labels)
        for instrument in instruments:
            in_use = any(instrument in other._instruments for other in others)
            if not in_use and not any(metric.samples for metric in instrument.collect()):
                with suppress(KeyError):  # the host may have emptied its registry
                    registry.unregister(instrument)

    def __repr__(self) -> str:
        labels = ", ".join(f"{name}={value!r}" for name, value in self._labels.items())
        return f"<{type(self).__qualname__} {labels}>"


_bound: WeakSet[EventCollector[Any]] = WeakSet()


def harmless(where: str) -> Callable[[Callable[_P, None]], Callable[_P, None]]:
    """Make a function never raise into the host: what goes wrong in it is logged and counted as an internal error."""

    def decorate(function: Callable[_P, None]) -> Callable[_P, None]:
        @wraps(function)
        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  # the host's call must not fail by our bookkeeping
                internal_error(where, error)

        return guarded

    return decorate
