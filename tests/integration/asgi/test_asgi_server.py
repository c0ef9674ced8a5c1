"""The middleware and the page behind a real server, with real sockets that are kept alive, or closed too early."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import PATIENCE, wait_until

if TYPE_CHECKING:
    from tests.servers import Server, StartUvicorn

pytestmark = pytest.mark.integration

APP = "tests.integration.asgi.app:app"


@pytest.fixture
def server(start_uvicorn: StartUvicorn) -> Server:
    """Serve the application by uvicorn."""
    return start_uvicorn(APP, ready="/metrics")


def figures(server: Server, name: str) -> dict[tuple[str, ...], float]:
    """Return every series of one name on the page: its value by its label values, in the order of their names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(server.get("/metrics").text)
        for sample in family.samples
        if sample.name == name
    }


def requests(server: Server) -> dict[tuple[str, ...], float]:
    """Return the requests that were counted, by endpoint, method and status."""
    return figures(server, "http_requests_total")


def connect(server: Server) -> socket.socket:
    """Open a connection."""
    host, _, port = server.address.partition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def test_requests_on_one_connection(server):
    """Requests that share a kept connection are counted one by one, with their own sizes."""
    connection = http.client.HTTPConnection(server.address, timeout=PATIENCE)
    for size in (10, 20, 30):
        connection.request("POST", f"/api/v1/echo/{size}", body=b"x" * size)
        assert len(connection.getresponse().read()) == size
    connection.request("HEAD", "/api/v2/echo/1")
    connection.getresponse().read()
    connection.close()
    endpoint = "/api/{version}/echo/{id}"
    wait_until(lambda: len(requests(server)) == 2, "both series")
    assert requests(server) == {(endpoint, "HEAD", "200"): 1, (endpoint, "POST", "200"): 3}
    assert figures(server, "http_request_size_bytes_sum")[endpoint, "POST"] == 60
    assert figures(server, "http_response_size_bytes_sum")[endpoint, "POST"] == 60
    assert figures(server, "http_requests_in_progress") == {("HEAD",): 0, ("POST",): 0}


def test_requests_from_many_threads(server):
    """Every one of 400 requests over 8 connections is counted, once."""

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(server.address, timeout=PATIENCE)
        for turn in range(50):
            connection.request("GET", f"/api/v1/echo/{number}-{turn}" if turn % 2 else f"/scan/{number}-{turn}")
            connection.getresponse().read()
        connection.close()

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(client, range(8)))
    assert wait_until(lambda: sum(requests(server).values()) == 400, "all requests")
    assert requests(server) == {
        ("/api/{version}/echo/{id}", "GET", "200"): 200,
        ("__unmatched__", "GET", "404"): 200,
    }


@pytest.mark.parametrize("path", ["/api/v1/stream", "/api/v1/wait"])
def test_client_that_leaves(path, server):
    """A client that leaves in mid-stream, or while it waits, is counted with 499 and in progress no more."""
    endpoint = "/api/{version}/" + path.rpartition("/")[2]
    for _ in range(3):
        with connect(server) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            if path.endswith("stream"):
                assert client.recv(100).startswith(b"HTTP/1.1 200")
            wait_until(lambda: figures(server, "http_requests_in_progress")["GET",] == 1, "the request")
    wait_until(lambda: requests(server).get((endpoint, "GET", "499")) == 3, "three requests given up")
    assert len(requests(server)) == 1
    assert figures(server, "http_requests_in_progress") == {("GET",): 0}
    assert figures(server, "http_request_exceptions_total") == {}


def test_client_that_leaves_while_it_sends(server):
    """A client that closes its connection before its body is whole is counted with 499."""
    with connect(server) as client:
        client.sendall(b"POST /api/v1/echo/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")
        wait_until(lambda: figures(server, "http_requests_in_progress").get(("POST",)) == 1, "the request")
    endpoint = ("/api/{version}/echo/{id}", "POST")
    wait_until(lambda: requests(server) == {(*endpoint, "499"): 1}, "the request given up")
    assert figures(server, "http_request_size_bytes_sum") == {endpoint: 4}


def test_handler_that_raises(server):
    """An exception is answered by the server with 500, and counted as that and by its class."""
    assert server.get("/api/v1/fail").status == 500
    endpoint = "/api/{version}/fail"
    assert requests(server) == {(endpoint, "GET", "500"): 1}
    assert figures(server, "http_request_exceptions_total") == {(endpoint, "LookupError", "GET"): 1}
    assert "as asked" in server.log.read_text()


def test_malformed_requests(server):
    """Requests that the server refuses itself never reach us, and odd ones that it passes on do no harm."""
    for head in (b"Content-Length: 12x", b"X-Odd: \xff\xfe", b"Transfer-Encoding: chunked"):
        with connect(server) as client:
            client.sendall(
                b"GET /api/v1/echo/1 HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\nConnection: close\r\n\r\n0\r\n\r\n"
            )
            client.recv(10_000)
    assert {key[0] for key in requests(server)} <= {"/api/{version}/echo/{id}"}
    assert "vitalsign_internal_errors_total" not in server.get("/metrics").text


def test_scanner(server):
    """Hundreds of hostile requests over real sockets leave few series, and a server that answers."""
    chance = random.Random(4)
    for _ in range(300):
        method, path = chance.choice([b"GET", b"POST", b"get", b"BREW", b"\xff"]), b"/" + chance.randbytes(12)
        if chance.random() < 0.7:
            path = quote(path).encode()
        host, noise = chance.randbytes(10), chance.randbytes(20)
        length = chance.choice([b"", b"Content-Length: abc", b"Content-Length: -1", b"Transfer-Encoding: nonsense"])
        with contextlib.suppress(OSError), connect(server) as client:
            client.sendall(
                method + b" " + path + b" HTTP/1.1\r\nConnection: close\r\nHost: " + host + b"\r\nX-Noise: " + noise
                + b"\r\ntraceparent: " + noise + b"\r\n" + length + b"\r\n\r\n"
            )  # fmt: skip
            client.shutdown(socket.SHUT_WR)
            client.recv(10_000)
    assert {key[0] for key in requests(server)} <= {"__unmatched__"}
    assert len(requests(server)) < 20
    assert "vitalsign_internal_errors_total" not in server.get("/metrics").text
    assert server.get("/api/v1/echo/1").status == 200


def test_scrape_with_the_headers_of_prometheus(server, promtool):
    """The page is OpenMetrics to Prometheus, text to others, and clean to promtool, without a redirect."""
    server.get("/api/v1/echo/1")
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    openmetrics, text = server.get("/metrics", {"Accept": accept}), server.get("/metrics")
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.text.endswith("# EOF\n")
    assert text.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    ours = [line for line in text.text.splitlines() if "http_" in line]
    assert promtool("\n".join(ours) + "\n") == ""
