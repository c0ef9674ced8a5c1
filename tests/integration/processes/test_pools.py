"""Processes that no web server starts: multiprocessing's by each of its methods, and Celery's."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.processes.load import Page, Watch, kill, needs
from tests.servers import PATIENCE, ROOT, end, free_port, program, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


def values(page: str) -> dict[str, float]:
    """Return the counts and gauges of a page whose names start with pool_, by name and value of the label."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith("pool_") and not sample.name.endswith("_created")
    }


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(tmp_path, method):
    """Whatever starts them, what children count is counted once, and stays when they end or are killed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.processes.pool", method],
        env=os.environ | {"VITALSIGN_PROCESSES_DIR": str(tmp_path / "shared")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(set(told["pids"])) >= 10
    expected = {"pool_jobs_total parent": 5, "pool_jobs_total child": 203, "pool_jobs_in_progress": 1}
    assert values(told["meanwhile"]) == expected
    assert values(told["page"]) == {**expected, "pool_jobs_total killed": 4}
    assert len(list((tmp_path / "shared").glob("*.alive"))) == 1


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """Run a Redis that keeps nothing, and return its address."""
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen([program("redis-server"), *options], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: socket.create_connection(("127.0.0.1", port)).close() or True, "start of Redis")
        yield f"redis://127.0.0.1:{port}"
    finally:
        end(process)


@contextlib.contextmanager
def celery_workers(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run Celery's prefork pool."""
    command = [sys.executable, "-m", "celery", "-A", "tests.integration.processes.tasks", "worker", "--concurrency=3"]
    options = ["--max-tasks-per-child=50", "--loglevel=warning", "--without-gossip", "--without-mingle"]
    with (folder / "celery.log").open("wb") as log:
        process = subprocess.Popen([*command, *options], env=os.environ | environment, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield
    finally:
        end(process)


def test_celery(tmp_path, redis, monkeypatch):
    """A process that only serves the page shows what Celery's workers count, also those killed and replaced."""
    needs("celery")
    needs("redis")
    environment = {"VITALSIGN_PROCESSES_DIR": str(tmp_path / "shared"), "SHOP_REDIS": redis}
    monkeypatch.setenv("SHOP_REDIS", redis)
    from celery.exceptions import WorkerLostError

    from tests.integration.processes.tasks import place

    port = free_port()
    page = [sys.executable, "-m", "uvicorn", "tests.integration.processes.page:page", f"--port={port}"]
    log = tmp_path / "page.log"
    with (
        celery_workers(tmp_path, environment),
        running(page, port=port, ready="/metrics", log=log, env=environment, cwd=ROOT) as server,
    ):
        first = place.delay("/order/web/1").get(timeout=PATIENCE)
        with Watch(server.url) as watch:
            results = [place.delay("/order/phone/2") for _ in range(20)]
            kill(first)  # long before it would be replaced
            results += [place.delay("/order/phone/2") for _ in range(280)]
            outcomes: list[Any] = [result.get(timeout=PATIENCE, propagate=False) for result in results]
        done = [outcome for outcome in outcomes if isinstance(outcome, int)]
        lost = [outcome for outcome in outcomes if isinstance(outcome, WorkerLostError)]
        assert len(done) + len(lost) == len(results)
        assert len(done) >= 290
        assert len(set(done)) >= 4
        shown = Page(server.url)
        assert shown.orders["web"] == 1
        assert len(done) <= shown.orders["phone"] <= len(results)
        assert shown.sizes[-1] == 1 + 2 * shown.orders["phone"]
        assert watch.drops == []
        assert not list((tmp_path / "shared").glob(f"{first}-*"))
