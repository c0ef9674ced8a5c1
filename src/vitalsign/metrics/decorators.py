"""Decorators that measure functions of every kind: plain, coroutine, generator, async generator, method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from vitalsign.exceptions import MetricError
from vitalsign.metrics.arguments import label_reader
from vitalsign.metrics.instruments import MAX_SERIES, OWN_MAX_SERIES, Counter, Gauge, Histogram
from vitalsign.metrics.registry import REGISTRY, CollectorRegistry
from vitalsign.metrics.timing import CallObserver, ExceptionCounter, InProgress, Stopwatch, recorder, timed
from vitalsign.metrics.wrapping import Begin, Decorated, Decorator, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vitalsign.metrics.arguments import Labels
    from vitalsign.metrics.instruments import Instrument
    from vitalsign.metrics.wrapping import Observer

__all__ = ["count_calls", "count_errors", "instrument", "track_inprogress", "track_time"]

_FUNCTION_LABELS = ("module", "function")
_NO_LABELS: Mapping[str, str] = {}
_Metric = TypeVar("_Metric", bound="Instrument")
_CALLS = ("function_calls", "Calls of the decorated function.")
_DURATION = ("function_duration_seconds", "Seconds spent inside the decorated function.")
_ERRORS = ("function_errors", "Exceptions raised by the decorated function.")
_IN_PROGRESS = ("function_in_progress", "Calls of the decorated function that are running now.")


@overload
def track_time(target: Decorated, /) -> Decorated: ...
@overload
def track_time(
    target: str,
    documentation: str,
    /,
    *,
    labels: Labels = ...,
    buckets: Sequence[float] = ...,
    registry: CollectorRegistry | None = ...,
    max_series: int = ...,
) -> Decorator: ...
@overload
def track_time(
    target: Any = ..., /, *, labels: Labels = ..., registry: CollectorRegistry | None = ...
) -> Decorator: ...
def track_time(
    target: Any = None,
    documentation: str = "",
    /,
    *,
    labels: Labels = _NO_LABELS,
    buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS,
    registry: CollectorRegistry | None = REGISTRY,
    max_series: int = MAX_SERIES,
) -> Any:
    """
    Record how long each call takes, in seconds.

    What counts is the time until the function returns; of a coroutine, its awaiting too; of a generator only the time
    inside it, not the consumer's pauses.

    Args:
        target: The function itself; or the name of a histogram to declare; or a metric that exists and records
            times. Without any of these, `function_duration_seconds{module,function}`.
        documentation: Help text of the histogram that is declared.
        labels: For each label a text, or a function of the arguments that it names.
        buckets: Upper bounds of the histogram that is declared, in seconds.
        registry: Where to declare it.
        max_series: Label sets that it takes.

    Raises:
        MetricError: The metric cannot record times, or its labels are not given.
        TypeError: What is decorated is no function.
    """
    if _is_decorated(target):
        return track_time()(target)
    if isinstance(target, str):
        target = Histogram(target, documentation, labels, registry=registry, buckets=buckets, max_series=max_series)

    def decorate(function: Decorated) -> Decorated:
        if target is None:
            return timed(function, _for_function(Histogram, _DURATION, function, registry).observe)
        if not labels:
            return timed(function, recorder(_bound(target)))
        return wrap(function, lambda inner: _labelled(inner, target, labels, lambda child: Stopwatch(recorder(child))))

    return decorate


@overload
def count_calls(target: Decorated, /) -> Decorated: ...
@overload
def count_calls(
    target: Any = ...,
    documentation: str = ...,
    /,
    *,
    labels: Labels = ...,
    registry: CollectorRegistry | None = ...,
    max_series: int = ...,
) -> Decorator: ...
def count_calls(
    target: Any = None,
    documentation: str = "",
    /,
    *,
    labels: Labels = _NO_LABELS,
    registry: CollectorRegistry | None = REGISTRY,
    max_series: int = MAX_SERIES,
) -> Any:
    """
    Count each call when it starts; a generator's at its first step.

    Args:
        target: The function itself; or the name of a counter to declare; or a counter that exists. Without any of
            these, `function_calls_total{module,function}`.
        documentation: Help text of the counter that is declared.
        labels: For each label a text, or a function of the arguments that it names.
        registry: Where to declare it.
        max_series: Label sets that it takes.

    Raises:
        MetricError: The metric's labels are not given.
        TypeError: What is decorated is no function.
    """
    return _decorator(Counter, _CALLS, _Call, target, documentation, labels, registry, max_series)


@overload
def track_inprogress(target: Decorated, /) -> Decorated: ...
@overload
def track_inprogress(
    target: Any = ...,
    documentation: str = ...,
    /,
    *,
    labels: Labels = ...,
    registry: CollectorRegistry | None = ...,
    max_series: int = ...,
) -> Decorator: ...
def track_inprogress(
    target: Any = None,
    documentation: str = "",
    /,
    *,
    labels: Labels = _NO_LABELS,
    registry: CollectorRegistry | None = REGISTRY,
    max_series: int = MAX_SERIES,
) -> Any:
    """
    Show how many calls are running; a generator's, from its first step to its end.

    Args:
        target: The function itself; or the name of a gauge to declare; or a gauge that exists. Without any of these,
            `function_in_progress{module,function}`.
        documentation: Help text of the gauge that is declared.
        labels: For each label a text, or a function of the arguments that it names.
        registry: Where to declare it.
        max_series: Label sets that it takes.

    Raises:
        MetricError: The metric's labels are not given.
        TypeError: What is decorated is no function.
    """
    return _decorator(Gauge, _IN_PROGRESS, _raised, target, documentation, labels, registry, max_series)


@overload
def count_errors(target: Decorated, /) -> Decorated: ...
@overload
def count_errors(
    target: Any = ...,
    documentation: str = ...,
    /,
    *,
    labels: Labels = ...,
    registry: CollectorRegistry | None = ...,
    max_series: int = ...,
) -> Decorator: ...
def count_errors(
    target: Any = None,
    documentation: str = "",
    /,
    *,
    labels: Labels = _NO_LABELS,
    registry: CollectorRegistry | None = REGISTRY,
    max_series: int = MAX_SERIES,
) -> Any:
    """
    Count the exceptions that leave the function, by their class in the label `error`.

    Only `Exception` and what derives from it counts: a cancelled coroutine, a closed generator, KeyboardInterrupt and
    SystemExit are no errors.

    Args:
        target: The function itself; or the name of a counter to declare, to which the label `error` is added; or a
            counter that exists, with `error` as its last label or without any. Without any of these,
            `function_errors_total{module,function,error}`.
        documentation: Help text of the counter that is declared.
        labels: For each other label a text, or a function of the arguments that it names.
        registry: Where to declare it.
        max_series: Label sets that it takes.

    Raises:
        MetricError: The metric's labels are not given.
        TypeError: What is decorated is no function.
    """
    if _is_decorated(target):
        return count_errors()(target)
    if isinstance(target, str):
        target = Counter(target, documentation, (*labels, "error"), registry=registry, max_series=max_series)

    def decorate(function: Decorated) -> Decorated:
        if target is None:
            errors = _declare_for_functions(Counter, _ERRORS, registry, "error")
            names = dict(zip(_FUNCTION_LABELS, _names_of(function), strict=True))
            return wrap(function, lambda inner: _errors(inner, errors, names))
        return wrap(function, lambda inner: _errors(inner, target, labels))

    return decorate


def instrument(target: Decorated | None = None, /, *, registry: CollectorRegistry | None = REGISTRY) -> Any:
    """
    Record calls, errors, duration and calls in progress, in one go.

    The metrics are `function_calls_total`, `function_errors_total` (with the label `error`),
    `function_duration_seconds` and `function_in_progress`, all with the labels `module` and `function`.

    Args:
        target: The function.
        registry: Where to declare the metrics.

    Raises:
        TypeError: What is decorated is no function.
    """
    if target is None:
        return lambda function: instrument(function, registry=registry)
    names = _names_of(target)
    calls = _for_function(Counter, _CALLS, target, registry)
    duration = _for_function(Histogram, _DURATION, target, registry)
    errors = _declare_for_functions(Counter, _ERRORS, registry, "error")
    in_progress = _for_function(Gauge, _IN_PROGRESS, target, registry)

    def begin(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Observer:
        calls.inc()
        in_progress.inc()
        return _Everything(duration, in_progress, errors, names)

    return wrap(target, lambda _: begin)


class _Call(CallObserver):
    """Count a call when it starts."""

    __slots__ = ()

    def __init__(self, counter: Counter) -> None:
        counter.inc()


class _Error(CallObserver):
    """Count the exception that ends a call, by its class."""

    __slots__ = ("_counter", "_place", "_values")

    def __init__(self, counter: Any, values: tuple[object, ...], place: int) -> None:
        self._counter = counter
        self._values = values
        self._place = place

    def finish(self, error: BaseException | None) -> None:
        """Count *error* unless it is one that only ends things."""
        if isinstance(error, Exception):
            values = list(self._values)
            values[self._place] = type(error).__name__
            self._counter.labels(*values).inc()


class _Everything(Stopwatch):
    """Record the time, the error and the end of a call."""

    __slots__ = ("_errors", "_gauge", "_names")

    def __init__(self, duration: Histogram, gauge: Gauge, errors: Counter, names: tuple[str, str]) -> None:
        super().__init__(duration.observe)
        self._gauge = gauge
        self._errors = errors
        self._names = names

    def finish(self, error: BaseException | None) -> None:
        """Record all that is known at the end."""
        super().finish(error)
        self._gauge.dec()
        if isinstance(error, Exception):
            self._errors.labels(*self._names, type(error).__name__).inc()


def _raised(gauge: Gauge) -> Observer:
    return InProgress(gauge).begin()


def _decorator(
    cls: type[Counter | Gauge],
    default: tuple[str, str],
    observe: Callable[[Any], Observer],
    target: Any,
    documentation: str,
    labels: Labels,
    registry: CollectorRegistry | None,
    max_series: int,
) -> Any:
    """Make the decorator whose observer needs nothing but the child of a metric."""
    if isinstance(target, str):
        target = cls(target, documentation, labels, registry=registry, max_series=max_series)

    def decorate(function: Decorated) -> Decorated:
        if target is None:
            child = _for_function(cls, default, function, registry)
            return wrap(function, lambda _: lambda _args, _kwargs: observe(child))
        if not labels:
            bound = _bound(target)
            return wrap(function, lambda _: lambda _args, _kwargs: observe(bound))
        return wrap(function, lambda inner: _labelled(inner, target, labels, observe))

    if _is_decorated(target):
        function, target = target, None
        return decorate(function)
    return decorate


def _labelled(function: Callable[..., Any], metric: Any, labels: Labels, observe: Callable[[Any], Observer]) -> Begin:
    read = label_reader(function, _in_order(metric, labels))
    return lambda args, kwargs: observe(metric.labels(*read(args, kwargs)))


def _errors(function: Callable[..., Any], counter: Any, labels: Labels) -> Begin:
    if not _is_parent(counter):
        return lambda _args, _kwargs: ExceptionCounter(counter)
    ordered = _in_order(counter, {**labels, "error": ""})
    place = list(ordered).index("error")
    read = label_reader(function, ordered)
    return lambda args, kwargs: _Error(counter, read(args, kwargs), place)


def _in_order(metric: Any, labels: Labels) -> Labels:
    """Return *labels* in the order of the metric's label names."""
    names: tuple[str, ...] = metric._labelnames
    if set(names) != labels.keys():
        raise MetricError(
            f"{metric} has the labels {', '.join(names) or '(none)'}, but not {', '.join(labels) or 'none'}. "
            "Name each of its labels in labels=."
        )
    return {name: labels[name] for name in names}


