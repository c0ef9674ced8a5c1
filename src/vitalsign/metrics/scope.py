"""Registries that put a prefix before the names of metrics, and constant labels on their series."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.catalogue import encodable, full_name, label_names
from vitalsign.metrics.family import Family, picker
from vitalsign.metrics.groups import ForeignGroup, Member, described_by
from vitalsign.metrics.registry import DECLARING, REGISTRY, CollectorRegistry, collectors_of, holder_of, put_in_place
from vitalsign.metrics.samples import LazyMetric
from vitalsign.metrics.shards import LOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client import Metric
    from prometheus_client.registry import Collector, RestrictedRegistry

    from vitalsign.metrics.catalogue import MetricSpec

__all__ = ["Scope", "narrowed"]


class Scope(CollectorRegistry):
    """
    Declare metrics with a prefix and constant labels: for one of several like components, a tenant, a shard.

    ```python
    for shard in ("a", "b"):
        Worker(registry=Scope(prefix="shop_", labels={"shard": shard}))
    ```

    Give it as `registry=` to instruments, or to a collector's `bind()`. What it is given stands on the page of the
    registry beneath, where scopes that differ in the values of their labels alone share their metrics. Instruments
    take the labels besides the constant ones, and are as fast as without a scope; `max_series` and its overflow are
    those of the whole metric.

    As a registry of its own it holds what was declared through it, or through another scope with the same prefix and
    labels.

    Args:
        registry: The registry beneath. If it is a scope, its prefix comes first, and its labels are added.
        prefix: Put before the names, as it is: give the underscore too.
        labels: Constant labels.

    Attributes:
        base: The registry beneath all scopes.
        prefix: What is put before names, that of a scope beneath included.
        labels: The constant labels, sorted by name, those of a scope beneath included.

    Raises:
        MetricError: A label is no label name, or the scope beneath has it already.
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        *,
        prefix: str = "",
        labels: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        beneath = registry if isinstance(registry, Scope) else None
        outer = beneath.labels if beneath else {}
        given = {name: encodable(str(value)) for name, value in (labels or {}).items()}
        names = label_names("gauge", f"{prefix}*", (*outer, *given))
        self.base: CollectorRegistry = beneath.base if beneath else registry
        self.prefix: str = (beneath.prefix if beneath else "") + prefix
        self.labels: dict[str, str] = {name: {**outer, **given}[name] for name in sorted(names)}

    @property
    def values(self) -> tuple[str, ...]:
        """The values of the constant labels."""
        return tuple(self.labels.values())

    def widened(self, spec: MetricSpec) -> MetricSpec:
        """
        Return what *spec* is on the registry beneath.

        Raises:
            MetricError: The metric has a label that the scope sets.
        """
        name = full_name(spec.kind, self.prefix + spec.name, unit=spec.unit)
        return replace(spec, name=name, labels=label_names(spec.kind, name, (*self.labels, *spec.labels)))

    def register(self, collector: Collector) -> None:
        """
        Show a collector's metrics on the registry beneath, with prefix and labels.

        Raises:
            ValueError: One of the names is taken there.
        """
        with DECLARING:
            described = list(described_by(collector, self.base))
            group = ForeignGroup((Member(self, collector),), described)
            taken = {holder_of(self.base, self.prefix + metric.name) for metric in described}
            other = taken.pop() if len(taken) == 1 else None
            if isinstance(other, ForeignGroup) and other.takes(group):
                put_in_place(self.base, other, ForeignGroup((*other.members, *group.members), described))
            else:
                self.base.register(group)

    def unregister(self, collector: Any) -> None:
        """
        Take off what was declared or registered through this scope; what others have stays.

        Raises:
            KeyError: It is not there.
        """
        with DECLARING:
            family = getattr(collector, "_family", None)
            if isinstance(family, Family):
                self._withdraw(collector, getattr(family, "whole", family))
                return
            for group, member in self._members():
                if member.collector is collector:
                    rest = tuple(each for each in group.members if each is not member)
                    if rest:
                        put_in_place(self.base, group, ForeignGroup(rest, group.described))
                    else:
                        self.base.unregister(group)
                    return
            raise KeyError(collector)

    def collect(self) -> Iterator[Metric]:
        """Return what was declared or registered through this scope."""
        for collector in collectors_of(self.base) or ():
            family = getattr(collector, "_family", None)
            if isinstance(family, Family) and self._has(family.spec):
                children = [child for child in collector._children() if self._is_of(child._labelvalues)]  # type: ignore[attr-defined]
                if children or self.values in family.views:
                    yield LazyMetric(family, children)
            elif isinstance(collector, ForeignGroup):
                yield from collector.of(self)

    def restricted_registry(self, names: Iterable[str]) -> RestrictedRegistry:
        """Return what shows only the samples with these names, of what was declared through this scope."""
        page = CollectorRegistry(auto_describe=True)
        page.register(self)
        return page.restricted_registry(names)

    def holder_of(self, name: str) -> Collector | None:
        """Return the collector that was registered through this scope and has this name before its prefix."""
        group = holder_of(self.base, self.prefix + name)
        return next((member.collector for other, member in self._members() if other is group), None)

    def narrowed_of(self, name: str) -> Any:
        """Return the instrument that was declared through this scope under this name before its prefix, or None."""
        whole: Any = holder_of(self.base, self.prefix + name)
        family = getattr(whole, "_family", None)
        return narrowed(whole, self.values) if isinstance(family, Family) and self._has(family.spec) else None

    def _has(self, spec: MetricSpec) -> bool:
        return spec.name.startswith(self.prefix) and spec.labels[: len(self.labels)] == tuple(self.labels)

    def _is_of(self, labelvalues: tuple[str, ...]) -> bool:
        return labelvalues[: len(self.labels)] == self.values

    def _members(self) -> Iterator[tuple[ForeignGroup, Member]]:
        for group in collectors_of(self.base) or ():
            if isinstance(group, ForeignGroup):
                yield from ((group, member) for member in group.members if member.is_of(self))

    def _withdraw(self, instrument: Any, whole: Family) -> None:
        holder: Any = holder_of(self.base, whole.spec.name)
        if getattr(holder, "_family", None) is not whole or not self._has(whole.spec):
            raise KeyError(instrument)
        if self.labels:
            whole.remove_matching(self.labels)
            view = whole.views.pop(self.values, None)
            if view is not None:
                view._family.leave()
        if not whole.shown() and not whole.views:
            self.base.unregister(holder)


