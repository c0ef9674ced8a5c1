"""The built-in checks, against the machine itself and real sockets."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.health.checks.upstreams import outcome
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import Check, HealthChecker, Result, Status, checks
from vitalsign.health.checks import _memory
from vitalsign.health.checks._sizes import Size, readable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# -- sizes


@pytest.mark.parametrize(
    ("size", "total", "expected"),
    [
        (10**9, 0, 10**9),
        (0, 0, 0),
        (1.5, 0, 1.5),
        ("1GiB", 0, 2**30),
        ("1 gib", 0, 2**30),
        ("1Gi", 0, 2**30),
        ("500MB", 0, 500 * 10**6),
        ("500M", 0, 500 * 10**6),
        ("1.5kB", 0, 1_500),
        ("2TiB", 0, 2 * 2**40),
        ("1P", 0, 10**15),
        ("12", 0, 12),
        ("12 B", 0, 12),
        ("10%", 2_000, 200),
        ("2.5 %", 2_000, 50),
        ("100%", 7, 7),
    ],
)
def test_sizes_are_read_as_people_write_them(size: Any, total: float, expected: float) -> None:
    """Numbers are bytes; units are decimal or binary as they say; a percentage is a share of the whole."""
    assert Size.parse("min_free", size).of(total) == expected


@pytest.mark.parametrize("size", ["", "GiB", "1 parsec", "-1", "-1GiB", -1, "101%", "10%%", "1e9", "nan", True, None])
def test_what_is_no_size_is_refused(size: Any) -> None:
    """Anything else is an error that names the setting and shows how to write a size."""
    with pytest.raises(HealthCheckError, match=r"min_free=.* is no size. .* '500MB', '1GiB' or '10%'"):
        checks.disk(min_free=size)


@given(st.floats(0, 2**60))
@example(999.9 * 1024)
def test_readable_sizes_are_read_again(size: float) -> None:
    """What is written for people means about what was measured."""
    assert Size.parse("x", readable(size)).of(0) == pytest.approx(size, rel=0.01, abs=0.5)


# -- disk and memory


def test_disk_with_room_passes(health: HealthChecker, tmp_path: Path) -> None:
    """A disk with room passes and tells how much."""
    result = outcome(health, checks.disk(tmp_path, min_free=1))
    assert (result.status, result.unit, result.critical) == ("pass", "bytes", True)
    assert isinstance(result.value, int)
    assert result.message.endswith(" free")


@pytest.mark.parametrize(("bounds", "status"), [({"min_free": "100%"}, "fail"), ({"warn_free": "100%"}, "warn")])
def test_disk_without_room_says_what_is_missing(
    health: HealthChecker, tmp_path: Path, bounds: dict[str, str], status: str
) -> None:
    """Below a bound, the disk fails or warns, with what is free and the bound as it was written."""
    result = outcome(health, checks.disk(tmp_path, **{"min_free": 0, **bounds}))  # type: ignore[arg-type]
    assert result.status == status
    assert result.message.endswith("free, less than 100%")


def test_disk_is_measured_when_it_is_checked(
    make_checker: Callable[..., HealthChecker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is exact: one byte below it fails, and the bound itself passes."""
    health = make_checker(timeout=30.0, deadline=20.0, ttl=0.0)
    health.add(checks.disk("/", min_free="10%", warn_free="20%"))
    seen = []
    for free in (100, 99, 200, 199):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: (1_000, 1_000 - free, free))
        seen.append(health.run_sync().checks[0].status)
    assert seen == ["warn", "fail", "pass", "warn"]


def test_missing_path_is_a_failed_check_that_does_not_name_it(health: HealthChecker, tmp_path: Path) -> None:
    """A path that is not there fails the check; the path itself is for the log."""
    result = outcome(health, checks.disk(tmp_path / "missing"))
    assert (result.status, result.message) == ("fail", "raised FileNotFoundError")


def test_memory_within_bounds_passes(health: HealthChecker) -> None:
    """A process within its bounds passes and tells its resident memory."""
    result = outcome(health, checks.memory(max_rss="100%", min_available="0%"))
    assert (result.status, result.unit, result.critical) == ("pass", "bytes", True)
    assert isinstance(result.value, int)
    assert result.value > 1_000_000


