"""Blocks that measure: context managers that are also decorators, for every kind of function."""

from __future__ import annotations

from bisect import bisect_left
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, Self

from vitalsign.exceptions import MetricError
from vitalsign.metrics import cells
from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.wrapping import Decorated, name_of, wrap

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = [
    "CallObserver",
    "Counts",
    "ExceptionCounter",
    "InProgress",
    "Observes",
    "Sets",
    "Stopwatch",
    "UpAndDown",
    "check_labelled",
    "is_parent",
    "record_method",
    "timed",
    "timer",
]


class Observes(Protocol):
    """A histogram or a summary, of this library or of another."""

    def observe(self, amount: float, /) -> object:
        """Record one observation."""


class Sets(Protocol):
    """A gauge that is set."""

    def set(self, value: float, /) -> object:
        """Take *value*."""


class Counts(Protocol):
    """A counter."""

    def inc(self, amount: float = ..., /) -> object:
        """Add *amount*, or 1."""


class UpAndDown(Counts, Protocol):
    """A gauge that goes up and down."""

    def dec(self, amount: float = ..., /) -> object:
        """Subtract *amount*, or 1."""


class CallObserver:
    """An observer that looks away; a base for those that look at one thing."""

    __slots__ = ()

    def resume(self) -> None:
        """Do nothing."""

    def pause(self) -> None:
        """Do nothing."""

    def finish(self, error: BaseException | None) -> None:
        """Do nothing."""


class Stopwatch(CallObserver):
    """Record the seconds spent inside one call, its pauses left out."""

    __slots__ = ("_record", "_since", "_spent")

    def __init__(self, record: Callable[[float], object]) -> None:
        self._record = record
        self._spent = 0.0
        self._since = perf_counter()

    def resume(self) -> None:
        """Go on measuring."""
        self._since = perf_counter()

    def pause(self) -> None:
        """Stop measuring for a while."""
        self._spent += perf_counter() - self._since

    def finish(self, error: BaseException | None) -> None:  # noqa: ARG002
        """Record what has been measured, whatever ended the call."""
        self._record(self._spent + perf_counter() - self._since)


class ExceptionCounter(CallObserver):
    """Count what is raised out of a block or a function, if it is one of these exceptions."""

    __slots__ = ("_counter", "_exception")

    def __init__(
        self, counter: Counts, exception: type[BaseException] | tuple[type[BaseException], ...] = Exception
    ) -> None:
        self._counter = counter
        self._exception = exception

    def finish(self, error: BaseException | None) -> None:
        """Count *error* if it is one of those meant."""
        if isinstance(error, self._exception):
            self._counter.inc()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(error)

    def __call__(self, function: Decorated) -> Decorated:
        """Count what each call of *function* raises."""
        return wrap(function, lambda _args, _kwargs: self)


class InProgress(CallObserver):
    """Raise a gauge while a block or a function runs."""

    __slots__ = ("_gauge",)

    def __init__(self, gauge: UpAndDown) -> None:
        self._gauge = gauge

    def begin(self, _args: object = None, _kwargs: object = None) -> Self:
        """Raise the gauge for one call."""
        self._gauge.inc()
        return self

    def finish(self, error: BaseException | None) -> None:  # noqa: ARG002
        """Lower the gauge again, whatever ended the call."""
        self._gauge.dec()

    def __enter__(self) -> None:
        self._gauge.inc()

    def __exit__(self, *raised: object) -> None:
        self._gauge.dec()

    def __call__(self, function: Decorated) -> Decorated:
        """Raise the gauge while each call of *function* runs."""
        return wrap(function, self.begin)


