"""The metrics endpoint without I/O: who gets a page, which one, and how those who want the same one share it."""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vitalsign._access import Access
from vitalsign._http_page import Page, PageRequest, failure, negotiate, notice, render, seconds_left
from vitalsign.exceptions import EndpointOptionError
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import CollectorRegistry

    from vitalsign._access import Networks, Token

__all__ = ["Asked", "Endpoint", "Waiter"]

_BEARER = (b"www-authenticate", b"Bearer")


@dataclass(frozen=True, slots=True)
class Asked:
    """
    A request, as every server knows it.

    Attributes:
        method: Its method.
        headers: Its headers, their names in lower case.
        query: Its query string.
        peer: Address that the connection comes from; None if it has none.
    """

    method: str
    headers: Sequence[tuple[bytes, bytes]]
    query: bytes = b""
    peer: str | None = None


class Waiter(Protocol):
    """Somebody who waits for a page."""

    def has_left(self) -> bool:
        """Tell whether nobody waits any more."""
        ...

    def take(self, page: Page) -> None:
        """Take the page; called from the thread that has rendered it."""
        ...


class Endpoint:
    """
    Decide on requests, and render what they ask for: once for all who ask for the same at the same time.

    Args:
        registry: Whose metrics are shown.
        token: As `Access` takes it.
        allow: As `Access` takes it.
        trusted_proxies: As `Access` takes it.
        deadline: Seconds after which a collector that has not answered is left out; None goes by what each scraper
            says that it waits.

    Raises:
        EndpointOptionError: One of the options makes no sense.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        token: Token | None = None,
        allow: Networks | None = None,
        trusted_proxies: Networks = (),
        deadline: float | None = None,
    ) -> None:
        if not hasattr(registry, "collect"):
            raise EndpointOptionError(f"registry is {registry!r}, which has nothing to show. Give a CollectorRegistry.")
        if deadline is not None and not (isinstance(deadline, int | float) and 0 < deadline < threading.TIMEOUT_MAX):
            raise EndpointOptionError(
                f"deadline is {deadline!r}, but has to be a number of seconds above 0, or None to go by the scraper's."
            )
        self._registry = registry
        self._access = Access(token=token, allow=allow, trusted_proxies=trusted_proxies)
        self._deadline = deadline
        self._lock = threading.Lock()
        self._waiting: dict[PageRequest, list[Waiter]] = {}
        if hasattr(os, "register_at_fork"):
            forget = weakref.WeakMethod(self._forget)
            os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def _forget(self) -> None:
        # In a forked child nobody renders what its parent was asked for.
        self._lock = threading.Lock()
        self._waiting.clear()

    def refuse(self, asked: Asked) -> Page | None:
        """Answer a request of somebody who may not read; None if they may."""
        status = self._access.refusal(asked.headers, asked.peer)
        if status == 401:
            return notice(401, "Send the token: Authorization: Bearer ...", _BEARER)
        return notice(403, "Not from your network.") if status else None

    def admit(self, asked: Asked) -> PageRequest | Page:
        """Return what is to be rendered for a request, or the answer that says why nothing is."""
        return self.refuse(asked) or negotiate(asked.method, asked.headers, asked.query)

    def seconds(self, asked: Asked) -> float:
        """Return how long the page of a request may take."""
        return seconds_left(asked.headers) if self._deadline is None else self._deadline

    def wait(self, wanted: PageRequest, waiter: Waiter) -> bool:
        """
        Let *waiter* have the page as soon as it is there.

        Returns:
            Whether nobody else waits for it, so that the caller must see to it that it is rendered.
        """
        with self._lock:
            waiting = self._waiting.setdefault(wanted, [])
            waiting.append(waiter)
            return len(waiting) == 1

    def render(self, wanted: PageRequest, seconds: float) -> None:
        """Render a page for all who wait for it, unless they have left."""
        with self._lock:
            if all(waiter.has_left() for waiter in self._waiting[wanted]):
                del self._waiting[wanted]
                return
        page = failure()
        try:
            page = render(self._registry, wanted, seconds)
        except Exception as error:  # noqa: BLE001  # a collector can raise anything
            internal_error("metrics page", error)
        finally:  # whatever ends this thread, those who wait must not wait for ever
            self.settle(wanted, page)

    def settle(self, wanted: PageRequest, page: Page) -> None:
        """Give *page* to all who wait for it."""
        with self._lock:
            waiting = self._waiting.pop(wanted)
        for waiter in waiting:
            waiter.take(page)
