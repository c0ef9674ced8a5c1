"""The shop: what its endpoints answer, and what that leaves on the metrics page."""

from __future__ import annotations

import re
from time import monotonic

import pytest
from starlette.testclient import TestClient

from tests.servers import wait_until
from vitalsign.demo.app import make_app
from vitalsign.testing import sample_value

TEAPOTS = {"product": 2, "quantity": 3, "channel": "web"}


def requests(registry, method, endpoint, status):
    """Return how many such requests were counted."""
    return sample_value(registry, "http_requests_total", method=method, endpoint=endpoint, status=status)


def order_until(client, status):
    """Place orders until one is answered with *status*, and return that answer; only the bank decides which it is."""
    for _ in range(1_000):
        answer = client.post("/api/orders", json=TEAPOTS)
        if answer.status_code == status:
            return answer
        assert answer.status_code in {201, 402}
    raise AssertionError(f"no order was answered with {status}")


@pytest.mark.parametrize(
    ("path", "status", "endpoint"),
    [
        ("/api/products", 200, "/api/products"),
        ("/api/products/3", 200, "/api/products/{number}"),
        ("/api/products/99", 404, "/api/products/{number}"),
        ("/api/products/kettle", 404, "__unmatched__"),
        ("/api/search?q=tea", 200, "/api/search"),
        ("/api/orders/7", 404, "/api/orders/{number}"),
        ("/api/reports/sales", 200, "/api/reports/{name}"),
        ("/api/reports/margins", 500, "/api/reports/{name}"),
        ("/api/export", 200, "/api/export"),
        ("/wp-login.php", 404, "__unmatched__"),
    ],
)
def test_endpoint_answers_and_is_counted(client, registry, path, status, endpoint):
    """Each endpoint answers as the demo tells, and is counted under its template."""
    assert client.get(path).status_code == status
    assert requests(registry, "GET", endpoint, str(status)) == 1


def test_unknown_method_is_counted_as_other(client, registry):
    """A method that HTTP does not know is refused, and counted without its name."""
    assert client.request("BREW", "/api/products").status_code == 405
    assert requests(registry, "__other__", "/api/products", "405") == 1


def test_bug_is_counted_by_its_class(client, registry):
    """The report with the bug leaves the exception's class behind."""
    client.get("/api/reports/margins")
    labels = {"method": "GET", "endpoint": "/api/reports/{name}", "exception": "BugError"}
    assert sample_value(registry, "http_request_exceptions_total", **labels) == 1


def test_order_is_placed_found_and_worked_on(client, registry):
    """An order is paid, can be looked at, counts as revenue, and gives the worker two jobs."""
    answer = order_until(client, 201)
    order = answer.json()["order"]
    assert client.get(f"/api/orders/{order}").json() == {"order": order, "product": 2, "quantity": 3}
    assert sample_value(registry, "shop_orders_total", channel="web") == order
    assert sample_value(registry, "shop_revenue_euros_total", channel="web") == pytest.approx(36.0 * order)
    done = {"worker": "fulfilment", "queue": "orders", "type": "invoice", "outcome": "success"}
    wait_until(lambda: sample_value(registry, "worker_jobs_total", **done) == order, "all invoices")


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"product": 99, "quantity": 1, "channel": "web"}',
        b'{"product": [], "quantity": 1, "channel": "web"}',
        b'{"product": 1, "quantity": 0, "channel": "web"}',
        b'{"product": 1, "quantity": true, "channel": "web"}',
        b'{"product": 1, "quantity": 1, "channel": "fax"}',
        b'{"product": 1, "quantity": 1, "channel": []}',
    ],
)
def test_senseless_order_is_refused(client, registry, body):
    """An order that cannot be read or carried out is the client's fault, and costs the provider no call."""
    assert client.post("/api/orders", content=body).status_code == 422
    assert sample_value(registry, "shop_checkout_duration_seconds_count", channel="web") is None


def test_payments_that_are_declined_are_counted(client, registry):
    """A customer who cannot pay gets 402, and the decorator counts the exception by its class."""
    order_until(client, 402)
    assert sample_value(registry, "shop_checkout_errors_total", error="PaymentDeclinedError") == 1


