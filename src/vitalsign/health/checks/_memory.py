"""Memory of this process, and of its machine or container."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._bounds import worst
from vitalsign.health.checks._cgroup import memory_limit
from vitalsign.health.checks._sizes import Size, readable, require_order

__all__ = ["memory"]


def memory(
    *,
    max_rss: float | str | None = None,
    warn_rss: float | str | None = None,
    min_available: float | str | None = "5%",
    warn_available: float | str | None = None,
    name: str = "memory",
) -> Check:
    """
    Check the memory of this process and its machine. Critical, for both are its own.

    In a container with a limit of memory, the machine is the container.

    Args:
        max_rss: Resident memory of this process above which it fails: bytes, or a text such as `500MiB` or `25%` (of
            the machine's memory).
        warn_rss: The same, above which it warns.
        min_available: Memory below which it fails that the machine could still give out; None does not look.
        warn_available: The same, below which it warns.
        name: Of the check.

    Raises:
        HealthCheckError: A size makes no sense, or a warning would come after the failure.
    """
    most, much = Size.optional("max_rss", max_rss), Size.optional("warn_rss", warn_rss)
    least, little = Size.optional("min_available", min_available), Size.optional("warn_available", warn_available)
    require_order(name, warn_rss=much, max_rss=most)
    require_order(name, min_available=least, warn_available=little)
    return Check(name, _Probe(most, much, least, little), external=False)


@dataclass(frozen=True, slots=True)
class _Probe:
    most: Size | None
    much: Size | None
    least: Size | None
    little: Size | None

    def __call__(self) -> Result:
        total, available = _machine()
        return worst([self._judge_rss(total), self._judge_machine(total, available)])

    def _judge_rss(self, total: int) -> Result:
        rss = psutil.Process().memory_info().rss
        for status, bound in ((Status.FAIL, self.most), (Status.WARN, self.much)):
            if bound is not None and rss > bound.of(total):
                return Result(status, f"the process holds {readable(rss)}, more than {bound.text}", rss, "bytes")
        return Result(Status.PASS, f"the process holds {readable(rss)}", rss, "bytes")

    def _judge_machine(self, total: int, available: int) -> Result:
        message = f"{readable(available)} of {readable(total)} available"
        for status, bound in ((Status.FAIL, self.least), (Status.WARN, self.little)):
            if bound is not None and available < bound.of(total):
                return Result(status, f"{message}, less than {bound.text}", available, "bytes")
        return Result(Status.PASS, message, available, "bytes")


def _machine() -> tuple[int, int]:
    """Return all memory and what is available of it, in bytes: the machine's, or the container's if that has less."""
    machine = psutil.virtual_memory()
    limited = memory_limit()
    if limited is None or limited[1] >= machine.available:
        return machine.total, machine.available
    return limited
