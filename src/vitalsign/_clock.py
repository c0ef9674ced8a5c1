"""The two clocks, in one place, so that tests can stand in for them."""

from __future__ import annotations

from time import perf_counter as monotonic
from time import time as wall

__all__ = ["monotonic", "wall"]