def test_hasty_searchers_are_refused(client, registry, monkeypatch):
    """Who searches more than ten times at once gets 429 with the time to wait."""
    now = monotonic()
    monkeypatch.setattr("vitalsign.demo.shop.monotonic", lambda: now)
    answers = [client.get("/api/search?q=x") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert answers[-1].headers["retry-after"] == "1"
    assert requests(registry, "GET", "/api/search", "429") == 1


def test_absent_provider_degrades_the_shop(client, registry):
    """Without its payment provider the shop refuses orders, warns, and is still ready, for no restart would help."""
    client.post("/switches/payments/down")
    assert client.post("/api/orders", json=TEAPOTS).status_code == 503
    assert sample_value(registry, "shop_checkout_errors_total", error="PaymentUnavailableError") == 1
    check = {"service": "shop", "check": "payments"}
    wait_until(lambda: sample_value(registry, "service_health_check_status", **check) == 0, "the check to fail")
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "warn")
    assert sample_value(registry, "service_dependency_status", service="shop", dependency="payments") == 0
    charges = {"client": "payments", "operation": "POST /charges", "kind": "connect"}
    assert sample_value(registry, "api_client_errors_total", **charges) == 1


def test_paused_worker_makes_the_shop_unready_and_recovers(client, registry):
    """With a paused worker the queue grows until the shop takes itself out of service, and all is well afterwards."""
    client.post("/switches/worker/paused")
    assert sample_value(registry, "worker_active", worker="fulfilment", queue="orders") == 0
    for _ in range(51):  # two jobs each, of which the worker may hold two that it took before
        order_until(client, 201)
    wait_until(lambda: client.get("/ready").status_code == 503, "the check to see the queue")
    wait_until(lambda: sample_value(registry, "queue_depth", queue="orders") >= 100, "the depth to be sampled")
    assert client.get("/health").status_code == 200
    client.post("/switches/worker/working")
    wait_until(lambda: client.get("/ready").status_code == 200, "a shorter queue")


def test_impossible_job_is_tried_three_times_and_set_aside(client, registry):
    """Every 40th order has a shipment that fails three times, is retried twice, and ends as a dead letter."""
    shipments = {"worker": "fulfilment", "queue": "orders", "type": "shipment"}
    for _ in range(40):
        order_until(client, 201)
    wait_until(
        lambda: sample_value(registry, "worker_job_dead_letters_total", **shipments) == 1, "the job to be set aside"
    )
    assert sample_value(registry, "worker_job_retries_total", **shipments) >= 2
    assert sample_value(registry, "worker_job_errors_total", **shipments, error="PrinterJamError") >= 3
    assert sample_value(registry, "worker_jobs_total", **shipments, outcome="failure") >= 1
    wait_until(lambda: sample_value(registry, "queue_dead_letters", queue="orders") == 1, "the dead letter")


def test_probes_and_scrapes_are_not_measured(client, registry):
    """What monitoring asks does not count as traffic of the shop."""
    for path in ("/metrics", "/health", "/ready", "/startup", "/health/full"):
        assert client.get(path).status_code == 200
    page = client.get("/metrics").text
    assert not re.search(r'http_requests_total\{endpoint="/(metrics|health|ready|startup)', page)


def test_front_page_leads_only_to_what_is_there(client):
    """Every link of the front page answers, and every metric that it names is on the metrics page."""
    links = re.findall(r'href="([^"]+)"', client.get("/").text)
    metrics = client.get("/metrics").text
    assert len(links) > 10
    for link in links:
        assert client.get(link).status_code == 200, link
        if "name[]=" in link:
            name = link.partition("=")[2].removesuffix("_bucket")
            assert f"# TYPE {name} " in metrics


def test_front_page_shows_the_switches(client):
    """The page marks the position of each switch, and a scrape address as the visitor came."""
    page = client.get("/", headers={"host": "127.0.0.1:8008"}).text
    assert re.findall(r'<button formaction="([^"]+)" aria-pressed="true">', page) == [
        "/switches/payments/up",
        "/switches/worker/working",
    ]
    assert 'targets: ["127.0.0.1:8008"]' in page


def test_switch_leads_back_to_the_page(client):
    """A turned switch sends the browser back to the page, which shows its new position."""
    answer = client.post("/switches/worker/paused")
    assert (answer.url.path, answer.status_code) == ("/", 200)
    assert '<button formaction="/switches/worker/paused" aria-pressed="true">' in answer.text


@pytest.mark.parametrize("path", ["/switches/payments/sideways", "/switches/kettle/up"])
def test_unknown_switch_is_not_found(client, path):
    """A switch or position that there is not answers 404."""
    assert client.post(path).status_code == 404


def test_everything_is_taken_off_the_registry_in_the_end(registry):
    """When the shop ends, its collectors are unbound; its worker and checks have ended with it."""
    with TestClient(make_app(registry, seed=1)) as client:
        assert client.get("/startup").status_code == 200
        assert sample_value(registry, "worker_active", worker="fulfilment", queue="orders") == 1
    assert not [
        metric.name
        for metric in registry.collect()
        if metric.name.startswith(("system_", "process_", "queue_", "worker_", "api_client_"))
    ]
