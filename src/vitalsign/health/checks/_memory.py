"""Memory of this process and its machine."""

from __future__ import annotations

from functools import partial

import psutil

from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._sizes import Size, readable

__all__ = ["memory"]


def memory(
    *, max_rss: float | str | None = None, min_available: float | str | None = "5%", name: str = "memory"
) -> Check:
    """
    Check the memory of this process and its machine. Critical, for both are its own.

    Args:
        max_rss: Resident memory of this process above which it fails: bytes, or a text such as `500MiB` or `25%` (of
            the machine's memory).
        min_available: Memory below which it fails that the machine could still give out; None does not look. In a
            container the machine is the host: there, set *max_rss* below the container's limit.
        name: Of the check.

    Raises:
        HealthCheckError: A size makes no sense.
    """
    most = None if max_rss is None else Size.parse("max_rss", max_rss)
    least = None if min_available is None else Size.parse("min_available", min_available)
    return Check(name, partial(_look, most, least), external=False)


def _look(most: Size | None, least: Size | None) -> Result:
    machine = psutil.virtual_memory()
    rss = psutil.Process().memory_info().rss
    if most is not None and rss > most.of(machine.total):
        return Result(Status.FAIL, f"the process holds {readable(rss)}, more than {most.text}", rss, "bytes")
    if least is not None and machine.available < least.of(machine.total):
        message = f"{readable(machine.available)} of {readable(machine.total)} available, less than {least.text}"
        return Result(Status.FAIL, message, machine.available, "bytes")
    return Result(Status.PASS, f"the process holds {readable(rss)}", rss, "bytes")
