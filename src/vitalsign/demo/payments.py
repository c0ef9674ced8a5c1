"""The shop's client of the payment provider, whose every call is measured by its transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import httpx

from vitalsign.collectors import ApiClientCollector
from vitalsign.health import Result

if TYPE_CHECKING:
    from types import TracebackType

    from prometheus_client import CollectorRegistry

__all__ = ["PaymentDeclinedError", "PaymentUnavailableError", "Payments"]


class PaymentDeclinedError(Exception):
    """The customer's money was refused."""


class PaymentUnavailableError(Exception):
    """Nobody knows whether the customer's money would have been refused."""


class Payments:
    """Charge customers through the provider that *transport* leads to. Use it as a context manager."""

    def __init__(self, transport: httpx.AsyncBaseTransport, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._api = ApiClientCollector("payments", templates=["/charges", "/status"])
        self._client = httpx.AsyncClient(
            base_url="http://payments.example", transport=self._api.httpx_async_transport(transport)
        )

    async def __aenter__(self) -> Self:
        self._api.bind(self._registry)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.aclose()
        self._api.unbind()

    async def charge(self, cents: int) -> None:
        """
        Take *cents* from the customer.

        Raises:
            PaymentDeclinedError: The provider refused.
            PaymentUnavailableError: The provider gave no sensible answer.
        """
        try:
            response = await self._client.post("/charges", json={"cents": cents})
        except httpx.TransportError as error:
            raise PaymentUnavailableError from error
        if response.status_code == 402:
            raise PaymentDeclinedError
        if response.is_error:
            raise PaymentUnavailableError

    async def check(self) -> Result:
        """Tell the health of the provider, as far as it can be seen from here."""
        try:
            await self._client.get("/status")
        except httpx.TransportError:
            return Result("fail", "the payment provider cannot be reached")
        return Result("pass", "the payment provider answers")
