"""Health endpoints behind a real uvicorn, asked over real connections."""

from __future__ import annotations

import asyncio
import http.client
import json
from contextlib import closing
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.servers import end

if TYPE_CHECKING:
    from tests.servers import Server, StartUvicorn

pytestmark = pytest.mark.integration

TOKEN = {"Authorization": "Bearer sesame"}
APP = "tests.integration.health.app:app"
PROBES = "tests.integration.health.app:probes"


@pytest.fixture
def shop(start_uvicorn: StartUvicorn) -> Server:
    """Serve the shop with its health routes."""
    return start_uvicorn(APP, ready="/health")


def head(server: Server, path: str) -> tuple[int, bytes]:
    """Ask with HEAD; return status and whatever follows the headers."""
    with closing(http.client.HTTPConnection(server.address, timeout=10)) as connection:
        connection.request("HEAD", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_probes_follow_the_state_of_the_service(shop: Server) -> None:
    """Readiness follows the database, startup the host's word; the service is alive throughout."""
    seen = []
    for switch in ("up", "down", "started"):
        shop.get(f"/switch/{switch}")
        seen.append([shop.get(path).status for path in ("/health", "/ready", "/startup", "/health/full")])
    assert [codes[:3] for codes in seen] == [[200, 200, 503], [200, 503, 503], [200, 200, 200]]
    assert {codes[3] for codes in seen} == {503}  # the check that hangs is among all


def test_strangers_see_the_status_and_operators_the_details(shop: Server) -> None:
    """Without the token there is the status alone; with it the checks, and for nobody the text of the exception."""
    shop.get("/switch/down")
    public, private = shop.get("/ready"), shop.get("/ready", TOKEN)
    assert json.loads(public.text) == {"status": "fail"}
    assert json.loads(private.text)["checks"]["database"]["message"] == "raised ConnectionError"
    assert "hunter2" not in private.text
    assert public.headers["cache-control"] == private.headers["cache-control"] == "no-store"
    log = shop.log.read_text()
    assert "postgresql://***@db.internal/shop refused" in log
    assert "hunter2" not in log


def test_head_and_health_json_over_the_wire(shop: Server) -> None:
    """HEAD has the status of GET without a body, and health+json comes when asked for."""
    shop.get("/switch/down")
    assert head(shop, "/ready") == (503, b"")
    assert head(shop, "/health") == (200, b"")
    answer = shop.get("/ready", {"Accept": "application/health+json", **TOKEN})
    assert answer.headers["content-type"] == "application/health+json"
    assert json.loads(answer.text)["serviceId"] == "shop"


def test_200_callers_run_each_of_20_checks_once(shop: Server) -> None:
    """200 connections at once share one run of each check."""

    async def storm() -> list[int]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=shop.url, limits=limits, timeout=60, trust_env=False) as client:
            answers = await asyncio.gather(*(client.get("/counted") for _ in range(200)))
        return [answer.status_code for answer in answers]

    asyncio.run(storm())
    counts = json.loads(shop.get("/counts").text)
    assert counts == {f"check-{number}": 1 for number in range(20)}


def test_response_has_a_deadline_though_a_check_hangs(shop: Server) -> None:
    """A group with a check that never answers is answered all the same, again and again."""
    assert [shop.get("/hanging").status for _ in range(3)] == [503] * 3


def test_server_stops_at_once_though_a_check_hangs(shop: Server) -> None:
    """A check that hangs does not keep the server from ending on SIGTERM, with its own exit code."""
    shop.get("/hanging")
    assert end(shop.process, patience=25.0) in (0, -15)


def test_probes_alone_on_a_port(start_uvicorn: StartUvicorn) -> None:
    """As an application of its own, health answers its paths and nothing else, with details for this machine."""
    server = start_uvicorn(PROBES, "--lifespan", "on", ready="/health")
    assert "checks" in json.loads(server.get("/ready").text)
    forged = server.get("/ready", {"X-Forwarded-For": "127.0.0.1"})
    assert json.loads(forged.text) == {"status": "pass"}
    assert json.loads(server.get("/").text)["service"] == "shop"
    assert [server.get(path).status for path in ("/health/full", "/switch/down", "/cart")] == [404] * 3
