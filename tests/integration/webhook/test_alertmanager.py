"""Alerts from a real Alertmanager to the webhook, served by a real uvicorn."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.servers import wait_until

if TYPE_CHECKING:
    from tests.servers import Server, StartAlertmanager, StartUvicorn

pytestmark = pytest.mark.integration

APP = "tests.integration.webhook.app:app"
LABELS = {"alertname": "CheckoutDown", "severity": "page"}


def taken(server: Server) -> list[list[str]]:
    """Return the alerts that the application has taken."""
    alerts: list[list[str]] = json.loads(server.get("/taken").text)
    return alerts


def past() -> str:
    """Return a moment ago, as Alertmanager reads it."""
    return (datetime.now(UTC) - timedelta(seconds=1)).isoformat()


@pytest.mark.parametrize("kind", ["coroutine function", "plain function"])
def test_an_alert_fires_and_is_resolved_once(
    start_uvicorn: StartUvicorn, start_alertmanager: StartAlertmanager, kind: str
) -> None:
    """However often Alertmanager repeats it, an alert is handed over once when it fires and once when it is over."""
    server = start_uvicorn(APP, ready="/taken", env={"PLAIN": "1"} if kind == "plain function" else {})
    alertmanager = start_alertmanager(f"{server.url}/alerts", token="sesame")
    alertmanager.fire(LABELS)
    wait_until(lambda: alertmanager.notifications() >= 3, "repeated notifications")
    assert taken(server) == [["CheckoutDown", "firing"]]
    alertmanager.fire(LABELS, endsAt=past())
    wait_until(lambda: len(taken(server)) == 2, "the notification that it is over")
    assert taken(server) == [["CheckoutDown", "firing"], ["CheckoutDown", "resolved"]]
    assert alertmanager.notifications(failed=True) == 0
    page = server.get("/metrics").text
    for status in ("firing", "resolved"):
        line = f'alerts_received_total{{alertname="CheckoutDown",severity="page",status="{status}"}} 1.0'
        assert line in page


def test_alertmanager_tries_again_after_a_failure(
    start_uvicorn: StartUvicorn, start_alertmanager: StartAlertmanager
) -> None:
    """An alert that could not be handled comes again, is handed over then, and is counted once."""
    server = start_uvicorn(APP, ready="/taken", env={"FAILS": "1"})
    alertmanager = start_alertmanager(f"{server.url}/alerts", token="sesame")
    alertmanager.fire(LABELS)
    wait_until(lambda: taken(server), "the second attempt")
    page = server.get("/metrics").text
    assert 'alert_webhook_errors_total{error="ConnectionError"} 1.0' in page
    assert 'alert_webhook_requests_total{status="500"} 1.0' in page
    assert 'alerts_received_total{alertname="CheckoutDown",severity="page",status="firing"} 1.0' in page
    assert taken(server) == [["CheckoutDown", "firing"]]
    assert "the chat is down" in server.log.read_text()


def test_without_the_token_nothing_arrives(start_uvicorn: StartUvicorn, start_alertmanager: StartAlertmanager) -> None:
    """An Alertmanager with the wrong token is refused, and no alert of its is handed over."""
    server = start_uvicorn(APP, ready="/taken")
    alertmanager = start_alertmanager(f"{server.url}/alerts", token="guessed")
    alertmanager.fire(LABELS)
    wait_until(lambda: 'alert_webhook_requests_total{status="401"}' in server.get("/metrics").text, "a refusal")
    assert taken(server) == []
