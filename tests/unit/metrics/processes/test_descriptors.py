"""Descriptors that the host may close, and files that may be something else than what their names say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.processes import run_script
from vitalsign.metrics.processes.descriptors import Descriptor, open_file, read_part

if TYPE_CHECKING:
    from pathlib import Path


def test_descriptor_that_has_become_another_files_is_left_alone(tmp_path: Path) -> None:
    """A number that the host has closed and another file has got is neither used nor closed."""
    held = Descriptor(open_file(tmp_path / "ours", os.O_RDWR | os.O_CREAT))
    number = held.number
    os.close(number)
    theirs = os.open(tmp_path / "theirs", os.O_RDWR | os.O_CREAT)
    assert theirs == number
    assert not held.is_ours
    with pytest.raises(OSError, match="somebody has closed"):
        _ = held.number
    held.let_go()
    assert os.fstat(theirs)
    os.close(theirs)


def test_descriptor_is_let_go_of_once(tmp_path: Path) -> None:
    """Whoever gets the number afterwards keeps it."""
    held = Descriptor(open_file(tmp_path / "ours", os.O_RDWR | os.O_CREAT))
    held.let_go()
    again = os.open(tmp_path / "ours", os.O_RDWR)
    held.let_go()
    assert os.fstat(again)
    os.close(again)


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Who may write the directory cannot make a root master change the permissions of any other file."""
    secret = tmp_path / "secret"
    secret.touch(0o600)
    (tmp_path / "lock").symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        open_file(tmp_path / "lock", os.O_RDONLY | os.O_CREAT, 0o666)
    assert secret.stat().st_mode & 0o777 == 0o600


def test_pipes_do_not_block(tmp_path: Path) -> None:
    """A pipe in the place of a file is empty, or an error, at once."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="Illegal seek"):
        read_part(tmp_path / "pipe", size=8)


def test_part_of_a_file(tmp_path: Path) -> None:
    """A part is read from where it begins to where it ends, or the file does."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_part(path) == b"0123456789"
    assert read_part(path, 3, 4) == b"3456"
    assert read_part(path, 8, 4) == b"89"
    assert read_part(path, 20) == b""


def test_host_that_closes_everything_keeps_its_files(tmp_path: Path) -> None:
    """A host that closes all descriptors and opens its own gets nothing of ours in them, and goes on counting."""
    script = """
        import os, sys
        from vitalsign import Counter, Histogram, configure, generate_latest
        from vitalsign.metrics import internal
        configure(processes=sys.argv[1] + "/shared")
        jobs = Counter("jobs", "Jobs.", ["kind"])
        jobs.labels("before").inc()
        os.closerange(3, 100)
        files = [os.open(f"{sys.argv[1]}/{number}", os.O_RDWR | os.O_CREAT, 0o600) for number in range(20)]
        for number in range(20_000):
            jobs.labels(f"after {number % 9000}").inc()
        assert [os.fstat(file).st_size for file in files] == [0] * 20
        page = generate_latest().decode()
        assert 'jobs_total{kind="before"} 1.0' in page, page
        assert 'jobs_total{kind="after 1"} 3.0' in page, page
        assert 'vitalsign_internal_errors_total{where="processes"}' in page
    """
    assert "somebody has closed a file" in run_script(script, str(tmp_path))


def test_child_that_becomes_a_daemon_is_seen_by_the_others(tmp_path: Path) -> None:
    """A worker that closes all descriptors before its first count is taken for alive, and its counts are shown."""
    script = """
        import os, signal, sys
        from vitalsign import Counter, Gauge, configure, generate_latest
        configure(processes=sys.argv[1])
        jobs, busy = Counter("jobs", "Jobs."), Gauge("busy", "Busy.", multiprocess_mode="livesum")
        jobs.inc()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3, 100):
                if number != writing:
                    os.dup2(null, number)
            for _ in range(3):
                jobs.inc()
            busy.inc()
            os.write(writing, b"1")
            signal.pause()
        os.read(reading, 1)
        page = generate_latest().decode()
        assert "jobs_total 4.0" in page, page
        assert "busy 1.0" in page, page
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        page = generate_latest().decode()
        assert "jobs_total 4.0" in page, page
        assert "busy 0.0" in page, page
    """
    assert run_script(script, str(tmp_path / "shared")) == ""
