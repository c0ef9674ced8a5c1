"""Files of the directory as they are opened, held and let go of, in a process whose descriptors are not ours alone."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Descriptor", "claim", "open_file", "read_part"]

# What is not ours may be a pipe, which must not block, or a link, by which somebody would choose what we touch.
_CAREFULLY = os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


class Descriptor:
    """
    A descriptor that is kept for long.

    A host that becomes a daemon closes all that it finds open, and soon another file has the number: so ours is known
    by its file, and neither written nor closed once it is another one.
    """

    def __init__(self, number: int) -> None:
        self._number: int | None = number
        self._file = _file_of(number)

    @property
    def is_ours(self) -> bool:
        """Whether it still is of the file that it was opened for."""
        return self._number is not None and _file_of(self._number) == self._file

    @property
    def number(self) -> int:
        """
        The descriptor, to be used at once.

        Raises:
            OSError: It has been closed, by whomever.
        """
        if self._number is None or not self.is_ours:
            raise OSError(errno.EBADF, "somebody has closed a file by which metrics are shared")
        return self._number

    def let_go(self) -> None:
        """Close this process's copy; a forked child must that of a lock, or it would keep its parent alive."""
        if self.is_ours:
            os.close(self.number)
        self._number = None


def _file_of(number: int) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        status = os.fstat(number)
        return status.st_dev, status.st_ino
    return None


def open_file(path: Path, flags: int, mode: int | None = None) -> int:
    """
    Open a file of the directory; one that is made gets the permissions *mode*, whatever the umask.

    What others have made is opened for reading only: a lock needs no more, and they may be other users.

    Raises:
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, flags | _CAREFULLY, 0o666 if mode is None else mode)
    if mode is not None and flags & os.O_CREAT:
        with contextlib.suppress(PermissionError):  # it was there, and is another user's
            os.fchmod(descriptor, mode)
    return descriptor


def read_part(path: Path, start: int = 0, size: int | None = None) -> bytes:
    """
    Read a file from *start* on, at most *size* bytes of it.

    Raises:
        OSError: It cannot be read, or is no file.
    """
    descriptor = open_file(path, os.O_RDONLY)
    try:
        left = max(0, os.fstat(descriptor).st_size - start)
        return os.pread(descriptor, left if size is None else min(left, size), start)
    finally:
        os.close(descriptor)


def claim(descriptor: int, start: int, size: int) -> None:
    """
    Claim room on the disk for a part of a file: a write to a mapped hole kills the process once the disk is full.

    Raises:
        OSError: There is not so much room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, size)
    elif os.pwrite(descriptor, bytes(size), start) != size:
        raise OSError(errno.ENOSPC, "there is no room for more cells")
