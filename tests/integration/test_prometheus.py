"""
A real Prometheus scrapes the demo and a small FastAPI service, and tells of their traffic what was sent.

Counts are compared exactly. So are rates: `rate()` extrapolates to the ends of its window, and the windows here begin
and end at samples, so that nothing is left to extrapolate.
"""

from __future__ import annotations

import html
import json
import re
from bisect import bisect_left
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from math import ceil, inf
from random import Random
from time import perf_counter

import httpx
import pytest

from tests.servers import wait_until

pytestmark = pytest.mark.integration

SERVICE = "tests.integration.apps.three_lines:app"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, inf)
MIX = [
    *[("GET", f"/v1/users/{user}", None) for user in range(70, 90)],
    *[("GET", f"/v1/users/{user}", None) for user in range(101, 108)],
    *[("POST", "/v1/users", {"name": "x" * size}) for size in (1, 20, 300)],
    *[("POST", "/v1/users", {"title": "none"})] * 2,
    *[("DELETE", f"/v1/users/{user}", None) for user in range(5)],
    *[("PUT", "/v1/users/1", None)],
    *[("BREW", "/v1/users/1", None), ("WHEN", "/v1/users/1", None)],
    *[("GET", f"/{name}.php", None) for name in range(40)],
]
"""Method, path and body of requests, and below what they are to be counted as."""
EXPECTED = {
    ("GET", "/v1/users/{user}", "200"): 20,
    ("GET", "/v1/users/{user}", "404"): 7,
    ("POST", "/v1/users", "201"): 3,
    ("POST", "/v1/users", "422"): 2,
    ("DELETE", "/v1/users/{user}", "500"): 5,
    ("PUT", "/v1/users/{user}", "405"): 1,
    ("__other__", "/v1/users/{user}", "405"): 2,
    ("GET", "__unmatched__", "404"): 40,
}
SENT = 'http_requests_total{endpoint!="/metrics"}'
"""All requests but Prometheus's own."""


@pytest.fixture
def service(start_uvicorn):
    """Serve a FastAPI application that three lines have instrumented."""
    return start_uvicorn(SERVICE, ready="/metrics")


@pytest.fixture
def demo(start_demo):
    """Serve the demo without visitors of its own."""
    return start_demo("--rate", "0")


def send(server, requests):
    """Send *requests* (method, path, body as JSON) one after the other and return the answers."""
    # Connections are not used twice: uvicorn closes them after an exception, without saying so before.
    once = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30, limits=once) as client:
        return [client.request(method, path, json=body) for method, path, body in requests]


def table(prometheus, promql, *labels):
    """Evaluate *promql* and return its values by *labels*."""
    return {tuple(series.labels[label] for label in labels): series.value for series in prometheus.query(promql)}


def wait_for_total(prometheus, promql, total):
    """Wait until the sum of a counter is *total*; more than that is an error at once."""
    assert prometheus.wait_for(f"sum({promql})", lambda value: value >= total) == total


# -- the FastAPI service


def test_requests_are_counted_by_template_method_and_status(service, start_prometheus):
    """Each combination has the number that was sent: made-up paths share one series, and so do made-up methods."""
    prometheus = start_prometheus({"service": service.address})
    answers = send(service, MIX)
    wait_for_total(prometheus, SENT, len(MIX))
    by_all = "method, endpoint, status"
    assert table(prometheus, f"sum by ({by_all}) ({SENT})", *by_all.split(", ")) == EXPECTED
    assert prometheus.value('count(http_requests_total{endpoint="__unmatched__"})') == 1
    assert prometheus.value('sum(http_request_exceptions_total{exception="NotImplementedError"})') == 5
    timed = 'sum(http_request_duration_seconds_count{endpoint!="/metrics"})'
    assert prometheus.value(timed) == len(MIX)
    assert prometheus.value('up{job="service"}') == 1
    asked = sum(len(answer.request.content) for answer in answers)
    assert prometheus.value('sum(http_request_size_bytes_sum{endpoint!="/metrics"})') == asked
    # What is answered to an exception is sent by the outermost middleware, not by the application that was measured.
    answered = sum(len(answer.content) for answer in answers if answer.status_code != 500)
    assert prometheus.value('sum(http_response_size_bytes_sum{endpoint!="/metrics"})') == answered


