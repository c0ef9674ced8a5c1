"""Files for node_exporter."""

from __future__ import annotations

import os
import stat

import pytest

from vitalsign import Gauge
from vitalsign.exceptions import PushError, PushOptionError
from vitalsign.push import textfile_on_exit, write_textfile
from vitalsign.testing import fresh_registry


@pytest.fixture
def one(registry):
    """Return a registry with one gauge."""
    Gauge("rows", "Rows.", registry=registry).set(3)
    return registry


def test_file_is_readable_for_all(one, tmp_path):
    """The file has mode 0644 whatever the umask, and nothing else is left in the directory."""
    before = os.umask(0o077)
    try:
        write_textfile(tmp_path / "report.prom", registry=one)
    finally:
        os.umask(before)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.read_text() == "# HELP rows Rows.\n# TYPE rows gauge\nrows 3.0\n"


def test_path_may_be_text_and_relative(one, tmp_path, monkeypatch):
    """A path without a directory is in the current one."""
    monkeypatch.chdir(tmp_path)
    write_textfile("report.prom", registry=one)
    assert (tmp_path / "report.prom").read_text().endswith("rows 3.0\n")


@pytest.mark.parametrize("name", ["report", "report.txt", "report.prom.tmp", ".prom"])
def test_name_that_is_not_read_is_refused(one, tmp_path, name):
    """A file that node_exporter would not read is refused."""
    with pytest.raises(PushOptionError, match=r"does not end in \.prom"):
        write_textfile(tmp_path / name, registry=one)


def test_missing_directory_is_named(one, tmp_path):
    """Without its directory, the error says to make it and how node_exporter is told."""
    path = tmp_path / "missing" / "report.prom"
    with pytest.raises(PushError, match=r"There is no directory '.*missing': make it.*textfile\.directory") as caught:
        write_textfile(path, registry=one)
    assert caught.value.destination == str(path)


def test_file_that_cannot_be_replaced_stays(one, tmp_path):
    """When the file cannot take its place, the error says why and nothing is left behind."""
    (tmp_path / "report.prom").mkdir()
    with pytest.raises(PushError, match="Check who may write there"):
        write_textfile(tmp_path / "report.prom", registry=one)
    assert [path.name for path in tmp_path.iterdir()] == ["report.prom"]


def run(path, *, fails=False, registry=None, **options):
    """Run a job that fails or not, and return the lines of its file."""
    with textfile_on_exit(path, job="report", registry=registry or fresh_registry(), **options) as job:
        if fails:
            job.failed()
    return [line for line in path.read_text().splitlines() if line[0] != "#"]


def test_failed_run_keeps_the_time_of_the_last_success(tmp_path):
    """A failed run's file has the time of the last success that the one before had, once."""
    path = tmp_path / "report.prom"

    def success(lines):
        return [line for line in lines if line.startswith("job_last_success_timestamp_seconds")]

    assert success(run(path, fails=True)) == []
    before = success(run(path))
    assert len(before) == 1
    for _ in range(2):
        lines = run(path, fails=True)
        assert success(lines) == before
        assert 'job_success{job="report"} 0.0' in lines


@pytest.mark.parametrize("content", [b"\xff", b'job_last_success_timestamp_seconds{job="re', b"{}{}{} = 3\n", b""])
def test_broken_file_is_replaced(tmp_path, content):
    """What cannot be read of an earlier file is no obstacle."""
    path = tmp_path / "report.prom"
    path.write_bytes(content)
    assert 'job_success{job="report"} 0.0' in run(path, fails=True)


def test_nothing_is_kept_without_job_metrics(one, tmp_path):
    """Without job_metrics the file has the registry's metrics alone, after a failure too."""
    path = tmp_path / "report.prom"
    run(path)
    assert run(path, fails=True, registry=one, job_metrics=False) == ['rows{job="report"} 3.0']


def test_metric_of_the_host_by_that_name_goes_before(registry, tmp_path):
    """Where the host has a metric of that name itself, nothing is kept from the file."""
    path = tmp_path / "report.prom"
    run(path)
    Gauge("job_last_success_timestamp_seconds", "The host's own.", registry=registry).set(7)
    lines = run(path, fails=True, registry=registry)
    assert [line for line in lines if "last_success" in line] == [
        'job_last_success_timestamp_seconds{job="report"} 7.0'
    ]
