"""A real Prometheus scrapes the exporter, as it would in production: over TLS, with a token and a certificate."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers import PATIENCE, free_port, get, running, wait_until
from tests.unit.exporter.clients import connect
from vitalsign import Counter
from vitalsign.exporter import start_exporter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from vitalsign.exporter import Exporter

pytestmark = pytest.mark.integration

SHOP = """
import os
from vitalsign import Counter

REQUESTS = Counter("shop_requests", "Requests.")

def app(environ, start_response):
    REQUESTS.inc()
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
GUNICORN = """
def when_ready(server):
    from vitalsign.exporter import start_exporter

    start_exporter(port={port})
"""

TOKEN = "s3cret"


@pytest.fixture
def orders(registry: CollectorRegistry) -> Counter:
    """Count something."""
    return Counter("shop_orders", "Orders.", ["channel"], registry=registry)


@pytest.fixture
def exporter(registry, orders, certificates) -> Iterator[Exporter]:
    """Serve with all the protection that there is."""
    with start_exporter(
        port=0,
        registry=registry,
        token=TOKEN,
        allow="127.0.0.0/8",
        certfile=certificates.server,
        client_cafile=certificates.ca,
    ) as exporter:
        yield exporter


def options(certificates, **changes: Any) -> dict[str, Any]:
    """Return what makes Prometheus scrape over TLS, with a token and a certificate."""
    files = {"ca_file": certificates.ca, "cert_file": certificates.client, "key_file": certificates.client}
    return {
        "scheme": "https",
        "tls_config": {name: str(path) for name, path in files.items()},
        "authorization": {"credentials": TOKEN},
        **changes,
    }


def address(exporter: Exporter) -> str:
    """Return host and port, as a scrape target names them."""
    return f"127.0.0.1:{exporter.port}"


def test_prometheus_scrapes_over_tls_with_token_and_certificate(exporter, orders, certificates, start_prometheus):
    """Prometheus takes the page scrape after scrape, beside 200 slow connections, and none is missed."""
    prometheus = start_prometheus({"worker": address(exporter)}, **options(certificates))
    assert prometheus.wait_for('up{job="worker"}') == 1
    with ExitStack() as stack:
        for number in range(200):
            stack.enter_context(connect(exporter, b"\x16\x03\x01"[: number % 4]))
        for total in (1, 2, 3):
            orders.labels("web").inc()
            assert prometheus.wait_for('shop_orders_total{channel="web"}', lambda value, total=total: value >= total)
    assert prometheus.value('shop_orders_total{channel="web"}') == 3
    assert prometheus.value("min_over_time(up[1m])") == 1


@pytest.mark.parametrize(
    "changes",
    [{"authorization": {"credentials": "other"}}, {"authorization": None}, {"tls_config": None}],
    ids=["wrong token", "no token", "no certificate"],
)
def test_prometheus_without_what_is_asked_for(changes, exporter, orders, certificates, start_prometheus):
    """Without the right token, or without a certificate, Prometheus gets nothing."""
    given = options(certificates, **changes)
    if given["tls_config"] is None:
        given["tls_config"] = {"ca_file": str(certificates.ca)}
    orders.labels("web").inc()
    prometheus = start_prometheus(
        {"worker": address(exporter)}, **{key: value for key, value in given.items() if value}
    )
    assert prometheus.wait_for('up{job="worker"}', lambda up: up == 0) == 0
    assert prometheus.query("shop_orders_total") == []


def test_exporter_in_gunicorns_master(tmp_path: Path):
    """One exporter in the master shows what all workers have counted, a killed one too, and its port is its alone."""
    port, own = free_port(), free_port()
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN.format(port=own))
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{port}", "shop:app"]
    env = {"VITALSIGN_PROCESSES_DIR": str(tmp_path / "shared")}
    page = f"http://127.0.0.1:{own}/metrics"
    with running(command, port=port, ready="/", log=tmp_path / "log", env=env, cwd=tmp_path) as server:
        worker = int(server.get("/").text)
        before = counted(page)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: int(server.get("/").text) != worker, "another worker")
        after = counted(page)
        assert after > before
        assert [server.get("/").status for _ in range(20)] == [200] * 20
        assert counted(page) == after + 20
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(PATIENCE)
        # Although workers may still be there; one that has just been forked lets go of it as its first act.
        wait_until(lambda: is_refused(own), "the exporter's port to be free")


def is_refused(port: int) -> bool:
    """Tell whether nobody listens on a port."""
    try:
        connect(SimpleNamespace(port=port)).close()
    except ConnectionRefusedError:
        return True
    return False


def counted(page: str) -> float:
    """Return the requests that a page shows."""
    (line,) = [line for line in get(page).text.splitlines() if line.startswith("shop_requests_total ")]
    return float(line.split()[1])
