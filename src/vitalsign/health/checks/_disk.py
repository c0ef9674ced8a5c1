"""Room on a disk."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._sizes import Size, readable, require_order

if TYPE_CHECKING:
    import os

__all__ = ["disk"]


def disk(
    path: str | os.PathLike[str] = "/",
    *,
    min_free: float | str = "5%",
    warn_free: float | str | None = None,
    name: str = "disk",
) -> Check:
    """
    Check that the file system that holds *path* has room. Critical, for it is this machine's own.

    Args:
        path: A file or directory that exists.
        min_free: Room below which it fails: bytes, or a text such as `1GiB` or `5%`. What is kept for root is no room.
        warn_free: Room below which it warns.
        name: Of the check.

    Raises:
        HealthCheckError: A size makes no sense, or the warning would come after the failure.
    """
    least = Size.parse("min_free", min_free)
    enough = Size.optional("warn_free", warn_free)
    require_order(name, min_free=least, warn_free=enough)
    return Check(name, partial(_look, path, least, enough), external=False)


def _look(path: str | os.PathLike[str], least: Size, enough: Size | None) -> Result:
    total, _, free = shutil.disk_usage(path)
    for status, bound in ((Status.FAIL, least), (Status.WARN, enough)):
        if bound is not None and free < bound.of(total):
            message = f"{readable(free)} of {readable(total)} free, less than {bound.text}"
            return Result(status, message, free, "bytes")
    return Result(Status.PASS, f"{readable(free)} of {readable(total)} free", free, "bytes")
