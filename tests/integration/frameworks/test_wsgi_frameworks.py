"""The hard cases of an HTTP server's metrics, under each WSGI framework and by each server."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.frameworks.service import TRACE, TRACEPARENT, Service
from tests.servers import ROOT, free_port, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

MODULE = "tests.integration.frameworks.wsgi_app"
GUNICORN = ("gunicorn", f"{MODULE}:app", "--bind=127.0.0.1:{port}", "--no-control-socket", "--threads=8")
COMMANDS = {
    "gunicorn": (*GUNICORN, "--worker-class=gthread"),
    "werkzeug": (MODULE, "werkzeug", "{port}"),
    "wsgiref": (MODULE, "wsgiref", "{port}"),
}
SERVED = [
    ("flask", "gunicorn"),
    ("django", "gunicorn"),
    ("bare", "gunicorn"),
    ("flask", "werkzeug"),
    ("django", "wsgiref"),
    ("bare", "wsgiref"),
]
ITEM = "/api/{version}/items/{number}"


@pytest.fixture(scope="module", params=SERVED, ids="-".join)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Serve one framework's service by one server."""
    framework, by = request.param
    for needed in (framework, by):
        pytest.importorskip(needed if needed != "bare" else "wsgiref")
    port = free_port()
    command = [sys.executable, "-m", *(part.format(port=port) for part in COMMANDS[by])]
    log = tmp_path_factory.mktemp("wsgi") / "server.log"
    environment = {"FRAMEWORK": framework, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with running(command, port=port, ready="/metrics", log=log, env=environment, cwd=ROOT) as server:
        yield Service(server, framework, by)


def test_template_of_parameterised_routes(service):
    """The label is the whole template, whatever values a request brings for its parameters."""
    with (
        service.leaves({(ITEM, "GET", "200"): 3, (ITEM, "POST", "200"): 1}),
        service.leaves({(ITEM, "POST"): 4}, "http_response_size_bytes_sum"),
        service.leaves({(ITEM, "POST"): 4}, "http_request_size_bytes_sum"),
    ):
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
    if service.framework == "bare":
        pytest.skip("there is no framework that redirects")
    status = {"flask": "308", "django": "301"}[service.framework]
    with service.leaves({("/api/{version}/slash/", "GET", status): 1}):
        assert service.ask("/api/v1/slash").status == int(status)


def test_method_not_allowed(service):
    """A method that a route does not take is counted under the route."""
    if service.framework != "flask":
        pytest.skip("the views take every method")
    with service.leaves({(ITEM, "DELETE", "405"): 1}):
        assert service.ask("/api/v1/items/1", "DELETE").status == 405


def test_middleware_that_answers_before_a_route_is_chosen(service):
    """What the framework's middleware answers in a route's place is counted under the route."""
    if service.framework != "django":
        pytest.skip("Flask chooses the route first")
    with service.leaves({(ITEM, "GET", "403"): 1, ("__unmatched__", "GET", "403"): 1}):
        for path in ("/api/v1/items/1", "/wp-admin"):
            assert service.ask(path, headers={"X-Refuse": "yes"}).status == 403


def test_unknown_methods(service):
    """Methods that HTTP does not know share one label."""
    before = service.figures()
    for method in (b"BREW", b"get", b"X" * 30, b"PROPFIND"):
        service.send(method + b" /api/v1/items/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    new = set(service.figures()) - set(before)
    assert {key[1] for key in new} <= {"__other__"}  # some servers refuse such methods themselves


def test_handler_raises(service):
    """A failure is one request with status 500; an exception that leaves the application is counted by its class."""
    exceptions = {("/fail", "LookupError", "GET"): 1.0} if service.framework == "bare" else {}
    with (
        service.leaves({("/fail", "GET", "500"): 1}),
        service.leaves(exceptions, "http_request_exceptions_total"),
    ):
        assert service.ask("/fail").status == 500


def test_iterator_raises(service):
    """A response that breaks off has the status that was sent, and its exception is counted."""
    with (
        service.leaves({("/broken", "GET", "200"): 1}),
        service.leaves({("/broken", "LookupError", "GET"): 1}, "http_request_exceptions_total"),
    ):
        service.ask("/broken", headers={"Connection": "close"})


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


def test_file(service):
    """A file that the server sends by its own wrapper arrives whole and is counted; nothing stays in progress."""
    content = Path(__file__).with_name("wsgi_app.py").read_bytes()
    with service.leaves({("/file", "GET", "200"): 1}):
        assert service.ask("/file").body == content
    assert service.figures("http_requests_in_progress")["GET",] == 0


def test_head_and_options(service):
    """HEAD sends no body, OPTIONS is a method like others, and both have the route's template."""
    head, options = service.ask("/api/v1/items/1", "HEAD"), service.ask("/api/v1/items/1", "OPTIONS")
    figures = service.figures()
    assert (ITEM, "HEAD", str(head.status)) in figures
    assert (ITEM, "OPTIONS", str(options.status)) in figures
    assert service.figures("http_response_size_bytes_sum")[ITEM, "HEAD"] == 0


def test_malformed_headers(service):
    """Malformed lengths, bytes outside of ASCII and over-long values reach no label and break nothing."""
    before = {key[0] for key in service.figures()}
    for header in (b"Content-Length: 12x", b"Content-Length: -1", b"X-Odd: \xff\xfe", b"traceparent: " + b"f" * 5000,
                   b"traceparent: \xe4", b"Host: \xff\xfe", b"X-Long: " + b"x" * 20_000):  # fmt: skip
        service.send(b"GET /api/v1/items/1 HTTP/1.1\r\nHost: h\r\n" + header + b"\r\nConnection: close\r\n\r\n")
    assert {key[0] for key in service.figures()} - before <= {ITEM, "__unmatched__"}


def test_trace_of_a_request(service):
    """A sampled `traceparent` becomes an exemplar of the duration."""

    def has_exemplar() -> bool:
        service.ask("/api/v1/items/1", headers={"traceparent": TRACEPARENT})
        page = service.server.get("/metrics", {"Accept": "application/openmetrics-text"}).text
        return any(
            line.startswith("http_request_duration_seconds_bucket") and f'trace_id="{TRACE}"' in line
            for line in page.splitlines()
        )

    wait_until(has_exemplar, "an exemplar")


def test_nothing_failed_inside(service):
    """After all this, no failure of the library has been counted."""
    assert service.internal_errors() == {}
