"""Counter, Gauge, Histogram, Summary, Info and Enum: prometheus_client's instruments on cells of our own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, Self, get_args

from vitalsign.exceptions import MetricError
from vitalsign.metrics.base import MAX_SERIES, OWN_MAX_SERIES, Instrument
from vitalsign.metrics.catalogue import DEFAULT_BUCKETS, encodable, label_names
from vitalsign.metrics.private import CounterNames, EnumNames, GaugeNames, HistogramNames, InfoNames, SummaryNames
from vitalsign.metrics.registry import REGISTRY, CollectorRegistry
from vitalsign.metrics.timing import ExceptionCounter, InProgress, timer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "MAX_SERIES",
    "OWN_MAX_SERIES",
    "Counter",
    "Enum",
    "Gauge",
    "Histogram",
    "Info",
    "Instrument",
    "Summary",
]

GaugeMode = Literal[
    "all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum", "mostrecent", "livemostrecent"
]  # fmt: skip
_GAUGE_MODES = frozenset(get_args(GaugeMode))


class Counter(Instrument, CounterNames):
    """
    Count what only goes up: requests, errors, bytes.

    ```python
    ORDERS = Counter("shop_orders", "Orders placed.", ["channel"])
    ORDERS.labels("web").inc()
    ```
    """

    __slots__ = ()

    _kind = "counter"

    def __new__(
        cls,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        *,
        max_series: int = MAX_SERIES,
    ) -> Self:
        """
        Declare a counter, or return the one that was declared with the same shape.

        Args:
            name: In base units; `_total` is added on the page, whether it is given or not.
            documentation: One sentence for people.
            labelnames: Names of the labels whose values tell the series apart.
            namespace: First part of the name.
            subsystem: Second part of the name.
            unit: Last part of the name, before `_total`.
            registry: Where to register; None for nowhere.
            max_series: Label sets before further ones are counted together under `__overflow__`.

        Raises:
            MetricError: The declaration is not valid.
            DuplicateMetricError: The name is taken by another metric.
        """
        return cls._declare(name, documentation, labelnames, namespace, subsystem, unit, registry, max_series)

    def count_exceptions(
        self, exception: type[BaseException] | tuple[type[BaseException], ...] = Exception
    ) -> ExceptionCounter:
        """Return a context manager, also a decorator for every kind of function, that counts what is raised."""
        self._check_writable()
        return ExceptionCounter(self, exception)


class Gauge(Instrument, GaugeNames):
    """
    Report a value that goes up and down: a queue's depth, a temperature, requests in progress.

    ```python
    DEPTH = Gauge("shop_queue_depth", "Orders waiting.")
    DEPTH.set_function(lambda: len(orders))
    ```
    """

    __slots__ = ()

    _kind = "gauge"

    def __new__(
        cls,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: None = None,
        multiprocess_mode: GaugeMode = "all",
        *,
        max_series: int = MAX_SERIES,
    ) -> Self:
        """
        Declare a gauge, or return the one that was declared with the same shape; arguments as for `Counter`.

        Args:
            name: In base units.
            documentation: One sentence for people.
            labelnames: Names of the labels whose values tell the series apart.
            namespace: First part of the name.
            subsystem: Second part of the name.
            unit: Last part of the name.
            registry: Where to register; None for nowhere.
            multiprocess_mode: How the values of several processes become one, by prometheus_client's names.
            max_series: Label sets before further ones are put together under `__overflow__`.

        Raises:
            MetricError: The declaration is not valid.
            DuplicateMetricError: The name is taken by another metric.
        """
        if multiprocess_mode not in _GAUGE_MODES:
            raise MetricError(
                f"Invalid multiprocess mode: {multiprocess_mode!r} of gauge {name}. Use one of {sorted(_GAUGE_MODES)}."
            )
        return cls._declare(
            name,
            documentation,
            labelnames,
            namespace,
            subsystem,
            unit,
            registry,
            max_series,
            mode=multiprocess_mode,
        )

    def set_to_current_time(self) -> None:
        """Set the gauge to the present Unix time, in seconds."""
        self.set(time.time())

    def track_inprogress(self) -> InProgress:
        """Return a context manager, also a decorator for every kind of function: up on entry, down on exit."""
        self._check_writable()
        return InProgress(self)

    def time(self) -> timer:
        """Return a context manager, also a decorator for every kind of function, that sets the seconds it took."""
        return timer(self)


class Summary(Instrument, SummaryNames):
    """Count observations and add them up: sizes, durations whose quantiles nobody asks for."""

    __slots__ = ()

    _kind = "summary"

    def __new__(
        cls,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        *,
        max_series: int = MAX_SERIES,
    ) -> Self:
        """Declare a summary, or return the one that was declared with the same shape; arguments as for `Counter`."""
        return cls._declare(name, documentation, labelnames, namespace, subsystem, unit, registry, max_series)

    def time(self) -> timer:
        """Return a context manager, also a decorator for every kind of function, that observes the seconds it took."""
        return timer(self)


class Histogram(Instrument, HistogramNames):
    """
    Count observations in buckets, from which Prometheus computes quantiles over any set of instances.

    ```python
    LATENCY = Histogram("shop_checkout_duration_seconds", "Time to check out.", buckets=(0.1, 0.25, 0.5, 1.0))
    LATENCY.observe(0.2)
    ```
    """

    __slots__ = ()

    _kind = "histogram"

    DEFAULT_BUCKETS = DEFAULT_BUCKETS

    def __new__(
        cls,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: None = None,
        buckets: Sequence[float | str] = DEFAULT_BUCKETS,
        *,
        max_series: int = MAX_SERIES,
    ) -> Self:
        """
        Declare a histogram, or return the one that was declared with the same shape.

        Args:
            name: In base units.
            documentation: One sentence for people.
            labelnames: Names of the labels whose values tell the series apart.
            namespace: First part of the name.
            subsystem: Second part of the name.
            unit: Last part of the name.
            registry: Where to register; None for nowhere.
            buckets: Upper bounds, ascending, in the metric's unit; +Inf is added.
            max_series: Label sets before further ones are counted together under `__overflow__`.

        Raises:
            MetricError: The declaration is not valid.
            DuplicateMetricError: The name is taken by another metric.
        """
        return cls._declare(
            name, documentation, labelnames, namespace, subsystem, unit, registry, max_series, buckets=buckets
        )

    def time(self) -> timer:
        """Return a context manager, also a decorator for every kind of function, that observes the seconds it took."""
        return timer(self)


class Info(Instrument, InfoNames):
    """Tell facts as labels of a series whose value is 1: a build, a version, a target's metadata."""

    __slots__ = ()

    _kind = "info"

    def __new__(
        cls,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        *,
        max_series: int = MAX_SERIES,
    ) -> Self:
        """Declare an info, or return the one that was declared with the same shape; arguments as for `Counter`."""
        return cls._declare(name, documentation, labelnames, namespace, subsystem, unit, registry, max_series)

    def info(self, val: Mapping[str, str]) -> None:
        """
        Tell these facts, in place of the ones before.

        Raises:
            MetricError: A fact has the name of one of the metric's labels, or its value is None.
        """
        self._check_writable()
        if not val.keys().isdisjoint(self.spec.labels):
            raise MetricError(f"Overlapping labels for Info metric, metric: {self.spec.labels} child: {dict(val)}")
        if None in val.values():
            raise MetricError(f"Label value cannot be None: {dict(val)} of Info metric {self.spec.name}.")
        names = label_names(self._kind, self.spec.name, val)
        self._tell_facts(dict(zip(names, map(encodable, map(str, val.values())), strict=True)))


