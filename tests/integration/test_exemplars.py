"""A real Prometheus stores the exemplars of a traced service, and leads from a bucket to the trace."""

from __future__ import annotations

import json
import urllib.parse

import httpx
import pytest

from tests.servers import wait_until

pytestmark = pytest.mark.integration

SERVICE = "tests.integration.apps.three_lines:app"
SLOW = 'http_request_duration_seconds_bucket{endpoint="/sleep/{seconds}"}'
ERRORS = 'http_requests_total{status="500"}'


def send(service, path, number, *, flags="01", method="GET"):
    """Make a request that belongs to trace *number*."""
    headers = {"traceparent": f"00-{number:032x}-{number:016x}-{flags}"}
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as client:
        client.request(method, path, headers=headers)


def stored(prometheus, series):
    """Return the exemplars that Prometheus has of *series*, as trace id, span id, value and upper bound."""
    query = urllib.parse.urlencode({"query": series, "start": 0, "end": 4e9})
    found = json.loads(prometheus.get(f"/api/v1/query_exemplars?{query}").text)
    assert found["status"] == "success"
    return {
        (
            int(exemplar["labels"]["trace_id"], 16),
            int(exemplar["labels"]["span_id"], 16),
            float(exemplar["value"]),
            each["seriesLabels"].get("le"),
        )
        for each in found["data"]
        for exemplar in each["exemplars"]
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_prometheus_leads_from_a_bucket_to_the_trace(start_uvicorn, start_prometheus, tmp_path, workers):
    """Traces of slow and of failed requests are found by their series, scrape after scrape, from any of the workers."""
    env = {"VITALSIGN_PROCESSES_DIR": str(tmp_path / "shared")} if workers > 1 else {}
    service = start_uvicorn(SERVICE, "--workers", str(workers), ready="/metrics", env=env)
    prometheus = start_prometheus({"service": service.address}, "--enable-feature=exemplar-storage")
    send(service, "/sleep/0.3", 0xA)
    send(service, "/v1/users/1", 0xB, method="DELETE")
    send(service, "/hold", 0xC, flags="00", method="GET")
    (slow,) = wait_until(lambda: stored(prometheus, SLOW), "the exemplar of a slow request")
    trace_id, span_id, seconds, bound = slow
    assert (trace_id, span_id) == (0xA, 0xA)
    assert 0.3 <= seconds <= float(bound)
    failed = wait_until(lambda: stored(prometheus, ERRORS), "the exemplar of a failed request")
    assert {each[0] for each in failed} == {0xB}
    found = {0xA}

    def has_more():
        send(service, "/sleep/0.3", max(found) + 1)
        found.update(each[0] for each in stored(prometheus, SLOW))
        return len(found) >= 4

    wait_until(has_more, "exemplars of later scrapes")
    assert stored(prometheus, "http_request_duration_seconds_bucket{endpoint='/hold'}") == set()
