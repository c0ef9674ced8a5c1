"""Traces that calls to other services go on with."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
from opentelemetry import trace
from prometheus_client import REGISTRY, CollectorRegistry

from tests.unit.asgi.driver import request
from tests.unit.wsgi.test_wsgi_middleware import request as wsgi_request
from vitalsign._trace import REQUEST_HEADERS
from vitalsign.asgi import MetricsMiddleware
from vitalsign.collectors import ApiClientCollector
from vitalsign.wsgi import MetricsMiddleware as WsgiMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def headers() -> Iterator[list[tuple[bytes, bytes]]]:
    """Be within a request, whose headers these are."""
    present = [(b"host", b"testserver"), (b"traceparent", HEADER.encode())]
    token = REQUEST_HEADERS.set(present)
    yield present
    REQUEST_HEADERS.reset(token)


def called_with(sent: dict[str, str] | None = None, **options: Any) -> dict[str, str]:
    """Make a call by the transport, with these headers, and return the trace headers that went out."""
    seen: list[httpx.Request] = []

    def answer(received: httpx.Request) -> httpx.Response:
        seen.append(received)
        return httpx.Response(200)

    api = ApiClientCollector("shop", **options)
    with httpx.Client(transport=api.httpx_transport(httpx.MockTransport(answer))) as client:
        client.get("http://api.example/", headers=sent)
    return {name: value for name, value in seen[0].headers.items() if name.startswith("trace")}


def test_trace_of_the_request_goes_on(headers):
    """What the request that is being answered brought goes on as it came: there is no span of ours to name."""
    headers += [(b"tracestate", b"a=1,b=2"), (b"tracestate", b"c=3")]
    assert called_with() == {"traceparent": HEADER, "tracestate": "a=1,b=2,c=3"}


def test_no_trace_outside_of_a_request():
    """Outside of any trace none is made up."""
    assert called_with() == {}


def test_trace_that_is_there_stays(headers):
    """A request that bears a trace already keeps it."""
    headers.append((b"tracestate", b"a=1"))
    assert called_with({"traceparent": "theirs"}) == {"traceparent": "theirs"}


def test_forwarding_can_be_switched_off(headers):
    """An API that shall not know of traces is told of none."""
    assert called_with(forward_trace=False) == {}
    assert ApiClientCollector("shop", forward_trace=False).call("GET /").trace_headers() == {}


def test_client_without_a_transport(headers):
    """Any other client, such as requests, is given the headers of the trace by its call."""
    seen: list[Any] = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["traceparent"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server, requests.Session() as session:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        session.trust_env = False  # no proxy for this machine itself
        with ApiClientCollector("shop").call("GET /") as call:
            answer = session.get(f"http://127.0.0.1:{server.server_port}/", headers=call.trace_headers(), timeout=30)
            call.response(answer.status_code, answer.headers)
        server.shutdown()
    assert seen == [HEADER]


def test_context_that_fails_breaks_no_call(headers, monkeypatch):
    """Whatever OpenTelemetry's context raises is counted as our failure, and the call goes out without a trace."""

    def fail() -> Any:
        raise LookupError

    monkeypatch.setattr("vitalsign.collectors.api_client.onward_headers", fail)
    where = {"where": "collectors.api_client"}
    before = REGISTRY.get_sample_value("vitalsign_internal_errors_total", where) or 0
    assert called_with() == {}
    assert REGISTRY.get_sample_value("vitalsign_internal_errors_total", where) == before + 1


@pytest.mark.parametrize("value", [b"", b"00-1-2-3", HEADER.upper().encode(), b"\xff" * 55, b"x" * 100_000])
def test_malformed_trace_does_not_go_on(value, headers):
    """What breaks the specification goes no further, and neither does the state that came with it."""
    headers[1:] = [(b"traceparent", value), (b"tracestate", b"a=1")]
    assert called_with() == {}


def test_trace_that_came_twice_does_not_go_on(headers):
    """Of two parents neither is known to be the right one."""
    headers.append((b"traceparent", HEADER.encode()))
    assert called_with() == {}


@pytest.mark.parametrize("state", [b"", b"a" * 600, b"a=\xe4", b"a=1\r\nx: y"])
def test_malformed_state_is_left_out(state, headers):
    """A state that is too long, or no printable text, is left out; the trace goes on."""
    headers.append((b"tracestate", state))
    assert called_with() == {"traceparent": HEADER}


def test_span_of_opentelemetry_goes_first(headers):
    """Within a span of OpenTelemetry's, that is the parent, with its own state."""
    state = trace.TraceState([("vendor", "x")])
    context = trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1), trace_state=state)
    with trace.use_span(trace.NonRecordingSpan(context)):
        assert called_with() == {"traceparent": f"00-{1:032x}-{2:016x}-01", "tracestate": "vendor=x"}


def test_from_a_request_to_a_call():
    """From a measured ASGI or WSGI request to what it calls, sync or async, the trace is one."""
    seen = []

    def answer(received: httpx.Request) -> httpx.Response:
        seen.append(received.headers.get("traceparent"))
        return httpx.Response(200)

    api = ApiClientCollector("shop")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with httpx.AsyncClient(transport=api.httpx_async_transport(httpx.MockTransport(answer))) as client:
            await asyncio.gather(*(client.get("http://api.example/") for _ in range(2)))

    def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
        with httpx.Client(transport=api.httpx_transport(httpx.MockTransport(answer))) as client:
            client.get("http://api.example/")
        start_response("200 OK", [])
        return []

    registry = CollectorRegistry()
    request(MetricsMiddleware(app, registry=registry), headers=[(b"traceparent", HEADER.encode())])
    wsgi_request(WsgiMiddleware(wsgi_app, registry=registry), HTTP_TRACEPARENT=HEADER)
    assert seen == [HEADER] * 3
