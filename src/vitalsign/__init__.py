"""Make an existing Python application observable, from the first counter to the pager."""

from __future__ import annotations

from vitalsign.metrics import (
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Summary,
    configure,
    count_calls,
    count_errors,
    generate_latest,
    instrument,
    timer,
    track_inprogress,
    track_time,
)
from vitalsign.metrics.listing import catalogue
from vitalsign.metrics.removing import unregister
from vitalsign.metrics.scope import Scope

__all__ = [
    "Counter",
    "Enum",
    "Gauge",
    "Histogram",
    "Info",
    "Scope",
    "Summary",
    "catalogue",
    "configure",
    "count_calls",
    "count_errors",
    "generate_latest",
    "instrument",
    "timer",
    "track_inprogress",
    "track_time",
    "unregister",
]
