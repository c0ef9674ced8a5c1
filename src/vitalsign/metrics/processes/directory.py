"""The directory that the workers of one service share: its files, its locks, who is alive, whose boot it is."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from vitalsign.exceptions import ProcessesError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ALIVE", "CELLS", "NAMES", "RETIRED", "Directory", "Lock", "boot_identity"]

_log = logging.getLogger("vitalsign")

ALIVE, CELLS, NAMES, WORKER = ".alive", ".cells", ".names", ".worker"
RETIRED = "retired"
_LOCK, _BOOT = "lock", "boot"
_STRAY_AGE = 3600.0  # seconds


class Lock:
    """A file that this process holds locked for as long as it lives; the kernel lets go of it at any death."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def let_go(self) -> None:
        """Close this process's copy of the descriptor; a forked child must, or it would keep its parent alive."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Directory:
    """
    Where the workers of one service meet.

    Attributes:
        path: The directory.
        file_mode: Permissions of files in it.
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
        self.path = Path(path)
        self.file_mode = 0o666 if mode is None else mode & 0o666
        try:
            self._make(mode, group)
            self._clean()
        except (OSError, LookupError) as error:
            raise ProcessesError(
                f"The directory {str(self.path)!r} for the metrics of all processes cannot be used: {error}. Make it "
                "writable for every worker, for example by configure(processes=..., mode=0o770, group=...), or name "
                "another directory."
            ) from error

    def new_name(self) -> str:
        """Return a name that no process has or had here."""
        return f"{os.getpid()}-{uuid.uuid4().hex[:16]}"

    def lock_alive(self, name: str) -> Lock:
        """
        Lock the file that says that the process of this name lives.

        It gets its name once it is locked, or somebody could find it unlocked in between and take us for dead.
        """
        temporary = self.path / f"{name}.tmp"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, self.file_mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            temporary.rename(self.path / f"{name}{ALIVE}")
        except OSError:
            os.close(descriptor)
            raise
        return Lock(descriptor)

    def claim_worker(self) -> tuple[int, Lock]:
        """Claim the smallest number that no living worker has: a label for workers that stays bounded."""
        for number in itertools.count():
            descriptor = os.open(self.path / f"{number}{WORKER}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self.file_mode)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return number, Lock(descriptor)
        raise OSError("no number is left for another worker")

    def names(self) -> list[str]:
        """Return the names of all processes that have files here, in order of their start as far as it shows."""
        return sorted(entry.name.removesuffix(ALIVE) for entry in os.scandir(self.path) if entry.name.endswith(ALIVE))

    def is_alive(self, name: str) -> bool:
        """Tell whether the process of this name holds its lock."""
        try:
            descriptor = os.open(self.path / f"{name}{ALIVE}", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def remove(self, name: str) -> None:
        """Remove the files of one process; the one by which it is found goes last: dying here leaves no strays."""
        for suffix in (CELLS, NAMES, ALIVE):
            (self.path / f"{name}{suffix}").unlink(missing_ok=True)

    def remove_strays(self) -> None:
        """Remove what a process left that died while it opened its files: old, and never found by anybody."""
        known = set(self.names())
        for entry in list(os.scandir(self.path)):
            name, suffix = os.path.splitext(entry.name)  # noqa: PTH122  # of an entry, not of a path
            is_stray = suffix in (CELLS, NAMES) and name not in known
            if is_stray and time.time() - entry.stat().st_mtime > _STRAY_AGE:
                Path(entry.path).unlink(missing_ok=True)

    def mark_of_retired(self) -> tuple[int, int, int] | None:
        """Return what changes whenever the retired file does; None if there is none."""
        try:
            status = (self.path / RETIRED).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Keep folders out while the files are read: a scrape that saw half a fold would see counters go down."""
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def folding(self, *, wait: bool = False) -> Iterator[bool]:
        """Keep all others out; yields whether that succeeded, which without *wait* it may not."""
        try:
            with self._locked(fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield True
        except BlockingIOError:
            yield False

    @contextlib.contextmanager
    def _locked(self, operation: int) -> Iterator[None]:
        # A descriptor of its own each time: locks belong to the open file, so threads exclude each other too.
        descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self.file_mode)
        try:
            fcntl.flock(descriptor, operation)
            yield
        finally:
            os.close(descriptor)

    def _make(self, mode: int | None, group: str | int | None) -> None:
        is_new = not self.path.is_dir()
        self.path.mkdir(parents=True, exist_ok=True)
        if is_new or self.path.stat().st_uid == os.geteuid():
            if group is not None:
                shutil.chown(self.path, group=group)
            if mode is not None:
                self.path.chmod(mode | (0o2000 if group is not None else 0))
        probe = self.path / f"{self.new_name()}.tmp"
        probe.touch()
        probe.unlink()

    def _clean(self) -> None:
        """Start from nothing if all that is here belongs to an earlier boot; never while anybody lives."""
        boot = boot_identity()
        with self.folding(wait=True):
            marker = self.path / _BOOT
            known = marker.read_text() if marker.exists() else None
            if known == boot:
                return
            if any(map(self.is_alive, self.names())):
                _log.warning(
                    "%s is in use by processes of another boot or container; its metrics are shared with them.",
                    self.path,
                )
                return
            for entry in list(os.scandir(self.path)):
                if entry.name.endswith((ALIVE, CELLS, NAMES, ".tmp")) or entry.name == RETIRED:
                    Path(entry.path).unlink(missing_ok=True)
            marker.write_text(boot)


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
