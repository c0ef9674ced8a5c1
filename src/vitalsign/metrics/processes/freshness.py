"""
What each process does now and then, since whoever is scraped cannot do it there.

Gauges are asked for their value, as others cannot call their functions; counters and histograms go on the lookout for
a trace.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.shards import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["INTERVAL", "Freshness"]

INTERVAL = 5.0
"""Seconds; no more than that can the value be old that another process shows."""

_LOOKOUT = 3
"""Rounds from one lookout for a trace to the next: 15 seconds, as often as Prometheus scrapes by its own example."""


class Freshness:
    """
    Ask this process's gauge functions regularly, and have its metrics look for a trace if they have ever found one.

    A daemon thread does that, which starts when there is the first to be done.
    """

    def __init__(self, gauges: Iterable[Any] = (), entries: Mapping[int, Any] | None = None) -> None:
        """Prepare; *entries* are what the store knows of each child, by a `reference` to it."""
        self.gauges: weakref.WeakSet[Any] = weakref.WeakSet(gauges)
        self._entries = {} if entries is None else entries
        self._looks_out = False
        self._thread: threading.Thread | None = None

    def add(self, gauge: Any) -> None:
        """Ask *gauge* too."""
        self.gauges.add(gauge)
        self.start()

    def look_out(self) -> None:
        """From now on let all children look for a trace now and then."""
        self._looks_out = True
        self.start()

    def start(self) -> None:
        """Start, if there is anything to do."""
        if (self.gauges or self._looks_out) and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="vitalsign-freshness", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        for turn in itertools.count(1):
            self._ask_all()
            if self._looks_out and turn % _LOOKOUT == 0:
                self._send_all()
            pause.wait(INTERVAL)

    def _ask_all(self) -> None:
        with LOCK:  # under which gauges are added
            gauges = list(self.gauges)
        for gauge in gauges:
            try:
                gauge._read()  # which writes the value down for the others
            except Exception as error:  # noqa: BLE001  # the function is the host's own
                internal_error("gauge function", error)

    def _send_all(self) -> None:
        with LOCK:  # under which children are made
            children = [entry.reference() for entry in list(self._entries.values())]
        for child in children:
            if child is not None:
                child._look_out()
