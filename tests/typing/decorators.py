"""Types of decorated functions: each keeps its own, whatever its kind; read by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any, assert_type

from vitalsign import Gauge, Histogram, count_calls, count_errors, instrument, track_inprogress, track_time

SECONDS = Histogram("seconds", "Seconds.", ["step"])
RUNNING = Gauge("running", "Running.")


@track_time
def plain(amount: int, *, currency: str = "EUR") -> str:
    """Be a function."""
    return f"{amount} {currency}"


@track_time("checkout_seconds", "Time to check out.", labels={"plan": lambda cart: cart.plan})
@count_errors("checkout_errors", "Failed checkouts.")
async def coroutine(cart: str) -> int:
    """Be a coroutine function."""
    return len(cart)


@track_time(SECONDS.labels("export"))
async def async_generator(rows: list[int]) -> AsyncIterator[bytes]:
    """Be an async generator function."""
    for row in rows:
        yield bytes([row])


@count_calls
def generator(rows: list[int]) -> Generator[int, str, bool]:
    """Be a generator function."""
    sent = ""
    for row in rows:
        sent = yield row
    return bool(sent)


class Shop:
    """Have methods of every kind."""

    @instrument
    def method(self, name: str) -> bytes:
        """Be a method."""
        return name.encode()

    @classmethod
    @track_inprogress(RUNNING)
    def class_method(cls, name: str) -> Shop:
        """Be a class method."""
        return cls()

    @staticmethod
    @track_time
    def static_method(number: float) -> float:
        """Be a static method."""
        return number


assert_type(plain(1, currency="USD"), str)
pending = assert_type(coroutine("a"), Coroutine[Any, Any, int])
assert_type(async_generator([1]), AsyncIterator[bytes])
assert_type(generator([1]), Generator[int, str, bool])
assert_type(Shop().method("a"), bytes)
assert_type(Shop.class_method("a"), Shop)
assert_type(Shop.static_method(1), float)

as_callback: Callable[[list[int]], Generator[int, str, bool]] = generator

plain("1")  # type: ignore[arg-type]
plain(1, currancy="USD")  # type: ignore[call-arg]
Shop().method(1)  # type: ignore[arg-type]
track_time(3)  # type: ignore[call-overload]
