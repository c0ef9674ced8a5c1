"""ApiClientCollector: every way in which a call can end, told apart; names of operations that stay bounded."""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import socket
import ssl
import time

import httpx
import pytest
import requests
from prometheus_client import REGISTRY

from vitalsign.collectors import ApiClientCollector
from vitalsign.metrics import generate_latest
from vitalsign.testing import sample_value

CALL = {"client": "zoho", "operation": "sync"}
KINDS = ("timeout", "connect", "transport", "rate_limited", "client_error", "server_error", "other")


@pytest.fixture
def api(registry):
    """Return a bound API client collector."""
    return ApiClientCollector("zoho").bind(registry)


@pytest.fixture
def value(registry):
    """Return a function that reads a series of the operation `sync`."""
    return lambda name, **labels: sample_value(registry, name, **(CALL | labels))


@pytest.fixture
def errors(value):
    """Return a function that tells how many errors of each kind there were, kinds without any left out."""

    def count():
        counts = {kind: value("api_client_errors_total", kind=kind) for kind in KINDS}
        return {kind: number for kind, number in counts.items() if number}

    return count


def test_call_that_succeeds(api, value, errors, registry):
    """A call is in progress inside the block, and counted, timed and dated after it."""
    before = time.time()
    with api.call("sync"):
        assert value("api_client_requests_in_progress") == 1
    assert value("api_client_requests_in_progress") == 0
    assert value("api_client_requests_total", status="none") == 1
    assert value("api_client_request_duration_seconds_count") == 1
    assert errors() == {}
    assert sample_value(registry, "api_client_last_success_timestamp_seconds", client="zoho") >= before - 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, None), (204, None), (301, None), (304, None), (400, "client_error"), (404, "client_error"),
     (429, "rate_limited"), (500, "server_error"), (503, "server_error")],
)  # fmt: skip
def test_status_decides(api, value, errors, registry, status, kind):
    """The status is a label, and from 400 on an error, of which 429 is a kind of its own."""
    with api.call("sync") as call:
        call.response(status)
    assert value("api_client_requests_total", status=str(status)) == 1
    assert errors() == ({} if kind is None else {kind: 1})
    success = sample_value(registry, "api_client_last_success_timestamp_seconds", client="zoho")
    assert (success is None) == (kind is not None)


class RateLimitError(Exception):
    """As the SDKs of LLM providers name it."""


class APIConnectionError(Exception):
    """As the SDKs of LLM providers name it."""


class APITimeoutError(APIConnectionError):
    """As the SDKs of LLM providers name it."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), "timeout"),
        (OSError(errno.ENOSPC, "disk full"), "other"),
        (ConnectionRefusedError(), "connect"),
        (ConnectionResetError(), "transport"),
        (BrokenPipeError(), "transport"),
        (socket.gaierror(), "connect"),
        (http.client.IncompleteRead(b""), "transport"),
        (http.client.RemoteDisconnected(), "transport"),
        (httpx.ConnectTimeout(""), "timeout"),
        (httpx.ReadTimeout(""), "timeout"),
        (httpx.PoolTimeout(""), "timeout"),
        (httpx.ConnectError(""), "connect"),
        (httpx.ReadError(""), "transport"),
        (httpx.RemoteProtocolError(""), "transport"),
        (httpx.DecodingError(""), "other"),
        (requests.ConnectTimeout(), "timeout"),
        (requests.ReadTimeout(), "timeout"),
        (requests.ConnectionError(), "connect"),
        (requests.exceptions.ChunkedEncodingError(), "transport"),
        (RateLimitError(), "rate_limited"),
        (APIConnectionError(), "connect"),
        (APITimeoutError(), "timeout"),
        (json.JSONDecodeError("", "", 0), "other"),
        (ValueError(), "other"),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else given,
)
def test_exception_decides(api, value, errors, error, kind):
    """Without a status the exception decides, whichever client library it is from; it passes through."""
    with pytest.raises(type(error)), api.call("sync"):
        raise error
    assert errors() == {kind: 1}
    assert value("api_client_requests_total", status="none") == 1


@pytest.mark.parametrize("library", [httpx, requests])
def test_status_of_an_exception_counts(api, value, errors, registry, library):
    """The status and the rate limits of a response that an exception carries are used, as SDKs raise them."""
    if library is httpx:
        request = httpx.Request("GET", "http://api")
        response = httpx.Response(429, headers={"X-RateLimit-Remaining": "0"}, request=request)
    else:
        response = requests.Response()
        response.status_code = 429
        response.headers["X-RateLimit-Remaining"] = "0"
    with pytest.raises(Exception, match="429"), api.call("sync"):
        response.raise_for_status()
    assert errors() == {"rate_limited": 1}
    assert value("api_client_requests_total", status="429") == 1
    assert sample_value(registry, "api_client_rate_limit_remaining", client="zoho", resource="requests") == 0


def test_error_after_a_good_answer_is_an_error(api, value, errors):
    """An answer that arrived but could not be used is an error, under its status."""

    def sync():
        with api.call("sync") as call:
            call.response(200)
            raise ValueError("no JSON")

    with pytest.raises(ValueError, match="no JSON"):
        sync()
    assert errors() == {"other": 1}
    assert value("api_client_requests_total", status="200") == 1


@pytest.mark.parametrize("exception", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
def test_cancelled_call_is_no_error(api, value, errors, registry, exception):
    """A call that its caller gave up is neither an error nor a success of the API."""
    with pytest.raises(exception), api.call("sync"):
        raise exception
    assert errors() == {}
    assert value("api_client_requests_total", status="cancelled") == 1
    assert sample_value(registry, "api_client_last_success_timestamp_seconds", client="zoho") is None


def test_async_with(api, value):
    """The same block works for coroutines."""

    async def main():
        async with api.call("sync") as call:
            await asyncio.sleep(0.1)
            call.response(200)

    asyncio.run(main())
    assert value("api_client_requests_total", status="200") == 1
    assert value("api_client_request_duration_seconds_sum") >= 0.09


def test_errors_start_at_zero(api, value):
    """From an operation's first call on, each kind of error is there with 0, for alerts that add them up."""
    with api.call("sync"):
        pass
    assert [value("api_client_errors_total", kind=kind) for kind in KINDS] == [0] * len(KINDS)


