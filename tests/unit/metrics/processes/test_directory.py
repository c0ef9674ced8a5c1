"""The directory: made, cleaned, locked, and errors that say what to do."""

from __future__ import annotations

import logging
import os
import resource
import stat
import threading
import time
from pathlib import Path

import pytest

from tests.processes import forked
from vitalsign.exceptions import ProcessesError
from vitalsign.metrics.processes import directory as module
from vitalsign.metrics.processes.directory import Directory, boot_identity

DESCRIPTORS = Path("/proc/self/fd")


def files_in(directory: Directory) -> set[str]:
    """Return the names of all that is in the directory."""
    return {path.name for path in directory.path.iterdir()}


def let_others_pass(path: Path) -> None:
    """Let other users reach what is in a directory that belongs to a test."""
    for each in (path, *path.parents):
        mode = stat.S_IMODE(each.stat().st_mode)
        if not mode & stat.S_IXOTH:
            each.chmod(mode | stat.S_IXOTH)


def test_directory_is_made_with_its_parents_and_mode(tmp_path: Path) -> None:
    """The directory is made where there is none, with the mode that is asked for, whatever the umask."""
    previous = os.umask(0o077)
    try:
        directory = Directory(tmp_path / "a" / "b", mode=0o770)
        directory.lock_alive("x")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o770
    assert {stat.S_IMODE((directory.path / name).stat().st_mode) for name in files_in(directory)} == {0o660}


def test_group_is_taken_over_by_files(tmp_path: Path) -> None:
    """With a group, the directory hands it on to the files that are made in it."""
    directory = Directory(tmp_path / "shared", mode=0o770, group=os.getgid())
    assert directory.path.stat().st_mode & stat.S_ISGID


def test_relative_path_survives_a_change_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that goes to another directory, as a daemon does, keeps the one that it shares."""
    monkeypatch.chdir(tmp_path)
    directory = Directory("shared")
    monkeypatch.chdir("/")
    assert directory.path == tmp_path / "shared"
    assert directory.names() == []


@pytest.mark.parametrize("make", [lambda path: path.touch(), lambda path: path.symlink_to(path / "nowhere")])
def test_unusable_directory_is_a_clear_error(tmp_path: Path, make: object) -> None:
    """What cannot be a directory is refused at once: the error names it, the cause and the fix."""
    make(tmp_path / "shared")  # type: ignore[operator]
    with pytest.raises(ProcessesError, match=r"shared' for the metrics .* cannot be used: .*mode=0o770, group="):
        Directory(tmp_path / "shared")


def test_unknown_group_is_a_clear_error(tmp_path: Path) -> None:
    """A group that the machine does not know is refused with the same advice."""
    with pytest.raises(ProcessesError, match=r"cannot be used: .*no-such-group"):
        Directory(tmp_path / "shared", group="no-such-group")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_directory_that_is_not_writable_is_a_clear_error(tmp_path: Path) -> None:
    """A worker that may not write the directory hears so when it starts."""
    path = Directory(tmp_path / "shared", mode=0o755).path
    let_others_pass(tmp_path)

    def start() -> str:
        os.setuid(65534)
        try:
            Directory(path)
        except ProcessesError as error:
            return str(error)
        return "no error"

    assert "Permission denied" in forked(start)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_of_another_user_share_what_root_has_made(tmp_path: Path) -> None:
    """After a root master has made everything under a strict umask, workers of the group lock, claim and fold."""
    previous = os.umask(0o077)
    try:
        directory = Directory(tmp_path / "shared", mode=0o770, group=65534)
        _, lock = directory.claim_worker()
        directory.lock_alive("root")
    finally:
        os.umask(previous)
    let_others_pass(tmp_path)

    def work() -> tuple[int, bool, bool]:
        os.setgid(65534)
        os.setuid(65534)
        own = Directory(directory.path, mode=0o770)
        with own.folding() as alone:
            own.replace("retired", b"x")
        return own.claim_worker()[0], own.is_alive("root"), alone

    assert forked(work) == (1, True, True)
    lock.let_go()


def test_no_locks_on_the_platform_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no file locks, the error says so."""
    monkeypatch.setattr(module, "fcntl", None)
    with pytest.raises(ProcessesError, match="file locks"):
        Directory(tmp_path / "shared")


