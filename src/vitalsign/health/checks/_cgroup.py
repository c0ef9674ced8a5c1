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
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root  # version 1 mounts each controller, version 2 all at once
        group = Path(path.lstrip("/"))
        yield from (base / each for each in (group, *group.parents) if ".." not in each.parts)


def _quota(folder: Path) -> float | None:
    both = (_text(folder / "cpu.max") or "").split()
    if len(both) != 2:
        both = [_text(folder / f"cpu.cfs_{part}_us") or "" for part in ("quota", "period")]
    quota, period = map(_number, both)
    return quota / period if quota and period else None


def _memory(folder: Path) -> tuple[int, int] | None:
    version_2 = ("memory.max", "memory.current", "inactive_file ")
    version_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
    most, usage, cached = version_2 if (folder / "memory.max").exists() else version_1
    limit, used = (_number(_text(folder / name) or "") for name in (most, usage))
    if limit is None or used is None:
        return None
    # Pages of files that nobody reads any more are counted as used, and given up as soon as room is needed.
    lines = (_text(folder / "memory.stat") or "").splitlines()
    unread = next((_number(line.removeprefix(cached)) for line in lines if line.startswith(cached)), None)
    return limit, max(0, limit - used + (unread or 0))


def _number(text: str) -> int | None:
    """Read a number; "max" and -1 are no limit, and what is none of these is not ours to understand."""
    return int(text) if text.isascii() and text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
