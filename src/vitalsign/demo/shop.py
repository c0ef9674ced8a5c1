"""The shop's endpoints: quick ones, slow ones, refusals, a stream, and one with a bug."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from vitalsign.demo.checkout import Cart, Product
from vitalsign.demo.jobs import QueueFullError
from vitalsign.demo.payments import PaymentDeclinedError, PaymentUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from random import Random

    from starlette.requests import Request

    from vitalsign.demo.checkout import Checkout, Order

__all__ = ["PRODUCTS", "BugError", "Shop"]

PRODUCTS = {
    number: Product(number, name, 500 + 350 * number)
    for number, name in enumerate(
        ("kettle", "teapot", "mug", "spoon", "tray", "jug", "strainer", "caddy", "cosy", "saucer", "timer", "tin"), 1
    )
}

_CHANNELS = ("web", "app")
_LARGEST_QUANTITY = 100
_SEARCHES_PER_SECOND = 20
_SEARCHES_AT_ONCE = 10
_ROWS = 20


class BugError(Exception):
    """The bug in the report of margins: it is there on purpose."""


class Shop:
    """Answer requests below `/api`."""

    def __init__(self, checkout: Checkout, randomness: Random) -> None:
        self._checkout = checkout
        self._random = randomness
        self._searches = _Limit(_SEARCHES_PER_SECOND, _SEARCHES_AT_ONCE)

    def routes(self) -> list[Route]:
        """Return the endpoints."""
        return [
            Route("/products", self.products),
            Route("/products/{number:int}", self.product),
            Route("/search", self.search),
            Route("/orders", self.place_order, methods=["POST"]),
            Route("/orders/{number:int}", self.order),
            Route("/export", self.export),
            Route("/reports/{name}", self.report),
        ]

    async def products(self, _request: Request) -> JSONResponse:
        """List all products: quick."""
        return JSONResponse([_as_dict(product) for product in PRODUCTS.values()])

    async def product(self, request: Request) -> JSONResponse:
        """Show one product, or 404 under the same template."""
        product = PRODUCTS.get(request.path_params["number"])
        if product is None:
            raise HTTPException(404, "there is no such product")
        await asyncio.sleep(self._random.uniform(0.001, 0.01))
        return JSONResponse(_as_dict(product))

    async def search(self, request: Request) -> JSONResponse:
        """Search products: sometimes slow, and 429 for those who search too often."""
        if not self._searches.admits():
            raise HTTPException(429, "too many searches", {"Retry-After": "1"})
        is_slow = self._random.random() < 0.08
        await asyncio.sleep(self._random.uniform(0.3, 0.8) if is_slow else self._random.uniform(0.01, 0.04))
        words = request.query_params.get("q", "")
        return JSONResponse([_as_dict(product) for product in PRODUCTS.values() if words in product.name])

    async def place_order(self, request: Request) -> JSONResponse:
        """Take an order: 201, or 422, 402 and 503 for what the customer, the bank and we cannot do."""
        cart = await _cart(request)
        try:
            order = await self._checkout.place(cart)
        except PaymentDeclinedError as error:
            raise HTTPException(402, "the payment was declined") from error
        except (PaymentUnavailableError, QueueFullError) as error:
            raise HTTPException(503, "orders cannot be taken at the moment", {"Retry-After": "5"}) from error
        return JSONResponse(_order_as_dict(order), 201)

    async def order(self, request: Request) -> JSONResponse:
        """Show one of the latest orders."""
        order = self._checkout.find(request.path_params["number"])
        if order is None:
            raise HTTPException(404, "there is no such order")
        return JSONResponse(_order_as_dict(order))

    async def export(self, _request: Request) -> StreamingResponse:
        """Send a table bit by bit: who leaves before its end is counted as 499."""
        return StreamingResponse(_table(), media_type="text/csv")

    async def report(self, request: Request) -> JSONResponse:
        """Show a report; that of margins has a bug, which the server answers with 500."""
        if request.path_params["name"] == "margins":
            raise BugError("margins cannot be computed: this bug is part of the demo")
        return JSONResponse({"report": request.path_params["name"], "products": len(PRODUCTS)})


class _Limit:
    """A token bucket: so many a second, and so many at once."""

    def __init__(self, per_second: float, at_once: float) -> None:
        self._per_second = per_second
        self._most = self._tokens = at_once
        self._filled = monotonic()

    def admits(self) -> bool:
        now = monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


async def _cart(request: Request) -> Cart:
    try:
        body: Mapping[str, Any] = await request.json()
        product, quantity, channel = PRODUCTS[body["product"]], body["quantity"], body["channel"]
    except (ValueError, KeyError, TypeError) as error:
        raise HTTPException(422, "an order has a product, a quantity and a channel") from error
    if type(quantity) is not int or not 0 < quantity <= _LARGEST_QUANTITY or channel not in _CHANNELS:
        raise HTTPException(422, f"1 to {_LARGEST_QUANTITY} can be ordered, from {' or '.join(_CHANNELS)}")
    return Cart(product, quantity, channel)


async def _table() -> AsyncIterator[str]:
    for row in range(_ROWS):
        yield f"{row},{'x' * 100}\n"
        await asyncio.sleep(0.02)


def _as_dict(product: Product) -> dict[str, object]:
    return {"product": product.number, "name": product.name, "euros": product.cents / 100}


def _order_as_dict(order: Order) -> dict[str, object]:
    return {"order": order.number, "product": order.cart.product.number, "quantity": order.cart.quantity}
