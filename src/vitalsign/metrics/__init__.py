"""The metrics engine: instruments, pages, timing and decorators."""

from __future__ import annotations

from vitalsign.metrics.decorators import count_calls, count_errors, instrument, track_inprogress, track_time
from vitalsign.metrics.exposition import generate_latest
from vitalsign.metrics.instruments import Counter, Enum, Gauge, Histogram, Info, Summary
from vitalsign.metrics.processes import configure, from_environment
from vitalsign.metrics.timing import timer

__all__ = [
    "Counter",
    "Enum",
    "Gauge",
    "Histogram",
    "Info",
    "Summary",
    "configure",
    "count_calls",
    "count_errors",
    "generate_latest",
    "instrument",
    "timer",
    "track_inprogress",
    "track_time",
]

from_environment()
