"""Requests to an endpoint: what is tried again, for how long, and what is never shown."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme

from tests.servers import free_port
from tests.unit.push.conftest import OK
from vitalsign.exceptions import PushError, PushOptionError, PushRefusedError, VitalsignError
from vitalsign.push._endpoint import Endpoint

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\n\r\nnot yet"
AGES = 30.0  # seconds: more than any test takes


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """Wait less between tries than for a real server."""
    monkeypatch.setattr("vitalsign.push._endpoint._FIRST_PAUSE", 0.02)


def send(endpoint, seconds=AGES, **options):
    """Put a page to *endpoint*."""
    Endpoint(endpoint, options).send("PUT", "/metrics", b"page 1\n", until=time.monotonic() + seconds)


def test_request_is_sent_once(serve):
    """A request that is taken is sent once, below the endpoint's own path, with the query."""
    server = serve(OK)
    send(f"{server.url}/base/?extra=1")
    (request,) = server.requests
    assert request.startswith(b"PUT /base/metrics?extra=1 HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\npage 1\n")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 429])
def test_busy_server_is_tried_again(serve, status):
    """A status that says "later" and a broken connection are tried again."""
    server = serve(b"HTTP/1.1 %d Later\r\nContent-Length: 0\r\n\r\n" % status, b"", b"no HTTP at all\r\n\r\n", OK)
    send(server.url)
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 409, 413, 422])
def test_refusal_is_not_tried_again(serve, status):
    """A status that says "never" is an error at once, which has the status and the server's words."""
    server = serve(b"HTTP/1.1 %d No\r\nContent-Length: 10\r\n\r\nbad  metric" % status, OK)
    with pytest.raises(PushRefusedError, match=f"status {status}: bad metri") as caught:
        send(server.url)
    assert len(server.requests) == 1
    assert caught.value.status == status
    assert caught.value.destination == server.url
    assert isinstance(caught.value, (VitalsignError, OSError))


def test_redirect_is_not_followed_but_told(serve):
    """A redirect is refused, for credentials would go along, and its target is told without what is secret in it."""
    server = serve(b"HTTP/1.1 307 Moved\r\nLocation: https://u:pass-phrase@b.example/x?key=pass-phrase\r\n\r\n")
    with pytest.raises(PushRefusedError, match=r"use https://b\.example/x\.$") as caught:
        send(server.url)
    assert "pass-phrase" not in str(caught.value)


def test_retry_after_seconds_are_waited(serve):
    """A server that asks for a second is left alone for a second."""
    server = serve(b"HTTP/1.1 429 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", OK)
    started = time.monotonic()
    send(server.url)
    assert time.monotonic() - started >= 1.0


def test_retry_after_date_is_waited(serve):
    """A server that names a moment is left alone until then."""
    moment = int(time.time()) + 2
    date = email.utils.formatdate(moment, usegmt=True).encode()
    server = serve(b"HTTP/1.1 503 Busy\r\nRetry-After: " + date + b"\r\nContent-Length: 0\r\n\r\n", OK)
    send(server.url)
    assert time.time() >= moment


@pytest.mark.parametrize("value", [b"soon", b"-5", b"Mon, 99 Jan 2026 00:00:00 GMT", b"\xb2", b""])
def test_nonsense_in_retry_after_is_ignored(serve, value):
    """A Retry-After that is neither seconds nor a date changes nothing."""
    server = serve(b"HTTP/1.1 503 Busy\r\nRetry-After: " + value + b"\r\nContent-Length: 0\r\n\r\n", OK)
    send(server.url)
    assert len(server.requests) == 2


