"""
What tests need: a registry of their own or an emptied one, the values on it, and a contract for collectors.

```python
class TestTenants(CollectorContract):
    def make_collector(self, name):
        return Tenants(name)
```
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry

from vitalsign.collectors import Collector, SampledCollector
from vitalsign.exceptions import CollectorBoundError
from vitalsign.metrics import generate_latest
from vitalsign.metrics.base import OWN_MAX_SERIES
from vitalsign.metrics.isolation import isolated
from vitalsign.metrics.registry import collectors_of
from vitalsign.typing import AsyncCollector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric
    from prometheus_client.samples import Sample

__all__ = ["CollectorContract", "fresh_registry", "isolated", "metric_problems", "sample_value"]

_NAME = re.compile(r"[a-z_][a-z0-9_]*").fullmatch
_RESERVED_SUFFIXES = ("_total", "_count", "_sum", "_bucket", "_info", "_created")
_NOT_BASE_UNITS = re.compile(
    r"_(?:ms|milliseconds?|us|microseconds?|nanoseconds?|minutes?|hours?|days?|[kmg]i?b|kilobytes?|megabytes?|"
    r"gigabytes?|bits?|percent|percentage)(?:_total)?$"
).search
_UNBOUNDED_LABELS = frozenset({
    "email", "id", "ip", "job_id", "message", "path", "query", "request_id", "session", "token", "trace_id", "url",
    "user", "user_id", "uuid",
})  # fmt: skip
_LOOKS_UNBOUNDED = re.compile(r"://|[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{24}|.{200}", re.IGNORECASE).search


def fresh_registry() -> CollectorRegistry:
    """Return an empty registry, so that a test sees only what it made itself."""
    return CollectorRegistry()


def sample_value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """
    Return the value of one series.

    Args:
        registry: Where to look.
        name: As on the page: a counter's ends in `_total`, a histogram's in `_count`, `_sum` or `_bucket`.
        labels: All labels of the series.

    Returns:
        None if there is no such series.
    """
    return registry.get_sample_value(name, labels)


def metric_problems(metric: Metric) -> list[str]:
    """
    Say what is wrong with a metric's name, help text and labels, by the conventions of Prometheus.

    Returns:
        One sentence for each problem; none if all is well.
    """
    problems = [
        f"{name} is not in lower_snake_case" for name in (metric.name, *_label_names(metric)) if not _NAME(name)
    ]
    if not metric.documentation.strip():
        problems.append(f"{metric.name} has no help text")
    if metric.name.endswith(_RESERVED_SUFFIXES):
        problems.append(f"{metric.name} ends in a suffix that means another kind of metric than {metric.type}")
    if unit := _NOT_BASE_UNITS(metric.name):
        problems.append(f"{metric.name} is not in a base unit (seconds, bytes, ratio): {unit[0]}")
    problems += [f"label {label} of {metric.name} is unbounded" for label in _label_names(metric) & _UNBOUNDED_LABELS]
    return problems


class CollectorContract:
    """
    The rules that every collector keeps, as a test class: inherit from it and say how to make a collector.

    Attributes:
        shares_labels: Whether two collectors of this class cannot be told apart, because there is only one of what
            they observe (the machine, the process).
    """

    shares_labels: bool = False

    def make_collector(self, name: str) -> Collector:
        """Make a collector that observes something called *name*; bound to nothing."""
        raise NotImplementedError(f"{type(self).__qualname__} needs a method make_collector(self, name).")

    def exercise(self, collector: Collector) -> None:
        """Let something happen that the collector shows; override it for a collector that is told what happens."""

    def test_constructing_registers_nothing(self) -> None:
        """Constructing a collector leaves the default registry as it was."""
        before = collectors_of(REGISTRY)
        self.make_collector("first")
        _expect(collectors_of(REGISTRY) == before, "constructing registered something on the default registry")

    def test_bind_returns_the_collector_and_shows_its_metrics(self) -> None:
        """Binding returns the collector, and the registry then has the metrics that it describes."""
        registry = fresh_registry()
        collector = self.make_collector("first")
        _expect(collector.bind(registry) is collector, "bind() does not return the collector")
        self.exercise(collector)
        described = {metric.name for metric in collector.describe()}
        shown = {metric.name for metric in registry.collect()}
        collector.unbind()
        _expect(bool(described & shown), f"none of {sorted(described)} is on the registry")

    def test_unbind_leaves_the_registry_as_it_was(self) -> None:
        """Unbinding takes everything away that binding brought, and the collector can be bound again."""
        registry = fresh_registry()
        collector = self.make_collector("first")
        for _ in range(2):
            self.exercise(collector.bind(registry))
            collector.unbind()
            _expect(not collectors_of(registry), f"unbind() left {collectors_of(registry)}")

    def test_binding_and_unbinding_twice_is_harmless(self) -> None:
        """Binding to the same registry again, and unbinding again, do nothing."""
        registry = fresh_registry()
        collector = self.make_collector("first")
        collector.bind(registry)
        before = collectors_of(registry)
        collector.bind(registry)
        _expect(collectors_of(registry) == before, "binding twice registered twice")
        collector.unbind()
        collector.unbind()

    def test_a_second_registry_is_refused(self) -> None:
        """A bound collector refuses another registry, and stays where it is."""
        first, second = fresh_registry(), fresh_registry()
        with self.make_collector("first").bind(first) as collector:
            try:
                collector.bind(second)
            except CollectorBoundError:
                _expect(not collectors_of(second), "the refused registry was written to")
            else:
                raise AssertionError("bind() to a second registry was not refused")

    def test_context_manager_unbinds(self) -> None:
        """Leaving the block unbinds, also by an exception, which passes through."""
        registry = fresh_registry()
        passed_through = True
        with suppress(LookupError):
            with self.make_collector("first").bind(registry):
                raise LookupError
            passed_through = False
        _expect(passed_through, "the exception did not pass through")
        _expect(not collectors_of(registry), "leaving the block did not unbind")

    def test_describe_measures_nothing(self) -> None:
        """Describing works on a collector that cannot measure, and returns no samples."""
        collector = self.make_collector("first")
        _sabotage(collector)
        _expect(not any(metric.samples for metric in collector.describe()), "describe() returned samples")

    def test_two_collectors_share_their_metrics(self) -> None:
        """Two collectors on one registry never show a series twice, and one leaves the other's series alone."""
        registry = fresh_registry()
        first, second = self.make_collector("first").bind(registry), self.make_collector("second").bind(registry)
        self.exercise(first)
        self.exercise(second)
        series = [_identity(sample) for sample in _samples(registry)]
        _expect(len(series) == len(set(series)), "two collectors show the same series twice")
        first.unbind()
        left = {_identity(sample) for sample in _samples(registry)}
        second.unbind()
        _expect(bool(left), "unbinding the first collector took the second one's series away")
        if not self.shares_labels:
            _expect(left != set(series), "unbinding the first collector left its series there")

    def test_a_failing_sample_is_isolated_and_counted(self) -> None:
        """A collector that raises while it samples does not break the page, is counted, and is shown as down."""
        collector = self.make_collector("first")
        if not isinstance(collector, SampledCollector):
            return
        _sabotage(collector)
        registry = fresh_registry()
        with collector.bind(registry):
            generate_latest(registry)
            who = {"collector": collector.name}
            up = sample_value(registry, "vitalsign_collector_up", **who)
            errors = sample_value(registry, "vitalsign_collector_errors_total", **who, reason="error")
        _expect(up == 0, f"vitalsign_collector_up is {up} after a sample that failed, not 0")
        _expect(bool(errors), "the failed sample was not counted in vitalsign_collector_errors_total")

    def test_names_follow_the_conventions(self) -> None:
        """Names, units, help texts and labels are as Prometheus wants them."""
        registry = fresh_registry()
        with self.make_collector("first").bind(registry) as collector:
            self.exercise(collector)
            problems = [problem for metric in registry.collect() for problem in metric_problems(metric)]
        _expect(not problems, "; ".join(problems))

    def test_labels_are_bounded(self) -> None:
        """No metric has very many series, and no label value looks like a URL or an id."""
        registry = fresh_registry()
        with self.make_collector("first").bind(registry) as collector:
            self.exercise(collector)
            for metric in registry.collect():
                series = {tuple(sample.labels.items()) for sample in metric.samples if "le" not in sample.labels}
                _expect(len(series) <= OWN_MAX_SERIES, f"{metric.name} has {len(series)} series")
                suspects = [
                    text for sample in metric.samples for text in sample.labels.values() if _LOOKS_UNBOUNDED(text)
                ]
                _expect(not suspects, f"{metric.name} has label values that look unbounded: {suspects[:3]}")


def _sabotage(collector: Collector) -> None:
    """Make *collector* raise whenever it is to measure."""

    def fail() -> Iterable[Metric]:
        raise RuntimeError("this collector was made to fail by its test")

    async def fail_async() -> Iterable[Metric]:
        return fail()

    if isinstance(collector, AsyncCollector):
        collector.sample = fail_async  # type: ignore[method-assign]
    elif isinstance(collector, SampledCollector):
        collector.collect = fail  # type: ignore[method-assign]


def _samples(registry: CollectorRegistry) -> Iterator[Sample]:
    for metric in registry.collect():
        yield from metric.samples


def _identity(sample: Sample) -> tuple[str, frozenset[tuple[str, str]]]:
    return (sample.name, frozenset(sample.labels.items()))


def _label_names(metric: Metric) -> set[str]:
    return {label for sample in metric.samples for label in sample.labels}


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
