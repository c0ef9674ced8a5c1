"""A memory of children, for code that writes the same few over and over."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.shards import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vitalsign.metrics.cells import Cell

__all__ = ["ChildCache"]


class ChildCache(dict[Any, Any]):
    """
    What was looked up among the children of some metrics; it is empty again when any of these is removed.

    So whoever writes through it need not ask at each write whether the child is still on the page.

    Attributes:
        age: How often it has been emptied.
    """

    __slots__ = ("__weakref__", "age")

    age: int

    def __init__(self, metrics: Iterable[Cell]) -> None:
        self.age = 0
        with LOCK:
            for metric in metrics:
                family = metric._family
                family.caches = [*(each for each in family.caches if each() is not None), weakref.ref(self)]

    def keep(self, key: object, value: object, age: int) -> None:
        """Keep what was looked up since the cache had this *age*, unless something has been removed meanwhile."""
        with LOCK:
            if age == self.age:
                self[key] = value

    def forget(self) -> None:
        """Forget everything."""
        with LOCK:
            self.age += 1
            self.clear()
