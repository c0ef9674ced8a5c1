"""Registries: declare a metric once, find what holds a name. All knowledge of prometheus_client's insides is here."""

from __future__ import annotations

import logging
import os
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client import registry as _upstream

from vitalsign.exceptions import DuplicateMetricError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.registry import Collector

    from vitalsign.metrics.catalogue import MetricSpec

__all__ = ["REGISTRY", "CollectorRegistry", "collectors_of", "declare", "name_registry", "shared_name"]

_log = logging.getLogger("vitalsign")
_declaring = RLock()
if TYPE_CHECKING:
    _DuplicateTimeseries = ValueError
else:
    _DuplicateTimeseries = getattr(_upstream, "DuplicateTimeseries", ValueError)  # new in 0.26
_names: WeakKeyDictionary[CollectorRegistry, str] = WeakKeyDictionary({REGISTRY: ""})


def _renew_locks() -> None:
    """Begin anew in a forked child: whoever held a lock in the parent is not there to let go of it."""
    global _declaring
    _declaring = RLock()
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
    with _declaring:
        holders = _holders(registry, spec.series)
        if not holders:
            metric = make()
            registry.register(metric)
            return metric
        for holder in holders.values():
            held: MetricSpec | None = getattr(holder, "spec", None)
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
    with registry._lock:
        return list(registry._collector_to_names)


def name_registry(registry: CollectorRegistry, name: str) -> None:
    """Let processes share the metrics of *registry*, which has this name in all of them."""
    _names[registry] = name


def shared_name(registry: CollectorRegistry | None) -> str | None:
    """Return the name under which processes share the metrics of *registry*, the default one's is empty; or None."""
    return None if registry is None else _names.get(registry)


def _holders(registry: Any, names: Iterable[str]) -> dict[str, Any]:
    taken = getattr(registry, "_names_to_collectors", {})
    return {name: taken[name] for name in names if name in taken}


def _clash(spec: MetricSpec, holders: dict[str, Any]) -> DuplicateMetricError:
    name, holder = next(iter(holders.items()))
    held = getattr(holder, "spec", None)
    if held is None:
        owner = f"{type(holder).__module__}.{type(holder).__qualname__}, which is not a metric of vitalsign's"
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
