"""From cells to prometheus_client's samples, for whoever collects by its protocol."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from prometheus_client import metrics as _upstream
from prometheus_client.metrics_core import Metric

if TYPE_CHECKING:
    from prometheus_client.samples import Exemplar, Sample

    from vitalsign.metrics.instruments import Instrument

__all__ = ["LazyMetric", "Point", "number", "shows_created"]

Point = tuple[str, dict[str, str], float, "Exemplar | None"]
"""A sample of a child: suffix of the name, labels besides the child's own, value, exemplar."""


class LazyMetric(Metric):
    """
    A metric whose samples are made when somebody looks at them.

    Our own page never does: it takes the numbers from `instrument` and writes them out without making samples.
    """

    def __init__(self, instrument: Instrument) -> None:
        spec = instrument.spec
        self.name: str = spec.name
        self.documentation: str = spec.help
        self.unit: str = spec.unit
        self.type = spec.kind
        self.instrument = instrument
        self._samples: list[Sample] | None = None

    @property
    def samples(self) -> list[Sample]:  # type: ignore[override]  # a list in the base: here made at first look
        """The samples as they were at the first look."""
        if self._samples is None:
            self._samples = self.instrument._snapshot()
        return self._samples

    def __reduce__(self) -> tuple[Any, ...]:
        return (_plain, (self.name, self.documentation, self.type, self.unit, self.samples))


def _plain(name: str, documentation: str, kind: str, unit: str, samples: list[Sample]) -> Metric:
    metric = Metric(name, documentation, kind, unit)
    metric.samples = samples
    return metric


def shows_created() -> bool:
    """Tell whether `_created` series are on: the host decides, by prometheus_client's own switch."""
    return bool(getattr(_upstream, "_use_created", True))


def number(value: float) -> str:
    """Write *value* as prometheus_client does: Python's repr, but Go's exponent from a million up."""
    if -1e6 < value < 1e6:
        return repr(value)
    if value == inf:
        return "+Inf"
    if value == -inf:
        return "-Inf"
    if value != value:
        return "NaN"
    text = repr(value)
    point = text.find(".")
    if point < 7 or value < 0:
        return text
    rest = (text[1:point] + text[point + 1 :]).rstrip("0")
    return f"{text[0]}.{rest}e+{point - 1:02d}" if rest else f"{text[0]}e+{point - 1:02d}"
