"""A metric's shared part: its description, its children, and the bound on how many there may be."""

from __future__ import annotations

import logging
import time
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client.samples import Exemplar

from vitalsign.exceptions import LabelError, MetricError
from vitalsign.metrics.catalogue import OVERFLOW, MetricSpec, classic_label, encodable
from vitalsign.metrics.exemplars import refusal
from vitalsign.metrics.internal import count_dropped_exemplar
from vitalsign.metrics.registry import shared_name
from vitalsign.metrics.shards import LOCK

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import CollectorRegistry

    from vitalsign.metrics.caching import ChildCache

__all__ = ["Family", "picker"]

_log = logging.getLogger("vitalsign")


class Aside(Protocol):
    """A child that is not shown until it is written again."""

    def child(self) -> Any:
        """Return the child; None if nobody holds it any more."""

    def is_written(self) -> bool:
        """Tell whether it has been written since."""


class Family:
    """
    Hold what all label sets of one metric share.

    `children` maps tuples of exact strings to children: a lookup by any other type can then never hit by accident
    ((True,) equals (1,) to a dict). Reading it takes no lock; writing it does. What is to be seen is in `shown()`: also
    children that were laid `aside` (see `vitalsign.metrics.isolation`) and have been written since.
    """

    __slots__ = (
        "__weakref__",
        "aside",
        "asks",
        "bounds",
        "caches",
        "children",
        "in_order",
        "is_most_recent",
        "make_child",
        "max_series",
        "on_overflow",
        "places",
        "plan",
        "registry",
        "registry_name",
        "spec",
        "takes",
        "views",
        "warned",
        "zero",
    )

    def __init__(
        self,
        spec: MetricSpec,
        registry: CollectorRegistry | None,
        max_series: int,
        *,
        make_child: Callable[[Family, tuple[str, ...] | None], Any],
        on_overflow: Callable[[Family], None],
    ) -> None:
        if max_series < 1:
            raise MetricError(f"max_series of {spec.name} must be at least 1, not {max_series}.")
        self.spec: MetricSpec = spec
        self.registry: CollectorRegistry | None = registry
        self.registry_name: str | None = shared_name(registry)
        self.max_series: int = max_series
        self.make_child: Callable[[Family, tuple[str, ...] | None], Any] = make_child
        self.on_overflow: Callable[[Family], None] = on_overflow
        self.children: dict[tuple[str, ...], Any] = {}
        self.caches: list[weakref.ref[ChildCache]] = []
        self.aside: dict[tuple[str, ...], Aside] = {}
        self.views: dict[tuple[str, ...], Any] = {}
        self.bounds: list[float] = [-inf, *spec.buckets[:-1]]
        self.zero: list[float] = [0.0, *[0] * len(self.bounds)]
        self.places: int = {"counter": 1, "histogram": len(spec.buckets)}.get(spec.kind, 0)  # for an exemplar each
        self.takes: tuple[str, ...] = spec.labels
        self.in_order: Callable[[Mapping[str, object]], tuple[Any, ...]] = picker(spec.labels)
        self.is_most_recent: bool = spec.mode.endswith("mostrecent")
        self.plan: Any = None
        self.asks: bool = False  # whether values come from functions of the host's
        self.warned: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether many processes share the metric, where they share any."""
        return self.registry_name is not None

    def child(self, values: tuple[object, ...], by_name: Mapping[str, object]) -> Any:
        """
        Find or make the child for these label values.

        Raises:
            LabelError: The values do not fit the label names.
        """
        key = tuple(map(_as_text, self._checked(values, by_name)))
        try:
            return self.children[key]
        except KeyError:
            pass
        with LOCK:
            overflowed = key not in self.children and self._is_full()
            if overflowed:
                key = (OVERFLOW,) * len(key)
            child = self.children.get(key)
            if child is None:
                aside = self.aside.pop(key, None)
                made = (aside and aside.child()) or self.make_child(self, key)
                child = self.children.setdefault(key, made)  # a signal handler may have come first
                if child is made:
                    child._announce()
        if overflowed:
            self._report_overflow()
        return child

    def shown(self) -> dict[tuple[str, ...], Any]:
        """Return the children that are to be seen."""
        if self.aside:
            with LOCK:
                for key, aside in list(self.aside.items()):
                    child = aside.child()
                    if child is None:
                        del self.aside[key]
                    elif aside.is_written():
                        del self.aside[key]
                        self.children[key] = child
                        child._announce()
        return self.children

    def remove(self, values: tuple[object, ...]) -> None:
        """
        Forget one label set; no error if there is none.

        Raises:
            LabelError: The values do not fit the label names.
        """
        key = tuple(map(_as_text, self._checked(values, {})))
        with LOCK:
            self.aside.pop(key, None)
            child = self.children.pop(key, None)
            if child is not None:
                child._withdraw()
            self.forget_views()

    def remove_matching(self, labels: Mapping[str, object]) -> None:
        """
        Forget every label set that has all of these values; none is given: forget nothing.

        Raises:
            LabelError: A label name is unknown.
        """
        unknown = [name for name in labels if name not in self.spec.labels]
        if unknown or not self.spec.labels:
            raise LabelError(f"Unknown label names {unknown} of {self.spec}. It has no such labels.")
        wanted = [(self.spec.labels.index(name), _as_text(value)) for name, value in labels.items()]
        if wanted:
            self._drop(lambda key: all(key[place] == text for place, text in wanted))

    def clear(self) -> None:
        """Forget every label set."""
        self._drop(lambda _key: True)

    def forget_views(self) -> None:
        """Let views and caches look up anew what they remember of `children`; under the lock."""
        for cache in [cache for reference in self.caches if (cache := reference()) is not None]:
            cache.forget()
        for view in self.views.values():
            view._family.children = {}

    def retire(self, children: Iterable[Any]) -> None:
        """Tell the other processes that none of *children* is shown any more, nor what is counted from now on."""
        with LOCK:
            for child in children:
                child._withdraw()
            self.registry_name = None

    def make_exemplar(self, labels: Mapping[str, str], value: float) -> Exemplar | None:
        """
        Build an exemplar with the present time; None, logged once and counted, if no page can show it.

        No format has a way to quote the names of its labels: other characters than letters, digits and _ become _.
        """
        reason = refusal(labels)
        if reason is not None:
            count_dropped_exemplar(self, labels, reason)
            return None
        return Exemplar({classic_label(name): encodable(text) for name, text in labels.items()}, value, time.time())

    def _drop(self, is_wanted: Callable[[tuple[str, ...]], bool]) -> None:
        with LOCK:
            for key in [key for key in self.children if is_wanted(key)]:
                self.children.pop(key)._withdraw()
            for key in [key for key in self.aside if is_wanted(key)]:
                del self.aside[key]
            self.forget_views()

    def _is_full(self) -> bool:
        room = self.max_series + ((OVERFLOW,) * len(self.spec.labels) in self.children)
        return len(self.children) >= room

    def _report_overflow(self) -> None:
        if not self.warned:
            self.warned = True
            _log.warning(
                "Metric %s has reached max_series=%d label sets: new ones are counted under %s. "
                "A label probably carries ids or user input; bound its values, or raise max_series.",
                self.spec.name, self.max_series, OVERFLOW,
            )  # fmt: skip
        self.on_overflow(self)

    def _checked(self, values: tuple[object, ...], by_name: Mapping[str, object]) -> tuple[object, ...]:
        names = self.takes
        if not names:
            raise LabelError(f"No label names were set when constructing {self.spec}: it takes no label values.")
        if values and by_name:
            raise LabelError(f"Can't pass both *args and **kwargs to labels() of {self.spec}. Use one of the two.")
        if by_name:
            if by_name.keys() != set(names):
                raise LabelError(
                    f"Incorrect label names {sorted(by_name)} for {self.spec}. Give each of its labels once."
                )
            return self.in_order(by_name)
        if len(values) != len(names):
            raise LabelError(f"Incorrect label count: {len(values)} values {values!r} for {self.spec}.")
        return values


def picker(names: tuple[str, ...]) -> Callable[[Mapping[str, object]], tuple[Any, ...]]:
    """Return what takes the values of *names*, in that order, from a mapping."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda by_name: tuple(by_name[name] for name in names)


def _as_text(value: object) -> str:
    # A member of a str enum counts as its value, as it does in the lookup that comes first.
    return encodable(str.__str__(value) if isinstance(value, str) else str(value))