class ScopedFamily(Family):
    """The part of a metric that has a scope's labels. Children belong to the whole; here they are remembered only."""

    __slots__ = ("constant", "whole")

    def __init__(self, whole: Family, constant: tuple[str, ...]) -> None:
        super().__init__(
            whole.spec, whole.registry, whole.max_series, make_child=whole.make_child, on_overflow=whole.on_overflow
        )
        self.whole: Family = whole
        self.constant: tuple[str, ...] = constant
        self.takes: tuple[str, ...] = whole.spec.labels[len(constant) :]
        self.in_order: Callable[[Mapping[str, object]], tuple[Any, ...]] = picker(self.takes)

    def child(self, values: tuple[object, ...], by_name: Mapping[str, object]) -> Any:
        """Find or make the child for these label values, in the whole."""
        child = self.whole.child((*self.constant, *self._checked(values, by_name)), {})
        key = child._labelvalues
        with LOCK:
            if key[: len(self.constant)] == self.constant and self.whole.children.get(key) is child:
                self.children[key[len(self.constant) :]] = child
        return child

    def shown(self) -> dict[tuple[str, ...], Any]:
        """Return the children of the whole that have the scope's labels, by their other labels."""
        count = len(self.constant)
        children = list(self.whole.shown().items())
        return {key[count:]: child for key, child in children if key[:count] == self.constant}

    def remove(self, values: tuple[object, ...]) -> None:
        """Forget one label set."""
        self.whole.remove((*self.constant, *self._checked(values, {})))

    def remove_matching(self, labels: Mapping[str, object]) -> None:
        """Forget every label set of the scope that has all of these values."""
        if labels:
            self.whole.remove_matching({**labels, **self._constants()})

    def clear(self) -> None:
        """Forget every label set of the scope."""
        self.whole.remove_matching(self._constants())

    def leave(self) -> None:
        """Let whoever holds this go on with children that nothing shows."""
        whole = self.whole
        with LOCK:
            self.whole = Family(
                whole.spec, None, whole.max_series, make_child=whole.make_child, on_overflow=whole.on_overflow
            )
            self.children.clear()

    def _constants(self) -> dict[str, str]:
        return dict(zip(self.spec.labels, self.constant, strict=False))


def narrowed(whole: Any, constant: tuple[str, ...]) -> Any:
    """Return the part of an instrument whose first labels have these values: a child, if it has no others."""
    family: Family = whole._family
    if not constant:
        return whole
    if len(constant) == len(family.spec.labels):
        return family.child(constant, {})
    with LOCK:
        view = family.views.get(constant)
        if view is None:
            view = family.views[constant] = family.make_child(ScopedFamily(family, constant), None)
    return view
