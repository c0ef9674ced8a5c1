"""The file that a process's cells lie in: mapped, grown by segments, and used again where series have gone."""

from __future__ import annotations

import errno
import mmap
import os
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any

from vitalsign.metrics.processes.descriptors import Descriptor, claim, open_file
from vitalsign.metrics.processes.directory import CELL

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CellsFile"]

_SEGMENT = 8192  # cells: 64 KiB
_QUARANTINE = 60.0
"""
Seconds that cells rest between two owners.

A scrape reads the names first and the numbers a moment later; what it took for one series must not be another by then.
"""


class CellsFile:
    """
    Give out cells.

    Signal handlers, and finalizers, may ask for some in the middle of it: what must be done in one go is done without
    a call, for nothing comes in between then.
    """

    def __init__(self, path: Path, mode: int | None = None) -> None:
        """
        Create the file.

        Raises:
            OSError: It cannot be created.
        """
        self._file = Descriptor(open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode))
        self._length: int = 0  # cells in the file
        self._next = 0
        self._segments: list[tuple[int, memoryview[float]]] = []  # where each begins
        self._free: dict[int, deque[tuple[float, int]]] = {}  # by width: since when, where

    def allocate(self, width: int) -> tuple[int, memoryview[float]]:
        """
        Return where *width* cells begin, and the cells, all zero.

        Raises:
            OSError: There is no room on the disk.
        """
        free = self._free.get(width)
        if free:
            since, start = free.popleft()
            if time.monotonic() - since >= _QUARANTINE:
                view = self._view(start, width)
                view[:] = memoryview(bytes(width * CELL)).cast("d")
                return start, view
            free.appendleft((since, start))
        while self._next + width > self._length:
            self._next = self._length
            self._grow(width)
        start, self._next = self._next, self._next + width
        return start, self._view(start, width)

    def release(self, start: int, width: int) -> None:
        """Take back cells that readers have seen; they rest before somebody else gets them."""
        self._free.setdefault(width, deque()).append((time.monotonic(), start))

    def put_back(self, start: int, width: int) -> None:
        """Take back cells that nobody else knows of."""
        self._free.setdefault(width, deque()).appendleft((-inf, start))

    def close(self) -> None:
        """Close the file; what is mapped of it stays so."""
        self._file.let_go()

    def _grow(self, width: int) -> None:
        """Add a segment; the disk's room is claimed now, for a write into a hole of a full disk would kill us."""
        # In step with what there is, since each segment keeps a descriptor of the file.
        start, cells = self._length, -(-max(width, self._length // 4) // _SEGMENT) * _SEGMENT
        claim(self._file.number, start * CELL, cells * CELL)
        try:
            mapped = mmap.mmap(self._file.number, cells * CELL, mmap.MAP_SHARED, offset=start * CELL)
        except ValueError as error:
            raise OSError(errno.EIO, f"somebody has cut off the file of cells: {error}") from error
        view: memoryview[Any] = memoryview(mapped)
        segment = start, view.cast("d")
        if self._length == start:  # no signal handler has been here
            self._segments = [*self._segments, segment]
            self._length = start + cells

    def _view(self, start: int, width: int) -> memoryview[float]:
        first, view = next((first, view) for first, view in reversed(self._segments) if first <= start)
        return view[start - first : start - first + width]
