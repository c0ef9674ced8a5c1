"""Processor time: shares over a window, control groups, forks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import run_script
from tests.unit.health.checks.upstreams import outcome
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import Result, checks
from vitalsign.health.checks import _process_cpu
from vitalsign.health.checks._cgroup import cpu_limit, memory_limit

if TYPE_CHECKING:
    from pathlib import Path

    from vitalsign.health import Check, HealthChecker


class Machine:
    """A clock and a processor meter that move when told to, on a machine with two processors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self.spent = 50.0
        monkeypatch.setattr(_process_cpu, "_clock", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(_process_cpu, "process_time", lambda: self.spent)
        monkeypatch.setattr(_process_cpu, "cpu_limit", lambda: 2.0)

    def look(self, check: Check, *, seconds: float, spend: float) -> Result:
        """Run *check* after *seconds*, of which the process spent *spend* on a processor."""
        self.now += seconds
        self.spent += spend
        result = check.func()
        assert isinstance(result, Result)
        return result


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make the machine."""
    return Machine(monkeypatch)


def test_this_process_passes(health: HealthChecker) -> None:
    """A process that has not been watched for a window passes, is not critical, and tells its share."""
    result = outcome(health, checks.process_cpu())
    assert (result.status, result.critical, result.unit) == ("pass", False, "ratio")
    assert "too short to judge by" in result.message


def test_busy_process_warns_and_does_not_fail(machine: Machine) -> None:
    """A process at its limit only warns unless told otherwise, however busy: busy is not dead."""
    result = machine.look(checks.process_cpu(), seconds=30.0, spend=60.0)
    assert (result.status, result.value) == ("warn", 1.0)
    assert result.message == "100% of 2 processors over 30 s"


@pytest.mark.parametrize(("spend", "status"), [(53.0, "pass"), (54.0, "warn"), (58.0, "fail")])
def test_share_of_the_limit_decides(machine: Machine, spend: float, status: str) -> None:
    """The share is that of all processors that the process may use; a bound that is reached counts."""
    check = checks.process_cpu(warn=0.9, fail=0.96)
    assert machine.look(check, seconds=30.0, spend=spend).status == status


def test_share_of_one_core_may_be_more_than_one(machine: Machine) -> None:
    """With of='core' one busy thread is 1.0, whatever the machine has."""
    check = checks.process_cpu(of="core", warn=1.0)
    assert machine.look(check, seconds=30.0, spend=45.0).value == 1.5


def test_share_is_taken_over_the_window_and_not_over_all_time(machine: Machine) -> None:
    """What was spent before the window does not count; how often the check is run does not matter."""
    check = checks.process_cpu(window=10.0)
    for _ in range(100):
        machine.look(check, seconds=1.0, spend=2.0)
    shares = [machine.look(check, seconds=1.0, spend=0.0).value for _ in range(10)]
    assert shares == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])


def test_samples_are_bounded(machine: Machine) -> None:
    """A check that is run far more often than its window asks for keeps few samples."""
    check = checks.process_cpu(window=10.0)
    for _ in range(10_000):
        machine.look(check, seconds=0.01, spend=0.01)
    meter: Any = check.func
    assert len(meter._samples) < 30


def test_long_pause_makes_the_window_longer(machine: Machine) -> None:
    """A check that is run more seldom than its window takes all that has passed since."""
    result = machine.look(checks.process_cpu(window=10.0), seconds=100.0, spend=20.0)
    assert (result.value, result.message) == (0.1, "10% of 2 processors over 100 s")


def test_forked_child_begins_anew() -> None:
    """A child that was forked after the check was made has its own processor time, which begins at 0."""
    printed = run_script(
        """
        import os, time
        from vitalsign.health import checks
        while time.process_time() < 0.05: pass
        check = checks.process_cpu(window=1e-9)
        if pid := os.fork():
            os.waitpid(pid, 0)
        else:
            print(check.func().value >= 0, flush=True)
            os._exit(0)
        """
    )
    assert printed == "True\n"


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"window": 0}, "window=0 of check 'process_cpu' makes no sense"),
        ({"of": "cpu"}, "Give 'limit' or 'core'"),
        ({"warn": 0.9, "fail": 0.5}, r"would fail \(fail=0.5\) before it warns \(warn=0.9\).*lower"),
        ({"warn": "90%"}, "warn='90%' of check 'process_cpu' makes no sense"),
        ({"warn": float("nan")}, "warn=nan"),
        ({"fail": True, "warn": None}, "fail=True"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], error: str) -> None:
    """A value that cannot be meant is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=error):
        checks.process_cpu(**settings)


# -- control groups


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/kubepods/pod1\n", {"kubepods/cpu.max": "20000 100000", "kubepods/pod1/cpu.max": "max 100000"}, 0.2),
        ("0::/../outside\n", {"cpu.max": "10000 100000"}, 0.1),
        ("0::/host/path\n", {"cpu.max": "10000 100000"}, 0.1),
        (
            "4:cpu,cpuacct:/a\n3:memory:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "2500", "cpu/a/cpu.cfs_period_us": "10000"},
            0.25,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("", {}, None),
        ("nonsense\n0::/\n", {"cpu.max": "half a processor"}, None),
        ("0::/\n", {"cpu.max": "10000 0"}, None),
    ],
)
def test_quota_of_control_groups_is_found(
    tmp_path: Path, membership: str, files: dict[str, str], limit: float | None
) -> None:
    """The lowest quota of the own group and those above counts, in both versions; without one, the processors do."""
    lay_out(tmp_path, membership, files)
    found = cpu_limit(tmp_path, tmp_path / "membership")
    assert found == limit if limit is not None else found >= 1


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        (
            "0::/\n",
            {"memory.max": "1000", "memory.current": "900", "memory.stat": "file 5\ninactive_file 200\n"},
            (1000, 300),
        ),
        ("0::/\n", {"memory.max": "max", "memory.current": "900"}, None),
        (
            "0::/a\n",
            {"memory.max": "1000", "memory.current": "990", "a/memory.max": "500", "a/memory.current": "100"},
            (1000, 10),
        ),
        (
            "3:memory:/a\n",
            {
                "memory/a/memory.limit_in_bytes": "1000",
                "memory/a/memory.usage_in_bytes": "1100",
                "memory/a/memory.stat": "inactive_file 1\ntotal_inactive_file 50\n",
            },
            (1000, 0),
        ),
        ("", {}, None),
        ("0::/\n", {"memory.max": "much", "memory.current": "some"}, None),
        ("0::/\n", {"memory.max": "100", "memory.current": "90", "memory.stat": "inactive_file few"}, (100, 10)),
    ],
)
def test_memory_of_control_groups_is_found(
    tmp_path: Path, membership: str, files: dict[str, str], limit: tuple[int, int] | None
) -> None:
    """The group with the least room counts; cached pages that nobody reads any more are room."""
    lay_out(tmp_path, membership, files)
    assert memory_limit(tmp_path, tmp_path / "membership") == limit


def lay_out(root: Path, membership: str, files: dict[str, str]) -> None:
    """Write the files of control groups below *root*."""
    (root / "membership").write_text(membership)
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