def test_rates_are_those_of_the_traffic(service, start_prometheus):
    """Rate is increase by time, and the share of errors that of the requests that failed, both exactly."""
    prometheus = start_prometheus({"service": service.address})
    ends = []
    for batch in (1, 2):
        send(service, MIX)
        wait_for_total(prometheus, SENT, batch * len(MIX))
        ends.append(prometheus.value(f"max(timestamp({SENT}))"))
    start, end = ends
    window = f"[{round(1000 * (end - start)) + 1}ms] @ {end:.3f}"
    rates = table(prometheus, f"sum by (endpoint) (rate({SENT}{window}))", "endpoint")
    for endpoint in ("/v1/users", "/v1/users/{user}", "__unmatched__"):
        count = sum(number for (_, counted_as, _), number in EXPECTED.items() if counted_as == endpoint)
        assert rates[(endpoint,)] == pytest.approx(count / (end - start))
    errors = SENT.replace("}", ',status=~"5.."}')
    share = prometheus.value(f"sum(rate({errors}{window})) / sum(rate({SENT}{window}))")
    assert share == pytest.approx(5 / len(MIX))


def test_quantiles_lie_in_the_buckets_of_the_traffic(service, start_prometheus):
    """
    A quantile lies in the bucket of the request that has this rank.

    What a request took is not known exactly: at least as long as it slept, at most as long as its client waited.
    """
    prometheus = start_prometheus({"service": service.address})
    slept = [0.03] * 14 + [0.13] * 4 + [0.3] * 2
    waited = []
    for seconds in slept:
        began = perf_counter()
        send(service, [("GET", f"/sleep/{seconds}", None)])
        waited.append(perf_counter() - began)
    series = 'http_request_duration_seconds_{}{{endpoint="/sleep/{{seconds}}"}}'
    wait_for_total(prometheus, series.format("count"), len(slept))
    for share in (0.5, 0.9, 0.95, 0.99):
        found = prometheus.value(f"histogram_quantile({share}, sum by (le) ({series.format('bucket')}))")
        place = ceil(share * len(slept)) - 1
        shortest, longest = sorted(slept)[place], sorted(waited)[place]
        lower, upper = bisect_left(BUCKETS, shortest) - 1, bisect_left(BUCKETS, longest)
        assert BUCKETS[lower] <= found <= BUCKETS[upper]
    total = prometheus.value(f"sum({series.format('sum')})")
    assert sum(slept) <= total <= sum(waited)


def test_requests_in_progress_are_seen_while_they_last(service, start_prometheus):
    """Requests that are being answered are on the gauge, and leave it when they have been."""
    prometheus = start_prometheus({"service": service.address})
    gauge = 'http_requests_in_progress{method="POST"}'
    with ThreadPoolExecutor(3) as pool:
        held = [pool.submit(send, service, [("POST", "/hold", None)]) for _ in range(3)]
        try:
            assert prometheus.wait_for(gauge, lambda value: value >= 3) == 3
        finally:
            service.get("/release")
        assert [answer.status_code for future in held for answer in future.result()] == [200] * 3
    assert prometheus.wait_for(gauge, lambda value: value < 3) == 0
    assert prometheus.value('http_requests_total{endpoint="/hold"}') == 3


def test_scanner_leaves_no_series(service, start_prometheus):
    """Thousands of made-up paths and hundreds of made-up methods add no series to those that there were."""
    prometheus = start_prometheus({"service": service.address})
    random = Random(1)
    scan = [("GET", f"/{random.getrandbits(64):x}", None) for _ in range(1_000)]
    scan += [(f"M{random.getrandbits(32):X}", "/v1/users/1", None) for _ in range(200)]
    counted = 0
    sizes = []
    for number in (2, len(scan)):
        send(service, [*scan[:number], *scan[-number:]])
        counted += 2 * number
        wait_for_total(prometheus, SENT, counted)
        sizes.append(prometheus.value('count({job="service", __name__=~"http_.+", endpoint!="/metrics"})'))
    assert sizes[0] == sizes[1]
    assert table(prometheus, f"sum by (method, endpoint) ({SENT})", "method", "endpoint").keys() == {
        ("GET", "__unmatched__"),
        ("__other__", "/v1/users/{user}"),
    }


