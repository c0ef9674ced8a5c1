"""A real node_exporter shows the files that jobs write."""

from __future__ import annotations

import signal
import threading

import pytest
from prometheus_client import REGISTRY

from tests.integration.push.conftest import wait_for_page
from vitalsign import Counter, Gauge
from vitalsign.push import textfile_on_exit, write_textfile
from vitalsign.testing import fresh_registry

pytestmark = pytest.mark.integration


def lines(page, prefix):
    """Return the lines of *page* that begin with *prefix*."""
    return [line for line in page.splitlines() if line.startswith(prefix)]


def test_file_is_shown(start_node_exporter, tmp_path, registry):
    """Metrics that were written are on node_exporter's page, and it complains of nothing."""
    Counter("rows", "Rows.", ["table"], registry=registry).labels('a "b"').inc(3)
    write_textfile(tmp_path / "report.prom", registry=registry, labels={"shop": "north"})
    page = wait_for_page(start_node_exporter(tmp_path), "rows_total{")
    assert lines(page, "rows_total") == ['rows_total{shop="north",table="a \\"b\\""} 3']
    assert lines(page, "node_textfile_scrape_error") == ["node_textfile_scrape_error 0"]


def test_default_registry_does_not_clash(start_node_exporter, tmp_path):
    """What prometheus_client tells of the process is left out: node_exporter has metrics of these names itself."""
    assert REGISTRY.get_sample_value("process_start_time_seconds") is not None
    write_textfile(tmp_path / "report.prom")
    node_exporter = start_node_exporter(tmp_path)
    page = wait_for_page(node_exporter, "node_textfile_mtime_seconds{")
    assert "collected before" not in node_exporter.log.read_text()
    assert len(lines(page, "process_start_time_seconds ")) == 1
    assert lines(page, "node_textfile_scrape_error") == ["node_textfile_scrape_error 0"]
    assert "python_info" not in page


def test_jobs_that_write_the_same_metrics_are_told_apart(start_node_exporter, tmp_path):
    """Two jobs on one machine have the same metrics of their runs, each with its own label."""
    for job, fails in (("report", False), ("backup", True)):
        with textfile_on_exit(tmp_path / f"{job}.prom", job=job, registry=fresh_registry()) as run:
            if fails:
                run.failed()
    page = wait_for_page(start_node_exporter(tmp_path), "job_success{")
    assert lines(page, "job_success") == ['job_success{job="backup"} 0', 'job_success{job="report"} 1']
    assert lines(page, "node_textfile_scrape_error") == ["node_textfile_scrape_error 0"]


def test_reader_never_sees_half_a_file(start_node_exporter, tmp_path, registry):
    """While the file is written again and again, every page has all of it."""
    gauge = Gauge("step", "Step.", ["part"], registry=registry)
    for part in range(500):
        gauge.labels(part).set(0)
    path = tmp_path / "report.prom"
    write_textfile(path, registry=registry)
    node_exporter = start_node_exporter(tmp_path)
    wait_for_page(node_exporter, "step{")
    stop = threading.Event()

    def write():
        while not stop.is_set():
            write_textfile(path, registry=registry)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        pages = [node_exporter.get("/metrics").text for _ in range(20)]
    finally:
        stop.set()
        writer.join()
    assert {len(lines(page, "step{")) for page in pages} == {500}
    assert {tuple(lines(page, "node_textfile_scrape_error")) for page in pages} == {("node_textfile_scrape_error 0",)}
    assert [file.name for file in tmp_path.iterdir() if file.suffix in (".prom", ".tmp")] == ["report.prom"]


SYNC_JOB = """
    import sys, time
    from vitalsign.push import textfile_on_exit
    with textfile_on_exit(sys.argv[1], job="report"):
        print("ready")
        time.sleep(60)
    print("went on")
"""
ASYNC_JOB = """
    import asyncio, sys
    from vitalsign.push import textfile_on_exit

    @textfile_on_exit(sys.argv[1], job="report")
    async def main():
        print("ready")
        await asyncio.sleep(60)

    asyncio.run(main())
    print("went on")
"""
SWALLOWING_JOB = """
    import sys, time
    from vitalsign.push import textfile_on_exit
    with textfile_on_exit(sys.argv[1], job="report"):
        try:
            print("ready")
            time.sleep(60)
        except BaseException:
            pass
    print("went on")
"""


@pytest.mark.parametrize(
    ("script", "success"), [(SYNC_JOB, 0), (ASYNC_JOB, 0), (SWALLOWING_JOB, 1)], ids=["sync", "async", "swallows"]
)
def test_terminated_job_has_written(start_job, tmp_path, script, success):
    """A job that is ended by SIGTERM has written its file, and ends by the signal, whatever it makes of exceptions."""
    path = tmp_path / "report.prom"
    job = start_job(script, str(path))
    assert job.stdout.readline() == "ready\n"
    job.send_signal(signal.SIGTERM)
    output, errors = job.communicate(timeout=60)
    assert (job.returncode, output) == (-signal.SIGTERM, ""), errors
    assert f'job_success{{job="report"}} {success}.0\n' in path.read_text()
