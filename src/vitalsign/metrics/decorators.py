"""Decorators that measure functions of every kind: plain, coroutine, generator, async generator, method."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from vitalsign.exceptions import MetricError
from vitalsign.metrics.arguments import label_reader
from vitalsign.metrics.instruments import MAX_SERIES, OWN_MAX_SERIES, Counter, Gauge, Histogram
from vitalsign.metrics.registry import REGISTRY, CollectorRegistry
from vitalsign.metrics.timing import (
    CallObserver,
    ExceptionCounter,
    InProgress,
    Stopwatch,
    check_labelled,
    is_parent,
    record_method,
    timed,
)
from vitalsign.metrics.wrapping import Begin, Decorated, Decorator, bare, name_of, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vitalsign.metrics.arguments import Labels
    from vitalsign.metrics.timing import Counts, Observes, Sets, UpAndDown
    from vitalsign.metrics.wrapping import Observer

__all__ = ["count_calls", "count_errors", "instrument", "track_inprogress", "track_time"]

_NO_LABELS: Mapping[str, str] = {}


class _Own(NamedTuple):
    """A metric of the library's own, which all functions share that are decorated without another."""

    make: type[Counter | Gauge | Histogram]
    name: str
    documentation: str
    needs: tuple[str, ...] = ()
    """Methods that a metric must have to stand in for this one."""
    labels: tuple[str, ...] = ("module", "function")

    def declare(self, registry: CollectorRegistry | None) -> Any:
        return self.make(self.name, self.documentation, self.labels, registry=registry, max_series=OWN_MAX_SERIES)


_CALLS = _Own(Counter, "function_calls", "Calls of the decorated function.", ("inc",))
_DURATION = _Own(Histogram, "function_duration_seconds", "Seconds spent inside the decorated function.")
_ERRORS = _Own(
    Counter,
    "function_errors",
    "Exceptions that left the decorated function.",
    ("inc",),
    ("module", "function", "error"),
)
_IN_PROGRESS = _Own(
    Gauge, "function_in_progress", "Calls of the decorated function that are running now.", ("inc", "dec")
)


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
    target: Observes | Sets | None = ..., /, *, labels: Labels = ..., registry: CollectorRegistry | None = ...
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
        MetricError: The metric cannot record times, or its labels are not those given.
        TypeError: What is decorated is no function.
    """
    if _is_decorated(target):
        return track_time()(target)
    if isinstance(target, str):
        target = Histogram(target, documentation, labels, registry=registry, buckets=buckets, max_series=max_series)

    def decorate(function: Decorated) -> Decorated:
        metric, names = _metric_for(function, target, labels, _DURATION, registry)
        method = record_method(metric)
        child = _fixed_child(metric, names)
        if child is not None:
            return timed(function, getattr(child, method))
        return wrap(function, _begin(function, metric, names, lambda child: Stopwatch(getattr(child, method))))

    return decorate


@overload
def count_calls(target: Decorated, /) -> Decorated: ...
@overload
def count_calls(
    target: str | Counts | None = ...,
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
        MetricError: The metric cannot count, or its labels are not those given.
        TypeError: What is decorated is no function.
    """
    if _is_decorated(target):
        return count_calls()(target)
    if isinstance(target, str):
        target = Counter(target, documentation, labels, registry=registry, max_series=max_series)

    def decorate(function: Decorated) -> Decorated:
        metric, names = _metric_for(function, target, labels, _CALLS, registry)
        return wrap(function, _begin(function, metric, names, _counted))

    return decorate