# -- the demo


def test_orders_are_counted_from_the_till_to_the_worker(demo, start_prometheus):
    """What customers were answered is what HTTP, business, client and worker metrics say, each to the last one."""
    prometheus = start_prometheus({"demo": demo.address})
    order = ("POST", "/api/orders", {"product": 2, "quantity": 3, "channel": "app"})
    up, down = (("POST", f"/switches/payments/{position}", None) for position in ("up", "down"))
    _, *answers = send(demo, [up, *[order] * 70, ("POST", "/api/orders", {}), down, *[order] * 9])
    by_status = Counter(str(answer.status_code) for answer in answers)
    assert by_status.keys() == {"201", "303", "402", "422", "503"}
    wait_for_total(prometheus, 'http_requests_total{endpoint="/api/orders"}', 80)
    assert table(prometheus, 'http_requests_total{endpoint="/api/orders"}', "status") == {
        (status,): number for status, number in by_status.items() if status != "303"
    }
    placed, declined, failed = by_status["201"], by_status["402"], by_status["503"]
    assert prometheus.value("sum(shop_orders_total)") == placed
    assert prometheus.value("sum(shop_revenue_euros_total)") == pytest.approx(36 * placed)
    assert prometheus.value("sum(shop_checkout_duration_seconds_count)") == 79
    assert prometheus.value('sum(shop_checkout_errors_total{error="PaymentDeclinedError"})') == declined
    assert prometheus.value('sum(shop_checkout_errors_total{error="PaymentUnavailableError"})') == failed
    charges = 'api_client_requests_total{client="payments", operation="POST /charges"}'
    assert table(prometheus, charges, "status") == {("201",): placed, ("402",): declined, ("none",): failed}
    prometheus.wait_for('sum(worker_jobs_total{outcome=~"success|failure"})', lambda jobs: jobs >= 2 * placed)
    jobs = table(prometheus, 'sum by (type) (worker_jobs_total{outcome=~"success|failure"})', "type")
    assert jobs == {("invoice",): placed, ("shipment",): placed}
    dead = prometheus.value('worker_job_dead_letters_total{type="shipment"}')
    assert dead == prometheus.value('worker_jobs_total{type="shipment", outcome="failure"}')
    assert dead >= placed // 40
    assert prometheus.wait_for("queue_dead_letters", lambda value: value >= dead) == dead
    assert prometheus.value("sum(worker_jobs_in_progress)") == 0


def test_health_follows_a_broken_dependency(demo, start_prometheus):
    """Each check passes, then the one whose dependency is broken fails and no other, then all pass again."""
    prometheus = start_prometheus({"demo": demo.address})
    healthy = dict.fromkeys([("disk",), ("memory",), ("orders-queue",), ("payments",), ("worker",)], 1.0)
    states = "service_health_check_status{service='shop'}"

    def wait_for_states(expected):
        wait_until(lambda: table(prometheus, states, "check") == expected, f"health to become {expected}")

    for position, expected in (("up", healthy), ("down", healthy | {("payments",): 0.0}), ("up", healthy)):
        send(demo, [("POST", f"/switches/payments/{position}", None)])
        wait_for_states(expected)
        dependencies = table(prometheus, "service_dependency_status", "dependency")
        assert dependencies == {("payments",): expected[("payments",)]}
        assert prometheus.value('up{job="demo"}') == 1
    assert prometheus.value("service_uptime_seconds") > 0


