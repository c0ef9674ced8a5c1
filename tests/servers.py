"""
Real servers for tests: child processes on 127.0.0.1 and free ports, ended by the fixture that started them.

A program that is not installed skips the test with a reason; where CI=true it fails the test instead, so that
green means that everything was tested.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 30.0
"""Seconds that a server has to come up, and a condition to come true, on a busy machine."""

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


# -- HTTP, ports, waiting


class Answer(NamedTuple):
    """An HTTP response, whatever its status."""

    status: int
    headers: Mapping[str, str]
    text: str


def get(url: str, headers: Mapping[str, str] | None = None, *, timeout: float = 10.0) -> Answer:
    """Fetch *url* past any proxy; a 4xx or 5xx is an answer like others."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with _direct.open(request, timeout=timeout) as response:
            return Answer(response.status, response.headers, response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read().decode())


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], Any], what: str, *, patience: float = PATIENCE) -> Any:
    """
    Call *condition* until it returns something true, and return that.

    Args:
        condition: Asked every 50 ms. An OSError, such as a refused connection, means "not yet".
        what: What is waited for, for the error.
        patience: Seconds until giving up.

    Raises:
        TimeoutError: It did not come true; the last answer or error is named.
    """
    deadline = time.monotonic() + patience
    last: object = None
    while time.monotonic() < deadline:
        try:
            if last := condition():
                return last
        except OSError as error:
            last = error
        time.sleep(0.05)
    raise TimeoutError(f"{what}: not within {patience} s; the last answer was {last!r}")


# -- child processes


def program(name: str) -> str:
    """Return the path of an installed program; without it skip the test, or fail it where CI=true."""
    if path := shutil.which(name):
        return path
    reason = f"{name} is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI=true allows no test to be left out", pytrace=False)
    pytest.skip(reason)


@dataclass(frozen=True)
class Server:
    """A running child process that answers HTTP at *url*."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def address(self) -> str:
        """Host and port, as a scrape target names them."""
        return self.url.removeprefix("http://")

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Fetch *path* from this server."""
        return get(self.url + path, headers)


@contextlib.contextmanager
def running(
    command: Sequence[str],
    *,
    port: int,
    ready: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Server]:
    """
    Keep *command* running for the length of the block, and end it with SIGTERM.

    Args:
        command: The program and its arguments.
        port: The port of 127.0.0.1 that it was told to listen on.
        ready: The path that answers below 500 once the server can be used.
        log: The file that takes what the program prints.
        env: Variables added to this process's own.
        cwd: The folder that it runs in.

    Raises:
        TimeoutError: It did not come up; the end of its log is shown.
        ChildProcessError: It ended before it came up.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | dict(env or {}),
            cwd=cwd,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until(lambda: process.poll() is not None or server.get(ready).status < 500, f"start of {command[0]}")
        if process.poll() is not None:
            raise ChildProcessError(f"{command[0]} ended at once with exit code {process.returncode}")
        yield server
    except BaseException as error:
        error.add_note(f"{log.name}: {log.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        end(process)


def ended(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether *process* is no longer running."""
    return process.poll() is not None


def end(process: subprocess.Popen[bytes], *, patience: float = 10.0) -> int:
    """Ask *process* to end, kill it if it has not after *patience* seconds, and return its exit code."""
    if not ended(process):
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


# -- Prometheus


