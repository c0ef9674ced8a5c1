"""Worker processes that count when they are told to, for tests of what many processes share."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Fleet", "Worker"]

PATIENCE = 30.0  # seconds


class Worker:
    """A process at the other end of a socket."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self._connection = connection
        self._file = connection.makefile("rw", encoding="utf-8", newline="\n")
        self.pid = int(self._file.readline())
        self._process = os.pidfd_open(self.pid)

    def do(self, action: str, *arguments: Any) -> Any:
        """Let the worker do something, and return its answer."""
        self._file.write(json.dumps([action, *arguments]) + "\n")
        self._file.flush()
        line = self._file.readline()
        assert line, f"worker {self.pid} ended at {action} {arguments}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def values(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Scrape the worker, and return its samples by name and labels."""
        page = self.do("scrape")
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }

    def wait(self) -> None:
        """Wait until the process is gone, its locks with it, and close this end."""
        assert select.select([self._process], [], [], PATIENCE)[0], f"worker {self.pid} does not end"
        os.close(self._process)
        self._file.close()
        self._connection.close()


class Fleet:
    """Workers that share one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self._started: list[subprocess.Popen[bytes]] = []
        self.workers: list[Worker] = []

    def start(self, **environment: str) -> Worker:
        """Start a worker from nothing."""
        environment = {**os.environ, "VITALSIGN_PROCESSES_DIR": str(self.directory), **environment}
        port = self._listener.getsockname()[1]
        command = [sys.executable, "-m", "tests.workers", str(port)]
        self._started.append(subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[1]))
        return self._accept()

    def fork(self, worker: Worker) -> Worker:
        """Let a worker fork; the child is one more."""
        worker.do("fork")
        return self._accept()

    def kill(self, worker: Worker) -> None:
        """Kill a worker, and wait until it is gone."""
        self._end(worker, signal.SIGKILL)

    def end(self, worker: Worker) -> None:
        """Let a worker end by itself."""
        worker.do("end")
        self._end(worker, None)

    def close(self) -> None:
        """Kill whoever is left."""
        for worker in list(self.workers):
            self.kill(worker)
        for process in self._started:
            process.wait(PATIENCE)
        self._listener.close()

    def _accept(self) -> Worker:
        connection, _ = self._listener.accept()
        worker = Worker(connection)
        self.workers.append(worker)
        return worker

    def _end(self, worker: Worker, number: signal.Signals | None) -> None:
        self.workers.remove(worker)
        if number is not None:
            os.kill(worker.pid, number)
        worker.wait()


class _Actions:
    """What a worker can do."""

    def __init__(self) -> None:
        import vitalsign

        modes = ("all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum", "mostrecent", "livemostrecent")
        self.page = vitalsign.generate_latest
        self.metrics: dict[str, Any] = {
            "counter": vitalsign.Counter("c", "c", ["k"]),
            "plain": vitalsign.Counter("plain", "c"),
            "histogram": vitalsign.Histogram("h", "h", ["k"], buckets=[1, 2]),
            "summary": vitalsign.Summary("s", "s", ["k"]),
            "info": vitalsign.Info("i", "i"),
            "enum": vitalsign.Enum("e", "e", states=["a", "b"]),
            **{mode: vitalsign.Gauge(f"g_{mode}", "g", multiprocess_mode=mode) for mode in modes},  # type: ignore[arg-type]
        }
        self.held: dict[str, Any] = {}

    def write(self, name: str, labels: list[str], method: str, *values: Any) -> None:
        """Call a method of a metric or of one of its children."""
        metric = self.metrics[name]
        getattr(metric.labels(*labels) if labels else metric, method)(*values)

    def write_in_thread(self, *arguments: Any) -> None:
        """Do the same in a thread that ends with it."""
        thread = threading.Thread(target=self.write, args=arguments)
        thread.start()
        thread.join()

    def hold(self, label: str) -> None:
        """Keep the child of a label set."""
        self.held[label] = self.metrics["counter"].labels(label)

    def write_held(self, label: str, amount: float) -> None:
        """Count in the child that was kept."""
        self.held[label].inc(amount)

    def remove(self, name: str, *labels: str) -> None:
        """Remove a label set."""
        self.metrics[name].remove(*labels)

    def clear(self, name: str) -> None:
        """Remove all label sets."""
        self.metrics[name].clear()

    def scrape(self) -> str:
        """Render the page."""
        return self.page().decode()

    def run(self, code: str) -> Any:
        """Run code that leaves its answer in `result`."""
        scope: dict[str, Any] = {"metrics": self.metrics, "held": self.held}
        exec(code, scope)
        return scope.get("result")


def serve(port: int) -> None:
    """Be a worker: do what the other end says, line by line."""
    actions = _Actions()
    file = _connect(port)
    while line := file.readline():
        action, *arguments = json.loads(line)
        if action == "fork" and os.fork() == 0:
            file = _connect(port)
            continue
        try:
            answer = {"result": getattr(actions, action)(*arguments) if hasattr(actions, action) else None}
        except Exception as error:
            answer = {"error": repr(error)}
        file.write(json.dumps(answer) + "\n")
        file.flush()
        if action == "end":
            return


def _connect(port: int) -> Any:
    connection = socket.create_connection(("127.0.0.1", port))
    file = connection.makefile("rw", encoding="utf-8", newline="\n")
    connection.close()  # the file has it
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


if __name__ == "__main__":
    serve(int(sys.argv[1]))