def _is_parent(metric: Any) -> bool:
    """Tell a metric that still lacks its label values, of ours or of prometheus_client's."""
    return bool(getattr(metric, "_labelnames", ())) and not getattr(metric, "_labelvalues", ())


def _is_decorated(target: Any) -> bool:
    """Tell a function that is decorated from a metric or a name."""
    return isinstance(target, (classmethod, staticmethod, type, property)) or (
        callable(target) and not hasattr(target, "labels")
    )


def _bound(metric: Any) -> Any:
    """Return *metric* if it can be written as it is."""
    if _is_parent(metric):
        names = ", ".join(metric._labelnames)
        raise MetricError(f"{metric} has the labels {names}. Give metric.labels(...), or labels= for each of them.")
    return metric


def _declare_for_functions(
    cls: type[_Metric], name_and_help: tuple[str, str], registry: CollectorRegistry | None, *more: str
) -> _Metric:
    make: Any = cls
    metric: _Metric = make(*name_and_help, (*_FUNCTION_LABELS, *more), registry=registry, max_series=OWN_MAX_SERIES)
    return metric


def _for_function(
    cls: type[_Metric], name_and_help: tuple[str, str], function: Any, registry: CollectorRegistry | None
) -> _Metric:
    return _declare_for_functions(cls, name_and_help, registry).labels(*_names_of(function))


def _names_of(function: Any) -> tuple[str, str]:
    inner = getattr(function, "__func__", function)
    return getattr(inner, "__module__", None) or "", getattr(inner, "__qualname__", None) or type(inner).__qualname__
