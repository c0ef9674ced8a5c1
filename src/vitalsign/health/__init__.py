"""Health checks: liveness, readiness, startup and full detail, for ASGI applications, other frameworks and scripts."""

from __future__ import annotations

from vitalsign.health import checks
from vitalsign.health._changes import Change
from vitalsign.health._check import Check, Result, Status
from vitalsign.health._checker import HealthChecker
from vitalsign.health._layout import EndpointOptions
from vitalsign.health._lifecycle import Drain
from vitalsign.health._report import CheckResult, Report

__all__ = [
    "Change",
    "Check",
    "CheckResult",
    "Drain",
    "EndpointOptions",
    "HealthChecker",
    "Report",
    "Result",
    "Status",
    "checks",
]
