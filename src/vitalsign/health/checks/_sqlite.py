"""A database of SQLite that can be opened, and is one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vitalsign.health._check import Check, Result, Status

if TYPE_CHECKING:
    import os

__all__ = ["sqlite"]

_FOR_A_LOCK = 0.8
"""Share of the timeout that another connection's lock is waited for."""


def sqlite(
    path: str | os.PathLike[str], *, writable: bool = False, timeout: float | None = None, name: str = "sqlite"
) -> Check:
    """
    Check that a file is a database of SQLite that can be read. Not critical unless told otherwise.

    Each run opens the file and closes it. A missing file is not made.

    Args:
        path: Of the file.
        writable: Whether it must be possible to write too: a write lock is taken, and given back.
        timeout: Seconds for one run; None takes the checker's.
        name: Of the check.
    """
    look = partial(_look, path, writable)
    return Check(name, look, critical=False, timeout=timeout, external=True, takes_timeout=True)


def _look(path: str | os.PathLike[str], writable: bool, seconds: float) -> Result:
    address = f"{Path(path).resolve().as_uri()}?mode={'rw' if writable else 'ro'}"
    patience = seconds * _FOR_A_LOCK
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=patience, isolation_level=None)) as connection:
            connection.execute("select count(*) from sqlite_master").fetchone()
            if writable:
                connection.execute("begin immediate")
                connection.execute("rollback")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return Result(Status.FAIL, f"another connection has locked it for {patience:g} s")
        raise
    return Result(Status.PASS)