def test_retry_after_past_the_deadline_ends_it(serve):
    """A server that asks for more time than there is ends the push at once, and the error says so."""
    server = serve(b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(PushError, match=r"left alone for 3600 s, which is too long") as caught:
        send(server.url)
    assert len(server.requests) == 1
    assert caught.value.status == 503


def test_error_counts_the_tries(serve):
    """A server that is busy to the end is an error with the number of tries and its last words."""
    server = serve(BUSY)
    with pytest.raises(PushError, match=r"tries: \d+, the last ended in status 503: not yet") as caught:
        send(server.url, 1.5)
    assert not isinstance(caught.value, PushRefusedError)
    assert f"tries: {len(server.requests)}," in str(caught.value)
    assert len(server.requests) > 2


def test_server_that_never_answers_is_given_up(serve):
    """A server that accepts and says nothing is tried again, and given up at the deadline."""
    server = serve(None)
    with pytest.raises(PushError, match="has not taken the request"):
        send(server.url, 2.0)
    assert server.requests


def test_server_that_drips_is_given_up(serve):
    """A server that sends a byte now and then, so that no wait is ever too long, is given up at the deadline."""
    server = serve(None)
    stop = threading.Event()

    def drip():
        while not stop.wait(0.05):
            for connection in list(server.open):
                try:
                    connection.sendall(b"X")
                except OSError:
                    return

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        with pytest.raises(PushError, match="has not taken the request"):
            send(server.url, 1.0)
    finally:
        stop.set()
        dripping.join()


def test_interpreter_without_threads_still_sends(serve, monkeypatch):
    """Where no thread can be started, as at the interpreter's end, the request is sent by the caller's own."""

    def refuse(*_):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr("vitalsign.push._endpoint.ask", refuse)
    server = serve(BUSY, OK)
    send(server.url)
    assert len(server.requests) == 2


def test_untrusted_certificate_is_an_error_at_once():
    """A server with a certificate that nobody vouches for is not tried again; one that is trusted is."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with tls_server(context) as url:
        with pytest.raises(PushError, match=r"cannot be talked to: .*certificate verify failed"):
            send(url)
        send(url, tls=trusting)


class Taking(BaseHTTPRequestHandler):
    """Take whatever is put."""

    def do_PUT(self):
        """Answer 200."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def tls_server(context):
    """Serve https for the block, and give the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_address_that_cannot_be_sent_is_an_error_at_once(serve):
    """A path with letters that HTTP does not have is not tried again."""
    server = serve(OK)
    with pytest.raises(PushError, match="cannot be talked to"):
        send(f"{server.url}/é")
    assert server.requests == []


# -- credentials


def basic(user, password):
    """Return the header for *user*."""
    return b"Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()) + b"\r\n"


@pytest.mark.parametrize(
    ("userinfo", "options", "header"),
    [
        ("", {"basic_auth": ("user", "pä:ss")}, basic("user", "pä:ss")),
        ("us%2Fer:p%40ss@", {}, basic("us/er", "p@ss")),
        ("user@", {}, basic("user", "")),
        ("", {"token": "abc.def"}, b"Authorization: Bearer abc.def\r\n"),
        ("", {"headers": {"X-Scope-OrgID": "7"}}, b"X-Scope-Orgid: 7\r\n"),
    ],
)
def test_credentials_are_sent(serve, userinfo, options, header):
    """User and password, token and headers of one's own are sent, and those in the address as basic authentication."""
    server = serve(OK)
    send(server.url.replace("//", f"//{userinfo}"), **options)
    assert header in server.requests[0]


@pytest.mark.parametrize(
    ("userinfo", "options"),
    [
        ("user:pass-phrase@", {}),
        ("user:pass%2Dphrase@", {}),
        ("", {"basic_auth": ("user", "pass-phrase")}),
        ("", {"token": "pass-phrase"}),
        ("", {"headers": {"X-Api-Key": "pass-phrase"}}),
    ],
)
def test_credentials_are_never_shown(serve, userinfo, options):
    """No error has the credentials in it, not even where the server repeats them."""
    echo = b"HTTP/1.1 403 No\r\nRetry-After: 3600\r\n\r\nnot for pass-phrase " + base64.b64encode(b"user:pass-phrase")
    for answer in (echo, echo.replace(b"403", b"503")):
        server = serve(answer)
        with pytest.raises(PushError) as caught:
            send(server.url.replace("//", f"//{userinfo}") + "/?key=pass-phrase", **options)
        told = str(caught.value) + repr(caught.value) + caught.value.destination
        assert "not for" in told
        assert "pass-phrase" not in told
        assert "pass%2Dphrase" not in told
        assert (base64.b64encode(b"user:pass-phrase").decode() in told) == (options.keys() in ({"token"}, {"headers"}))


@pytest.mark.parametrize(
    ("userinfo", "options"),
    [
        ("user:pass@", {"token": "t"}),
        ("user:pass@", {"basic_auth": ("a", "b")}),
        ("", {"basic_auth": ("a", "b"), "token": "t"}),
    ],
)
def test_credentials_given_twice_are_refused(userinfo, options):
    """It must be clear which credentials are meant."""
    with pytest.raises(PushOptionError, match="given twice"):
        Endpoint(f"http://{userinfo}gateway", options)


@pytest.mark.parametrize(
    "options",
    [
        {"token": "pass-phrase\r\nX-Evil: 1"},
        {"token": "pass-phrase…"},
        {"headers": {"X-Key": "pass-phrase\n"}},
        {"headers": {"X Key": "pass-phrase"}},
    ],
)
def test_header_that_cannot_be_sent_is_refused(options):
    """A line break or a foreign letter in a header is refused when the endpoint is made, without showing the value."""
    with pytest.raises(PushOptionError, match="cannot be sent") as caught:
        Endpoint("http://gateway", options)
    assert "pass-phrase" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"token": ""}, "token= is empty"),
        ({"token": b"pass-phrase"}, "token= is empty, or no text"),
        ({"basic_auth": "user:pass-phrase"}, "two texts"),
        ({"basic_auth": ("user", None)}, "two texts"),
        ({"headers": ["X-Key: pass-phrase"]}, "dict of names and values"),
        ({"headers": {"X-Key": 5}}, "'X-Key' cannot be sent: it is no text"),
        ({"tls": True}, "ssl.SSLContext"),
    ],
)
def test_option_of_the_wrong_kind_is_refused(options, complaint):
    """What would cost the metrics at the job's end is an error when the endpoint is made, without showing the value."""
    with pytest.raises(PushOptionError, match=complaint) as caught:
        Endpoint("http://gateway", options)
    assert "pass-phrase" not in str(caught.value)


