"""One page for all workers of a real server, whichever answers: exact totals, also when workers are killed."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.processes.load import CHANNELS, Load, Page, Watch, hang, kill, needs, no_orphans
from tests.servers import PATIENCE, ROOT, Server, free_port, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Protocol

    class Serve(Protocol):
        """The fixture `serve`."""

        def __call__(self, module: str, *options: str) -> AbstractContextManager[Server]:
            """Run a server's module with *options*, in which {port} stands for the port."""


pytestmark = pytest.mark.integration

WSGI = "tests.integration.processes.app:wsgi"
ASGI = "tests.integration.processes.app:asgi"
WORKERS = 3

GUNICORN = ("gunicorn", "--bind=127.0.0.1:{port}", f"--workers={WORKERS}", "--timeout=120", "--no-control-socket")
UVICORN = ("uvicorn", ASGI, "--port={port}", f"--workers={WORKERS}", "--log-level=warning")
HYPERCORN = ("hypercorn", ASGI, "--bind=127.0.0.1:{port}", f"--workers={WORKERS}")
GRANIAN = ("granian", "--port={port}", f"--workers={WORKERS}", "--respawn-failed-workers", "--respawn-interval=0.1")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return the directory that the workers share."""
    return tmp_path / "shared"


@pytest.fixture
def serve(tmp_path: Path, shared: Path) -> Serve:
    """Return a function that serves the shop, as often as it is called in the same directory."""

    @contextlib.contextmanager
    def start(module: str, *options: str) -> Iterator[Server]:
        needs(module)
        port = free_port()
        command = [sys.executable, "-m", module, *(option.format(port=port) for option in options)]
        environment = {"VITALSIGN_PROCESSES_DIR": str(shared)}
        log = tmp_path / f"{module}-{port}.log"
        with no_orphans(running(command, port=port, ready="/", log=log, env=environment, cwd=ROOT)) as server:
            yield server

    return start


def assert_survives_a_kill(server: Server, shared: Path, *, processes: int) -> None:
    """
    Load the server, kill a worker that has an order in progress, and prove what the page says before and after.

    Args:
        server: Serves the shop, and replaces workers that die.
        shared: The directory of its workers.
        processes: How many of its processes have metrics, once each has counted something.
    """
    url = server.url
    with Watch(url) as watch:
        with Load(server.address) as load:
            load.wait_for(100)
            victim, connection = hang(server.address)
            wait_until(lambda: Page(url).in_progress >= 1, "the order that hangs")
            known = {*load.pids, victim}
            load.wait_for(50)
            kill(victim)
            load.wait_for_stranger(known)
            load.wait_for(50)
        connection.close()
        wait_until(lambda: Page(url).in_progress == 0, "the end of all orders, the killed one's too")
        wait_until(lambda: not list(shared.glob(f"{victim}-*")), "the end of the dead worker's files")
        load.assert_told(Page(url))
        wait_until(
            lambda: 2 <= len(Page(url).workers) == len(list(shared.glob("*.alive"))) <= processes,
            f"the metrics of each process that counts, {processes} at most",
        )
        wait_until(lambda: watch.pages > 3, "some scrapes")
    assert watch.drops == []
    assert len(load.pids) >= 2
    pages = [Page(url) for _ in range(2 * WORKERS)]
    assert all(page.orders == pages[0].orders and page.sizes == pages[0].sizes for page in pages)


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize(
    "options",
    [(WSGI, "--worker-class=sync"), (WSGI, "--worker-class=gthread", "--threads=4")],
    ids=["sync", "gthread"],
)
def test_gunicorn(serve, shared, options, preload):
    """Sync and threaded workers of gunicorn share one page, with and without preload."""
    with serve(*GUNICORN, *options, *(["--preload"] if preload else [])) as server:
        assert_survives_a_kill(server, shared, processes=WORKERS + preload)


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_gunicorn_with_uvicorn_workers(serve, shared, preload):
    """Asynchronous workers of gunicorn share one page, with and without preload."""
    needs("uvicorn_worker")
    options = ["--worker-class=uvicorn_worker.UvicornWorker", *(["--preload"] if preload else [])]
    with serve(*GUNICORN, ASGI, *options) as server:
        assert_survives_a_kill(server, shared, processes=WORKERS + preload)


def test_gunicorn_replaces_workers(serve, shared):
    """Workers that gunicorn replaces after some requests leave their counts behind, and no files."""
    with serve(*GUNICORN, WSGI, "--max-requests=20", "--max-requests-jitter=10") as server:
        with Watch(server.url) as watch, Load(server.address) as load:
            wait_until(lambda: len(load.pids) >= 3 * WORKERS, "three generations of workers")
        load.assert_told(Page(server.url))
        wait_until(lambda: Page(server.url).in_progress == 0, "the end of all orders")
        wait_until(lambda: len(list(shared.glob("*.alive"))) <= WORKERS + 1, "the end of the files of those before")
    assert watch.drops == []


def test_uvicorn_workers(serve, shared):
    """The workers of uvicorn --workers share one page."""
    with serve(*UVICORN) as server:
        assert_survives_a_kill(server, shared, processes=WORKERS)


def test_what_prometheus_asks_for(serve):
    """OpenMetrics, which Prometheus prefers, and a page that is limited to some series tell of all workers too."""
    openmetrics = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    with serve(*UVICORN) as server:
        with Load(server.address) as load:
            wait_until(lambda: len(load.pids) >= 2, "orders placed by two workers")
            load.wait_for(10)
        shown = [f'shop_orders_total{{channel="{channel}"}} {load.acknowledged[channel]}.0' for channel in CHANNELS]
        for _ in range(2 * WORKERS):
            whole = server.get("/metrics", openmetrics)
            assert whole.headers["Content-Type"].startswith("application/openmetrics-text")
            assert set(shown) <= set(whole.text.splitlines())
            for headers in ({}, openmetrics):
                limited = server.get("/metrics?name[]=shop_orders_total", headers).text
                samples = [line for line in limited.splitlines() if not line.startswith("#")]
                assert sorted(samples) == sorted(shown)


@pytest.mark.parametrize("options", [("--interface=asgi", ASGI), ("--interface=wsgi", WSGI)], ids=["asgi", "wsgi"])
def test_granian(serve, shared, options):
    """The workers of granian share one page, by either interface."""
    with serve(*GRANIAN, *options) as server:
        assert_survives_a_kill(server, shared, processes=WORKERS)


def test_hypercorn(serve, shared):
    """Where hypercorn has ended with a worker that was killed, the next start goes on from what was counted before."""
    with serve(*HYPERCORN) as server, Load(server.address) as load:
        load.wait_for(100)
        with Watch(server.url) as watch:
            load.wait_for(100)
        victim, connection = hang(server.address)
        kill(victim)
        server.process.wait(PATIENCE)
        connection.close()
    assert watch.drops == []
    assert len(load.pids) >= 2
    with serve(*HYPERCORN) as server:
        load.assert_told(Page(server.url))
        before = Page(server.url).orders
        with Load(server.address) as more:
            more.wait_for(100)
        wait_until(lambda: Page(server.url).in_progress == 0, "the end of all orders, the killed one's too")
        after = Page(server.url).orders
        assert not more.lost
        assert after - before == more.acknowledged
        wait_until(lambda: len(Page(server.url).workers) == WORKERS, "the metrics of all workers")