def test_leftovers_of_an_earlier_boot_are_cleaned(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """After another boot nothing of the one before is left; files that are not ours are not touched."""
    leftovers = ("1-a.alive", "1-a.cells", "1-a.names", "1-a.tmp", "retired", "retired.tmp")
    for name in (*leftovers, "notes.txt"):
        (directory.path / name).write_text("x")
    (directory.path / "folder.cells").mkdir()
    Directory(directory.path)
    assert set(leftovers) <= files_in(directory)
    monkeypatch.setattr(module, "boot_identity", lambda: "another")
    Directory(directory.path)
    assert files_in(directory) == {"boot", "lock", "notes.txt", "folder.cells"}
    assert (directory.path / "boot").read_text() == "another"


def test_workers_that_start_together_do_not_clean_each_other_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that cleans up while another one tries the directory out takes its probe away, and both start."""
    claim = module.claim

    def claim_while_another_starts(descriptor: int, start: int, end: int) -> None:
        monkeypatch.setattr(module, "claim", claim)
        Directory(tmp_path)
        assert not list(tmp_path.glob("*.tmp"))
        claim(descriptor, start, end)

    monkeypatch.setattr(module, "claim", claim_while_another_starts)
    Directory(tmp_path)
    assert module.claim is claim


def test_directory_in_use_by_another_boot_is_shared_with_a_warning(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While a process of another container lives, nothing is cleaned; who has joined keeps what is there then."""
    lock = directory.lock_alive("1-a")
    (directory.path / "1-b.cells").touch()
    monkeypatch.setattr(module, "boot_identity", lambda: "another")
    with caplog.at_level(logging.WARNING, "vitalsign"):
        Directory(directory.path)
    assert "in use by processes of another boot or container" in caplog.text
    assert {"1-a.alive", "1-b.cells"} <= files_in(directory)
    lock.let_go()
    Directory(directory.path)
    assert {"1-a.alive", "1-b.cells"} <= files_in(directory)
    monkeypatch.setattr(module, "boot_identity", lambda: "a third")
    Directory(directory.path)
    assert files_in(directory) == {"boot", "lock"}


def test_boot_identity_stays_within_a_boot() -> None:
    """Asked twice, and in a child, the boot is the same."""
    assert boot_identity() == boot_identity() == forked(boot_identity) != ""


def test_life_is_the_lock_and_not_the_process(directory: Directory) -> None:
    """A name is alive while its lock is held, also from within the same process, and dead afterwards."""
    lock = directory.lock_alive("x")
    assert directory.names() == ["x"]
    assert directory.is_alive("x")
    lock.let_go()
    lock.let_go()
    assert not directory.is_alive("x")
    assert not directory.is_alive("nobody")


def test_failed_start_leaves_nothing(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock file that cannot get its name is removed again, its descriptor closed."""
    open_before = len(list(DESCRIPTORS.iterdir()))

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="No space"):
        directory.lock_alive("x")
    assert files_in(directory) == {"boot", "lock"}
    assert len(list(DESCRIPTORS.iterdir())) == open_before


def test_workers_take_the_smallest_free_number(directory: Directory) -> None:
    """Numbers of the living are distinct, and that of one that has ended is given again."""
    claims = [directory.claim_worker() for _ in range(3)]
    assert [number for number, _ in claims] == [0, 1, 2]
    claims[1][1].let_go()
    assert directory.claim_worker()[0] == 1


def test_readers_keep_folders_out_and_not_each_other(directory: Directory) -> None:
    """Two may read at once; who would fold meanwhile is told to leave it, and succeeds afterwards."""
    with directory.reading(), directory.reading(), directory.folding() as alone:
        assert not alone
    with directory.folding() as alone:
        assert alone
        with directory.folding() as second:
            assert not second


def test_child_forked_while_the_directory_is_locked_keeps_nobody_out(directory: Directory) -> None:
    """A child that was forked in the middle of a fold has a copy of the lock, and still the next fold goes on."""
    with directory.folding():
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
    try:
        with directory.folding() as alone:
            assert alone
    finally:
        os.close(writing)
        os.waitpid(pid, 0)


def test_forked_child_lets_go_of_its_copies(directory: Directory) -> None:
    """A child closes the lock that a thread of its parent held when it was forked."""
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with directory.folding():
            inside.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()

    def in_child() -> bool:
        directory.let_go()
        return directory.path / "lock" in {path.readlink() for path in DESCRIPTORS.iterdir() if path.is_symlink()}

    assert forked(in_child) is False
    done.set()
    thread.join()


def test_strays_are_removed_once_they_are_old(directory: Directory) -> None:
    """Files of a process that died before it could be found go after an hour; those of the living stay."""
    lock = directory.lock_alive("1-a")
    for name in ("1-a.cells", "1-a.tmp", "2-b.cells", "2-b.names", "2-b.tmp", "new.tmp", "notes.txt"):
        (directory.path / name).touch()
        if name != "new.tmp":
            os.utime(directory.path / name, (time.time() - 4000,) * 2)
    directory.remove_strays()
    assert files_in(directory) == {"1-a.alive", "1-a.cells", "1-a.tmp", "boot", "lock", "new.tmp", "notes.txt"}
    lock.let_go()


def test_failed_replacement_keeps_the_file_before(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be replaced stays as it was, and nothing is left beside it."""
    directory.replace("retired", b"old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        directory.replace("retired", b"new")
    assert (directory.path / "retired").read_bytes() == b"old"
    assert files_in(directory) == {"boot", "lock", "retired"}


def test_link_to_a_directory_is_what_it_leads_to_at_the_start(tmp_path: Path) -> None:
    """A release that lets the link lead elsewhere does not part running processes from their files."""
    (tmp_path / "old").mkdir()
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "old")
    directory = Directory(link)
    link.unlink()
    link.symlink_to(tmp_path / "new")
    directory.replace("retired", b"counts")
    assert directory.path == tmp_path / "old"
    assert (tmp_path / "old" / "retired").exists()


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_path_of_nothing_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty path, as of a variable that is not set, does not share the working directory."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProcessesError, match=r"cannot be used: .*name another directory"):
        Directory(path)
    assert list(tmp_path.iterdir()) == []


def test_name_of_any_bytes_is_a_directory(tmp_path: Path) -> None:
    """A path that is no UTF-8 works as any other."""
    directory = Directory(os.fsdecode(bytes(tmp_path) + b"/caf\xe9 \xff"))
    directory.lock_alive("x")
    assert directory.names() == ["x"]


def test_start_does_not_wait_for_whoever_folds(directory: Directory) -> None:
    """While the boot is the same, a process starts also if another one has been stopped in the middle of a fold."""
    with directory.folding():
        thread = threading.Thread(target=Directory, args=(directory.path,), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()


def test_link_in_the_place_of_the_lock_is_refused(directory: Directory, tmp_path: Path) -> None:
    """What a link leads to is not touched, not even its permissions: the start fails, and says why."""
    secret = tmp_path / "secret"
    secret.touch(0o600)
    for name in ("lock", "boot"):
        (directory.path / name).unlink()
    (directory.path / "lock").symlink_to(secret)
    with pytest.raises(ProcessesError, match="symbolic links"):
        Directory(directory.path, mode=0o777)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_another_retired_file_is_noticed_whatever_its_times(directory: Directory) -> None:
    """A retired file of the same inode, size and time as the one before is another one by its checksum."""
    path = directory.path / "retired"
    path.write_bytes(b"11111111 one")
    mark, status = directory.mark_of_retired(), path.stat()
    path.write_bytes(b"22222222 two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert directory.mark_of_retired() != mark


def test_file_system_without_room_for_one_process_is_refused(tmp_path: Path) -> None:
    """A full disk is an error at the start, and nothing is left of the try."""

    def start() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with pytest.raises(ProcessesError) as caught:
            Directory(tmp_path / "shared")
        return str(caught.value)

    assert "File too large" in forked(start)
    assert list((tmp_path / "shared").iterdir()) == []
