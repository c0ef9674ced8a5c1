"""The till: from a cart to a paid order with jobs for the worker, and the business metrics of that."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from vitalsign import Counter, count_errors, track_time
from vitalsign.demo.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from prometheus_client import CollectorRegistry

    from vitalsign.demo.jobs import JobQueue
    from vitalsign.demo.payments import Payments

__all__ = ["Cart", "Checkout", "Order", "Product"]

_ORDERS_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Product:
    """Something to buy; prices are in cents."""

    number: int
    name: str
    cents: int


@dataclass(frozen=True, slots=True)
class Cart:
    """What a customer wants to buy, and where from."""

    product: Product
    quantity: int
    channel: Literal["web", "app"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer has bought."""

    number: int
    cart: Cart


class Checkout:
    """Charge customers and pass their orders on to the worker."""

    def __init__(self, payments: Payments, jobs: JobQueue, registry: CollectorRegistry) -> None:
        self._payments = payments
        self._jobs = jobs
        self._numbers = count(1)
        self._recent: deque[Order] = deque(maxlen=_ORDERS_KEPT)
        self._orders = Counter("shop_orders", "Orders placed.", ["channel"], registry=registry)
        self._revenue = Counter("shop_revenue_euros", "Money taken.", ["channel"], registry=registry)
        # In a module of your own these two stand above the function, with @, and registry= is left out.
        timed = track_time(
            "shop_checkout_duration_seconds",
            "Time to check out.",
            labels={"channel": lambda cart: cart.channel},
            registry=registry,
        )
        counted = count_errors("shop_checkout_errors_total", "Failed checkouts.", registry=registry)
        self.place: Callable[[Cart], Coroutine[Any, Any, Order]] = timed(counted(self._place))

    async def _place(self, cart: Cart) -> Order:
        """
        Turn *cart* into an order.

        Raises:
            PaymentDeclinedError: The customer cannot pay.
            PaymentUnavailableError: The payment provider does not answer.
            QueueFullError: The worker is too far behind to promise anything.
        """
        cents = cart.product.cents * cart.quantity
        await self._payments.charge(cents)
        order = Order(next(self._numbers), cart)
        self._jobs.put(Job("invoice", order.number), Job("shipment", order.number))
        self._recent.append(order)
        self._orders.labels(cart.channel).inc()
        self._revenue.labels(cart.channel).inc(cents / 100)
        return order

    def find(self, number: int) -> Order | None:
        """Return one of the latest 1,000 orders."""
        return next((order for order in self._recent if order.number == number), None)
