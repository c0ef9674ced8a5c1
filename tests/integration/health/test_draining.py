"""Real servers that are told to stop, under load: no request is lost, and readiness knows first."""

from __future__ import annotations

import contextlib
import http.client
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.health.draining_app import TOKEN
from tests.integration.processes.load import needs, no_orphans
from tests.servers import PATIENCE, ROOT, Server, end, free_port, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType
    from typing import Protocol, Self

    class Serve(Protocol):
        """The fixture `serve`."""

        def __call__(self, module: str, *options: str, drain: float = ...) -> AbstractContextManager[Server]:
            """Run a server's module with *options*, in which {port} stands for the port."""


pytestmark = pytest.mark.integration

WHERE = "tests.integration.health.draining_app"
ASGI, WSGI = f"{WHERE}:asgi", f"{WHERE}:wsgi"
DRAIN = 3.0  # seconds
SLOW = 4.5  # seconds that a request takes that is in flight when the signal comes

GUNICORN = ("gunicorn", "--bind=127.0.0.1:{port}", "--workers=3", "--no-control-socket")
GUNICORN_HOOK = (f"--config=python:{WHERE}",)
UVICORN = ("uvicorn", ASGI, "--port={port}", "--log-level=warning")


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Return a function that serves the shop."""

    @contextlib.contextmanager
    def start(module: str, *options: str, drain: float = DRAIN) -> Iterator[Server]:
        needs(module)
        port = free_port()
        command = [sys.executable, "-m", module, *(option.format(port=port) for option in options)]
        log = tmp_path / f"{module}-{port}.log"
        environment = {"DRAIN": str(drain)}
        with no_orphans(running(command, port=port, ready="/health", log=log, env=environment, cwd=ROOT)) as server:
            yield server

    return start


def ask(address: str, path: str, method: str = "GET", *, timeout: float = PATIENCE) -> int:
    """Send a request over a connection of its own, and return the status."""
    with contextlib.closing(http.client.HTTPConnection(address, timeout=timeout)) as connection:
        connection.request(method, path, headers={"Connection": "close", "Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status


class Request(threading.Thread):
    """One request on its way."""

    def __init__(self, address: str, path: str, method: str = "GET") -> None:
        super().__init__()
        self._to = (address, path, method)
        self.outcome: int | Exception | None = None

    def run(self) -> None:
        """Send it, and keep what comes of it."""
        try:
            self.outcome = ask(*self._to)
        except Exception as error:
            self.outcome = error


class Traffic:
    """A load balancer's: requests one after the other, for as long as the service says that it is ready."""

    def __init__(self, address: str, *, clients: int = 3) -> None:
        self._address = address
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        self.outcomes: list[object] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.outcomes) > 10, "some requests")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._is_over.is_set():
            request = Request(self._address, "/work?0.02")
            request.run()
            self.outcomes.append(request.outcome)


def assert_nothing_is_lost(server: Server, stop: Callable[[], object]) -> None:
    """
    Put traffic on the server, and prove how it stops.

    Args:
        server: Ready, and used by nobody.
        stop: Tells it to stop, and may wait until that has been heard.
    """
    address = server.address
    assert ask(address, "/ready") == 200
    with Traffic(address) as traffic:
        slow = Request(address, f"/work?{SLOW}")
        slow.start()
        time.sleep(0.5)  # until it is in flight: nothing tells from outside
        stopping = threading.Thread(target=stop)
        stopping.start()
        wait_until(
            lambda: ask(address, "/ready") == 503, "the end of readiness"
        )  # refused connections would be "not yet"
        sent = len(traffic.outcomes)
        assert ask(address, "/health") == 200
        wait_until(lambda: len(traffic.outcomes) >= sent + 5, "requests that are served while the service drains")
    assert server.process.poll() is None
    stopping.join(PATIENCE)
    slow.join(PATIENCE)
    assert slow.outcome == 200
    assert set(traffic.outcomes) == {200}
    server.process.wait(PATIENCE)


def sigterm(server: Server) -> Callable[[], object]:
    """Return what sends SIGTERM to the server."""
    return lambda: server.process.send_signal(signal.SIGTERM)


