"""Foreign collectors behind a prefix and constant labels, those of the same metrics as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import Metric

from vitalsign.exceptions import MetricError
from vitalsign.metrics.internal import collecting, internal_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vitalsign.metrics.registry import CollectorRegistry
    from vitalsign.metrics.scope import Scope

__all__ = ["ForeignGroup", "Member", "described_by"]


class Member(NamedTuple):
    """A collector that was registered through a scope."""

    scope: Scope
    collector: Any

    def is_of(self, scope: Scope) -> bool:
        """Tell whether it was registered through this scope, or one like it."""
        return (self.scope.prefix, self.scope.labels) == (scope.prefix, scope.labels)

    def collect(self) -> list[Metric]:
        """Return its metrics as the scope shows them."""
        return [_relabelled(metric, self.scope) for metric in self.collector.collect()]


class ForeignGroup:
    """
    Collectors of the same metrics, registered through scopes with other values of the same labels, as one collector.

    Attributes:
        members: Each with its scope.
        described: What they say that they have.
    """

    def __init__(self, members: tuple[Member, ...], described: list[Metric]) -> None:
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

    def _together(self, members: Iterable[Member]) -> list[Metric]:
        together: dict[str, Metric] = {}
        for member in members:
            try:
                for metric in member.collect():
                    together.setdefault(metric.name, _empty(metric)).samples += metric.samples
            except Exception as error:  # noqa: BLE001  # the others must not go with it
                internal_error(collecting(member.collector), error)
        return list(together.values())


def described_by(collector: Any, registry: CollectorRegistry) -> Iterable[Metric]:
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
