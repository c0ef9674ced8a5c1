"""The compiled part of what every request does, where there is one: without it all is the same, but slower."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vitalsign.metrics import cells
from vitalsign.metrics.cells import CounterCell, DistributionCell
from vitalsign.metrics.values import GaugeCell

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["native"]


def _load() -> ModuleType | None:
    if os.environ.get("VITALSIGN_NATIVE") == "0":
        return None
    try:
        from vitalsign import _native

        _native.learn(vars(cells), CounterCell, DistributionCell, GaugeCell)
    except (ImportError, AttributeError, TypeError):  # not there, or left by another version
        return None
    return _native


native: ModuleType | None = _load()
"""`vitalsign._native`; None if this machine has none, or the environment says VITALSIGN_NATIVE=0."""
