"""The payment provider that the shop depends on: as moody as such things are, and inside this process."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from random import Random

__all__ = ["Mood", "PaymentProvider"]

_QUOTA = 600
_WINDOW = 60.0  # seconds
_OUTAGE_EVERY = 90.0  # seconds
_OUTAGE = (40.0, 50.0)  # seconds of each such period
_PATIENCE = 0.8  # seconds: what an answer that never comes costs the shop


class Mood(StrEnum):
    """How the provider behaves: without fault, as in real life (with outages of 10 s), or not at all."""

    UP = "up"
    FLAKY = "flaky"
    DOWN = "down"


class PaymentProvider(httpx.AsyncBaseTransport):
    """
    Answer the shop's requests in place of a network and a server.

    Attributes:
        mood: How it behaves.
    """

    def __init__(self, randomness: Random) -> None:
        self.mood = Mood.FLAKY
        self._random = randomness
        self._born = monotonic()
        self._window = -1
        self._used = 0

    @property
    def is_out(self) -> bool:
        """Whether nobody can reach it."""
        if self.mood is not Mood.FLAKY:
            return self.mood is Mood.DOWN
        start, end = _OUTAGE
        return start <= (monotonic() - self._born) % _OUTAGE_EVERY < end

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        Answer *request*: `POST /charges` takes money, anything else tells that the provider is there.

        Raises:
            httpx.ConnectError: It is out.
            httpx.ReadTimeout: It gave no answer.
        """
        if self.is_out:
            raise httpx.ConnectError("the payment provider cannot be reached", request=request)
        if request.url.path != "/charges":
            return httpx.Response(200, json={"status": "up"}, request=request)
        status = await self._charge(request)
        return httpx.Response(status, headers=self._spend(), json={}, request=request)

    async def _charge(self, request: httpx.Request) -> int:
        await asyncio.sleep(self._random.uniform(0.01, 0.06))
        luck = self._random.random()
        if self.mood is Mood.FLAKY:
            if luck < 0.02:
                await asyncio.sleep(_PATIENCE)
                raise httpx.ReadTimeout("the payment provider did not answer", request=request)
            if luck < 0.05:
                return 500
            if luck < 0.10:
                await asyncio.sleep(self._random.uniform(0.2, 0.7))
        return 402 if luck > 0.95 else 201

    def _spend(self) -> dict[str, str]:
        """Use up one request of the quota, and return the headers that say what is left."""
        age = monotonic() - self._born
        if int(age / _WINDOW) != self._window:
            self._window, self._used = int(age / _WINDOW), 0
        self._used += 1
        return {
            "X-RateLimit-Limit": str(_QUOTA),
            "X-RateLimit-Remaining": str(max(0, _QUOTA - self._used)),
            "X-RateLimit-Reset": str(round(_WINDOW - age % _WINDOW)),
        }