@overload
def track_inprogress(target: Decorated, /) -> Decorated: ...
@overload
def track_inprogress(
    target: str | UpAndDown | None = ...,
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
        MetricError: The metric cannot go up and down, or its labels are not those given.
        TypeError: What is decorated is no function.
    """
    if _is_decorated(target):
        return track_inprogress()(target)
    if isinstance(target, str):
        target = Gauge(target, documentation, labels, registry=registry, max_series=max_series)

    def decorate(function: Decorated) -> Decorated:
        metric, names = _metric_for(function, target, labels, _IN_PROGRESS, registry)
        return wrap(function, _begin(function, metric, names, _raised))

    return decorate


@overload
def count_errors(target: Decorated, /) -> Decorated: ...
@overload
def count_errors(
    target: str | Counts | None = ...,
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
            counter that exists, with or without a label `error`. Without any of these,
            `function_errors_total{module,function,error}`.
        documentation: Help text of the counter that is declared.
        labels: For each other label a text, or a function of the arguments that it names.
        registry: Where to declare it.
        max_series: Label sets that it takes.

    Raises:
        MetricError: The metric cannot count, or its labels are not those given.
        TypeError: What is decorated is no function.
    """
    if _is_decorated(target):
        return count_errors()(target)
    if "error" in labels:
        raise MetricError("count_errors itself fills in the label error. Leave it out of labels=.")
    if isinstance(target, str):
        target = Counter(target, documentation, (*labels, "error"), registry=registry, max_series=max_series)

    def decorate(function: Decorated) -> Decorated:
        metric, names = _metric_for(function, target, labels, _ERRORS, registry)
        if is_parent(metric) and "error" in metric._labelnames:
            return wrap(function, _begin_by_class(function, metric, names))
        return wrap(function, _begin(function, metric, names, ExceptionCounter))

    return decorate


@overload
def instrument(target: Decorated, /, *, registry: CollectorRegistry | None = ...) -> Decorated: ...
@overload
def instrument(*, registry: CollectorRegistry | None = ...) -> Decorator: ...
def instrument(target: Any = None, /, *, registry: CollectorRegistry | None = REGISTRY) -> Any:
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
    return _instrumented(target, registry) if target is not None else lambda function: _instrumented(function, registry)


def _instrumented(target: Decorated, registry: CollectorRegistry | None) -> Decorated:
    names = name_of(bare(target))
    calls, duration, in_progress = (
        own.declare(registry).labels(*names) for own in (_CALLS, _DURATION, _IN_PROGRESS)
    )  # fmt: skip
    errors = _ERRORS.declare(registry)

    def begin(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Observer:
        calls.inc()
        in_progress.inc()
        return _Everything(duration, in_progress, errors, names)

    return wrap(target, begin)


class _ErrorByClass(CallObserver):
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


def _counted(counter: Counts) -> Observer:
    counter.inc()
    return CallObserver()


def _raised(gauge: UpAndDown) -> Observer:
    return InProgress(gauge).begin()


def _is_decorated(target: object) -> bool:
    """Tell a function that is decorated from a metric or a name; what can be neither is for `bare` to refuse."""
    return (
        inspect.isroutine(target)
        or isinstance(target, (classmethod, staticmethod, type, property))
        or (callable(target) and not hasattr(target, "labels"))
    )


def _metric_for(
    function: object, target: Any, labels: Labels, own: _Own, registry: CollectorRegistry | None
) -> tuple[Any, Labels]:
    """Return the metric that the calls of *function* write, and the values of its labels."""
    inner = bare(function)
    if target is None:
        if labels:
            raise MetricError(
                f"labels= needs a metric that has them, but {own.name} has the labels {', '.join(own.labels)}. "
                "Give the name and help text of a metric to declare, or a metric that exists."
            )
        return own.declare(registry), dict(zip(("module", "function"), name_of(inner), strict=True))
    missing = [method for method in own.needs if not hasattr(target, method)]
    if missing:
        raise MetricError(f"{target!r} cannot be used here: it has no {missing[0]}(). Give a {own.make.__name__}.")
    return target, labels


def _begin(function: object, metric: Any, labels: Labels, observe: Callable[[Any], Observer]) -> Begin:
    """Return what starts the observer of one call, on the child that its labels choose."""
    child = _fixed_child(metric, labels)
    if child is not None:
        return lambda _args, _kwargs: observe(child)
    read = label_reader(bare(function), _in_order(metric, labels))
    return lambda args, kwargs: observe(metric.labels(*read(args, kwargs)))


def _begin_by_class(function: object, counter: Any, labels: Labels) -> Begin:
    ordered = _in_order(counter, {**labels, "error": ""})
    place = list(ordered).index("error")
    read = label_reader(bare(function), ordered)
    return lambda args, kwargs: _ErrorByClass(counter, read(args, kwargs), place)


def _fixed_child(metric: Any, labels: Labels) -> Any:
    """Return the child that every call writes, or None if the arguments choose it."""
    if not labels:
        return check_labelled(metric)
    ordered = _in_order(metric, labels)
    return None if any(map(callable, ordered.values())) else metric.labels(*ordered.values())


def _in_order(metric: Any, labels: Labels) -> Labels:
    """Return *labels* in the order of the metric's label names."""
    if not is_parent(metric):
        raise MetricError(f"{metric!r} takes no label values: it has none, or has them already. Leave labels= out.")
    names: tuple[str, ...] = metric._labelnames
    if set(names) != labels.keys():
        raise MetricError(
            f"{metric} has the labels {', '.join(names)}, but those given are {', '.join(labels)}. "
            "Give a value or a function of the arguments for each of its labels, and for no other."
        )
    return {name: labels[name] for name in names}
