"""The hard cases of an HTTP server's metrics, under each ASGI framework and by each server."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from tests.integration.frameworks.service import TRACE, TRACEPARENT, Service
from tests.servers import ROOT, free_port, running, wait_until

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

APP = "tests.integration.frameworks.asgi_app:app"
COMMANDS = {
    "uvicorn": ("uvicorn", APP, "--port={port}", "--ws=wsproto", "--log-level=warning"),
    "hypercorn": ("hypercorn", APP, "--bind=127.0.0.1:{port}"),
    "granian": ("granian", APP, "--interface=asgi", "--port={port}"),
}
SERVED = [
    *((framework, "uvicorn") for framework in ("starlette", "fastapi", "litestar", "quart", "django", "bare")),
    ("starlette", "hypercorn"),
    ("starlette", "granian"),
    ("fastapi", "hypercorn"),
    ("fastapi", "granian"),
    ("django", "hypercorn"),
]
HANDLES_ERRORS = {"litestar", "quart", "django"}
"""Frameworks that answer whatever a handler raises themselves, so that nothing reaches the server."""


@pytest.fixture(scope="module", params=SERVED, ids="-".join)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Serve one framework's service by one server."""
    framework, by = request.param
    pytest.importorskip(framework if framework != "bare" else "asyncio")
    pytest.importorskip(by)
    port = free_port()
    command = [sys.executable, "-m", *(part.format(port=port) for part in COMMANDS[by])]
    log = tmp_path_factory.mktemp("asgi") / "server.log"
    environment = {"FRAMEWORK": framework, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with running(command, port=port, ready="/metrics", log=log, env=environment, cwd=ROOT) as server:
        yield Service(server, framework, by)


@pytest.mark.parametrize("framework", ["starlette", "django"])
@pytest.mark.parametrize("by", COMMANDS)
def test_names_taken_by_another_instrumentation(framework, by):
    """A server ends at its start where another instrumentation has the names, and says who, and what to do."""
    pytest.importorskip(framework)
    pytest.importorskip(by)
    command = [sys.executable, "-m", *(part.format(port=free_port()) for part in COMMANDS[by])]
    environment = {"FRAMEWORK": framework, "TAKEN": "yes", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(  # returns, because the server ends; with 0 if it is hypercorn
        command,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    for part in ("http_requests", "prometheus_client.metrics.Counter", "namespace="):
        assert part in done.stdout


ITEM = "/api/{version}/items/{id}"


def test_template_of_parameterised_mounts_and_included_routers(service):
    """The label is the whole template, whatever values a request brings for its parameters."""
    with service.leaves({(ITEM, "GET", "200"): 3, (ITEM, "POST", "200"): 1}):
        for number in range(3):
            assert service.ask(f"/api/v1/items/{number}").status == 200
        assert service.ask("/api/v1/items/1", "POST", b"body").body == b"body"


def test_unmatched_paths(service):
    """A scanner's random paths share one label."""
    with service.leaves({("__unmatched__", "GET", "404"): 20}):
        for number in range(20):
            assert service.ask(f"/wp-admin/{number}.php").status == 404


def test_slash_redirect(service):
    """A redirect from /x to /x/ is counted under the template that it leads to."""
    if service.framework in ("litestar", "bare"):
        pytest.skip(f"{service.framework} does not redirect")
    status = {"quart": "308", "django": "301"}.get(service.framework, "307")
    with service.leaves({("/api/{version}/slash/", "GET", status): 1}):
        assert service.ask("/api/v1/slash").status == int(status)


def test_method_not_allowed(service):
    """A method that a route does not take is counted under the route."""
    if service.framework in ("django", "bare"):
        pytest.skip(f"the views of {service.framework} take every method")
    with service.leaves({(ITEM, "DELETE", "405"): 1}):
        assert service.ask("/api/v1/items/1", "DELETE").status == 405


def test_unknown_methods(service):
    """Methods that HTTP does not know, or in lower case, share one label."""
    before = service.figures()
    lower = [] if service.by == "hypercorn" else [b"get"]  # which makes it the usual GET itself
    for method in (b"BREW", b"X" * 30, b"PROPFIND", *lower):
        service.send(method + b" /api/v1/items/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    new = set(service.figures()) - set(before)
    assert {key[1] for key in new} <= {"__other__"}  # some servers refuse such methods themselves


def test_handler_raises(service):
    """A failure is one request with status 500; an exception that leaves the application is counted by its class."""
    exceptions = {} if service.framework in HANDLES_ERRORS else {("/fail", "LookupError", "GET"): 1.0}
    with (
        service.leaves({("/fail", "GET", "500"): 1}),
        service.leaves(exceptions, "http_request_exceptions_total"),
    ):
        assert service.ask("/fail").status == 500


def test_handler_raises_after_the_response_started(service):
    """A response that breaks off has the status that was sent."""
    with service.leaves({("/broken", "GET", "200"): 1}):
        service.ask("/broken")


def test_client_disconnect(service):
    """A client that leaves a stream is counted with 499 and no exception; nothing stays in progress."""
    with (
        service.leaves({("/endless", "GET", "499"): 1}),
        service.leaves({}, "http_request_exceptions_total"),
        service.connect() as client,
    ):
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(1000)
    assert service.figures("http_requests_in_progress")["GET",] == 0


def test_streaming_response(service):
    """A stream's bytes are counted as sent, and its first byte comes before its last."""
    with service.leaves({("/stream", "GET"): 30}, "http_response_size_bytes_sum"):
        assert service.ask("/stream").body == b"x" * 30
    first = service.figures("http_response_first_byte_seconds_sum")["/stream", "GET"]
    assert 0 < first < service.figures("http_request_duration_seconds_sum")["/stream", "GET"]


def test_head_and_options(service):
    """HEAD sends no body, OPTIONS is a method like others, and both have the route's template."""
    before = service.figures("http_response_size_bytes_sum").get((ITEM, "HEAD"), 0)
    head, options = service.ask("/api/v1/items/1", "HEAD"), service.ask("/api/v1/items/1", "OPTIONS")
    figures = service.figures()
    assert (ITEM, "HEAD", str(head.status)) in figures
    assert (ITEM, "OPTIONS", str(options.status)) in figures
    assert service.figures("http_response_size_bytes_sum")[ITEM, "HEAD"] == before == 0


def test_malformed_headers(service):
    """Malformed lengths, bytes outside of ASCII and over-long values reach no label and break nothing."""
    before = {key[0] for key in service.figures()}
    for header in (b"Content-Length: 12x", b"Content-Length: -1", b"X-Odd: \xff\xfe", b"traceparent: " + b"f" * 5000,
                   b"traceparent: \xe4", b"Host: \xff\xfe", b"X-Long: " + b"x" * 20_000):  # fmt: skip
        service.send(b"GET /api/v1/items/1 HTTP/1.1\r\nHost: h\r\n" + header + b"\r\nConnection: close\r\n\r\n")
    assert {key[0] for key in service.figures()} - before <= {ITEM, "__unmatched__"}
    assert service.internal_errors() == {}


def test_trace_of_a_request(service):
    """A sampled `traceparent` becomes an exemplar of the duration."""

    def page() -> str:
        service.ask("/api/v1/items/1", headers={"traceparent": TRACEPARENT})
        text: str = service.server.get("/metrics", {"Accept": "application/openmetrics-text"}).text
        return text

    def has_exemplar() -> bool:
        return any(
            line.startswith("http_request_duration_seconds_bucket") and f'trace_id="{TRACE}"' in line
            for line in page().splitlines()
        )

    wait_until(has_exemplar, "an exemplar")


def test_websocket(service):
    """A WebSocket is active while it is open; its messages and its close code are counted under its template."""
    if service.framework == "django":
        pytest.skip("Django has no WebSockets")
    room = "/rooms/{room}"
    code = "1006" if service.by == "hypercorn" else "1001"  # hypercorn does not pass on what the client says
    with (
        service.leaves({("received", room): 2, ("sent", room): 2}, "http_websocket_messages_total"),
        service.leaves({(code, room): 1}, "http_websocket_connections_total"),
        service.connect() as client,
    ):
        websocket = WSConnection(ConnectionType.CLIENT)
        client.sendall(websocket.send(Request(host=service.server.address, target="/rooms/7")))
        assert isinstance(next_event(websocket, client), AcceptConnection)
        for text in ("a", "b"):
            client.sendall(websocket.send(TextMessage(text)))
            event = next_event(websocket, client)
            assert isinstance(event, TextMessage)
            assert event.data == text
        assert service.figures("http_websocket_connections_active")[room,] == 1
        client.sendall(websocket.send(CloseConnection(code=1001)))
    assert service.figures("http_websocket_connections_active")[room,] == 0


def next_event(websocket: WSConnection, client: socket.socket) -> object:
    """Read until the other side has said something."""
    while True:
        websocket.receive_data(client.recv(10_000))
        for event in websocket.events():
            return event


def test_nothing_failed_inside(service):
    """After all this, no failure of the library has been counted."""
    assert service.internal_errors() == {}
