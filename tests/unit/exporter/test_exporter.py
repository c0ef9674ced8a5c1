"""The exporter: what it answers, to whom, and how it begins and ends."""

from __future__ import annotations

import errno
import gzip
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry

from tests.servers import free_port
from tests.unit.exporter.clients import ask, connect, say
from vitalsign import Counter, generate_latest
from vitalsign.exceptions import AddressError, EndpointOptionError
from vitalsign.exporter import start_exporter


def exporter_threads() -> list[threading.Thread]:
    """Return the threads of exporters that run."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("vitalsign-exporter")]


# -- what it answers


def test_page(start, registry):
    """The page of the registry is at /metrics of the port that the system chose, on this machine only."""
    exporter = start()
    answer = ask(exporter)
    assert exporter.url == f"http://127.0.0.1:{exporter.port}/metrics"
    assert (answer.status, answer.body) == (200, generate_latest(registry))
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["connection"] == "close"


def test_negotiation(start, registry):
    """OpenMetrics, compression, the filter by name and HEAD are the endpoint's."""
    exporter = start()
    assert ask(exporter, Accept="application/openmetrics-text").body.endswith(b"# EOF\n")
    assert gzip.decompress(ask(exporter, Accept_Encoding="gzip").body) == generate_latest(registry)
    assert ask(exporter, "/metrics?name[]=nothing").body == b""
    head = ask(exporter, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(generate_latest(registry)))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/?x=1", 200),
        ("GET", "/metrics/", 404),
        ("GET", "/metricsx", 404),
        ("GET", "/../metrics", 404),
        ("HEAD", "/favicon.ico", 404),
        ("POST", "/", 405),
        ("POST", "/metrics", 405),
        ("DELETE", "/other", 405),
        ("OPTIONS", "*", 405),
    ],
)
def test_other_paths_and_methods(method, path, status, start):
    """The root says where the metrics are, other paths are not found, other methods not allowed."""
    answer = ask(start(), path, method)
    assert answer.status == status
    assert b"shop_orders" not in answer.body
    if status == 200 and method == "GET":
        assert answer.body == b"The metrics are at /metrics.\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.0\r\n\r\n", 200),
        (b"GET http://shop.example:9091/metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET http://shop.example HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nX-Odd:\xff\xfe \t\r\nEmpty:\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n", 200),
        (b"PRI * HTTP/2.0\r\n\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /met\x00rics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nSpaced : x\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nA: b\nC: d\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nA:" + b" " * 16_000 + b"\x00\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nA:" + b" " * 16_000 + b"b\r\n\r\n", 200),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n" + b"X-Long: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"x" * 20_000, 431),
    ],
)
def test_requests_as_they_come(sent, status, start):
    """What is a request is answered in any form that HTTP/1 allows; what is none, or too long, hears so."""
    answer = say(start(), sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1") == 1


def test_requests_in_pieces(start, registry):
    """A request may arrive byte by byte."""
    with connect(start()) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /metrics HTTP/1.0\r\n\r\n":
            client.sendall(bytes([byte]))
        received = client.makefile("rb").read()
    assert received.endswith(b"\r\n\r\n" + generate_latest(registry))


def test_many_scrapes_at_once(start, registry):
    """Forty scrapes at once are all answered."""
    exporter = start()
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: ask(exporter), range(40)))
    assert {answer.body for answer in answers} == {generate_latest(registry)}


def test_default_registry():
    """Without a registry the page shows prometheus_client's default one."""
    with start_exporter(port=0) as exporter:
        assert b"python_info{" in ask(exporter).body


def test_two_exporters(start):
    """Two exporters in a process show a registry each."""
    other = CollectorRegistry()
    Counter("shop_refunds", "Refunds.", registry=other)
    one, two = start(), start(registry=other)
    assert one.port != two.port
    assert b"shop_orders" in ask(one).body
    assert b"shop_refunds" in ask(two).body


def test_deadline(start, registry):
    """A collector that hangs past the exporter's deadline is left out."""

    class Hanging:
        may_end = threading.Event()

        def describe(self):
            return []

        def collect(self):
            self.may_end.wait(60)
            return []

    hanging = Hanging()
    registry.register(hanging)
    try:
        assert b"shop_orders_total 1.0\n" in ask(start(deadline=0.1)).body
    finally:
        hanging.may_end.set()


# -- who may read


