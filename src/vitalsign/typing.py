"""Protocols: the shapes that vitalsign asks of objects which are not its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Iterable

    from prometheus_client import Metric

__all__ = ["AsyncCollector", "Collector"]


@runtime_checkable
class Collector(Protocol):
    """What prometheus_client calls a collector: it says which metrics it has, and measures them."""

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without samples, and without measuring anything."""
        ...

    def collect(self) -> Iterable[Metric]:
        """Measure, and return the metrics with their samples."""
        ...


@runtime_checkable
class AsyncCollector(Protocol):
    """A collector that measures by awaiting."""

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without samples, and without measuring anything."""
        ...

    def sample(self) -> Awaitable[Iterable[Metric]] | AsyncIterable[Metric]:
        """Measure, and return the metrics with their samples: a coroutine or an async generator."""
        ...
