"""What all instruments have in common: label sets, registration, the collector protocol, identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from prometheus_client.metrics_core import Metric

from vitalsign.exceptions import MetricError
from vitalsign.metrics.catalogue import Kind, MetricSpec, bucket_bounds, encodable, full_name, label_names
from vitalsign.metrics.cells import Cell
from vitalsign.metrics.family import Family
from vitalsign.metrics.internal import count_overflow
from vitalsign.metrics.registry import REGISTRY, CollectorRegistry, declare
from vitalsign.metrics.samples import LazyMetric
from vitalsign.metrics.scope import Scope, narrowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

__all__ = ["MAX_SERIES", "OWN_MAX_SERIES", "Instrument"]

MAX_SERIES = 10_000
"""Label sets that a metric takes unless told otherwise."""

OWN_MAX_SERIES = 2_000
"""Label sets that each of the library's own metrics takes unless told otherwise."""


class Instrument(Cell):
    """
    What all instruments have in common: label sets, registration, the collector protocol.

    An instrument that has label names is only the parent of its children; `labels()` returns those, of the same class.
    Instruments are told apart by identity: a copy, also a deep one, is the instrument itself, and unpickling declares
    it again on the default registry of the other process.
    """

    __slots__ = ()

    _kind: ClassVar[Kind]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Accept what `__new__` took: declaring twice returns the first instrument, which must stay untouched."""

    @property
    def spec(self) -> MetricSpec:
        """The metric's description."""
        return self._family.spec

    # By prometheus_client's private names, under which other libraries look; those of one kind are in `private`.

    @property
    def _name(self) -> str:
        return self._family.spec.name

    @property
    def _type(self) -> Kind:
        return self._kind

    @property
    def _documentation(self) -> str:
        return self._family.spec.help

    @property
    def _unit(self) -> str:
        return self._family.spec.unit

    @property
    def _labelnames(self) -> tuple[str, ...]:
        return self._family.takes

    @property
    def _metrics(self) -> dict[tuple[str, ...], Self]:
        return dict(self._family.shown())

    def labels(self, *labelvalues: object, **labelkwargs: object) -> Self:
        """
        Return the child for one label set, made at its first use.

        Args:
            labelvalues: One value for each label name, in their order; or
            labelkwargs: the same by name. Values are turned into strings.

        Raises:
            LabelError: The values do not fit the label names.
        """
        if self._labelvalues is None:
            family = self._family
            try:
                if not labelkwargs:
                    return family.children[labelvalues]  # type: ignore[index, no-any-return]  # a miss raises
                if not labelvalues and len(labelkwargs) == len(family.takes):
                    return family.children[family.in_order(labelkwargs)]  # type: ignore[no-any-return]
            except (KeyError, TypeError):
                pass
        elif self._labelvalues:
            raise MetricError(
                f"{self} already has labels set {dict(zip(self.spec.labels, self._labelvalues, strict=True))}; "
                "can not chain calls to .labels()"
            )
        return self._family.child(labelvalues, labelkwargs)  # type: ignore[no-any-return]

    def remove(self, *labelvalues: object) -> None:
        """
        Remove one label set from the page. Whoever holds its child may go on writing; nothing shows it.

        Raises:
            LabelError: The values do not fit the label names.
        """
        self._family.remove(labelvalues)

    def remove_by_labels(self, labels: dict[str, Any]) -> None:
        """
        Remove every label set that has all of these values.

        Raises:
            TypeError: *labels* is no dict.
            LabelError: A label name is unknown.
        """
        if not isinstance(labels, dict):
            raise TypeError(f"labels must be a dict of {{label_name: label_value}}, not {labels!r}")
        self._family.remove_matching(labels)

    def clear(self) -> None:
        """Remove all label sets; a child has none."""
        if self._labelvalues is None:
            self._family.clear()

    def describe(self) -> Iterable[Metric]:
        """Return the metric without samples: what registering needs to know."""
        spec = self.spec
        return [Metric(spec.name, spec.help, spec.kind, spec.unit)]

    def collect(self) -> Iterable[Metric]:
        """Return the metric with its samples, made when they are looked at."""
        return [LazyMetric(self._family, self._children())]

    def _children(self) -> list[Self]:
        """Return all that has label values: the children, or the metric itself if it needs none."""
        return list(self._family.shown().values()) if self._labelvalues is None else [self]

    @classmethod
    def _declare(
        cls,
        name: str,
        documentation: str,
        labelnames: Iterable[str],
        namespace: str,
        subsystem: str,
        unit: str,
        registry: CollectorRegistry | None,
        max_series: int,
        *,
        buckets: Sequence[float | str] = (),
        states: Sequence[str] = (),
        mode: str = "",
    ) -> Self:
        whole = full_name(cls._kind, name, namespace, subsystem, unit)
        spec = MetricSpec(
            name=whole,
            kind=cls._kind,
            help=encodable(str(documentation)),
            labels=label_names(cls._kind, whole, labelnames),
            unit=unit,
            buckets=bucket_bounds(whole, buckets) if cls._kind == "histogram" else (),
            states=tuple(map(encodable, states)),
            mode=mode,
        )
        return cls._find_or_make(spec, registry, max_series)

    @classmethod
    def _find_or_make(cls, spec: MetricSpec, registry: CollectorRegistry | None, max_series: int) -> Self:
        if isinstance(registry, Scope):
            part: Self = narrowed(cls._find_or_make(registry.widened(spec), registry.base, max_series), registry.values)
            return part

        def make() -> Any:
            family = Family(spec, registry, max_series, make_child=cls._child, on_overflow=count_overflow)
            metric = cls._child(family, None if spec.labels else ())
            metric._announce()
            return metric

        instrument: Self = declare(spec, registry, make, cls)
        return instrument

    @classmethod
    def _child(cls, family: Family, labelvalues: tuple[str, ...] | None) -> Self:
        child = object.__new__(cls)
        child._open(family, labelvalues)
        return child

    def __str__(self) -> str:
        return f"{self._kind}:{self.spec.name}"

    def __repr__(self) -> str:
        labels = dict(zip(self.spec.labels, self._labelvalues or (), strict=False))
        return f"{type(self).__module__}.{type(self).__qualname__}({self.spec.name}{labels or ''})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self._family.registry is not REGISTRY:
            raise TypeError(
                f"{self!r} cannot be pickled: it is not on the default registry, so the process that unpickles it "
                "could not find it again. Import it there by name instead."
            )
        constant = getattr(self._family, "constant", ())
        return (_restore, (type(self), self.spec, self._family.max_series, self._labelvalues, constant))


def _restore(
    cls: type[Instrument],
    spec: MetricSpec,
    max_series: int,
    labelvalues: tuple[str, ...] | None,
    constant: tuple[str, ...],
) -> Instrument:
    """Find the instrument again, or declare it, in the process that unpickles it."""
    extra: dict[str, Any] = {}
    if spec.buckets:
        extra["buckets"] = spec.buckets
    if spec.states:
        extra["states"] = spec.states
    if spec.mode:
        extra["multiprocess_mode"] = spec.mode
    make: Any = cls
    instrument: Instrument = make(spec.name, spec.help, spec.labels, unit=spec.unit, max_series=max_series, **extra)
    part: Instrument = narrowed(instrument, constant)
    return part.labels(*labelvalues) if labelvalues else part