class Enum(Instrument, EnumNames):
    """Tell which one of a set of states holds; the first one, until told otherwise."""

    __slots__ = ()

    _kind = "stateset"

    def __new__(
        cls,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: None = None,
        states: Sequence[str] = (),
        *,
        max_series: int = MAX_SERIES,
    ) -> Self:
        """
        Declare an enum, or return the one that was declared with the same shape; arguments as for `Counter`.

        Args:
            name: Of the metric, and of the label that bears the state.
            documentation: One sentence for people.
            labelnames: Names of the labels whose values tell the series apart.
            namespace: First part of the name.
            subsystem: Second part of the name.
            unit: Must be empty.
            registry: Where to register; None for nowhere.
            states: All states, distinct.
            max_series: Label sets before further ones are put together under `__overflow__`.

        Raises:
            MetricError: The declaration is not valid.
            DuplicateMetricError: The name is taken by another metric.
        """
        if not states:
            raise MetricError(f"No states provided for Enum metric: {name}")
        if len(set(states)) != len(states):
            raise MetricError(f"States of Enum metric {name} are not distinct: {tuple(states)}.")
        return cls._declare(
            name, documentation, labelnames, namespace, subsystem, unit, registry, max_series, states=states
        )

    def state(self, state: str) -> None:
        """
        Say which state holds now.

        Raises:
            MetricError: It is none of the declared ones.
        """
        self._check_writable()
        try:
            self._put(float(self.spec.states.index(state)))
        except ValueError as error:
            raise MetricError(
                f"{state!r} is no state of Enum metric {self.spec.name}: use one of {self.spec.states}."
            ) from error
