"""Where the demo listens, and how it starts and ends."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket

import pytest

from tests.servers import get, wait_until
from vitalsign.demo import listen, serving
from vitalsign.exceptions import AddressError
from vitalsign.testing import sample_value


def test_taken_port_is_refused():
    """A port in use is an error that carries host and port, says the way out, and is an OSError too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=r"is in use\. Choose another with --port") as caught:
            listen("127.0.0.1", port)
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("host", ["", "no such host", "a" * 70])
def test_unknown_host_is_refused(host):
    """What is no name or address is refused; an empty one does not mean every network."""
    with pytest.raises(AddressError, match=r"is not known\. Give --host a name or address of this machine"):
        listen(host, 0)


def test_foreign_address_is_refused():
    """An address of another machine is refused."""
    with pytest.raises(AddressError, match=r"192\.0\.2\.1 is no address of this machine"):
        listen("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("number", "complaint"),
    [
        (errno.EACCES, "port 80 of 127.0.0.1 is not allowed to this user. Choose one above 1023 with --port."),
        (errno.EMFILE, "port 80 of 127.0.0.1 cannot be listened on: Too many open files."),
    ],
)
def test_other_refusals_are_explained(monkeypatch, number, complaint):
    """A port that is reserved, and what else the system may say, is explained too."""

    def refuse(*_args, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(AddressError) as caught:
        listen("127.0.0.1", 80)
    assert str(caught.value) == complaint


def test_demo_serves_and_frees_its_port(registry):
    """Inside the block the demo answers and its own visitors come; after it the port is free and the log is quiet."""

    async def visit():
        async with serving(listen("127.0.0.1", 0), rate=100, seed=1, registry=registry) as demo:
            page = await asyncio.to_thread(get, demo.url + "/")
            await asyncio.to_thread(wait_until, lambda: demo.meter.total().requests >= 20, "visitors")
        return demo.url, page

    url, page = asyncio.run(visit())
    assert page.status == 200
    assert url.removeprefix("http://") in page.text
    with pytest.raises(OSError, match="refused"):
        get(url)


def test_wildcard_is_visited_by_loopback(registry):
    """A demo that listens on every network is shown, and visited, at this machine's own address."""

    async def url():
        async with serving(listen("0.0.0.0", 0), rate=0, seed=1, registry=registry) as demo:
            return demo.url

    assert asyncio.run(url()).startswith("http://127.0.0.1:")


def test_ipv6_address_is_shown_in_brackets(registry):
    """A demo on an IPv6 address has a URL that can be asked."""
    try:
        listener = listen("::1", 0)
    except AddressError:
        pytest.skip("this machine has no IPv6")

    async def visit():
        async with serving(listener, rate=0, seed=1, registry=registry) as demo:
            return demo.url, (await asyncio.to_thread(get, demo.url + "/health")).status

    url, status = asyncio.run(visit())
    assert url.startswith("http://[::1]:")
    assert status == 200


def test_known_bug_is_not_logged(registry, caplog):
    """The exception that is raised on purpose does not fill the terminal; it is in the metrics."""

    async def visit():
        async with serving(listen("127.0.0.1", 0), rate=0, seed=1, registry=registry) as demo:
            return (await asyncio.to_thread(get, demo.url + "/api/reports/margins")).status

    with caplog.at_level(logging.INFO, "uvicorn.error"):
        assert asyncio.run(visit()) == 500
    assert "Exception in ASGI application" not in caplog.text
    labels = {"method": "GET", "endpoint": "/api/reports/{name}", "exception": "BugError"}
    assert sample_value(registry, "http_request_exceptions_total", **labels) == 1


def test_unknown_bug_is_logged(registry, caplog, monkeypatch):
    """Any other exception of the shop is logged as uvicorn does it."""
    monkeypatch.setattr("vitalsign.demo.shop.JSONResponse", None)

    async def visit():
        async with serving(listen("127.0.0.1", 0), rate=0, seed=1, registry=registry) as demo:
            return (await asyncio.to_thread(get, demo.url + "/api/products")).status

    assert asyncio.run(visit()) == 500
    assert "Exception in ASGI application" in caplog.text
