"""Real servers that take pushes, and jobs as processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.servers import Server, free_port, get, program, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Pushgateway(Server):
    """A real Pushgateway."""

    def groups(self) -> list[dict[str, Any]]:
        """Return what it keeps: labels and metrics of each group."""
        data: list[dict[str, Any]] = json.loads(self.get("/api/v1/metrics").text)["data"]
        return data

    def lines(self, prefix: str) -> list[str]:
        """Return the lines of its page that begin with *prefix*."""
        return [line for line in self.get("/metrics").text.splitlines() if line.startswith(prefix)]


class StartPushgateway(Protocol):
    """The fixture `start_pushgateway`."""

    def __call__(self, *options: str, port: int | None = None) -> Pushgateway:
        """Start a Pushgateway with *options*."""


@pytest.fixture
def start_pushgateway(tmp_path: Path) -> Iterator[StartPushgateway]:
    """Start Pushgateways that end with the test."""
    path = program("prometheus-pushgateway")
    with contextlib.ExitStack() as stack:

        def start(*options: str, port: int | None = None) -> Pushgateway:
            port = port or free_port()
            command = [path, f"--web.listen-address=127.0.0.1:{port}", "--persistence.file=", *options]
            log = tmp_path / f"pushgateway-{port}.log"
            server = stack.enter_context(running(command, port=port, ready="/-/ready", log=log))
            return Pushgateway(server.url, server.process, server.log)

        yield start


@pytest.fixture
def gateway(start_pushgateway: StartPushgateway) -> Pushgateway:
    """Return a Pushgateway."""
    return start_pushgateway()


@dataclass(frozen=True)
class VictoriaMetrics(Server):
    """A real VictoriaMetrics of one node."""

    def series(self, selector: str) -> list[dict[str, Any]]:
        """Return the raw series of *selector*, with all their values."""
        self.get("/internal/force_flush")
        text = self.get("/api/v1/export?" + urllib.parse.urlencode({"match[]": selector})).text
        return [json.loads(line) for line in text.splitlines()]


class StartVictoriaMetrics(Protocol):
    """The fixture `start_victoria_metrics`."""

    def __call__(self, *, port: int | None = None) -> VictoriaMetrics:
        """Start a VictoriaMetrics that shows at once what it has been sent."""


@pytest.fixture
def start_victoria_metrics(tmp_path: Path) -> Iterator[StartVictoriaMetrics]:
    """Start servers of VictoriaMetrics that end with the test."""
    path = program("victoria-metrics")
    with contextlib.ExitStack() as stack:

        def start(*, port: int | None = None) -> VictoriaMetrics:
            port = port or free_port()
            command = [
                path,
                f"-httpListenAddr=127.0.0.1:{port}",
                f"-storageDataPath={tmp_path / f'victoria-metrics-{port}'}",
                "-retentionPeriod=1",
                "-search.latencyOffset=0s",
                "-memory.allowedBytes=128MB",
            ]
            log = tmp_path / f"victoria-metrics-{port}.log"
            server = stack.enter_context(running(command, port=port, ready="/health", log=log))
            return VictoriaMetrics(server.url, server.process, server.log)

        yield start


class StartNodeExporter(Protocol):
    """The fixture `start_node_exporter`."""

    def __call__(self, directory: Path) -> Server:
        """Start a node_exporter that shows the files of *directory*, and metrics of its own process."""


@pytest.fixture
def start_node_exporter(tmp_path: Path) -> Iterator[StartNodeExporter]:
    """Start node_exporters that end with the test."""
    path = program("prometheus-node-exporter")
    with contextlib.ExitStack() as stack:

        def start(directory: Path) -> Server:
            port = free_port()
            command = [
                path,
                f"--web.listen-address=127.0.0.1:{port}",
                "--collector.disable-defaults",
                "--collector.textfile",
                f"--collector.textfile.directory={directory}",
            ]
            log = tmp_path / f"node-exporter-{port}.log"
            return stack.enter_context(running(command, port=port, ready="/", log=log))

        yield start


class StartJob(Protocol):
    """The fixture `start_job`."""

    def __call__(self, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start *script* in a Python of its own; it says `ready` when it is where the test wants it."""


@pytest.fixture
def start_job() -> Iterator[StartJob]:
    """Start jobs that are killed with the test, if they still run."""
    with contextlib.ExitStack() as stack:

        def start(script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
            # Coverage has a handler for SIGTERM, which ends the process on the spot.
            inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
            job = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-u", "-c", textwrap.dedent(script), *arguments],
                    env=inherited | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(job.kill)
            return job

        yield start


def wait_for_page(server: Server, text: str) -> str:
    """Wait until the page of *server* has *text*, and return it."""
    pages: list[str] = []

    def shown() -> bool:
        pages.append(get(f"{server.url}/metrics").text)
        return text in pages[-1]

    wait_until(shown, text)
    return pages[-1]