def test_queue_fills_while_the_worker_pauses(demo, start_prometheus):
    """With a paused worker the queue's depth and age grow, its check warns, and all is well when it works again."""
    prometheus = start_prometheus({"demo": demo.address})
    send(demo, [("POST", "/switches/payments/up", None), ("POST", "/switches/worker/paused", None)])
    prometheus.wait_for("worker_active", lambda value: value == 0)
    body = {"product": 1, "quantity": 1, "channel": "web"}
    answers = send(demo, [("POST", "/api/orders", body)] * 30)
    jobs = 2 * sum(answer.status_code == 201 for answer in answers)
    assert prometheus.wait_for("queue_depth", lambda depth: depth >= jobs - 2) <= jobs
    assert prometheus.wait_for("queue_oldest_age_seconds") > 0
    prometheus.wait_for('service_health_check_status{check="orders-queue"}', lambda value: value == 0.5)
    send(demo, [("POST", "/switches/worker/working", None)])
    prometheus.wait_for("queue_depth", lambda depth: depth == 0)
    prometheus.wait_for('service_health_check_status{check="orders-queue"}')


def test_queries_of_the_front_page_have_answers(start_demo, start_prometheus):
    """The demo's own visitors make every query that its page suggests return something that can be true."""
    demo = start_demo("--rate", "50")
    prometheus = start_prometheus({"demo": demo.address})
    _, queries = re.findall(r"<pre>(.*?)</pre>", demo.get("/").text, re.DOTALL)
    by_endpoint, errors, p95, jobs, failing = html.unescape(queries).splitlines()
    assert prometheus.wait_for(errors, lambda share: share > 0) < 0.5
    assert 0 < prometheus.wait_for(p95) < 10
    rates = table(prometheus, by_endpoint, "endpoint")
    assert {("/api/products",), ("/api/products/{number}",), ("__unmatched__",)} <= rates.keys()
    assert len(rates) < 12
    assert ("invoice", "success") in table(prometheus, jobs, "type", "outcome")
    send(demo, [("POST", "/switches/payments/down", None)])
    wait_until(lambda: ("payments",) in table(prometheus, failing, "check"), "the failing check")


# -- the pages


def test_prometheus_knows_types_and_help_texts(demo, service, start_prometheus):
    """Both targets are up, and the metadata API has the type and help text of what they serve."""
    prometheus = start_prometheus({"demo": demo.address, "service": service.address})
    assert prometheus.wait_for("sum(up)", lambda up: up == 2) == 2

    def metadata():
        found = json.loads(prometheus.get("/api/v1/metadata").text)["data"]
        return {name.removesuffix("_total"): entries[0] for name, entries in found.items()}

    known = wait_until(lambda: "worker_jobs" in (found := metadata()) and found, "metadata")
    types = {
        "http_requests": "counter",
        "http_request_duration_seconds": "histogram",
        "http_requests_in_progress": "gauge",
        "service_health_check_status": "gauge",
        "worker_jobs": "counter",
        "queue_depth": "gauge",
        "api_client_requests": "counter",
        "system_cpu_seconds": "counter",
        "process_threads": "gauge",
        "shop_orders": "counter",
    }
    assert {name: known[name]["type"] for name in types} == types
    assert [name for name, entry in known.items() if not entry["help"]] == []
    assert known["http_requests"]["help"] == "HTTP requests that have been answered or given up."


@pytest.mark.parametrize("created", ["False", "True"], ids=["created series", "no created series"])
def test_page_is_clean(start_demo, promtool, created):
    """Promtool has nothing to complain about on the demo's page after all kinds of visits: not ours, not others'."""
    demo = start_demo("--rate", "0", env={"PROMETHEUS_DISABLE_CREATED_SERIES": created})
    body = {"product": 1, "quantity": 1, "channel": "web"}
    send(demo, [("POST", "/api/orders", body)] * 5)
    send(demo, [("GET", path, None) for path in ("/", "/api/reports/margins", "/nowhere", "/api/search?q=tea")])
    send(demo, [("BREW", "/api/products", None)])
    page = wait_until(lambda: (text := demo.get("/metrics").text).count("worker_jobs_total{") and text, "the worker")
    assert ("_created" in page) == (created == "False")
    assert promtool(page) == ""
