"""
What type checkers see of decorated functions: their own types, unchanged.

Checked by mypy, where `assert_type` and unused ignores are errors; run by pytest, so that nothing here is untrue.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any, TypeVar, assert_type, overload

import prometheus_client
from prometheus_client import CollectorRegistry

from vitalsign import (
    Counter,
    Gauge,
    Histogram,
    Summary,
    count_calls,
    count_errors,
    instrument,
    timer,
    track_inprogress,
    track_time,
)

T = TypeVar("T")
registry = CollectorRegistry()
SECONDS = Histogram("typed_seconds", "Seconds.", registry=registry)
CALLS = Counter("typed_calls", "Calls.", ["plan"], registry=registry)
NOW = Gauge("typed_now", "Now.", registry=registry)


@track_time
@count_calls
@count_errors
@track_inprogress
@instrument
def bare(number: int, *, text: str = "") -> str:
    """Return both arguments."""
    return f"{number}{text}"


@track_time("typed_named_seconds", "Seconds.", labels={"n": lambda number: number}, buckets=(1, 2), registry=registry)
@count_calls("typed_named_calls", "Calls.", labels={"n": "text"}, registry=registry)
@count_errors("typed_named_errors", "Errors.", registry=registry)
@track_inprogress("typed_named_now", "Now.", max_series=5, registry=registry)
@instrument(registry=registry)
def named(number: int, *, text: str = "") -> str:
    """Return both arguments."""
    return f"{number}{text}"


@track_time(SECONDS)
@track_time(Summary("typed_summary", "Summary.", registry=registry))
@track_time(NOW)
@track_time(prometheus_client.Histogram("typed_foreign", "Foreign.", registry=registry))
@track_time(prometheus_client.Gauge("typed_foreign_gauge", "Foreign.", registry=registry))
@count_calls(CALLS.labels("free"))
@count_calls(CALLS, labels={"plan": "free"})
@count_errors(prometheus_client.Counter("typed_foreign_calls", "Foreign.", registry=registry))
@track_inprogress(NOW)
@track_inprogress(prometheus_client.Gauge("typed_foreign_now", "Foreign.", registry=registry))
def existing(number: int, *, text: str = "") -> str:
    """Return both arguments."""
    return f"{number}{text}"


@SECONDS.time()
@timer(SECONDS)
@timer(NOW)
@CALLS.labels("free").count_exceptions(ValueError)
@NOW.track_inprogress()
def blocks(number: int, *, text: str = "") -> str:
    """Return both arguments."""
    return f"{number}{text}"


def test_functions_keep_their_types() -> None:
    """Arguments and result of a decorated function are known, and wrong ones are seen."""
    assert_type(bare(1, text="a"), str)
    assert_type(named(1), str)
    assert_type(existing(1), str)
    assert_type(blocks(1), str)


@instrument
async def coroutine(number: int) -> str:
    """Return the number."""
    return str(number)


@track_time(SECONDS)
def generator(number: int) -> Generator[int, str, bool]:
    """Yield the number."""
    yield number
    return True


@track_time(registry=registry)
def iterator(number: int) -> Iterator[int]:
    """Yield the number."""
    yield number


@count_errors(registry=registry)
async def async_generator(number: int) -> AsyncGenerator[int, str]:
    """Yield the number."""
    yield number


@track_inprogress
async def async_iterator(number: int) -> AsyncIterator[int]:
    """Yield the number."""
    yield number


def test_coroutines_and_generators_keep_their_types() -> None:
    """What a decorated function of each kind returns is typed as without the decorator."""
    made: Coroutine[Any, Any, str] = coroutine(1)
    assert_type(asyncio.run(made), str)
    assert_type(generator(1), Generator[int, str, bool])
    assert_type(iterator(1), Iterator[int])
    assert_type(async_generator(1), AsyncGenerator[int, str])
    assert_type(async_iterator(1), AsyncIterator[int])
    assert list(iterator(1)) == [1]


class Shop:
    """Methods decorated in either order of stacking."""

    @track_time(SECONDS)
    def method(self, number: int) -> str:
        """Return the number."""
        return str(number)

    @instrument
    async def coroutine_method(self, number: int) -> str:
        """Return the number."""
        return str(number)

    @track_time(SECONDS)
    @classmethod
    def above_class(cls, number: int) -> str:
        """Return the number."""
        return str(number)

    @classmethod
    @track_time(SECONDS)
    def below_class(cls, number: int) -> str:
        """Return the number."""
        return str(number)

    @instrument
    @staticmethod
    def above_static(number: int) -> str:
        """Return the number."""
        return str(number)

    @staticmethod
    @instrument
    def below_static(number: int) -> str:
        """Return the number."""
        return str(number)

    @property
    @count_calls
    def prop(self) -> int:
        """Give a number."""
        return 1


def test_methods_keep_their_types() -> None:
    """Methods, classmethods and staticmethods are typed when called on the class and on an object."""
    shop = Shop()
    assert_type(shop.method(1), str)
    assert_type(Shop.method(shop, 1), str)
    assert_type(asyncio.run(shop.coroutine_method(1)), str)
    assert_type(Shop.above_class(1), str)
    assert_type(shop.below_class(1), str)
    assert_type(Shop.above_static(1), str)
    assert_type(shop.below_static(1), str)
    assert_type(shop.prop, int)


@track_time(SECONDS)
def generic(value: T) -> list[T]:
    """List the value."""
    return [value]


@overload
def overloaded(value: int) -> int: ...
@overload
def overloaded(value: str) -> str: ...
@track_time(SECONDS)
def overloaded(value: int | str) -> int | str:
    """Return the value."""
    return value


class Caller:
    """An object that is called."""

    def __call__(self, number: int) -> str:
        """Return the number."""
        return str(number)


def test_generics_overloads_and_callables_keep_their_types() -> None:
    """Type variables stay open, overloads apart, and lambdas, partials and objects are taken."""
    assert_type(generic(1), list[int])
    assert_type(generic("a"), list[str])
    assert_type(overloaded(1), int)
    assert_type(overloaded("a"), str)
    assert_type(track_time(Caller())(1), str)
    partial: Callable[[], str] = instrument(functools.partial(bare, 1))
    assert_type(partial(), str)


def test_timers_are_typed() -> None:
    """`with` and `async with` give the timer, whose elapsed time is a float; a block may still fail."""

    async def block() -> float:
        async with SECONDS.time() as t:
            assert_type(t, timer)
        return t.elapsed

    assert_type(asyncio.run(block()), float)
    with timer(SECONDS) as t, CALLS.labels("free").count_exceptions(), NOW.track_inprogress():
        pass
    assert_type(t.elapsed, float)


def wrong() -> None:
    """Show what type checkers refuse, never run: an ignore that ignored nothing would itself be an error."""
    bare("1")  # type: ignore[arg-type]
    named(1, "a")  # type: ignore[call-arg]
    existing(1, text=2)  # type: ignore[arg-type]
    blocks()  # type: ignore[call-arg]
    Shop().method("1")  # type: ignore[arg-type]
    Shop.above_class("1")  # type: ignore[arg-type]
    overloaded(b"")  # type: ignore[call-overload]
    track_time(5)  # type: ignore[call-overload]
    track_time(CALLS)  # type: ignore[call-overload]
    count_calls(SECONDS)  # type: ignore[call-overload]
    count_errors(SECONDS)  # type: ignore[call-overload]
    track_inprogress(CALLS)  # type: ignore[call-overload]
    timer(CALLS)  # type: ignore[arg-type]
    track_time("typed_x_seconds", "X.", labels={"plan": 5})  # type: ignore[dict-item]
    count_calls(bucket=(1,))  # type: ignore[call-overload]
