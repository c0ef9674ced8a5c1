"""Collectors that tests steer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.core import GaugeMetricFamily

from vitalsign.collectors import SampledCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric


class Probe(SampledCollector):
    """Show what a function returns as `probe_value`."""

    def __init__(self, measure: Callable[[], float], *, refresh: float = 60.0, deadline: float = 30.0) -> None:
        super().__init__("probe", refresh=refresh, deadline=deadline)
        self._measure = measure

    def describe(self) -> list[GaugeMetricFamily]:
        """Return the gauge."""
        return [GaugeMetricFamily("probe_value", "What the function returned.")]

    def collect(self) -> Iterable[Metric]:
        """Call the function."""
        (value,) = self.describe()
        value.add_metric([], self._measure())
        return [value]


@pytest.fixture
def probe(request):
    """Return a function that makes a probe, unbound when the test ends."""

    def make(measure: Callable[[], float], **options: float) -> Probe:
        made = Probe(measure, **options)
        request.addfinalizer(made.unbind)
        return made

    return make
