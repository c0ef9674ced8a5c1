"""A directory as the processes of a service share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.workers import Fleet
from vitalsign.metrics import internal
from vitalsign.metrics.processes.directory import Directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    """Return a directory that is shared."""
    return Directory(tmp_path / "shared")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Return workers that end with the test."""
    fleet = Fleet(tmp_path / "shared")
    yield fleet
    fleet.close()


@pytest.fixture
def unreported(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """Forget which failures have been logged; returns what counts those of the processes."""
    monkeypatch.setattr(internal, "_reported", set())
    counter = internal._counter().labels("processes")
    before = counter._read()
    return lambda: counter._read() - before
