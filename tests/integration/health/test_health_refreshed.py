"""Background refresh on the event loop of a real uvicorn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.servers import end, wait_until

if TYPE_CHECKING:
    from tests.servers import StartUvicorn

pytestmark = pytest.mark.integration

TOKEN = {"Authorization": "Bearer sesame"}


def test_probes_are_served_from_the_last_results_until_the_server_stops(start_uvicorn: StartUvicorn) -> None:
    """
    Checks run unasked on the application's loop; while one hangs, probes have the last result with its growing age.

    When the server stops, the check is cancelled before the pool that it uses is closed.
    """
    server = start_uvicorn("tests.integration.health.refreshed:app", "--lifespan", "on", ready="/ready")

    def known() -> dict[str, float]:
        found: dict[str, float] = json.loads(server.get("/ready", TOKEN).text)["checks"]["database"]
        return found

    wait_until(lambda: known()["value"] == 4, "the check to be run four times")
    first = known()
    second = known()
    assert (first["status"], second["status"], second["value"]) == ("pass", "pass", 4)
    assert first["age_seconds"] < second["age_seconds"]
    assert server.get("/ready").status == 200
    assert end(server.process, patience=25.0) in (0, -15)
    assert "the check has ended, the pool is open" in server.log.read_text()