def hook_and_sigterm(server: Server) -> Callable[[], object]:
    """Return what Kubernetes does: run the preStop hook, which asks the server to drain, and send SIGTERM after it."""

    def stop() -> None:
        assert ask(server.address, f"/health/drain?seconds={DRAIN}", "POST") == 200
        server.process.send_signal(signal.SIGTERM)

    return stop


def test_uvicorn(serve: Serve) -> None:
    """Uvicorn that gets SIGTERM serves on, unready, then answers what is in flight."""
    with serve(*UVICORN) as server:
        assert_nothing_is_lost(server, sigterm(server))


def test_uvicorn_workers(serve: Serve) -> None:
    """So do the workers of uvicorn --workers, whose parent gets the signal."""
    with serve(*UVICORN, "--workers=2") as server:
        assert_nothing_is_lost(server, sigterm(server))


def test_gunicorn_with_uvicorn_workers(serve: Serve) -> None:
    """So do gunicorn's uvicorn workers, installed by the lifespan."""
    needs("uvicorn_worker")
    with serve(*GUNICORN, ASGI, "--worker-class=uvicorn_worker.UvicornWorker") as server:
        assert_nothing_is_lost(server, sigterm(server))


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("options", [["sync"], ["gthread", "--threads=4"], ["gevent"]], ids=lambda given: given[0])
def test_gunicorn(serve: Serve, options: list[str], preload: bool) -> None:
    """So do gunicorn's sync, threaded and gevent workers, installed by its hook, with and without preload."""
    kind, *more = options
    if kind == "gevent":
        needs("gevent")
    more += ["--preload"] if preload else []
    with serve(*GUNICORN, *GUNICORN_HOOK, WSGI, f"--worker-class={kind}", *more) as server:
        assert_nothing_is_lost(server, sigterm(server))


def test_gunicorn_asgi(serve: Serve) -> None:
    """Gunicorn's own ASGI worker, whose event loop takes the signal, drains when a preStop hook asks it to."""
    needs("gunicorn.workers.gasgi")
    with serve("gunicorn", "--bind=127.0.0.1:{port}", "--no-control-socket", ASGI, "--worker-class=asgi") as server:
        assert_nothing_is_lost(server, hook_and_sigterm(server))
        assert "shop cannot drain on SIGTERM" in server.log.read_text()


def test_hypercorn(serve: Serve) -> None:
    """hypercorn, which takes SIGTERM through its event loop, drains when a preStop hook asks it to."""
    with serve("hypercorn", ASGI, "--bind=127.0.0.1:{port}", "--graceful-timeout=30") as server:
        assert_nothing_is_lost(server, hook_and_sigterm(server))


@pytest.mark.parametrize("options", [["asgi", ASGI], ["wsgi", WSGI, "--blocking-threads=8"]], ids=["asgi", "wsgi"])
def test_granian(serve: Serve, options: list[str]) -> None:
    """So does granian, by either interface."""
    with serve("granian", "--port={port}", "--interface", *options) as server:
        assert_nothing_is_lost(server, hook_and_sigterm(server))


def test_granian_says_that_its_signals_cannot_be_held_back(serve: Serve) -> None:
    """Where the handlers cannot be installed, the log names the way that is left."""
    with serve("granian", "--port={port}", "--interface=asgi", ASGI) as server:
        assert "shop cannot drain on SIGTERM" in server.log.read_text()
        assert end(server.process) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_second_signal_ends_the_wait_at_once(serve: Serve, second: signal.Signals) -> None:
    """Who signals again means it: the server stops long before the time to drain is over."""
    with serve(*UVICORN, drain=3600.0) as server:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: ask(server.address, "/ready") == 503, "the end of readiness")
        assert server.process.poll() is None
        server.process.send_signal(second)
        server.process.wait(PATIENCE)


def test_hook_does_not_keep_the_server_from_stopping(serve: Serve) -> None:
    """A preStop hook that would wait longer than SIGTERM is held back is answered when the server stops."""
    with serve(*UVICORN, drain=1.0) as server:
        hook = Request(server.address, "/health/drain?seconds=3600", "POST")
        hook.start()
        wait_until(lambda: ask(server.address, "/ready") == 503, "the end of readiness")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE)
        hook.join(PATIENCE)
        assert hook.outcome == 200
