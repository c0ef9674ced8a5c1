"""`checks.sqlite` on real files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from vitalsign.health import checks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vitalsign.health import Check, CheckResult, HealthChecker


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a database, under a name that must be quoted in a URL."""
    path = tmp_path / "shop #1?.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table orders (id)")
        connection.commit()
    return path


def outcome(health: HealthChecker, check: Check) -> CheckResult:
    """Run one check."""
    health.add(check)
    (result,) = health.run_sync().checks
    return result


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_database_passes(health: HealthChecker, path: Path, writable: bool, journal: str) -> None:
    """A database passes, whatever its journal, for reading and for writing; it is not critical."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"pragma journal_mode={journal}")
    result = outcome(health, checks.sqlite(path, writable=writable))
    assert (result.name, result.status, result.critical) == ("sqlite", "pass", False)


def test_missing_file_fails_and_is_not_made(health: HealthChecker, tmp_path: Path) -> None:
    """A file that is not there fails the check, which does not make it, and does not name it."""
    for writable in (False, True):
        health.add(checks.sqlite(tmp_path / "missing.db", writable=writable, name=f"w{writable}"))
    assert {result.message for result in health.run_sync().checks} == {"raised OperationalError"}
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_no_database_fails(health: HealthChecker, tmp_path: Path) -> None:
    """A file of another kind fails."""
    (tmp_path / "notes.txt").write_text("no database" * 100)
    assert outcome(health, checks.sqlite(tmp_path / "notes.txt")).message == "raised DatabaseError"


def test_locked_database_fails_for_writing_alone(make_checker: Callable[..., HealthChecker], path: Path) -> None:
    """While another connection writes, the file can be read; for writing, the check says that it is locked."""
    health = make_checker(timeout=0.5, deadline=20.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        health.add(checks.sqlite(path, name="reading"))
        health.add(checks.sqlite(path, name="writing", writable=True))
        reading, writing = health.run_sync().checks
    assert reading.status == "pass"
    assert (writing.status, writing.message) == ("fail", "another connection has locked it for 0.4 s")


def test_locks_are_given_back(health: HealthChecker, path: Path) -> None:
    """After a check for writing, others can write."""
    assert outcome(health, checks.sqlite(path, writable=True)).status == "pass"
    with closing(sqlite3.connect(path, timeout=0)) as connection:
        connection.execute("insert into orders values (1)")
        connection.commit()
