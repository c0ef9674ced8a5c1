"""Blocks that measure: context managers that are also decorators, for every kind of function."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, Self

from vitalsign.exceptions import MetricError
from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.wrapping import Decorated, wrap

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["CallObserver", "ExceptionCounter", "InProgress", "Stopwatch", "recorder", "timed", "timer"]


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


class _Counts(Protocol):
    def inc(self) -> None: ...


class _UpAndDown(_Counts, Protocol):
    def dec(self) -> None: ...


class ExceptionCounter(CallObserver):
    """Count what is raised out of a block or a function, if it is one of these exceptions."""

    __slots__ = ("_counter", "_exception")

    def __init__(
        self, counter: _Counts, exception: type[BaseException] | tuple[type[BaseException], ...] = Exception
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
        return wrap(function, lambda _: lambda _args, _kwargs: self)


class InProgress(CallObserver):
    """Raise a gauge while a block or a function runs."""

    __slots__ = ("_gauge",)

    def __init__(self, gauge: _UpAndDown) -> None:
        self._gauge = gauge

    def finish(self, error: BaseException | None) -> None:  # noqa: ARG002
        """Lower the gauge again, whatever ended the call."""
        self._gauge.dec()

    def __enter__(self) -> None:
        self._gauge.inc()

    def __exit__(self, *raised: object) -> None:
        self._gauge.dec()

    def begin(self, _args: object = None, _kwargs: object = None) -> Self:
        """Raise the gauge for one call."""
        self._gauge.inc()
        return self

    def __call__(self, function: Decorated) -> Decorated:
        """Raise the gauge while each call of *function* runs."""
        return wrap(function, lambda _: self.begin)


class timer:  # noqa: N801  # called like a function, as contextlib.suppress is
    """
    Measure a block in seconds, by `with` or `async with`, or each call of a function of any kind.

    ```python
    with timer(DB_SECONDS.labels("select")) as t:
        ...
    print(t.elapsed)
    ```

    Attributes:
        elapsed: Seconds: so far while the block runs, in all when it has ended.
    """

    __slots__ = ("_elapsed", "_record", "_start")

    def __init__(self, metric: Any) -> None:
        """
        Prepare to measure.

        Args:
            metric: A histogram or summary, which observes the time, or a gauge, which is set to it; with its labels.

        Raises:
            MetricError: *metric* can record no time.
        """
        try:
            self._record: Callable[[float], object] = metric.observe
        except AttributeError:
            self._record = recorder(metric)

    @property
    def elapsed(self) -> float:
        """Seconds since the block began, or that it took."""
        return perf_counter() - self._start if self._elapsed is None else self._elapsed

    @property
    def duration(self) -> float:
        """The same, by prometheus_client's name."""
        return self.elapsed

    def labels(self, *labelvalues: object, **labelkwargs: object) -> None:
        """Choose the label set from within the block, when the metric was given without one."""
        method: Any = self._record
        self._record = getattr(method.__self__.labels(*labelvalues, **labelkwargs), method.__name__)

    def __enter__(self) -> Self:
        self._elapsed: float | None = None
        self._start = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._elapsed = elapsed = perf_counter() - self._start
        self._record(elapsed)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: Decorated) -> Decorated:
        """Measure each call of *function*, with nothing shared between calls."""
        return timed(function, self._record)


def recorder(metric: Any) -> Callable[[float], object]:
    """
    Return the method by which *metric* records a time.

    Raises:
        MetricError: It has none.
    """
    record = getattr(metric, "observe", None) or getattr(metric, "set", None)
    if record is None:
        raise MetricError(f"{metric!r} can record no time. Give a Histogram, a Summary or a Gauge.")
    return record  # type: ignore[no-any-return]


def timed(function: Decorated, record: Callable[[float], object]) -> Decorated:
    """Wrap *function*, of any kind, so that the seconds inside each call are recorded."""

    def plain(inner: Callable[..., Any]) -> Callable[..., Any]:
        def observed(*args: Any, **kwargs: Any) -> Any:
            start = perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                try:
                    record(perf_counter() - start)
                except Exception as error:  # noqa: BLE001  # a metric of the host's own may refuse
                    internal_error("decorator", error)

        return observed

    return wrap(function, lambda _: lambda _args, _kwargs: Stopwatch(record), plain)