def test_address_that_is_not_set_is_refused():
    """An address from a variable that is not set is an error that says so."""
    with pytest.raises(PushOptionError, match="is its variable set"):
        Endpoint(None, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "ftp://gateway",
        "/metrics",
        "http://user:pass-phrase@",
        "http://user:pass-phrase@gateway:99999999",
        "http://user:pass-phrase@gateway:port",
        "http://user:pass-phrase/x@gateway",
        "http://user:1/pass-phrase@gateway",
        "http://user:pass-phrase@[::1",
        "http://user:pass-phrase@gateway/a b",
        "http://user:pass-phrase@gateway/\n",
    ],
)
def test_what_is_no_address_is_refused(url):
    """A malformed address is refused when the endpoint is made, without showing what may be a password."""
    with pytest.raises(PushOptionError, match="is no address") as caught:
        Endpoint(url, {})
    assert "pass-phrase" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("gateway:9091", "http://gateway:9091"),
        ("user:pass@gateway:9091/", "http://gateway:9091"),
        ("https://u:p@gateway/base/?key=1", "https://gateway/base"),
        ("http://[::1]:9091", "http://[::1]:9091"),
    ],
)
def test_address_is_shown_without_secrets(url, shown):
    """What is logged of an address has neither user, password nor query; without a scheme, http is meant."""
    assert Endpoint(url, {}).shown == shown


def test_refused_connection_is_tried_until_somebody_listens(serve):
    """A port where nobody listens is an error that names the reason."""
    with pytest.raises(PushError, match=r"Connection refused.*Is it up"):
        send(f"http://127.0.0.1:{free_port()}", 0.5)
