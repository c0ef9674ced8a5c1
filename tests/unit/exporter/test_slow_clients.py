"""Clients that take their time, or never end: they cost the exporter little, and a scrape nothing."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client import REGISTRY

from tests.processes import run_script
from tests.servers import wait_until
from tests.unit.exporter.clients import ask, connect, read_all
from vitalsign import Counter

GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
BIG = 8_000_000
"""Bytes of a page that no buffers of the system hold."""


class Dripping:
    """Two hundred clients of which each sends another byte of its headers every now and then, until told to stop."""

    def __init__(self, clients: list[Any]) -> None:
        self._clients = clients
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._drip)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _drip(self) -> None:
        while not self._is_over.wait(0.05):
            for client in self._clients:
                client.send(b"x")


@pytest.fixture
def clients():
    """Close a test's connections at its end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def big(registry):
    """Make the page bigger than any buffer."""
    Counter("shop_big", "x" * BIG, registry=registry)


def test_200_slow_connections(start, clients):
    """Beside 200 connections that drip, say nothing or never end their request, a scrape is answered, none is cut."""
    exporter = start()
    openings = [b"", b"GET /metrics HTTP/1.1\r\nX-Slow: ", b"G", b"\r"]
    slow = [clients.enter_context(connect(exporter, openings[number % 4])) for number in range(200)]
    with Dripping(slow[1::4]):
        for _ in range(5):
            assert ask(exporter).status == 200
    for client in slow:
        client.settimeout(0)
        with pytest.raises(BlockingIOError):
            client.recv(1)


def test_200_clients_that_never_read(start, clients, big):
    """Beside 200 clients that ask for a page and do not read it, a scrape gets all of it."""
    exporter = start()
    for _ in range(200):
        clients.enter_context(connect(exporter, GET, buffer=4096))
    assert len(ask(exporter).body) > BIG


def test_more_connections_than_are_held(start, clients):
    """Past the most that are held, the one that has said nothing for longest has to go, and a scrape gets in."""
    exporter = start()
    first = clients.enter_context(connect(exporter))
    slow = [clients.enter_context(connect(exporter)) for _ in range(300)]
    assert ask(exporter).status == 200
    assert read_all(first) == b""
    slow[-1].sendall(GET)
    assert read_all(slow[-1]).startswith(b"HTTP/1.1 200 ")


def test_scrape_that_takes_its_time_is_not_given_up(start, clients, registry, monkeypatch):
    """Who has asked, and waits for its page, does not have to go for others who have not asked yet."""
    started, may_end = threading.Event(), threading.Event()

    class Slow:
        def describe(self):
            return []

        def collect(self):
            started.set()
            may_end.wait(60)
            return []

    monkeypatch.setattr("vitalsign._http_server._MOST_ARRIVING", 2)
    registry.register(Slow())
    exporter = start()
    scraping = clients.enter_context(connect(exporter, GET))
    assert started.wait(60)
    silent = [clients.enter_context(connect(exporter)) for _ in range(4)]
    assert read_all(silent[0]) == b""
    may_end.set()
    assert read_all(scraping).startswith(b"HTTP/1.1 200 ")


def test_clients_that_do_not_read_and_are_too_many(start, clients, big, monkeypatch):
    """Answers that nobody takes are few, since each may hold a page: the oldest is given up for the next."""
    monkeypatch.setattr("vitalsign._http_server._MOST_ANSWERED", 2)
    exporter = start()
    first = clients.enter_context(connect(exporter, GET, buffer=4096))
    assert first.recv(9) == b"HTTP/1.1 "
    for _ in range(2):
        assert clients.enter_context(connect(exporter, GET, buffer=4096)).recv(9) == b"HTTP/1.1 "
    assert len(read_all(first)) < BIG


def test_slow_reader_gets_the_whole_page(start, clients, big):
    """A client that begins to read late, and reads little at a time, gets the page to its last byte."""
    exporter = start()
    client = clients.enter_context(connect(exporter, GET, buffer=4096))
    wait_until(lambda: exporter._server._answered._tasks, "the answer to be given")
    head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(body) in head
    assert len(body) > BIG


def test_time_to_ask(start, clients, monkeypatch):
    """Who has not asked in time is let go, whether it says nothing or drips."""
    monkeypatch.setattr("vitalsign._http_server._SECONDS_TO_ASK", 0.2)
    exporter = start()
    silent, dripping = connect(exporter), connect(exporter, b"GET")
    clients.enter_context(silent)
    clients.enter_context(dripping)
    assert read_all(silent) == read_all(dripping) == b""


def test_time_to_read(start, clients, big, monkeypatch):
    """Who does not take its answer in time is let go, and the page with it."""
    monkeypatch.setattr("vitalsign._http_server._SECONDS_TO_READ", 0.3)
    exporter = start()
    client = clients.enter_context(connect(exporter, GET, buffer=4096))
    server = exporter._server
    wait_until(lambda: server._answered._tasks, "the answer to be given")
    wait_until(lambda: not server._connections, "the answer to be given up")
    assert len(read_all(client)) < BIG


def failures():
    """Return how often the exporter has failed in this process."""
    return REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": "exporter"}) or 0


def test_client_that_leaves(start):
    """Clients that leave, before or after they have asked, leave nothing behind, and are nothing to report."""
    exporter, before = start(), failures()
    for sent in (b"", b"GET /met", GET):
        connect(exporter, sent).close()
    assert ask(exporter).status == 200
    wait_until(lambda: not exporter._server._connections, "all connections to be closed")
    assert failures() == before


def test_error_of_our_own(start, monkeypatch):
    """An error in the exporter itself costs one answer: it is counted, and the next client is served."""

    def fail(_):
        raise LookupError("secret")

    exporter, before = start(), failures()
    with monkeypatch.context() as patch:
        patch.setattr("vitalsign._http_server.write_head", fail)
        with connect(exporter, GET) as client:
            assert read_all(client) == b""
    assert failures() == before + 1
    assert ask(exporter).status == 200


def test_process_without_a_socket_left():
    """Where the process has no file descriptor left, the exporter waits, and serves again when there are some."""
    printed = run_script(
        """
        import logging, os, resource, socket, time
        from tests.unit.exporter.clients import ask, connect
        from vitalsign.exporter import start_exporter

        logged = []
        logging.getLogger("vitalsign").addHandler(handler := logging.Handler())
        handler.emit = logged.append
        with start_exporter(port=0) as exporter:
            print(ask(exporter).status)
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            client = socket.socket()  # its descriptor is there, the server's end of it will not be
            taken = []
            try:
                while True:
                    taken.append(os.dup(0))
            except OSError:
                pass
            client.connect(("127.0.0.1", exporter.port))
            client.sendall(b"GET /metrics HTTP/1.0\\r\\n\\r\\n")
            while not logged:
                time.sleep(0.01)
            for each in taken:
                os.close(each)
            print(client.recv(15), ask(exporter).status, len(logged))
            client.close()
        """
    )
    assert printed == "200\nb'HTTP/1.1 200 OK' 200 1\n"
