"""Registries: declare a metric once, find what holds a name. All knowledge of prometheus_client's insides is here."""

from __future__ import annotations

import logging
import os
from copy import copy
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client import registry as _upstream

from vitalsign.exceptions import DuplicateMetricError
from vitalsign.metrics import shards  # noqa: F401  # see DECLARING
from vitalsign.metrics.catalogue import class_name, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.registry import Collector

    from vitalsign.metrics.catalogue import MetricSpec

__all__ = [
    "DECLARING",
    "REGISTRY",
    "CollectorRegistry",
    "Tables",
    "collectors_of",
    "declare",
    "holder_of",
    "holding",
    "name_registry",
    "put_in_place",
    "shared_name",
    "target_info_of",
]

_log = logging.getLogger("vitalsign")
DECLARING = RLock()
"""Guards what finds or registers a metric. Taken before `shards.LOCK`, never after it."""

if hasattr(os, "register_at_fork"):
    # Whoever declares takes the lock of the cells second, and so must a fork, which takes first what was registered
    # last: hence the shards are imported above.
    os.register_at_fork(before=DECLARING.acquire, after_in_parent=DECLARING.release, after_in_child=DECLARING.release)
if TYPE_CHECKING:
    _DuplicateTimeseries = ValueError
else:
    _DuplicateTimeseries = getattr(_upstream, "DuplicateTimeseries", ValueError)  # new in 0.26
_names: WeakKeyDictionary[CollectorRegistry, str] = WeakKeyDictionary({REGISTRY: ""})


def _renew_locks() -> None:
    """Begin anew in a forked child: whoever held a lock in the parent is not there to let go of it."""
    for registry in list(_names):
        registry._lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


class DuplicateSeriesError(DuplicateMetricError, _DuplicateTimeseries):
    """
    The error about a name that is taken, which is prometheus_client's error too.

    Attributes:
        duplicates: All names that are taken.
    """

    def __init__(self, message: str, *, name: str, existing: object, duplicates: set[str]) -> None:
        super().__init__(message, name=name, existing=existing)
        BaseException.__init__(self, message)  # prometheus_client's class has put its own words in its place
        self.duplicates: set[str] = duplicates


def declare(spec: MetricSpec, registry: CollectorRegistry | None, make: Callable[[], Any], cls: type) -> Any:
    """
    Return the metric that *registry* holds for *spec*, or register the one that *make* builds.

    Args:
        spec: What is declared.
        registry: Where to look and register; None registers nowhere.
        make: Builds the metric.
        cls: Class of what it builds: only a metric of that class is taken for the same one.

    Raises:
        DuplicateMetricError: One of the names is taken by a metric of another shape, or by another library.
    """
    if registry is None:
        return make()
    with DECLARING:
        holders = _holders(registry, spec.series)
        if not holders:
            metric = make()
            registry.register(metric)
            return metric
        for holder in holders.values():
            held = spec_of(holder)
            if type(holder) is cls and held is not None and held.same_shape(spec):
                if held.help != spec.help:
                    _log.warning(
                        "Metric %s is declared again with another help text; the first stays: %r, not %r.",
                        spec.name, held.help, spec.help,
                    )  # fmt: skip
                return holder
    raise _clash(spec, holders)


def collectors_of(registry: Any) -> list[Collector] | None:
    """
    List the collectors of *registry* one by one, so that each can fail alone.

    Returns:
        None for what is no plain registry (a restricted one, a wrapper, a subclass that collects in its own way).
    """
    if type(registry) is not CollectorRegistry:
        return None
    # Without the registry's lock, which another thread may have held when we were forked: this is a single step.
    return list(registry._collector_to_names)


def holder_of(registry: CollectorRegistry, name: str) -> Collector | None:
    """Return the collector that has this name on *registry*."""
    find = getattr(registry, "holder_of", None) or getattr(registry, "_names_to_collectors", {}).get
    holder: Collector | None = find(name)
    return holder


def put_in_place(registry: Any, old: Collector, new: Collector) -> None:
    """Let *new* have the names of *old*, and its place on the page."""
    with registry._lock:
        tables = registry._collector_to_names, registry._names_to_collectors
        registry._collector_to_names = {new if each is old else each: names for each, names in tables[0].items()}
        registry._names_to_collectors = {name: new if each is old else each for name, each in tables[1].items()}
        if (without_names := getattr(registry, "_collectors_without_names", None)) is not None:  # older ones have none
            registry._collectors_without_names = [new if each is old else each for each in without_names]


def holding(registry: Any, collectors: Iterable[Collector], names: set[str]) -> list[Collector]:
    """Return those of *collectors* that hold one of *names*, or have not told *registry* what they hold."""
    held = registry._collector_to_names
    return [each for each in collectors if not (known := held.get(each)) or not names.isdisjoint(known)]


def target_info_of(registry: CollectorRegistry) -> dict[str, str]:
    """Return the labels of the registry's target, if it has been given any."""
    return registry._target_info or {}  # without the lock, as above


class Tables:
    """What a registry holds, kept so that it can hold the same again."""

    _KEPT = ("_collector_to_names", "_names_to_collectors", "_collectors_without_names", "_target_info")

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry: Any = registry
        with self._registry._lock:
            self._kept = {name: copy(vars(registry)[name]) for name in self._KEPT if name in vars(registry)}

    @property
    def collectors(self) -> list[Collector]:
        """The collectors that there were."""
        return list(self._kept["_collector_to_names"])

    def restore(self) -> None:
        """Let the registry hold what it held, in the same order."""
        with self._registry._lock:
            vars(self._registry).update({name: copy(kept) for name, kept in self._kept.items()})


def name_registry(registry: CollectorRegistry, name: str | None) -> None:
    """Let processes share the metrics of *registry*, which has this name in all of them; None: no longer."""
    if name is None:
        _names.pop(registry, None)
    else:
        _names[registry] = name


def shared_name(registry: CollectorRegistry | None) -> str | None:
    """Return the name under which processes share the metrics of *registry*, the default one's is empty; or None."""
    return None if registry is None else _names.get(registry)


def _holders(registry: Any, names: Iterable[str]) -> dict[str, Any]:
    holders = {name: holder_of(registry, name) for name in names}
    return {name: holder for name, holder in holders.items() if holder is not None}


def _clash(spec: MetricSpec, holders: dict[str, Any]) -> DuplicateMetricError:
    name, holder = next(iter(holders.items()))
    held = spec_of(holder)
    if held is None:
        owner = f"{class_name(holder)}, which is not a metric of vitalsign's"
        fix = "Give one of the two another name or namespace=, or register it on a registry of its own."
    elif held.name == spec.name:
        owner = f"the earlier declaration {held}"
        fix = "Declare it once and import it, or give one of the two another name or namespace=."
    else:
        owner = str(held)
        fix = "The two would share series on the page; rename one."
    return DuplicateSeriesError(
        f"Metric {spec} cannot be registered: the name {name!r} is taken by {owner}. {fix}",
        name=name,
        existing=holder,
        duplicates=set(holders),
    )
