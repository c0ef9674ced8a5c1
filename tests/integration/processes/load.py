"""Traffic on the shop of app.py: what was acknowledged, and what the page says of it meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import signal
import threading
from collections import Counter as Tally
from typing import TYPE_CHECKING

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import PATIENCE, get, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from tests.servers import Server

__all__ = ["CHANNELS", "Load", "Page", "Watch", "hang", "kill", "needs", "no_orphans"]

CHANNELS = ("web", "phone", "shop")


def needs(module: str) -> None:
    """Skip the test if a server is not installed; fail it where CI=true."""
    if importlib.util.find_spec(module) is None:
        reason = f"{module} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}, and CI=true allows no test to be left out", pytrace=False)
        pytest.skip(reason)


@contextlib.contextmanager
def no_orphans(server: contextlib.AbstractContextManager[Server]) -> Iterator[Server]:
    """Run a server, and kill the workers that it leaves behind if it is too slow to end."""
    workers: list[psutil.Process] = []
    try:
        with server as started:
            try:
                yield started
            finally:
                with contextlib.suppress(psutil.NoSuchProcess):
                    workers = psutil.Process(started.process.pid).children(recursive=True)
    finally:
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()


class Page:
    """A metrics page."""

    def __init__(self, url: str) -> None:
        answer = get(f"{url}/metrics")
        assert answer.status == 200, answer
        self.counts: dict[str, float] = {}  # those that may only grow
        self.values: dict[str, float] = {}
        for family in text_string_to_metric_families(answer.text):
            into = self.counts if family.type in ("counter", "histogram") else self.values
            for sample in family.samples:
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                into[f"{sample.name}{{{labels}}}"] = sample.value

    @property
    def orders(self) -> Tally[str]:
        """Orders by channel."""
        return Tally({one: int(self.counts.get(f"shop_orders_total{{channel={one}}}", 0)) for one in CHANNELS})

    @property
    def sizes(self) -> list[int]:
        """How many orders had at most 1, 2, 3 and any number of items, how many there were, and all their items."""
        names = [*(f"bucket{{le={bound}}}" for bound in ("1.0", "2.0", "3.0", "+Inf")), "count{}", "sum{}"]
        return [int(self.counts.get(f"shop_order_size_{name}", 0)) for name in names]

    @property
    def in_progress(self) -> float:
        """Orders that are being placed."""
        return self.values["shop_orders_in_progress{}"]

    @property
    def workers(self) -> set[str]:
        """The workers whose processes are shown."""
        return {key for key in self.values if key.startswith("process_start_time_seconds{")}


class Load:
    """Clients that place orders until the block ends, each over a connection of its own for every order."""

    def __init__(self, address: str, *, clients: int = 4) -> None:
        self._address = address
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=[number]) for number in range(clients)]
        self.acknowledged: Tally[str] = Tally()
        self.lost: Tally[str] = Tally()  # may have been counted, or not
        self.items: Tally[int] = Tally()  # of acknowledged orders
        self.pids: Tally[int] = Tally()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def wait_for(self, orders: int) -> None:
        """Wait until so many more orders are acknowledged."""
        goal = self.acknowledged.total() + orders
        wait_until(lambda: self.acknowledged.total() >= goal, f"{orders} more orders")

    def wait_for_stranger(self, known: set[int]) -> None:
        """Wait until a process that is not *known* has acknowledged an order."""
        wait_until(lambda: set(self.pids) - known, "an order placed by a new worker")

    def _run(self, number: int) -> None:
        turn = number
        while not self._is_over.is_set():
            channel, items = CHANNELS[turn % 3], 1 + turn % 4
            turn += 1
            try:
                pid = self._place(channel, items)
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self.lost[channel] += 1
                self._is_over.wait(0.02)
                continue
            with self._lock:
                self.acknowledged[channel] += 1
                self.items[items] += 1
                self.pids[pid] += 1

    def _place(self, channel: str, items: int) -> int:
        connection = http.client.HTTPConnection(self._address, timeout=PATIENCE)
        try:
            connection.request("GET", f"/order/{channel}/{items}", headers={"Connection": "close"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise http.client.HTTPException(answer.status)
            return int(text)
        finally:
            connection.close()

    def assert_told(self, page: Page) -> None:
        """Fail unless the page has every acknowledged order, and none that nobody has placed."""
        for channel in CHANNELS:
            least = self.acknowledged[channel]
            assert least <= page.orders[channel] <= least + self.lost[channel], (channel, self.lost)
        *buckets, infinite, count, total = page.sizes
        lost = self.lost.total()
        for bound, found in zip((1, 2, 3), buckets, strict=True):
            least = sum(number for items, number in self.items.items() if items <= bound)
            assert least <= found <= least + lost, (bound, lost)
        assert infinite == count
        assert self.acknowledged.total() <= count <= self.acknowledged.total() + lost
        least = sum(items * number for items, number in self.items.items())
        assert least <= total <= least + 4 * lost


class Watch:
    """Somebody who scrapes all the time, and keeps the counts that went down from one page to the next."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.drops: list[str] = []
        self.pages = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        last: dict[str, float] = {}
        while not self._is_over.wait(0.05):
            try:
                counts = {key: value for key, value in Page(self._url).counts.items() if key.startswith("shop_")}
            except (OSError, http.client.HTTPException):
                continue  # the worker that answered was killed
            self.drops += [
                f"{key}: {value} -> {counts.get(key)}" for key, value in last.items() if counts.get(key, -1) < value
            ]
            last = counts
            self.pages += 1


def hang(address: str) -> tuple[int, http.client.HTTPConnection]:
    """Make a worker hang in a request, and return its process id and the connection that it hangs on."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    connection.request("GET", "/hang")
    return int(connection.getresponse().readline()), connection


def kill(pid: int) -> None:
    """Kill a worker without a word."""
    os.kill(pid, signal.SIGKILL)
