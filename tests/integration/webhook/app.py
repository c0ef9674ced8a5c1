"""An application that takes alerts, and tells which it has taken."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse

from vitalsign.asgi import metrics_app
from vitalsign.webhook import Alert, AlertWebhook

if TYPE_CHECKING:
    from starlette.requests import Request

taken: list[tuple[str, str]] = []
fails = [True] if os.environ.get("FAILS") else []


async def on_alert(alert: Alert) -> None:
    """Take an alert; the first one fails if the environment says so."""
    if fails:
        fails.pop()
        raise ConnectionError("the chat is down")
    taken.append((alert.name, alert.status))


def on_alert_plain(alert: Alert) -> None:
    """Do the same, and take some time for it."""
    time.sleep(0.01)
    taken.append((alert.name, alert.status))


async def list_taken(_: Request) -> JSONResponse:
    """Tell what was taken."""
    return JSONResponse(taken)


app = Starlette()
app.add_route("/alerts", AlertWebhook(on_alert_plain if os.environ.get("PLAIN") else on_alert, token="sesame"))
app.add_route("/taken", list_taken)
app.add_route("/metrics", metrics_app())