class Series(NamedTuple):
    """One element of an instant vector."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Prometheus(Server):
    """A real Prometheus that scrapes every second."""

    def query(self, promql: str) -> list[Series]:
        """
        Evaluate *promql* now and return its instant vector; a scalar is one series without labels.

        Raises:
            ValueError: Prometheus refused the expression.
        """
        answer = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": promql}))
        body = json.loads(answer.text)
        if body["status"] != "success":
            raise ValueError(f"{promql}: {body['error']}")
        result = body["data"]["result"]
        if body["data"]["resultType"] == "scalar":
            return [Series({}, float(result[1]))]
        return [Series(element["metric"], float(element["value"][1])) for element in result]

    def value(self, promql: str) -> float | None:
        """Evaluate an expression with one result and return its value; None where there is no data."""
        series = self.query(promql)
        if len(series) > 1:
            raise ValueError(f"{promql}: expected one series, got {series}")
        return series[0].value if series else None

    def wait_for(self, promql: str, condition: Callable[[float], bool] = bool, *, patience: float = PATIENCE) -> float:
        """
        Wait until the one value of *promql* fulfils *condition*, and return it.

        Raises:
            TimeoutError: It never did; the last value is named.
        """
        seen: list[float | None] = [None]

        def fulfilled() -> bool:
            seen[0] = self.value(promql)
            return seen[0] is not None and condition(seen[0])

        try:
            wait_until(fulfilled, promql, patience=patience)
        except TimeoutError as error:
            error.add_note(f"last value: {seen[0]}")
            raise
        assert seen[0] is not None
        return seen[0]


class StartPrometheus(Protocol):
    """The fixture `start_prometheus`."""

    def __call__(self, targets: Mapping[str, str], *options: str, interval: str = "1s", **settings: Any) -> Prometheus:
        """Start a Prometheus, with *options*, that scrapes *targets*: address by job name; all with *settings*."""


class StartUvicorn(Protocol):
    """The fixture `start_uvicorn`."""

    def __call__(self, app: str, *options: str, ready: str = "/", env: Mapping[str, str] | None = None) -> Server:
        """Serve *app* ("package.module:name", found from the repository's root) by uvicorn."""


@pytest.fixture
def start_prometheus(tmp_path: Path) -> Iterator[StartPrometheus]:
    """Start Prometheus servers that end with the test."""
    path = program("prometheus")
    with contextlib.ExitStack() as stack:

        def start(targets: Mapping[str, str], *options: str, interval: str = "1s", **settings: Any) -> Prometheus:
            port = free_port()
            folder = tmp_path / f"prometheus-{port}"
            folder.mkdir()
            config = folder / "prometheus.yml"
            config.write_text(json.dumps(scrape_config(targets, interval, settings)))  # JSON is YAML
            command = [
                path,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                *options,
            ]
            server = stack.enter_context(running(command, port=port, ready="/-/ready", log=folder / "prometheus.log"))
            return Prometheus(server.url, server.process, server.log)

        yield start


def scrape_config(targets: Mapping[str, str], interval: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a Prometheus that scrapes *targets* (address by job) every *interval*."""
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address]}], **settings}
            for job, address in targets.items()
        ],
    }


# -- Alertmanager


@dataclass(frozen=True)
class Alertmanager(Server):
    """A real Alertmanager with one receiver, which repeats its notifications every few seconds."""

    def fire(self, labels: Mapping[str, str], **more: Any) -> None:
        """Post an alert, as Prometheus does; `endsAt=` in the past resolves it."""
        alert = {"labels": dict(labels), **more}
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", json.dumps([alert]).encode(), {"Content-Type": "application/json"}
        )
        with _direct.open(request, timeout=10):
            pass

    def notifications(self, *, failed: bool = False) -> float:
        """Return how many notifications it has tried to send to the webhook, or how many of them failed."""
        name = (
            "alertmanager_notification_requests_failed_total" if failed else "alertmanager_notification_requests_total"
        )
        start = name + '{integration="webhook"}'
        lines = [line for line in self.get("/metrics").text.splitlines() if line.startswith(start)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


class StartAlertmanager(Protocol):
    """The fixture `start_alertmanager`."""

    def __call__(self, webhook: str, *, token: str = "") -> Alertmanager:
        """Start an Alertmanager that sends every alert to the URL *webhook*."""


@pytest.fixture
def start_alertmanager(tmp_path: Path) -> Iterator[StartAlertmanager]:
    """Start Alertmanagers that end with the test."""
    path = program("prometheus-alertmanager")
    with contextlib.ExitStack() as stack:

        def start(webhook: str, *, token: str = "") -> Alertmanager:
            port = free_port()
            folder = tmp_path / f"alertmanager-{port}"
            folder.mkdir()
            config = folder / "alertmanager.yml"
            config.write_text(json.dumps(alertmanager_config(webhook, token)))  # JSON is YAML
            command = [
                path,
                f"--config.file={config}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ]
            log = folder / "alertmanager.log"
            server = stack.enter_context(running(command, port=port, ready="/-/ready", log=log))
            return Alertmanager(server.url, server.process, server.log)

        yield start


def alertmanager_config(webhook: str, token: str) -> dict[str, Any]:
    """Return the configuration of an Alertmanager that sends all alerts to *webhook*, and repeats them soon."""
    http_config = {"authorization": {"credentials": token}} if token else {}
    receiver = {"url": webhook, "send_resolved": True, "http_config": http_config}
    route = {
        "receiver": "hook",
        "group_by": ["alertname"],
        "group_wait": "100ms",
        "group_interval": "500ms",
        "repeat_interval": "500ms",
    }
    return {"route": route, "receivers": [{"name": "hook", "webhook_configs": [receiver]}]}


@pytest.fixture
def start_uvicorn(tmp_path: Path) -> Iterator[StartUvicorn]:
    """Start uvicorn servers that end with the test."""
    with contextlib.ExitStack() as stack:

        def start(app: str, *options: str, ready: str = "/", env: Mapping[str, str] | None = None) -> Server:
            port = free_port()
            command = [
                *(sys.executable, "-m", "uvicorn", app, "--app-dir", str(ROOT)),
                "--http=h11",  # httptools, where it is installed, refuses methods that HTTP does not know
                *("--host", "127.0.0.1", "--port", str(port), *options),
            ]
            log = tmp_path / f"uvicorn-{port}.log"
            return stack.enter_context(running(command, port=port, ready=ready, log=log, env=env))

        yield start


@pytest.fixture
def promtool() -> Callable[[str], str]:
    """Return a function that gives `promtool check metrics`'s complaints about a page, "" for none."""
    path = program("promtool")

    def check(page: str) -> str:
        done = subprocess.run(
            [path, "check", "metrics"],
            input=page,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        return done.stdout + done.stderr

    return check
