"""The directory that the workers of one service share: its files, its locks, who is alive, whose boot it is."""

from __future__ import annotations

import contextlib
import itertools
import logging
import mmap
import os
import shutil
import time
import uuid
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from vitalsign.exceptions import ProcessesError
from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.processes.descriptors import Descriptor, claim, open_file, read_part

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ALIVE",
    "BROKEN",
    "CELL",
    "CELLS",
    "NAMES",
    "PATIENCE",
    "RETIRED",
    "TEMPORARY",
    "Directory",
    "boot_identity",
]

_log = logging.getLogger("vitalsign")

ALIVE, CELLS, NAMES, TEMPORARY, WORKER = ".alive", ".cells", ".names", ".tmp", ".worker"
CELL = 8
"""Bytes of a cell: an IEEE 754 double, in the machine's byte order."""

RETIRED, BROKEN = "retired", "retired.broken"
_LOCK, _BOOT = "lock", "boot"
_STRAY_AGE = 3600.0  # seconds
PATIENCE = 5.0
"""Seconds that a scrape waits for a fold, which takes a few hundredths as a rule."""
_PAUSE = 0.005  # seconds from one try to the next
_PROBE = 65_536  # bytes: room for one process
_CHECKSUM = 8  # bytes at the beginning of the retired file