@pytest.mark.parametrize("path", ["/metrics", "/", "/other"])
def test_nothing_without_the_token(path, start):
    """Without the right token there is 401 on every path, and the scheme to use."""
    exporter = start(token="s3cret")
    for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic s3cret"}):
        answer = ask(exporter, path, **headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert b"metrics" not in answer.body
    assert ask(exporter, Authorization="Bearer s3cret").status == 200


def test_networks(start):
    """Clients of other networks get 403, and headers bring nobody in."""
    assert ask(start(allow="127.0.0.0/8")).status == 200
    forged = {"X_Forwarded_For": "10.0.0.1", "Forwarded": "for=10.0.0.1", "X_Real_IP": "10.0.0.1"}
    for path in ("/metrics", "/"):
        assert ask(start(allow="10.0.0.0/8"), path, **forged).status == 403


@pytest.mark.parametrize("options", [{"token": ""}, {"allow": []}, {"allow": "here"}, {"deadline": 0}])
def test_options_that_make_no_sense(options, registry):
    """An option that makes no sense is an error at once, and the port is not taken."""
    port = free_port()
    with pytest.raises(EndpointOptionError):
        start_exporter(port=port, registry=registry, **options)
    with start_exporter(port=port, registry=registry):
        pass


def test_port_that_is_no_number(registry):
    """A port as text, as from the environment, is an error that says what it has to be."""
    with pytest.raises(EndpointOptionError, match="port is '9091', but has to be a number"):
        start_exporter(port="9091", registry=registry)  # type: ignore[arg-type]


# -- where it listens


def test_port_in_use(start):
    """A port that is taken is an error that names port, address and ways out."""
    taken = start()
    with pytest.raises(AddressError) as caught:
        start(port=taken.port)
    assert (caught.value.port, caught.value.host) == (taken.port, "127.0.0.1")
    assert f"port {taken.port} of 127.0.0.1 is in use" in str(caught.value)
    assert "port=0" in str(caught.value)
    assert ask(taken).status == 200


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ({"port": 65536}, "ports go from 0 to 65535"),
        ({"port": -1}, "ports go from 0 to 65535"),
        ({"port": 0, "host": "no-such-host.invalid"}, "is not known. Give host= a name"),
        ({"port": 0, "host": "x" * 300}, "is not known. Give host= a name"),
        ({"port": 0, "host": "192.0.2.1"}, "is no address of this machine"),
    ],
)
def test_place_that_cannot_be_had(place, reason):
    """A port or host that cannot be listened on is an error that says why."""
    with pytest.raises(AddressError, match=reason):
        start_exporter(**place)


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EACCES, "Choose one above 1023 with port="), (errno.ENOBUFS, "No buffer")]
)
def test_place_that_is_refused(number, reason, monkeypatch):
    """Whatever else the system says to a port is told."""

    def refuse(*_, **__):
        raise OSError(number, "No buffer space available")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(AddressError, match=reason):
        start_exporter(port=80)


def needs_ipv6() -> None:
    """Leave the test out on a machine without IPv6."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")


def test_ipv6(start):
    """The exporter listens on IPv6, and its URL has the address in brackets."""
    needs_ipv6()
    exporter = start(host="::1", allow="::1")
    assert exporter.url == f"http://[::1]:{exporter.port}/metrics"
    assert ask(exporter).status == 200


def test_all_addresses(start):
    """On all addresses, of both versions, an IPv4 client is known by its IPv4 address."""
    needs_ipv6()
    exporter = start(host="::", allow="127.0.0.1")
    assert exporter.url == f"http://[::1]:{exporter.port}/metrics"
    assert ask(exporter).status == 403
    assert say(exporter, b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_all_addresses_of_ipv4(start):
    """The URL of an exporter on all addresses of IPv4 can be used on this machine."""
    exporter = start(host="0.0.0.0")
    assert exporter.url == f"http://127.0.0.1:{exporter.port}/metrics"
    assert ask(exporter).status == 200


# -- how it ends


def test_close_frees_the_port(start):
    """After close() nobody listens, the port can be had again at once, and the thread is gone."""
    before = len(exporter_threads())
    exporter = start()
    port = exporter.port
    assert ask(exporter).status == 200
    exporter.close()
    with pytest.raises(ConnectionRefusedError):
        connect(exporter)
    assert len(exporter_threads()) == before
    assert ask(start(port=port)).status == 200


def test_close_is_idempotent(start):
    """Closing twice, or from many threads, does no harm."""
    exporter = start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: exporter.close(), range(16)))
    exporter.close()
    with pytest.raises(ConnectionRefusedError):
        connect(exporter)


def test_close_ends_connections(start, registry):
    """Clients that are connected, whatever they wait for, are let go."""
    started, may_end = threading.Event(), threading.Event()

    class Hanging:
        def describe(self):
            return []

        def collect(self):
            started.set()
            may_end.wait(60)
            return []

    registry.register(Hanging())
    exporter = start()
    with connect(exporter) as silent, connect(exporter, b"GET /metrics HTTP/1.0\r\n\r\n") as scraping:
        assert started.wait(60)
        exporter.close()
        may_end.set()
        assert silent.recv(1) == b""
        assert scraping.recv(1) == b""


def test_context_manager(registry):
    """At the end of a block the exporter is closed."""
    with start_exporter(port=0, registry=registry) as exporter:
        assert ask(exporter).status == 200
    with pytest.raises(ConnectionRefusedError):
        connect(exporter)


def test_no_thread_to_be_had(registry, monkeypatch):
    """Where the system has no thread left, nothing is left behind."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    port = free_port()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            start_exporter(port=port, registry=registry)
    with start_exporter(port=port, registry=registry) as exporter:
        assert ask(exporter).status == 200
