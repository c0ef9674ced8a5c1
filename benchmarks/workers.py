"""The processes of one service that share their metrics: what the rows of many processes stand on."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.populating import HISTOGRAM, OBSERVATIONS, bound_children, histogram, observe_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

__all__ = ["Service", "service", "shared_directory"]

_VARIABLES = {"vitalsign": "VITALSIGN_PROCESSES_DIR", "prometheus_client": "PROMETHEUS_MULTIPROC_DIR"}
_AT_ONCE = 2  # of those that are killed


@contextmanager
def shared_directory(library: str) -> Iterator[Path]:
    """Let *library*, which is not loaded yet, share this process's metrics in a new directory."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as path:
        os.environ[_VARIABLES[library]] = path
        yield Path(path)


@contextmanager
def service(library: str, workers: int, children: int) -> Iterator[Service]:
    """Run *workers* that live until the end, each of which has observed *children* of one histogram."""
    with shared_directory(library) as directory:
        running = Service(library, directory, children)
        try:
            for _ in range(workers):
                running.add_worker()
            yield running
        finally:
            running.end()


class Service:
    """
    Forked workers that count, and this process, which only answers scrapes: it is as the master of a preloaded server.

    Attributes:
        directory: What they share.
    """

    def __init__(self, library: str, directory: Path, children: int) -> None:
        self.directory = directory
        self._library = library
        self._children = children
        self._fork = multiprocessing.get_context("fork")
        self._histogram = histogram(library)
        self._living: list[tuple[ForkProcess, Connection]] = []
        self._observations = 0  # of the first child, by all workers, dead ones too

    def add_worker(self) -> None:
        """Start a worker and wait until it has observed every child."""
        here, there = self._fork.Pipe()
        process = self._fork.Process(target=self._live, args=(there,), daemon=True)
        process.start()
        there.close()  # or a worker that fails would never be missed
        self._living.append((process, here))
        self._answered(here)

    def observe(self) -> None:
        """Let every worker observe every child, in turns."""
        for _, orders in self._living:
            orders.send(None)
            self._answered(orders)

    def lose_workers(self, count: int, children: int) -> None:
        """Start an even *count* of workers, two at a time, that are killed when they have observed *children* each."""
        for _ in range(count // _AT_ONCE):
            batch = [self._fork.Process(target=self._die, args=(children,)) for _ in range(_AT_ONCE)]
            for process in batch:
                process.start()
            for process in batch:
                process.join()
                if process.exitcode != -signal.SIGKILL:
                    raise RuntimeError(f"A worker was to be killed, but ended with {process.exitcode}.")
                self._observations += OBSERVATIONS

    def scrape_time(self) -> float:
        """Return the seconds of a scrape that is answered by this process."""
        generate_latest, registry = import_module(self._library).generate_latest, self._registry()
        gc.collect()
        start = perf_counter()
        page = generate_latest(registry)
        taken = perf_counter() - start
        count = f'\n{HISTOGRAM}_count{{route="/route/0"}} {self._observations}.0\n'
        if count.encode() not in page:
            raise RuntimeError(f"The page of {self._library} does not have what was counted: {count.strip()}")
        return taken

    def file_sizes(self) -> list[int]:
        """Return the size of each file in the directory, in bytes."""
        return [path.stat().st_size for path in self.directory.iterdir()]

    def end(self) -> None:
        """End all workers."""
        for process, orders in self._living:
            process.kill()
            process.join()
            orders.close()

    def _registry(self) -> Any:
        upstream = import_module("prometheus_client")
        if self._library == "vitalsign":
            return upstream.REGISTRY
        registry = upstream.CollectorRegistry()
        import_module("prometheus_client.multiprocess").MultiProcessCollector(registry)
        return registry

    def _answered(self, orders: Connection) -> None:
        orders.recv()
        self._observations += OBSERVATIONS

    def _live(self, orders: Connection) -> None:
        bound = bound_children(self._histogram, self._children)
        try:
            while True:
                observe_all(bound)
                orders.send(None)
                orders.recv()
        except (EOFError, BrokenPipeError):
            return

    def _die(self, children: int) -> None:
        observe_all(bound_children(self._histogram, children))
        os.kill(os.getpid(), signal.SIGKILL)
