"""What is done with the alerts of one notification, whichever server it came by."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from vitalsign._clock import monotonic
from vitalsign._http_alerts import Alert, parse_alerts
from vitalsign.exceptions import AlertPayloadError
from vitalsign.metrics.instruments import OWN_MAX_SERIES, Counter
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import CollectorRegistry

    from vitalsign._access import Access

__all__ = ["AlertDesk", "AlertMemory", "OnAlert", "Reply", "said"]

OnAlert: TypeAlias = Callable[[Alert], Awaitable[object] | object]
"""Takes one alert; what it returns is ignored, what it raises makes Alertmanager send the alert again."""

_log = logging.getLogger("vitalsign.webhook")
_WHERE = "webhook"


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    def all_headers(self) -> list[tuple[str, str]]:
        """Return the headers that it is sent with."""
        return [*self.headers, ("content-length", str(len(self.body))), ("cache-control", "no-store")]


def said(status: int, text: str, *headers: tuple[str, str]) -> Reply:
    """Answer with one line of text."""
    body = f"{text}\n".encode("utf-8", "replace")
    return Reply(status, body, (*headers, ("content-type", "text/plain; charset=utf-8")))


Identity: TypeAlias = tuple[str, str, datetime]
"""Fingerprint, status and start: what tells two alerts apart."""

Claim: TypeAlias = Literal["new", "again", "busy", "done"]


class AlertMemory:
    """
    Know which alerts were handed over: by this process, since it started.

    Args:
        size: Alerts that are remembered; past that, those are forgotten that were not seen for longest.
        age: Seconds for which an alert is remembered after it was handed over.
    """

    def __init__(self, size: int, age: float) -> None:
        self._size = size
        self._age = age
        self._lock = threading.Lock()
        self._busy: set[Identity] = set()
        self._known: OrderedDict[Identity, tuple[bool, float]] = OrderedDict()

    def claim(self, identity: Identity) -> Claim:
        """
        Ask for an alert to hand over: `new` and `again` (it failed before) grant it, until `settle` is called.

        `busy` says that somebody else has it in hand, `done` that it was handed over.
        """
        with self._lock:
            if identity in self._busy:
                return "busy"
            is_done, when = self._known.get(identity, (False, None))
            if when is not None and monotonic() - when >= self._age:
                is_done, when = False, None
            if is_done:
                self._known.move_to_end(identity)
                return "done"
            self._busy.add(identity)
            return "new" if when is None else "again"

    def settle(self, identity: Identity, *, is_done: bool) -> None:
        """Say what became of an alert that was claimed."""
        with self._lock:
            self._busy.discard(identity)
            self._known[identity] = (is_done, monotonic())
            self._known.move_to_end(identity)
            while len(self._known) > self._size:
                self._known.popitem(last=False)


@dataclass(slots=True)
class _Outcome:
    """What has become of the alerts of one notification."""

    handled: int = 0
    repeated: int = 0
    busy: int = 0
    failed: int = 0
    refusal: Reply | None = None

    def reply(self) -> Reply:
        if self.refusal is not None:
            return self.refusal
        if self.failed:
            return said(500, f"{self.failed} of the alerts could not be handled.")
        if self.busy:
            return said(503, "Another request has some of the alerts in hand.", ("retry-after", "1"))
        told = {"handled": self.handled, "repeated": self.repeated}
        return Reply(200, json.dumps(told).encode(), (("content-type", "application/json"),))


class AlertDesk:
    """
    Decide who may send alerts, hand each over once, and count.

    Args:
        on_alert: Takes one alert.
        access: Knows who may send.
        memory: Knows what was handed over.
        registry: Where the metrics are registered.
        max_series: Bound of `alerts_received_total`.
    """

    def __init__(
        self,
        on_alert: OnAlert,
        access: Access,
        memory: AlertMemory,
        registry: CollectorRegistry | None,
        max_series: int,
    ) -> None:
        self._on_alert = on_alert
        self._access = access
        self._memory = memory
        declare = partial(Counter, registry=registry)
        self._received = declare(
            "alerts_received",
            "Alerts that Alertmanager has sent, repeated ones not counted.",
            ["alertname", "severity", "status"],
            max_series=max_series,
        )
        self._requests = declare(
            "alert_webhook_requests", "Requests to the alert webhook, by the status that they were answered with.",
            ["status"], max_series=OWN_MAX_SERIES,
        )  # fmt: skip
        self._errors = declare(
            "alert_webhook_errors", "Exceptions that on_alert has raised, by class.", ["error"],
            max_series=OWN_MAX_SERIES,
        )  # fmt: skip

    def refuse(self, method: str, headers: Iterable[tuple[bytes, bytes]], peer: str | None) -> Reply | None:
        """Return the answer to a request whose body need not be read; None for one that may go on."""
        refusal = self._access.refusal(headers, peer)
        if refusal == 401:
            return said(401, "The token is missing or wrong.", ("www-authenticate", "Bearer"))
        if refusal is not None:
            return said(refusal, "Alerts are not taken from this address.")
        if method != "POST":
            return said(405, "Alerts are taken by POST.", ("allow", "POST"))
        return None

    def take(self, body: bytes) -> Reply:
        """Hand the alerts of a notification over, on a thread that may be kept."""
        outcome = _Outcome()
        for alert in self._due(body, outcome):
            with self._handing_over(alert, outcome):
                result = self._on_alert(alert)
                if inspect.isawaitable(result):
                    asyncio.run(_awaited(result))
        return outcome.reply()

    async def take_async(self, body: bytes) -> Reply:
        """Do the same by awaiting, with an `on_alert` that keeps nobody."""
        outcome = _Outcome()
        for alert in self._due(body, outcome):
            with self._handing_over(alert, outcome):
                result = self._on_alert(alert)
                if inspect.isawaitable(result):
                    await result
        return outcome.reply()

    def count(self, reply: Reply) -> None:
        """Count a request by its answer."""
        try:
            self._requests.labels(str(reply.status)).inc()
        except Exception as error:  # noqa: BLE001
            internal_error(_WHERE, error)

    def _due(self, body: bytes, outcome: _Outcome) -> Iterator[Alert]:
        """Yield the alerts that are to be handed over, each claimed when its turn has come."""
        try:
            alerts = parse_alerts(body)
        except AlertPayloadError as error:
            outcome.refusal = said(400, str(error))
            return
        for alert in alerts:
            claim = self._memory.claim(alert.identity)
            if claim == "new":
                self._count_alert(alert)
            if claim in ("new", "again"):
                yield alert
            outcome.busy += claim == "busy"
            outcome.repeated += claim == "done"

    @contextmanager
    def _handing_over(self, alert: Alert, outcome: _Outcome) -> Iterator[None]:
        """Let one alert fail alone, and remember what has become of it."""
        is_done = False
        try:
            yield
            is_done = True
            outcome.handled += 1
        except Exception as error:  # noqa: BLE001  # the other alerts shall be handed over too
            self._complain(alert, error)
        finally:
            outcome.failed += not is_done
            self._memory.settle(alert.identity, is_done=is_done)

    def _complain(self, alert: Alert, error: Exception) -> None:
        try:
            self._errors.labels(type(error).__name__).inc()
            _log.error(
                "on_alert failed for alert %s (%s, fingerprint %s); Alertmanager is told to send it again.",
                alert.name, alert.status, alert.fingerprint, exc_info=error,
            )  # fmt: skip
        except Exception as failure:  # noqa: BLE001
            internal_error(_WHERE, failure)

    def _count_alert(self, alert: Alert) -> None:
        try:
            self._received.labels(alert.name, alert.severity, alert.status).inc()
        except Exception as error:  # noqa: BLE001
            internal_error(_WHERE, error)


async def _awaited(result: Awaitable[object]) -> None:
    await result
