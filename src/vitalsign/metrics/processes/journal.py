"""
What a worker tells the others about its cells: an append-only file of records, one to a line.

A line is the CRC-32 of the rest, in hexadecimal, a space, and a JSON list whose first member names the record:

    ["process", pid, worker, time]          who writes this file, and since when: always the first record
    ["family", number, registry, spec, max_series]      a metric, by its description
    ["child", number, family, labels, created, offset]  one label set of it, and where its cells begin, in units of
                                            8 bytes; null for an Info, which has none
    ["cells", child, offset]                where those of one more thread begin
    ["info", child, facts, time]            what an Info tells
    ["exemplar", child, place, labels, value, time]
    ["gone", child]                         removed: none of its cells count any more

A reader stops at a line that is not whole yet, and for good at one whose sum is wrong. By the first record it knows
a file that has been written anew: an inode's number is soon given to another file.
"""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any
from zlib import crc32

from vitalsign.metrics.processes.descriptors import Descriptor, open_file
from vitalsign.metrics.processes.directory import TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["HEAD", "CorruptJournalError", "Journal", "JournalTail", "decode", "encode"]

Record = list[Any]

_MIN_COMPACTION = 256 * 1024  # bytes: below that a rewrite saves nothing worth having
_BATCH = 200  # lines decoded at once: fast, and few enough not to become the garbage collector's business
_MAX_UNREAD = 1 << 30  # bytes: a gibibyte of names is none of ours, and would fill our memory
HEAD = 96
"""Bytes that hold a journal's first record."""


class CorruptJournalError(ValueError):
    """A journal holds a line that no worker has written."""


def encode(record: Record) -> bytes:
    """Write one record as a line."""
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    return b"%08x %s\n" % (crc32(text), text)


class Journal:
    """The journal of this process: written by it alone."""

    def __init__(self, path: Path, mode: int | None = None) -> None:
        """
        Create the file.

        Raises:
            OSError: It cannot be created.
        """
        self._path = path
        self._mode = mode
        self._file = Descriptor(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, mode))
        self._size = 0
        self._compact_at = _MIN_COMPACTION
        self._is_busy = False

    @property
    def is_long(self) -> bool:
        """Whether it is time to write it anew, without what holds no more."""
        return self._size >= self._compact_at and not self._is_busy

    def append(self, record: Record) -> None:
        """
        Add a record.

        Raises:
            OSError: The disk is full, for example. What was written of it is cut off again.
        """
        data = encode(record)
        size, was_busy, self._is_busy = len(data), self._is_busy, True  # no signal handler takes the file away
        try:
            self._append(data)
            self._size += size  # nothing is called in here: a signal handler may append too
        finally:
            self._is_busy = was_busy

    def _append(self, data: bytes) -> None:
        number = self._file.number
        try:
            _write(number, data)
        except OSError:
            os.ftruncate(number, self._size)
            raise

    def rewrite(self, records: Callable[[], Iterable[Record]]) -> None:
        """
        Replace all records by these. Readers see the old file or the new one, never a mixture.

        Args:
            records: Makes them; called again if a signal handler or a finalizer has appended something meanwhile.

        Raises:
            OSError: The new file cannot be written; the old one stays.
        """
        self._is_busy = True
        try:
            while not self._rewrite(records):
                pass
        except OSError:
            self._compact_at = self._size + _MIN_COMPACTION
            raise
        finally:
            self._is_busy = False

    def _rewrite(self, records: Callable[[], Iterable[Record]]) -> bool:
        size_before = self._size
        data = b"".join(map(encode, records()))
        size = len(data)
        temporary = self._path.with_suffix(TEMPORARY)
        new = Descriptor(open_file(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, self._mode))
        try:
            _write(new.number, data)
        except OSError:
            new.let_go()
            temporary.unlink()
            raise
        if self._size != size_before:
            new.let_go()
            return False
        # From the test to here nothing is called, so nothing comes in between; what comes now is in the new file.
        old, self._file, self._size = self._file, new, size
        try:
            os.replace(temporary, self._path)  # noqa: PTH105  # that of Path calls more
        except OSError:
            self._take_back(old, size_before, size)
            temporary.unlink(missing_ok=True)
            raise
        old.let_go()
        self._compact_at = max(_MIN_COMPACTION, 2 * size)
        return True

    def _take_back(self, old: Descriptor, old_size: int, size: int) -> None:
        """Go on in the old file, with what a signal handler has appended to the new one since it had *size* bytes."""
        new, self._file, late, self._size = self._file, old, self._size - size, old_size
        _write(old.number, os.pread(new.number, late, size))
        self._size += late
        new.let_go()

    def close(self) -> None:
        """Close the file."""
        self._file.let_go()


def _write(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    if written != len(data):
        raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes could be written")


class JournalTail:
    """The journal of another process, read as far as it goes, and further the next time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head = b""
        self._offset = 0
        self._is_broken = False

    def read(self) -> tuple[bool, Iterable[Record]]:
        """
        Read what has been added; nothing if there is no file.

        Returns:
            Whether the file is another one than before, so that all read earlier holds no more; and the new records,
            whose iteration raises `CorruptJournalError` at a line that is broken.

        Raises:
            OSError: The file cannot be read.
        """
        try:
            descriptor = open_file(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return False, ()
        try:
            is_new = self._look_at(os.pread(descriptor, HEAD, 0))
            if self._is_broken:
                return is_new, ()
            left = os.fstat(descriptor).st_size - self._offset
            if left > _MAX_UNREAD:
                raise OSError(errno.EFBIG, f"{self._path} has {left} bytes to be read, more than any of ours would")
            data = os.pread(descriptor, max(0, left), self._offset)
        finally:
            os.close(descriptor)
        whole = data.rfind(b"\n") + 1  # what is not whole yet may be cut off again: it is read anew the next time
        self._offset += whole
        return is_new, _decode_all(data[:whole].split(b"\n")[:-1])

    def stop(self) -> None:
        """Read no more of this file."""
        self._is_broken = True

    def _look_at(self, head: bytes) -> bool:
        is_new = not head.startswith(self._head)
        if is_new:
            self._offset, self._is_broken = 0, False
        self._head = head.partition(b"\n")[0]
        return is_new


def _decode_all(lines: list[bytes]) -> Iterator[Record]:
    for start in range(0, len(lines), _BATCH):
        yield from _decode_batch(lines[start : start + _BATCH])


def _decode_batch(lines: list[bytes]) -> Iterable[Record]:
    try:
        bodies = [line[9:] for line in lines if line[:9] == b"%08x " % crc32(line[9:])]
        records: list[Any] = json.loads(b"[%s]" % b",".join(bodies))
        if len(records) == len(lines) and all(map(_is_record, records)):
            return records
    except (ValueError, RecursionError):
        pass
    return map(decode, lines)  # one by one, up to the one that is broken


def _body(line: bytes) -> bytes:
    body = line[9:]
    if line[:9] != b"%08x " % crc32(body):
        raise CorruptJournalError(f"not a record: {line[:60]!r}")
    return body


def decode(line: bytes) -> Record:
    """
    Read one line.

    Raises:
        CorruptJournalError: It is none of ours.
    """
    try:
        record = json.loads(_body(line))
    except (ValueError, RecursionError) as error:
        raise CorruptJournalError(f"not a record: {line[:60]!r}") from error
    if not _is_record(record):
        raise CorruptJournalError(f"not a record: {line[:60]!r}")
    return record  # type: ignore[no-any-return]  # what it holds is judged by whoever takes it


def _is_record(record: object) -> bool:
    return isinstance(record, list) and bool(record)
