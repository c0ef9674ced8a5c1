"""The examples do what they say, run as they say."""

from __future__ import annotations

import re
import signal
import sys

import pytest

from tests.servers import PATIENCE, free_port, running, wait_until
from tests.sources import ROOT

pytestmark = pytest.mark.integration

EXAMPLES = ROOT / "examples"


def value(page, series):
    """Return the value of one series of a page, None if it is not there."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else None


def test_fastapi_three_lines(start_uvicorn):
    """Three lines count a service's requests by route template and status."""
    server = start_uvicorn("examples.fastapi_three_lines:app", ready="/docs")
    for title in ("dune", "dune", "nothing"):
        server.get(f"/books/{title}")
    page = server.get("/metrics").text
    series = 'http_requests_total{{endpoint="/books/{{title}}",method="GET",status="{}"}}'
    assert value(page, series.format(200)) == 2
    assert value(page, series.format(404)) == 1


def test_worker(tmp_path):
    """The worker shows jobs that succeed and fail, its queue and its process, and ends cleanly when told to."""
    port = free_port()
    command = [sys.executable, str(EXAMPLES / "worker.py"), str(port)]
    with running(command, port=port, ready="/metrics", log=tmp_path / "worker.log") as server:
        job = 'queue="orders",type="{}",worker="billing"'

        def done(kind, outcome):
            series = f'worker_jobs_total{{outcome="{outcome}",queue="orders",type="{kind}",worker="billing"}}'
            return value(server.get("/metrics").text, series)

        wait_until(lambda: done("invoice", "success") and done("refund", "failure"), "jobs of both kinds")
        page = server.get("/metrics").text
        assert value(page, 'worker_job_errors_total{error="ValueError",' + job.format("refund") + "}") >= 1
        assert value(page, "worker_job_wait_seconds_count{" + job.format("invoice") + "}") >= 1
        assert value(page, 'queue_depth{queue="orders"}') is not None
        assert value(page, "process_threads") >= 2
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0


def test_programs_are_run_as_their_texts_say():
    """The command in each example's text names that example."""
    for example in sorted(EXAMPLES.glob("*.py")):
        assert f"python examples/{example.name}" in example.read_text(encoding="utf-8")