class Directory:
    """
    Where the workers of one service meet.

    Attributes:
        path: The directory, absolute and without links: the process may go to another one, and links change.
        file_mode: Permissions of files in it; None leaves them to the umask.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, mode: int | None = None, group: str | int | None = None
    ) -> None:
        """
        Make the directory if it is not there, and clean it of what an earlier boot has left.

        Args:
            path: The directory.
            mode: Its permissions, such as 0o770; None leaves them to the umask.
            group: Its group, by name or number, which files in it take over.

        Raises:
            ProcessesError: It cannot be made or written, or the platform has no file locks.
        """
        if fcntl is None:
            raise ProcessesError("Sharing metrics between processes needs file locks, which this platform lacks.")
        self.path: Path = Path(path)
        self.file_mode: int | None = None if mode is None else mode & 0o666
        self._held: set[int] = set()  # descriptors of the directory's lock
        try:
            if not os.fspath(path):
                raise ValueError("it has no name")  # noqa: TRY301  # it ends with the other reasons
            self._make(mode, group)
            self._clean()
        except (OSError, LookupError, ValueError) as error:
            raise ProcessesError(
                f"The directory {os.fspath(path)!r} for the metrics of all processes cannot be used: {error}. Make it "
                "writable for every worker, for example by configure(processes=..., mode=0o770, group=...), or name "
                "another directory."
            ) from error

    def new_name(self) -> str:
        """Return a name that no process has or had here."""
        return f"{os.getpid()}-{uuid.uuid4().hex[:16]}"

    def lock_alive(self, name: str) -> Descriptor:
        """
        Lock the file that says that the process of this name lives; the kernel lets go of it at any death.

        It gets its name once it is locked, or somebody could find it unlocked in between and take us for dead.
        """
        temporary = self.path / f"{name}{TEMPORARY}"
        descriptor = open_file(temporary, os.O_RDONLY | os.O_CREAT | os.O_EXCL, self.file_mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            temporary.rename(self.path / f"{name}{ALIVE}")
        except OSError:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        return Descriptor(descriptor)

    def claim_worker(self) -> tuple[int, Descriptor]:
        """Claim the smallest number that no living worker has: a label for workers that stays bounded."""
        for number in itertools.count():
            descriptor = open_file(self.path / f"{number}{WORKER}", os.O_RDONLY | os.O_CREAT, self.file_mode)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return number, Descriptor(descriptor)
        raise OSError("no number is left for another worker")

    def names(self) -> list[str]:
        """
        Return the names of all processes that have files here.

        Raises:
            OSError: The directory cannot be read.
        """
        return sorted(
            entry.name.removesuffix(ALIVE)
            for entry in os.scandir(self.path)
            if entry.name.endswith(ALIVE) and entry.is_file(follow_symlinks=False)
        )

    def is_alive(self, name: str) -> bool:
        """Tell whether the process of this name holds its lock; one that cannot be asked is taken for alive."""
        try:
            descriptor = open_file(self.path / f"{name}{ALIVE}", os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError as error:
            internal_error("processes", error)
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def remove(self, name: str) -> None:
        """Remove the files of one process; the one by which it is found goes last: dying here leaves no strays."""
        for suffix in (TEMPORARY, CELLS, NAMES, ALIVE):
            (self.path / f"{name}{suffix}").unlink(missing_ok=True)

    def remove_strays(self) -> None:
        """Remove what processes left that died before they could be found by anybody."""
        known = set(self.names())
        for entry in list(os.scandir(self.path)):
            name, suffix = os.path.splitext(entry.name)  # noqa: PTH122  # of an entry, not of a path
            if suffix not in (TEMPORARY, CELLS, NAMES) or name in known or not entry.is_file(follow_symlinks=False):
                continue
            with contextlib.suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > _STRAY_AGE:
                    Path(entry.path).unlink()

    def mark_of_retired(self) -> tuple[object, ...] | None:
        """
        Return what changes whenever the retired file does; None if there is none.

        Its checksum is part of it: an inode is used again soon, and the clock of a file system ticks slowly.

        Raises:
            OSError: It cannot be read.
        """
        path = self.path / RETIRED
        try:
            status = path.lstat()
            checksum = read_part(path, size=_CHECKSUM) if S_ISREG(status.st_mode) else b""
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns, checksum

    def replace(self, name: str, data: bytes) -> None:
        """
        Put a file with this content in the place of the one before, in one step.

        Raises:
            OSError: It cannot be written; the one before stays.
        """
        temporary = self.path / f"{name}{TEMPORARY}"
        temporary.unlink(missing_ok=True)  # who died while writing it may have been another user
        try:
            descriptor = open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self.file_mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            temporary.replace(self.path / name)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def let_go(self) -> None:
        """Close the copies of the directory's lock that a forked child got of threads that it does not have."""
        while self._held:
            Descriptor(self._held.pop()).let_go()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """
        Keep folders out while the files are read: a scrape that saw half a fold would see counters go down.

        Raises:
            TimeoutError: Another process has not come to the end of its fold; perhaps it has been stopped.
        """
        with self._locked(fcntl.LOCK_SH, patience=PATIENCE):
            yield

    @contextlib.contextmanager
    def folding(self, *, wait: bool = False) -> Iterator[bool]:
        """Keep all others out; yields whether that succeeded, which without *wait* it may not."""
        with contextlib.ExitStack() as locked:
            try:
                locked.enter_context(self._locked(fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB))
            except BlockingIOError:
                is_alone = False
            else:
                is_alone = True
            yield is_alone

    @contextlib.contextmanager
    def _locked(self, operation: int, *, patience: float | None = None) -> Iterator[None]:
        # A descriptor of its own each time: locks belong to the open file, so threads exclude each other too.
        descriptor = open_file(self.path / _LOCK, os.O_RDONLY | os.O_CREAT, self.file_mode)
        self._held.add(descriptor)
        try:
            if patience is None:
                fcntl.flock(descriptor, operation)
            else:
                self._try_for(patience, descriptor, operation)
            yield
        finally:
            # Not by closing: a child that was forked meanwhile has a copy, and would go on keeping the others out.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            self._held.discard(descriptor)
            os.close(descriptor)

    def _try_for(self, seconds: float, descriptor: int, operation: int) -> None:
        until = time.monotonic() + seconds
        while True:
            try:
                return fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    message = f"{self.path} has been locked for {seconds:g} s; is the process that adds up stopped?"
                    raise TimeoutError(message) from None
            time.sleep(_PAUSE)

    def _make(self, mode: int | None, group: str | int | None) -> None:
        is_new = not self.path.is_dir()
        self.path.mkdir(parents=True, exist_ok=True)
        self.path = self.path.resolve()
        if is_new or self.path.stat().st_uid == os.geteuid():
            if group is not None:
                shutil.chown(self.path, group=group)
            if mode is not None:
                self.path.chmod(mode | (0o2000 if group is not None else 0))
        self._try_out()

    def _try_out(self) -> None:
        """Do once what every process will do here: claim room, map it, lock it."""
        probe = self.path / f"{self.new_name()}{TEMPORARY}"
        descriptor = open_file(probe, os.O_RDWR | os.O_CREAT | os.O_EXCL, self.file_mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            claim(descriptor, 0, _PROBE)
            mmap.mmap(descriptor, _PROBE, mmap.MAP_SHARED).close()
        finally:
            os.close(descriptor)
            probe.unlink(missing_ok=True)  # another worker that starts may just be cleaning up after an earlier boot

    def _clean(self) -> None:
        """Start from nothing if all that is here belongs to an earlier boot; never while anybody lives."""
        if self._is_of_this_boot():  # without the lock: whoever has it may take long
            return
        with self.folding(wait=True):
            if self._is_of_this_boot():
                return
            if any(map(self.is_alive, self.names())):
                _log.warning(
                    "%s is in use by processes of another boot or container; its metrics are shared with them.",
                    self.path,
                )
            else:
                self._wipe()
            self.replace(_BOOT, boot_identity().encode())

    def _is_of_this_boot(self) -> bool:
        try:
            return read_part(self.path / _BOOT) == boot_identity().encode()
        except FileNotFoundError:
            return False

    def _wipe(self) -> None:
        for entry in list(os.scandir(self.path)):
            is_ours = entry.name.endswith((ALIVE, CELLS, NAMES, TEMPORARY)) or entry.name in (RETIRED, BROKEN)
            if is_ours and not entry.is_dir(follow_symlinks=False):
                Path(entry.path).unlink(missing_ok=True)


def boot_identity() -> str:
    """
    Return a text that is another one after each boot of the machine or of the container.

    A container has its host's boot id, so the start of its first process is joined to it.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        first = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "unknown"  # what is left over stays: better old counts than lost ones
    return f"{boot} {first}"