class timer:  # noqa: N801  # called like a function, as contextlib.suppress is
    """
    Measure a block in seconds, by `with` or `async with`, or each call of a function of any kind.

    ```python
    with timer(DB_SECONDS.labels("select")) as t:
        ...
    print(t.elapsed)
    ```

    One timer measures one block at a time: make a new one for each. As a decorator it has no such limit.

    A metric that can record no time, or lacks its label values, is a MetricError at the end of the block, unless the
    block itself has raised. What else a metric may raise is logged and counted, never raised into the host.
    """

    __slots__ = ("_metric", "_start", "_stop")

    def __init__(self, metric: Observes | Sets) -> None:
        """
        Prepare to measure.

        Args:
            metric: A histogram or summary, which observes the time, or a gauge, which is set to it; with its labels.
        """
        self._metric: Any = metric

    @property
    def elapsed(self) -> float:
        """Seconds: so far while the block runs, in all when it has ended; 0 before it."""
        try:
            start = self._start
        except AttributeError:
            return 0.0
        stop = getattr(self, "_stop", -1.0)
        return (stop if stop >= start else perf_counter()) - start

    @property
    def duration(self) -> float:
        """The same, by prometheus_client's name."""
        return self.elapsed

    def labels(self, *labelvalues: object, **labelkwargs: object) -> None:
        """Choose the label set from within the block, when the metric was given without one."""
        self._metric = self._metric.labels(*labelvalues, **labelkwargs)

    def __enter__(self) -> Self:
        self._start = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop = stop = perf_counter()
        elapsed = stop - self._start
        metric = self._metric
        try:
            if metric._owner is cells._thread_local.shard:  # what observe() does there, without calling it: 40 ns
                own = metric._cells
                own[0] += elapsed
                own[bisect_left(metric._bounds, elapsed)] += 1
                return
        except AttributeError:  # no distribution of ours
            pass
        try:
            metric.observe(elapsed)
        except Exception as refusal:  # noqa: BLE001  # the block goes on
            self._record_otherwise(elapsed, refusal, error)

    def _record_otherwise(self, elapsed: float, refusal: Exception, error: BaseException | None) -> None:
        try:
            metric = check_labelled(self._metric)
            if hasattr(metric, "observe"):
                raise refusal  # noqa: TRY301
            getattr(metric, record_method(metric))(elapsed)
        except Exception as failure:
            if error is None and isinstance(failure, MetricError):
                raise failure from None  # the host's own mistake, of which observe() would tell it too
            internal_error("timer", failure)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Decorated) -> Decorated:
        """
        Measure each call of *function*, with nothing shared between calls.

        Raises:
            MetricError: The metric can record no time, or lacks its label values.
            TypeError: *function* is no function.
        """
        metric = check_labelled(self._metric)
        return timed(function, getattr(metric, record_method(metric)))


def timed(function: Decorated, record: Callable[[float], object]) -> Decorated:
    """Wrap *function*, of any kind, so that the seconds inside each call are recorded."""

    def plain(inner: Callable[..., Any]) -> Callable[..., Any]:
        where = f"decorator of {name_of(inner)[1]}"

        def observed(*args: Any, **kwargs: Any) -> Any:
            start = perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                try:
                    record(perf_counter() - start)
                except Exception as error:  # noqa: BLE001  # a metric of the host's own may refuse
                    internal_error(where, error)

        return observed

    return wrap(function, lambda _args, _kwargs: Stopwatch(record), plain)


def record_method(metric: object) -> str:
    """
    Return the name of the method by which *metric* records a time.

    Raises:
        MetricError: It has none.
    """
    for method in ("observe", "set"):
        if hasattr(metric, method):
            return method
    raise MetricError(f"{metric!r} can record no time. Give a Histogram, a Summary or a Gauge.")


def is_parent(metric: object) -> bool:
    """Tell a metric that still lacks its label values, of ours or of prometheus_client's."""
    return bool(getattr(metric, "_labelnames", ())) and not getattr(metric, "_labelvalues", ())


def check_labelled(metric: Any) -> Any:
    """
    Return *metric* if it can be written as it is.

    Raises:
        MetricError: Its label values are missing.
    """
    if is_parent(metric):
        raise MetricError(
            f"The {metric} metric is missing label values: it has the labels {', '.join(metric._labelnames)}. "
            "Give its .labels(...), or to a decorator labels= with a value or a function of the arguments for each."
        )
    return metric
