"""Gauges that are asked for their value: others cannot call their functions, so each process does now and then."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.cells import LOCK
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["INTERVAL", "Freshness"]

INTERVAL = 5.0
"""Seconds; no more than that can the value be old that another process shows."""


class Freshness:
    """Ask this process's gauge functions regularly, on a daemon thread that starts when there is the first."""

    def __init__(self, gauges: Iterable[Any] = ()) -> None:
        self.gauges: weakref.WeakSet[Any] = weakref.WeakSet(gauges)
        self._thread: threading.Thread | None = None

    def add(self, gauge: Any) -> None:
        """Ask *gauge* too."""
        self.gauges.add(gauge)
        self.start()

    def start(self) -> None:
        """Start, if there is anything to ask."""
        if self.gauges and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="vitalsign-gauges", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._ask_all()
            pause.wait(INTERVAL)

    def _ask_all(self) -> None:
        with LOCK:  # under which gauges are added
            gauges = list(self.gauges)
        for gauge in gauges:
            try:
                gauge._read()  # which writes the value down for the others
            except Exception as error:  # noqa: BLE001  # the function is the host's own
                internal_error("gauge function", error)
