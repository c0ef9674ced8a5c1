"""The demo's figures: counted from its metrics, over the last seconds and over the whole time."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import GaugeMetricFamily

from vitalsign import Counter, Histogram
from vitalsign.demo.figures import Figures, Meter, quantile

BOUNDS = (0.1, 0.25, 0.5, 1.0, inf)


class Shop:
    """The metrics that the figures are read from, and a clock."""

    def __init__(self, registry):
        self.now = 100.0
        self.depth = 0
        self._requests = Counter("http_requests", "Requests.", ["method", "endpoint", "status"], registry=registry)
        self._durations = Histogram(
            "http_request_duration_seconds", "Time.", ["method", "endpoint"], registry=registry, buckets=BOUNDS
        )
        self._jobs = Counter("worker_jobs", "Jobs.", ["worker", "queue", "type", "outcome"], registry=registry)
        registry.register(self)

    def describe(self):
        """Describe the queue's depth."""
        return [GaugeMetricFamily("queue_depth", "Jobs.")]

    def collect(self):
        """Return the queue's depth."""
        return [GaugeMetricFamily("queue_depth", "Jobs.", self.depth)]

    def answer(self, status, seconds, endpoint="/"):
        """Count a request."""
        self._requests.labels("GET", endpoint, status).inc()
        self._durations.labels("GET", endpoint).observe(seconds)

    def finish(self, outcome):
        """Count a job."""
        self._jobs.labels("w", "q", "t", outcome).inc()


@pytest.fixture
def shop(registry):
    """Return metrics on the test's registry."""
    return Shop(registry)


@pytest.fixture
def meter(shop, registry):
    """Return a meter that reads them, after something had happened already."""
    shop.answer("500", 5.0)
    shop.finish("success")
    return Meter(registry, clock=lambda: shop.now)


def test_nothing_has_happened_yet(meter):
    """Without requests there is no share of errors and no quantile, and what was before does not count."""
    assert meter.now() == Figures(
        elapsed=0.0, requests=0, failed=0, jobs=0, queue_depth=0, rate=0.0, error_ratio=None, p95=None
    )


def test_figures_add_up_over_all_series(shop, meter):
    """Requests of all endpoints count, only 5xx are errors, and a job to be tried again has not ended."""
    for status, endpoint in [("200", "/a"), ("404", "/a"), ("499", "/b"), ("503", "/b")]:
        shop.answer(status, 0.2, endpoint)
    for outcome in ("success", "failure", "retried", "cancelled"):
        shop.finish(outcome)
    shop.depth = 7
    shop.now += 2.0
    figures = meter.now()
    assert (figures.requests, figures.failed, figures.jobs, figures.queue_depth) == (4, 1, 2, 7)
    assert (figures.rate, figures.error_ratio) == (2.0, 0.25)
    assert figures.p95 == pytest.approx(0.1 + 0.15 * 0.95)


def test_recent_figures_forget_the_past(shop, meter):
    """Rate, errors and p95 are those of the last ten seconds, while sums and the total keep everything."""
    shop.answer("500", 0.7)
    for _ in range(20):
        shop.now += 1.0
        shop.answer("200", 0.01)
        latest = meter.now()
    assert (latest.requests, latest.failed) == (21, 1)
    assert (latest.rate, latest.error_ratio) == (1.0, 0.0)
    assert latest.p95 == pytest.approx(0.095)
    total = meter.total()
    assert (total.elapsed, total.rate) == (20.0, 21 / 20)
    assert total.error_ratio == pytest.approx(1 / 21)


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ({}, None),
        ({0.1: 0, inf: 0}, None),
        ({0.1: 100, 0.2: 100, inf: 100}, 0.095),
        ({0.1: 90, 0.2: 100, inf: 100}, 0.15),
        ({0.1: 0, 0.2: 0, inf: 4}, inf),
        ({0.1: 95, 0.2: 100, inf: 100}, 0.1),
    ],
)
def test_quantile_is_interpolated(buckets, expected):
    """The quantile lies where it would if observations were spread evenly in their bucket."""
    found = quantile(0.95, buckets)
    assert found == expected if expected is None else found == pytest.approx(expected)


@given(st.lists(st.floats(0, 2), min_size=1), st.floats(0.01, 1))
def test_quantile_lies_in_the_bucket_of_the_true_one(observations, share):
    """The estimate is in the bucket that holds the observation of that rank."""
    buckets = {bound: sum(seconds <= bound for seconds in observations) for bound in BOUNDS}
    found = quantile(share, buckets)
    rank = share * len(observations)
    upper = next(bound for bound in BOUNDS if buckets[bound] >= rank)
    lower = max((bound for bound in BOUNDS if bound < upper), default=0.0)
    assert found is not None
    assert lower <= found <= upper + 1e-9
