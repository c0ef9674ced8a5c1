"""
What a worker tells the others about its cells: an append-only file of records, one to a line.

A line is the CRC-32 of the rest, in hexadecimal, a space, and a JSON list whose first member names the record:

    ["process", pid, worker, started]       who writes this
    ["family", number, registry, spec]      a metric, by its description
    ["child", number, family, labels, created]      one label set of it
    ["cells", child, offset]                where one thread's cells of it begin, in units of 8 bytes
    ["info", child, facts, time]            what an Info tells
    ["exemplar", child, place, labels, value, time]
    ["gone", child]                         removed: none of its cells count any more

A reader stops at a line that is not whole yet, and for good at one whose sum is wrong.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["CorruptJournalError", "Journal", "JournalTail", "encode"]

Record = list[Any]

_MIN_COMPACTION = 256 * 1024  # bytes: below that a rewrite saves nothing worth having


class CorruptJournalError(ValueError):
    """A journal holds a line that no worker has written."""


def encode(record: Record) -> bytes:
    """Write one record as a line."""
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    return b"%08x %s\n" % (crc32(text), text)


def _decode(line: bytes) -> Record:
    try:
        if int(line[:8], 16) == crc32(line[9:]) and line[8:9] == b" ":
            record = json.loads(line[9:])
            if isinstance(record, list) and record:
                return record
    except ValueError:
        pass
    raise CorruptJournalError(f"not a record: {line[:60]!r}")


class Journal:
    """The journal of this process: written by it alone."""

    def __init__(self, path: Path, mode: int) -> None:
        """
        Create the file.

        Raises:
            OSError: It cannot be created.
        """
        self._path = path
        self._mode = mode
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, mode)
        self._size = 0
        self._compact_at = _MIN_COMPACTION

    @property
    def is_long(self) -> bool:
        """Whether it is time to write it anew, without what holds no more."""
        return self._size >= self._compact_at

    def append(self, *records: Record) -> None:
        """
        Add records, in one write.

        Raises:
            OSError: The disk is full, for example. What was written of it is cut off again.
        """
        data = b"".join(map(encode, records))
        try:
            written = os.write(self._descriptor, data)
            if written != len(data):
                raise OSError(f"only {written} of {len(data)} bytes could be written to {self._path}")  # noqa: TRY301  # what was written of it is cut off below
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)

    def rewrite(self, records: Iterable[Record]) -> None:
        """
        Replace all records by these. Readers see the old file or the new one, never a mixture.

        Raises:
            OSError: The new file cannot be written; the old one stays.
        """
        temporary = self._path.with_suffix(".tmp")
        data = b"".join(map(encode, records))
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, self._mode)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(f"{temporary} could not be written whole")  # noqa: TRY301  # what was written of it is cut off below
            temporary.replace(self._path)
        except OSError:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._size = len(data)
        self._compact_at = max(_MIN_COMPACTION, 2 * len(data))

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class JournalTail:
    """The journal of another process, read as far as it goes, and further the next time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = 0  # inode
        self._offset = 0
        self._rest = b""

    def read(self) -> tuple[bool, list[Record], CorruptJournalError | None]:
        """
        Read what has been added.

        Returns:
            Whether the file is another one than before, so that all read earlier holds no more; the new records; and
            the error that ended them, if a line is broken.

        Raises:
            OSError: The file cannot be read.
        """
        with self._path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            is_new = status.st_ino != self._file or status.st_size < self._offset
            if is_new:
                self._file, self._offset, self._rest = status.st_ino, 0, b""
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        records = []
        try:
            for line in lines:
                records.append(_decode(line))  # noqa: PERF401  # those before a broken line count
        except CorruptJournalError as error:
            return is_new, records, error
        return is_new, records, None
