"""
The metrics of health checks, labelled by names that the host wrote and nothing else.

Where many workers share one page, the worst living one speaks for the service. Only the time of the last success is the
latest of any worker, dead ones too: it answers when something last worked, and workers that are seldom asked, or have
been replaced, would only hide that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitalsign._clock import monotonic
from vitalsign.health._check import Status
from vitalsign.metrics.instruments import OWN_MAX_SERIES, Counter, Gauge, Histogram
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from vitalsign.health._check import Check
    from vitalsign.health._slots import Slot
    from vitalsign.metrics.instruments import GaugeMode
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
        self._registry = registry
        self._status = self._gauge(
            "service_health_check_status",
            "State of a health check: 1 pass, 0.5 warn, 0 fail. Absent while it is not known.",
            "livemin",
        )
        self._dependency = self._gauge(
            "service_dependency_status",
            "State of a check that looks outside the process: 1 up, 0.5 degraded, 0 down. Absent while not known.",
            "livemin",
            label="dependency",
        )
        self._failures = self._gauge(
            "service_health_check_consecutive_failures",
            "How many runs of a health check in a row have failed by now.",
            "livemax",
        )
        self._success = self._gauge(
            "service_health_check_last_success_timestamp_seconds",
            "Unix time at which a run of a health check last ended without failing.",
            "max",
        )
        self._duration = Histogram(
            "service_health_check_duration_seconds",
            "Time that one run of a health check took; one that did not answer counts with its timeout.",
            ["service", "check"],
            registry=registry,
            buckets=_BUCKETS,
            max_series=OWN_MAX_SERIES,
        )
        self._changes = self._counter(
            "service_health_check_state_changes", "Times that a health check changed to a state.", "check", "status"
        )
        self._skips = self._counter(
            "service_health_check_skipped",
            "Times that a health check was not run, since one that it depends on failed.",
            "check",
        )
        self._notices = self._counter(
            "service_health_notifications",
            "Changes of state that a listener was told (delivered), refused (failed) or missed (dropped).",
            "listener",
            "outcome",
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

    def _gauge(self, name: str, about: str, mode: GaugeMode, label: str = "check") -> Gauge:
        return Gauge(
            name,
            about,
            ["service", label],
            registry=self._registry,
            multiprocess_mode=mode,
            max_series=OWN_MAX_SERIES,
        )

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, ["service", *labels], registry=self._registry, max_series=OWN_MAX_SERIES)

    def expect(self, check: Check) -> None:
        """Let counters of *check* begin at 0, or nobody sees them rise to 1. Never raises."""
        try:
            for status in _VALUES:
                self._changes.labels(self._service, check.name, status.value)
        except Exception as error:  # noqa: BLE001  # the host only declares a check
            internal_error("health.metrics", error)

    def record(self, slot: Slot, duration: float | None) -> None:
        """
        Take down the last outcome. Never raises.

        Args:
            slot: What is known of the check.
            duration: Seconds that the run took; None if it was taken down already, and still hangs.
        """
        try:
            self._record(slot, duration)
        except Exception as error:  # noqa: BLE001  # a check's result must not be lost to its metrics
            internal_error("health.metrics", error)

    def _record(self, slot: Slot, duration: float | None) -> None:
        check, value, last = slot.check, _VALUES[slot.state], slot.last
        self._status.labels(self._service, check.name).set(value)
        if check.is_external:
            self._dependency.labels(self._service, check.name).set(value)
        self._failures.labels(self._service, check.name).set(slot.stability.failures)
        if last is not None and last.result.status is not Status.FAIL:
            self._success.labels(self._service, check.name).set(last.time)
        if duration is not None:
            self._duration.labels(self._service, check.name).observe(duration)

    def record_skip(self, slot: Slot) -> None:
        """Take down that a check was not run. Never raises."""
        try:
            labels = (self._service, slot.check.name)
            self._skips.labels(*labels).inc()
            self._failures.labels(*labels).set(0)
            for gauge in (self._status, self._dependency):
                gauge.remove(*labels)
        except Exception as error:  # noqa: BLE001  # as above
            internal_error("health.metrics", error)

    def record_change(self, check: Check, state: Status) -> None:
        """Count that *check* has changed to *state*. Never raises."""
        try:
            self._changes.labels(self._service, check.name, state.value).inc()
        except Exception as error:  # noqa: BLE001  # as above
            internal_error("health.metrics", error)

    def count_notice(self, listener: str, outcome: str) -> None:
        """Count what became of a change that *listener* was to be told. Never raises."""
        try:
            self._notices.labels(self._service, listener, outcome).inc()
        except Exception as error:  # noqa: BLE001  # as above
            internal_error("health.metrics", error)
