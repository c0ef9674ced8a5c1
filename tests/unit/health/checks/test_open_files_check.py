"""File descriptors: few, many, none left."""

from __future__ import annotations

import errno
import resource
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.processes import run_script
from tests.unit.health.checks.upstreams import outcome
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import checks

if TYPE_CHECKING:
    from vitalsign.health import HealthChecker


def test_this_process_passes(health: HealthChecker) -> None:
    """A process with few descriptors passes, and tells how many of how many are open; the check is critical."""
    result = outcome(health, checks.open_files(warn=1.0, fail=1.0))
    assert (result.status, result.critical, result.unit) == ("pass", True, "files")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert result.message == f"{result.value} of {limit} descriptors are open"


@pytest.mark.parametrize(("count", "status"), [(79, "pass"), (80, "warn"), (94, "warn"), (95, "fail")])
def test_share_of_the_limit_decides(
    health: HealthChecker, monkeypatch: pytest.MonkeyPatch, count: int, status: str
) -> None:
    """At 80 % of the limit it warns, at 95 % it fails."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    monkeypatch.setattr(psutil.Process, "num_fds", lambda _: count)
    assert outcome(health, checks.open_files()).status == status


def test_process_without_limit_passes(health: HealthChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system sets no limit, none is reached."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert outcome(health, checks.open_files()).message == "this system sets no limit"


def test_process_that_has_none_left_fails() -> None:
    """A process that has used up its descriptors fails, though not even counting them works any more."""
    printed = run_script(
        """
        import os, resource
        from vitalsign.health import checks
        check = checks.open_files()
        check.func()                              # loads what it needs while that can be opened
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        held = []
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            result = check.func()
            print(result.status, result.message)
        """
    )
    assert printed == "fail not one of 64 descriptors is left, not even to count them\n"


def test_other_errors_are_those_of_a_failed_check(health: HealthChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that does not mean that none is left is told as it is."""

    def refuse(_: object) -> int:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(psutil.Process, "num_fds", refuse)
    assert outcome(health, checks.open_files()).message == "raised PermissionError"


@pytest.mark.parametrize("settings", [{"warn": 80}, {"fail": 1.1}, {"warn": 0.9, "fail": 0.8}, {"warn": -0.1}])
def test_shares_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    """A share is from 0 to 1, and the warning comes first."""
    with pytest.raises(HealthCheckError, match="heck 'open_files'"):
        checks.open_files(**settings)
