"""Registries that put a prefix before the names of metrics, and constant labels on their series."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import Metric

from vitalsign.exceptions import MetricError
from vitalsign.metrics.catalogue import MetricSpec, encodable, full_name, label_names
from vitalsign.metrics.cells import LOCK
from vitalsign.metrics.family import Family, picker
from vitalsign.metrics.internal import collecting, internal_error
from vitalsign.metrics.registry import DECLARING, REGISTRY, CollectorRegistry, collectors_of, holder_of, put_in_place
from vitalsign.metrics.samples import LazyMetric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.registry import Collector, RestrictedRegistry

__all__ = ["ForeignGroup", "Scope", "narrowed"]


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
            described = list(_described(collector, self.base))
            group = ForeignGroup((_Member(self, collector),), described)
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

    def _members(self) -> Iterator[tuple[ForeignGroup, _Member]]:
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
        self.takes = whole.spec.labels[len(constant) :]
        self.in_order = picker(self.takes)

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
            self.children = {}

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


class _Member(NamedTuple):
    """A collector that was registered through a scope."""

    scope: Scope
    collector: Any

    def is_of(self, scope: Scope) -> bool:
        return (self.scope.prefix, self.scope.labels) == (scope.prefix, scope.labels)

    def collect(self) -> list[Metric]:
        return [_relabelled(metric, self.scope) for metric in self.collector.collect()]


class ForeignGroup:
    """
    Collectors of the same metrics, registered through scopes with other values of the same labels, as one collector.

    Attributes:
        members: Each with its scope.
        described: What they say that they have.
    """

    def __init__(self, members: tuple[_Member, ...], described: list[Metric]) -> None:
        self.members = members
        self.described = described

    def takes(self, other: ForeignGroup) -> bool:
        """Tell whether the only member of *other* can be one of this group."""
        (mine, *rest), (theirs,) = self.members, other.members
        return (
            {metric.name for metric in self.described} == {metric.name for metric in other.described}
            and (mine.scope.prefix, [*mine.scope.labels]) == (theirs.scope.prefix, [*theirs.scope.labels])
            and not any(member.is_of(theirs.scope) for member in (mine, *rest))
        )

    def describe(self) -> list[Metric]:
        """Return the metrics without samples."""
        scope = self.members[0].scope
        return [_relabelled(_empty(metric), scope) for metric in self.described]

    def collect(self) -> list[Metric]:
        """Return the metrics of all members; one that raises is left out."""
        return self._together(self.members)

    def of(self, scope: Scope) -> list[Metric]:
        """Return the metrics that were registered through one scope."""
        return self._together(member for member in self.members if member.is_of(scope))

    def _together(self, members: Iterable[_Member]) -> list[Metric]:
        together: dict[str, Metric] = {}
        for member in members:
            try:
                for metric in member.collect():
                    together.setdefault(metric.name, _empty(metric)).samples += metric.samples
            except Exception as error:  # noqa: BLE001  # the others must not go with it
                internal_error(collecting(member.collector), error)
        return list(together.values())


def _described(collector: Any, registry: CollectorRegistry) -> Iterable[Metric]:
    """Ask a collector what it has, as the registry would."""
    describe = getattr(collector, "describe", None) or (registry._auto_describe and collector.collect)
    return describe() if describe else ()


def _relabelled(metric: Metric, scope: Scope) -> Metric:
    shown = _empty(metric)
    shown.name = scope.prefix + metric.name
    for sample in metric.samples:
        if not scope.labels.keys().isdisjoint(sample.labels):
            raise MetricError(f"{sample.name} has labels that its scope sets too: {sample.labels} and {scope.labels}.")
        labels = dict(sample.labels)
        if metric.type == "stateset":
            labels[shown.name] = labels.pop(metric.name)
        name = scope.prefix + sample.name
        shown.samples.append(sample._replace(name=name, labels={**scope.labels, **labels}))
    return shown


def _empty(metric: Metric) -> Metric:
    return Metric(metric.name, metric.documentation, metric.type, metric.unit)
