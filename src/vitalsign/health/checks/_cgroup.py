"""What a container, or whatever else made a control group, lets this process have. Linux only; elsewhere no limits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cpu_limit", "memory_limit"]

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def cpu_limit(root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> float:
    """
    Return how many processors this process can keep busy: those that it may run on, or its group's quota if less.

    Args:
        root: Where control groups are mounted.
        membership: The file that names this process's groups.
    """
    quotas = [quota for folder in _folders("cpu", root, membership) if (quota := _quota(folder)) is not None]
    return min([_processors(), *quotas])


def memory_limit(root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> tuple[int, int] | None:
    """
    Return the limit and the room left in it, in bytes, of the group that has least room; None where none is limited.

    Args:
        root: As for `cpu_limit`.
        membership: As for `cpu_limit`.
    """
    limits = [limit for folder in _folders("memory", root, membership) if (limit := _memory(folder)) is not None]
    return min(limits, key=lambda limit: limit[1], default=None)


def _processors() -> float:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _folders(controller: str, root: Path, membership: Path) -> Iterator[Path]:
    """
    Yield the folders of the own groups and of all above them, for each may set a limit.

    Inside a container the path may be that on the host, which is not mounted: then only the root is found.
    """
    for line in (_text(membership) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root  # version 1 mounts each controller, version 2 all at once
        group = Path(path.lstrip("/"))
        yield from (base / each for each in (group, *group.parents) if ".." not in each.parts)


def _quota(folder: Path) -> float | None:
    both = _text(folder / "cpu.max")
    quota, period = both.split() if both else (_text(folder / f"cpu.cfs_{part}_us") for part in ("quota", "period"))
    if quota is None or period is None or quota in ("max", "-1"):
        return None
    return int(quota) / int(period)


def _memory(folder: Path) -> tuple[int, int] | None:
    limit, used, cached = (
        (_text(folder / "memory.max"), _text(folder / "memory.current"), "inactive_file ")
        if (folder / "memory.max").exists()
        else (_text(folder / "memory.limit_in_bytes"), _text(folder / "memory.usage_in_bytes"), "total_inactive_file ")
    )
    if limit is None or used is None or limit == "max":
        return None
    # Pages of files that nobody reads any more are counted as used, and given up as soon as room is needed.
    lines = (_text(folder / "memory.stat") or "").splitlines()
    unread = next((int(line.removeprefix(cached)) for line in lines if line.startswith(cached)), 0)
    return int(limit), max(0, int(limit) - int(used) + unread)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
