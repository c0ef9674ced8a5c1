"""The metrics of health checks, labelled by names that the host wrote and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitalsign._clock import monotonic
from vitalsign.health._check import Status
from vitalsign.metrics.instruments import OWN_MAX_SERIES, Gauge, Histogram
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from vitalsign.health._check import Check
    from vitalsign.metrics.registry import CollectorRegistry

__all__ = ["HealthMetrics"]

_VALUES = {Status.PASS: 1.0, Status.WARN: 0.5, Status.FAIL: 0.0}
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)


class HealthMetrics:
    """
    Tell Prometheus what the checks of one service found.

    Checkers on one registry share the families; the label `service` tells them apart.
    """

    def __init__(self, service: str, registry: CollectorRegistry | None) -> None:
        self._service = service
        # Where many workers share one page, the worst living one speaks for the service.
        self._status = Gauge(
            "service_health_check_status",
            "Last result of a health check: 1 pass, 0.5 warn, 0 fail. Absent before its first run.",
            ["service", "check"],
            registry=registry,
            multiprocess_mode="livemin",
            max_series=OWN_MAX_SERIES,
        )
        self._dependency = Gauge(
            "service_dependency_status",
            "Last result of a check that looks outside the process: 1 up, 0.5 degraded, 0 down.",
            ["service", "dependency"],
            registry=registry,
            multiprocess_mode="livemin",
            max_series=OWN_MAX_SERIES,
        )
        self._duration = Histogram(
            "service_health_check_duration_seconds",
            "Time that one run of a health check took; one that did not answer counts with its timeout.",
            ["service", "check"],
            registry=registry,
            buckets=_BUCKETS,
            max_series=OWN_MAX_SERIES,
        )
        born = monotonic()
        Gauge(
            "service_uptime_seconds",
            "Time since the service's health checker was made.",
            ["service"],
            registry=registry,
            multiprocess_mode="livemax",
            max_series=OWN_MAX_SERIES,
        ).labels(service).set_function(lambda: monotonic() - born)

    def record(self, check: Check, status: Status, duration: float) -> None:
        """
        Take down one run. Never raises.

        Args:
            check: What ran.
            status: What it found.
            duration: Seconds.
        """
        try:
            value = _VALUES[status]
            self._status.labels(self._service, check.name).set(value)
            if check.is_external:
                self._dependency.labels(self._service, check.name).set(value)
            self._duration.labels(self._service, check.name).observe(duration)
        except Exception as error:  # noqa: BLE001  # a check's result must not be lost to its metrics
            internal_error("health.metrics", error)
