"""
A service under load whose workers are killed, one every second: what it counts, and what that leaves behind.

    python -m tests.soak --minutes 5

gunicorn serves the shop of tests/integration/processes; clients place orders all the time; another process, which
lives as long as the soak, serves the page. The program fails if the page's totals are not what was acknowledged, if a
count goes down from one scrape to the next, or if files, bytes or memory grow.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.integration.processes.load import Load, Page, Watch, kill, no_orphans
from tests.servers import ROOT, Server, free_port, running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Reading", "Soak", "soak"]

SHOP = "tests.integration.processes.app:wsgi"
PAGE = "tests.integration.processes.page:page"
WORKERS = 3
SLACK = {"files": 8, "bytes": 512 * 1024, "memory": 8 * 1024 * 1024}
"""What may be added from the first half to the second: files of workers that have just died, a larger heap."""


@dataclass(frozen=True)
class Reading:
    """How things are at one moment."""

    orders: int
    files: int
    bytes: int
    memory: int  # resident bytes of the process that serves the page
    scrape: float  # seconds


@dataclass
class Soak:
    """What a soak has seen."""

    load: Load
    readings: list[Reading] = field(default_factory=list)
    kills: int = 0
    drops: list[str] = field(default_factory=list)

    def growth(self) -> list[str]:
        """Name what has grown from the first half to the second, past a little slack."""
        middle = len(self.readings) // 2
        early, late = self.readings[:middle], self.readings[middle:]
        return [
            f"{name}: {highest(early, name)} -> {highest(late, name)}"
            for name, slack in SLACK.items()
            if highest(late, name) > highest(early, name) + slack
        ]

    def table(self) -> str:
        """Return the readings as Markdown, a line for each quarter of the time."""
        rows = ["| quarter | orders | most files | most KiB | page process, MiB | scrape, median ms |"]
        rows.append("|---|---|---|---|---|---|")
        size = len(self.readings) / 4
        for quarter in range(4):
            part = self.readings[round(quarter * size) : round((quarter + 1) * size)]
            scrape = statistics.median(reading.scrape for reading in part)
            cells = [
                f"{part[-1].orders:,}",
                f"{highest(part, 'files'):g}",
                f"{highest(part, 'bytes') / 1024:.0f}",
                f"{highest(part, 'memory') / 2**20:.1f}",
                f"{scrape * 1000:.1f}",
            ]
            rows.append(f"| {quarter + 1} | {' | '.join(cells)} |")
        return "\n".join(rows)


def highest(readings: Sequence[Reading], name: str) -> float:
    """Return the largest value of one field."""
    return max(getattr(reading, name) for reading in readings)


def soak(folder: Path, seconds: float, *, tell: Callable[[str], None] = lambda _: None) -> Soak:
    """
    Run the service for some time and kill a worker every second.

    Args:
        folder: Takes the shared directory and the logs.
        seconds: How long.
        tell: Gets a line now and then.

    Raises:
        AssertionError: The page does not tell what was acknowledged.
    """
    shared = folder / "shared"
    environment = {"VITALSIGN_PROCESSES_DIR": str(shared)}
    with ExitStack() as stack:

        def start(module: str, *options: str) -> Server:
            port = free_port()
            command = [sys.executable, "-m", module, *(option.format(port=port) for option in options)]
            log = folder / f"{module}.log"
            server = running(command, port=port, ready="/", log=log, env=environment, cwd=ROOT)
            return stack.enter_context(no_orphans(server))

        gunicorn = [f"--workers={WORKERS}", "--worker-class=gthread", "--threads=4", "--preload", "--no-control-socket"]
        shop = start("gunicorn", SHOP, "--bind=127.0.0.1:{port}", *gunicorn)
        page = start("uvicorn", PAGE, "--port={port}", "--log-level=warning")
        with Watch(page.url) as watch, Load(shop.address) as load:
            outcome = Soak(load)
            master = psutil.Process(shop.process.pid)
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                next_second = began + len(outcome.readings) + 1
                outcome.kills += _kill_one(master)
                outcome.readings.append(_read(page, shared))
                if len(outcome.readings) % 30 == 0:
                    tell(f"{outcome.readings[-1]}; {outcome.kills} killed")
                time.sleep(max(0.0, next_second - time.monotonic()))
        load.assert_told(Page(page.url))
        outcome.drops = watch.drops
    return outcome


def _kill_one(master: psutil.Process) -> int:
    workers = master.children()
    if not workers:
        return 0
    kill(random.choice(workers).pid)
    return 1


def _read(page: Server, shared: Path) -> Reading:
    began = time.perf_counter()
    shown = Page(page.url)
    scrape = time.perf_counter() - began
    sizes = [path.stat().st_size for path in shared.iterdir() if path.exists()]
    memory = psutil.Process(page.process.pid).memory_info().rss
    return Reading(shown.orders.total(), len(sizes), sum(sizes), memory, scrape)


def main() -> int:
    """Soak, and print what came of it; 1 if something is not as it must be."""
    parser = argparse.ArgumentParser(description="Kill a worker under load every second, and see what is counted.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default: %(default)s)")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        outcome = soak(Path(folder), 60 * minutes, tell=print)
    load = outcome.load
    print(
        f"{minutes:g} minutes: {outcome.kills} workers killed, {load.acknowledged.total():,} orders acknowledged, "
        f"{load.lost.total()} without an answer; every acknowledged order is on the page.\n\n{outcome.table()}"
    )
    complaints = [*outcome.drops, *outcome.growth()]
    print("\n".join(complaints) or "\nNo count went down, nothing has grown.")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