def test_rate_limits_are_shown(api, registry):
    """Quota, rest and reset are gauges by resource; what a later answer does not say stays."""
    with api.call("sync") as call:
        call.response(
            200, {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59", "X-RateLimit-Reset": "1760000090"}
        )
    with api.call("sync") as call:
        call.response(200, {"X-RateLimit-Remaining": "58", "x-ratelimit-remaining-tokens": "1000"})
    shown = {
        (name, resource): sample_value(registry, f"api_client_rate_limit_{name}", client="zoho", resource=resource)
        for name in ("quota", "remaining", "reset_timestamp_seconds")
        for resource in ("requests", "tokens")
    }
    assert shown == {
        ("quota", "requests"): 60,
        ("quota", "tokens"): None,
        ("remaining", "requests"): 58,
        ("remaining", "tokens"): 1000,
        ("reset_timestamp_seconds", "requests"): 1760000090,
        ("reset_timestamp_seconds", "tokens"): None,
    }


def test_ending_twice_counts_once(api, value):
    """A call that was ended is not counted again."""
    with api.call("sync") as call:
        call.end()
        call.end(ValueError())
    assert value("api_client_requests_total", status="none") == 1
    assert value("api_client_requests_in_progress") == 0


def test_unbound_collector_records_nothing_and_breaks_nothing(api, registry):
    """Code that is instrumented runs the same when the collector is not bound, or no longer."""
    with api.call("sync") as call:
        api.unbind()
        call.response(200, {"X-RateLimit-Remaining": "1"})
    with api.call("sync"):
        pass
    assert generate_latest(registry) == b""


def test_call_that_outlives_its_collector(api, registry):
    """A call that ends after its collector was unbound brings none of its series back, beside another."""
    with ApiClientCollector("mail").bind(registry):
        with api.call("sync") as call:
            api.unbind()
            call.response(200, {"X-RateLimit-Remaining": "1"})
        assert b"zoho" not in generate_latest(registry)


@pytest.mark.parametrize("answer", [("200", {}), (200, {"X-RateLimit-Reset": None}), (None, None), (200, 7)])
def test_nonsense_breaks_no_call(api, value, answer):
    """An answer that makes no sense breaks nothing."""
    with api.call("sync") as call:
        call.response(*answer)
    assert value("api_client_request_duration_seconds_count") == 1


def test_errors_of_ours_stay_out_of_the_call(api):
    """When recording fails, the call goes on and its own exception passes; ours is counted as an internal error."""

    def internal_errors():
        return sample_value(REGISTRY, "vitalsign_internal_errors_total", where="collectors.api_client") or 0

    def sync():
        with api.call("sync") as call:
            call.response(200, {"Retry-After": "1"})
            raise ssl.SSLError

    before = internal_errors()
    api.metrics = "broken"
    with pytest.raises(ssl.SSLError):
        sync()
    assert internal_errors() > before


# -- names of operations


def test_host_takes_the_place_of_the_path():
    """Without templates an operation is the method and the host, never the URL."""
    api = ApiClientCollector("zoho")
    assert api.http_operation("GET", "api.zoho.com", "/crm/v8/Leads/17") == "GET api.zoho.com"


def test_template_is_found():
    """With templates an operation is the method and the first template that fits the whole path."""
    api = ApiClientCollector("zoho", templates=["/crm/v8/{module}/{id}", "/crm/v8/{module}", "/a.b"])
    named = {
        path: api.http_operation("GET", "api.zoho.com", path)
        for path in ("/crm/v8/Leads/17", "/crm/v8/Leads", "/crm/v8/Leads/17/Notes", "/crm/v8/", "/a.b", "/axb")
    }
    assert named == {
        "/crm/v8/Leads/17": "GET /crm/v8/{module}/{id}",
        "/crm/v8/Leads": "GET /crm/v8/{module}",
        "/crm/v8/Leads/17/Notes": "GET __unmatched__",
        "/crm/v8/": "GET __unmatched__",
        "/a.b": "GET /a.b",
        "/axb": "GET __unmatched__",
    }


def test_hosts_and_methods_stay_bounded():
    """Past twenty hosts, further ones share a label, and so do methods that HTTP does not know."""
    api = ApiClientCollector("crawler")
    operations = {api.http_operation(f"M{number}", f"host-{number}.example", "/") for number in range(1_000)}
    assert len(operations) == 21
    assert "__other__ __other__" in operations
    assert api.http_operation("GET", "host-3.example", "/") == "GET host-3.example"