def test_process_that_holds_too_much_fails(health: HealthChecker) -> None:
    """Above max_rss the check fails, with both sizes."""
    result = outcome(health, checks.memory(max_rss="1MiB", min_available=None))
    assert result.status == "fail"
    assert result.message.endswith("MiB, more than 1MiB")


def test_machine_without_memory_fails(health: HealthChecker) -> None:
    """Below min_available the check fails, with what is left."""
    result = outcome(health, checks.memory(min_available="100%"))
    assert (result.status, result.unit) == ("fail", "bytes")
    assert result.message.endswith("available, less than 100%")
    assert isinstance(result.value, int)
    assert result.value <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"warn_rss": "2GiB", "max_rss": "1GiB"}, "warn_rss='2GiB' is more than max_rss='1GiB'"),
        ({"min_available": "10%", "warn_available": "5%"}, "min_available='10%' is more than warn_available='5%'"),
        ({"warn_rss": "much"}, "warn_rss='much' is no size"),
    ],
)
def test_memory_that_would_fail_before_it_warns_is_refused(settings: dict[str, str], error: str) -> None:
    """The warning comes first, as far as that can be told of bytes and shares."""
    with pytest.raises(HealthCheckError, match=error):
        checks.memory(**settings)  # type: ignore[arg-type]


def test_disk_that_would_fail_before_it_warns_is_refused() -> None:
    """The warning comes first; bytes and shares cannot be compared before there is a disk."""
    with pytest.raises(HealthCheckError, match="min_free='10%' is more than warn_free='5%'"):
        checks.disk(min_free="10%", warn_free="5%")
    checks.disk(min_free="10%", warn_free="5GiB")


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"warn_rss": "1MiB"}, "warn"),
        ({"warn_rss": "1MiB", "max_rss": "2MiB"}, "fail"),
        ({"warn_available": "100%"}, "warn"),
        ({"warn_rss": "1MiB", "min_available": "100%"}, "fail"),
    ],
)
def test_memory_warns_before_it_fails(health: HealthChecker, settings: dict[str, str], status: str) -> None:
    """Each bound has one to warn from; the worse of process and machine counts."""
    assert outcome(health, checks.memory(**{"min_available": None, **settings})).status == status  # type: ignore[arg-type]


def test_memory_of_a_container_is_that_of_its_limit(health: HealthChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container with a limit, what is left of that counts, not what the host has."""
    monkeypatch.setattr(_memory, "memory_limit", lambda: (2**30, 10 * 2**20))
    result = outcome(health, checks.memory(min_available="5%"))
    assert (result.status, result.message) == ("fail", "10 MiB of 1 GiB available, less than 5%")


# -- the folder of checks


def test_checks_are_loaded_when_asked_for() -> None:
    """Naming one check loads its module and not those of the others."""
    program = """if True:
        import sys
        from vitalsign.health import checks
        loaded = lambda: {name.rpartition(".")[2] for name in sys.modules if name.startswith(checks.__name__ + ".")}
        assert loaded() == set(), loaded()
        checks.tcp
        assert {name for name in loaded() if hasattr(checks, name[1:])} == {"_tcp"}, loaded()
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_unknown_check_is_an_attribute_error_that_names_those_there_are() -> None:
    """A check that does not exist is told from one that does."""
    with pytest.raises(AttributeError, match=r"no attribute 'dsik'; there are: .*disk, .*tcp"):
        checks.dsik  # noqa: B018
    assert set(checks.__all__) <= set(dir(checks))


def test_own_check_in_a_few_lines(health: HealthChecker) -> None:
    """A factory of one's own, which takes the timeout that it is run with, stands beside the built-in ones."""

    def look(limit: int, timeout: float) -> Result:
        return Result(Status.PASS if timeout > limit else Status.FAIL)

    def patience(limit: int) -> Check:
        return Check("patience", partial(look, limit), takes_timeout=True)

    assert outcome(health, patience(5)).status == "pass"
