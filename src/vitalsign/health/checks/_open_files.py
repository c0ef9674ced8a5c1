"""File descriptors of this process: files, sockets, pipes."""

from __future__ import annotations

import errno
import sys
from functools import partial

import psutil

from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._bounds import Bounds

__all__ = ["open_files"]


def open_files(*, warn: float | None = 0.8, fail: float | None = 0.95, name: str = "open_files") -> Check:
    """
    Check how many file descriptors are open, files and sockets alike. Critical, for without any nothing works.

    Where there are none left, a server accepts no connections and the check's own endpoint is not reached either: let
    it fail before. A leak is mended by a restart, so the check may be in liveness.

    Args:
        warn: Share of the process's limit (`ulimit -n`) from which on it warns.
        fail: Share from which on it fails.
        name: Of the check.

    Raises:
        HealthCheckError: A share makes no sense.
    """
    return Check(name, partial(_look, Bounds.of(name, most=1.0, warn=warn, fail=fail)), external=False)


def _look(bounds: Bounds) -> Result:
    limit = _limit()
    if limit is None:
        return Result(Status.PASS, "this system sets no limit")
    try:
        count = psutil.Process().num_fds()
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        return Result(Status.FAIL, f"not one of {limit} descriptors is left, not even to count them", limit, "files")
    return Result(bounds.status(count / limit), f"{count} of {limit} descriptors are open", count, "files")


def _limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit if limit != resource.RLIM_INFINITY else None
