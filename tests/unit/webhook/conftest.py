"""Notifications as Alertmanager sends them, and the two ways in which they come."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from vitalsign.webhook import AlertWebhook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prometheus_client import CollectorRegistry


def an_alert(name: str = "Down", **changes: Any) -> dict[str, Any]:
    """Return an alert as it stands in a notification."""
    return {
        "status": "firing",
        "labels": {"alertname": name, "severity": "page"},
        "annotations": {"summary": f"{name} it is"},
        "startsAt": "2026-11-21T12:00:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": f"fp-{name}",
        **changes,
    }


def resolved(name: str = "Down", **changes: Any) -> dict[str, Any]:
    """Return the same alert when it is over."""
    return an_alert(name, **{"status": "resolved", "endsAt": "2026-11-21T13:00:00+01:00", **changes})


def notification(*alerts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a notification with these alerts; one if none is given."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="Down"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "hook",
        "groupLabels": {"alertname": "Down"},
        "commonLabels": {"alertname": "Down"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "alerts": list(alerts) or [an_alert()],
        **changes,
    }


class Answer(NamedTuple):
    """What the webhook said."""

    status: int
    headers: Mapping[str, str]
    text: str


class Hook:
    """
    A webhook that is asked by one of the two interfaces.

    Attributes:
        taken: The alerts that the function was given, when it did not raise.
        failures: What it raises next.
    """

    def __init__(self, interface: str, registry: CollectorRegistry) -> None:
        self.interface = interface
        self.registry = registry
        self.taken: list[Any] = []
        self.failures: list[BaseException] = []
        self.hook = AlertWebhook(self.on_alert, registry=registry)

    def on_alert(self, alert: Any) -> None:
        """Take an alert, or fail."""
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(alert)

    def configure(self, on_alert: Callable[..., Any] | None = None, **options: Any) -> None:
        """Make another webhook."""
        self.hook = AlertWebhook(on_alert or self.on_alert, **{"registry": self.registry, **options})

    def send(self, *alerts: dict[str, Any], **changes: Any) -> Answer:
        """Send a notification."""
        return self.post(json.dumps(notification(*alerts, **changes)).encode())

    def post(
        self,
        body: bytes | Sequence[bytes] = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        peer: str = "10.0.0.1",
        length: str | None = "right",
    ) -> Answer:
        """Send whatever it is; as several pieces, without a length, or with a wrong one."""
        pieces = [body] if isinstance(body, bytes) else list(body)
        given = dict(headers or {})
        if length is not None:
            given["content-length"] = str(sum(map(len, pieces))) if length == "right" else length
        ask = self._by_asgi if self.interface == "asgi" else self._by_wsgi
        return ask(pieces, method, given, peer)

    def _by_asgi(self, pieces: list[bytes], method: str, headers: Mapping[str, str], peer: str) -> Answer:
        scope = {
            "type": "http",
            "method": method,
            "path": "/",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            "client": (peer, 1),
        }
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages.append({"type": "http.request", "body": b"", "more_body": False})
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.hook(scope, receive, send))
        answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], answered, sent[1]["body"].decode())

    def _by_wsgi(self, pieces: list[bytes], method: str, headers: Mapping[str, str], peer: str) -> Answer:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "wsgi.input": io.BytesIO(b"".join(pieces)),
            "REMOTE_ADDR": peer,
            "CONTENT_LENGTH": headers.get("content-length", ""),
            "wsgi.input_terminated": True,
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
        }
        started: list[Any] = []
        body = self.hook.wsgi(environ, lambda *started_with: started.extend(started_with))  # type: ignore[arg-type]
        return Answer(int(started[0][:3]), dict(started[1]), b"".join(body).decode())


@pytest.fixture(params=["asgi", "wsgi"])
def hook(request: pytest.FixtureRequest, registry: CollectorRegistry) -> Hook:
    """Return a webhook, asked by each interface in turn."""
    return Hook(request.param, registry)
