"""The shop's visitors: customers, a bot, a scanner, and some who do not wait for their answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import httpx

from vitalsign.demo.luck import luck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from random import Random

__all__ = ["Visit", "send_traffic", "visits"]

_MOST_AT_ONCE = 40  # httpx takes the longer for each request, the more connections it has
_FARTHEST_BEHIND = 1.0  # seconds: after a longer standstill the missed visits stay missed
_PATIENCE = 5.0  # seconds
_SECRETS = ("/.env", "/wp-login.php", "/.git/config", "/admin.php", "/server-status")


@dataclass(frozen=True, slots=True)
class Visit:
    """
    One request, or several of the same at once.

    Attributes:
        path: Path and query.
        method: HTTP method.
        json: Body; None for none.
        leaves_early: Whether the visitor goes as soon as the answer begins.
        times: How often it is sent.
    """

    path: str
    method: str = "GET"
    json: Mapping[str, object] | None = None
    leaves_early: bool = False
    times: int = 1


def visits(seed: int) -> Iterator[Visit]:
    """Make up visits without end; the same seed makes the same."""
    random = luck(seed, "visits")
    kinds, weights = zip(*_MIX, strict=True)
    while True:
        (make,) = random.choices(kinds, weights)
        yield make(random)


async def send_traffic(url: str, rate: float, seed: int) -> None:
    """
    Send visits to *url* until cancelled, whether or not those before have been answered.

    Args:
        url: Where the shop is.
        rate: Requests per second, on average; 0 sends none.
        seed: Of the visits and of the pauses between them.
    """
    if rate == 0:
        return
    random = luck(seed, "pauses")
    limits = httpx.Limits(max_connections=_MOST_AT_ONCE)
    async with (
        httpx.AsyncClient(base_url=url, timeout=_PATIENCE, limits=limits, trust_env=False) as client,
        asyncio.TaskGroup() as requests,
    ):
        visitors = _Visitors(client, requests)
        due = monotonic()
        for visit in visits(seed):
            due = max(due + random.expovariate(rate / visit.times), monotonic() - _FARTHEST_BEHIND)
            await asyncio.sleep(due - monotonic())
            visitors.send(visit)


class _Visitors:
    def __init__(self, client: httpx.AsyncClient, tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._tasks = tasks
        self._present = 0

    def send(self, visit: Visit) -> None:
        """Send *visit* and do not wait; a shop that is overcrowded is not entered."""
        for _ in range(min(visit.times, _MOST_AT_ONCE - self._present)):
            self._present += 1
            self._tasks.create_task(self._send(visit))

    async def _send(self, visit: Visit) -> None:
        try:
            with suppress(httpx.TransportError):  # the shop's metrics tell what became of it
                async with self._client.stream(visit.method, visit.path, json=visit.json) as response:
                    if not visit.leaves_early:
                        await response.aread()
        finally:
            self._present -= 1


def _front_page(_random: Random) -> Visit:
    return Visit("/")


def _products(_random: Random) -> Visit:
    return Visit("/api/products")


def _product(random: Random) -> Visit:
    return Visit(f"/api/products/{random.randint(1, 14)}")  # there are 12


def _search(random: Random) -> Visit:
    return Visit(f"/api/search?q={random.choice(['tea', 'mug', 'tin', 'samovar'])}")


def _order(random: Random) -> Visit:
    quantity = 0 if random.random() < 0.03 else random.randint(1, 5)
    channel = random.choice(["web", "web", "app"])
    return Visit("/api/orders", "POST", {"product": random.randint(1, 12), "quantity": quantity, "channel": channel})


def _order_status(random: Random) -> Visit:
    return Visit(f"/api/orders/{random.randint(1, 50)}")


def _export(random: Random) -> Visit:
    return Visit("/api/export", leaves_early=random.random() < 0.3)


def _report(random: Random) -> Visit:
    return Visit(f"/api/reports/{random.choice(['sales', 'stock', 'margins'])}")


def _scan(random: Random) -> Visit:
    return Visit(random.choice(_SECRETS) if random.random() < 0.5 else f"/{random.getrandbits(64):016x}.php")


def _burst(_random: Random) -> Visit:
    return Visit("/api/search?q=everything", times=15)


def _nonsense(random: Random) -> Visit:
    return Visit("/api/products", random.choice(["BREW", "WHEN"]))


_MIX: tuple[tuple[Callable[[Random], Visit], float], ...] = (
    (_front_page, 6),
    (_products, 20),
    (_product, 30),
    (_search, 14),
    (_order, 14),
    (_order_status, 8),
    (_export, 2),
    (_report, 2),
    (_scan, 4),
    (_burst, 0.4),
    (_nonsense, 0.5),
)
"""What visitors do, and how often in comparison."""
