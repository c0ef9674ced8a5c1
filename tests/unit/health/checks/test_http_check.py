"""HTTP: what decides, what is sent, certificates, and servers that take their time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.health.checks.upstreams import closed_port, listening, outcome, scripted, serving
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import checks

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tests.unit.health.checks.conftest import Authority
    from vitalsign.health import HealthChecker


@pytest.mark.parametrize(
    ("answer", "expected", "status"),
    [
        (200, None, "pass"),
        (204, None, "pass"),
        (302, None, "fail"),
        (404, None, "fail"),
        (503, None, "fail"),
        (401, 401, "pass"),
        (200, 401, "fail"),
        (302, (200, 302), "pass"),
        (429, range(200, 500), "pass"),
    ],
)
def test_status_decides(health: HealthChecker, answer: int, expected: Any, status: str) -> None:
    """A status from 200 to 299, or one that is expected, passes; redirects are not followed."""
    settings = {} if expected is None else {"status": expected}
    with serving() as upstream:
        result = outcome(health, checks.http(f"http://{upstream.address}/{answer}", **settings))
    assert (result.status, result.value, result.critical) == (status, answer, False)
    assert [asked.path for asked in upstream.seen] == [f"/{answer}"]


def test_request_is_what_was_asked_for(health: HealthChecker) -> None:
    """Method, query and headers are sent as given."""
    with serving() as upstream:
        url = f"http://{upstream.address}/200/probe?depth=1#part"
        outcome(health, checks.http(url, method="HEAD", headers={"Authorization": "Bearer x"}))
    ((method, path, headers),) = upstream.seen
    assert (method, path, headers["Authorization"]) == ("HEAD", "/200/probe?depth=1", "Bearer x")
    assert headers["Host"] == upstream.address


def test_proxies_are_not_used(health: HealthChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says about proxies does not matter."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    with serving() as upstream:
        assert outcome(health, checks.http(f"http://{upstream.address}/200")).status == "pass"


def test_server_that_is_down_is_told_without_the_host(health: HealthChecker, caplog: pytest.LogCaptureFixture) -> None:
    """A server that refuses connections fails; its address is in the log only, and a token in its query nowhere."""
    port = closed_port()
    result = outcome(health, checks.http(f"http://127.0.0.1:{port}/200?token=hunter2"))
    assert (result.status, result.message) == ("fail", "raised ConnectionRefusedError")
    assert f"while asking http://127.0.0.1:{port}/200?token=***" in caplog.text
    assert "hunter2" not in caplog.text


def fails_in_time(health: HealthChecker, port: int, scheme: str = "http") -> bool:
    """Tell whether a check of *port* fails, and its thread ends while the server still goes on."""
    before = set(threading.enumerate())
    result = outcome(health, checks.http(f"{scheme}://127.0.0.1:{port}/", timeout=0.2))
    ours = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("vitalsign-health")]
    for thread in ours:
        thread.join(20.0)
    return result.status == "fail" and not any(thread.is_alive() for thread in ours)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_server_that_never_answers_fails_in_time(make_checker: Callable[..., HealthChecker], scheme: str) -> None:
    """A server that accepts and stays silent, before TLS or after, fails at the timeout, and the thread ends."""
    with listening() as port:
        assert fails_in_time(make_checker(deadline=20.0), port, scheme)


def test_server_that_sends_a_byte_now_and_then_fails_in_time(make_checker: Callable[..., HealthChecker]) -> None:
    """A header that trickles in is under the same deadline as one that does not come at all."""

    def trickle(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not over.wait(0.01):
            connection.sendall(b"x")

    with scripted(trickle) as port:
        assert fails_in_time(make_checker(deadline=20.0), port)


def test_server_that_does_not_close_passes(health: HealthChecker) -> None:
    """The answer is what counts: nobody waits for the server to close the connection, or to send all of the body."""

    def answer_and_wait(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
        over.wait()

    with scripted(answer_and_wait) as port:
        assert outcome(health, checks.http(f"http://127.0.0.1:{port}/")).status == "pass"


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 2"])
def test_what_is_no_http_fails(health: HealthChecker, answer: bytes) -> None:
    """A server that closes at once, or speaks something else, fails."""

    def speak(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    with scripted(speak) as port:
        assert outcome(health, checks.http(f"http://127.0.0.1:{port}/")).status == "fail"


def test_slow_answer_warns(health: HealthChecker) -> None:
    """An answer that takes longer than warn_after warns; one that is not expected fails all the same."""
    with serving() as upstream:
        health.add(checks.http(f"http://{upstream.address}/200", warn_after=1e-9, name="good"))
        health.add(checks.http(f"http://{upstream.address}/500", warn_after=1e-9, name="bad"))
        good, bad = health.run_sync().checks
    assert (good.status, bad.status) == ("warn", "fail")
    assert good.message.startswith("answered 200, but took ")


# -- certificates


def test_https_is_verified(health: HealthChecker, authority: Authority) -> None:
    """A certificate of an unknown authority fails; with the authority's file or a context of it, the check passes."""
    with serving(context=authority.server()) as upstream:
        url = f"https://{upstream.address}/200"
        health.add(checks.http(url, name="strict"))
        health.add(checks.http(url, name="trusting", cafile=authority.cafile))
        strict, trusting = health.run_sync().checks
    assert (strict.status, strict.message) == (
        "fail",
        "the certificate is signed by an authority that is not trusted",
    )
    assert trusting.status == "pass"


@pytest.mark.parametrize(
    ("days", "bounds", "status"),
    [
        (90, {}, "pass"),
        (20, {}, "warn"),
        (20, {"warn_days": None}, "pass"),
        (20, {"warn_days": 10}, "pass"),
        (3, {"fail_days": 7}, "fail"),
        (-1, {"warn_days": None}, "fail"),
    ],
)
def test_certificate_that_expires_soon_warns(
    health: HealthChecker, authority: Authority, days: float, bounds: dict[str, Any], status: str
) -> None:
    """A certificate with few days left warns, or fails where told so; an expired one always fails."""
    with serving(context=authority.server(days=days)) as upstream:
        check = checks.http(f"https://{upstream.address}/200", cafile=authority.cafile, **bounds)
        result = outcome(health, check)
    assert result.status == status
    if status != "pass":
        assert ("expires in" if days > 0 else "has expired") in result.message


# -- settings


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://host/", "http://", "http://host:port/", "http://[::1/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    """A URL that cannot be asked is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=r"The URL of check 'http' is none that can be asked. Give one such as"):
        checks.http(url)


def test_url_with_credentials_is_refused_without_repeating_them() -> None:
    """Credentials in a URL are an error that names headers=, and does not show them."""
    with pytest.raises(HealthCheckError, match="Send them by headers=") as caught:
        checks.http("http://user:hunter2@host/")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"warn_days": 3, "fail_days": 7}, r"would fail \(fail_days=7\) before it warns \(warn_days=3\).*higher"),
        ({"warn_days": -1}, "warn_days=-1 of check 'http' makes no sense"),
        ({"warn_after": 0}, "warn_after of check 'http' is 0"),
        ({"headers": {"X-Key": "one\n"}}, "Header 'X-Key' of check 'http' has a value that no header can carry"),
        ({"headers": {"X-Key": "\u20ac"}}, "Header 'X-Key' of check 'http'"),
        ({"headers": {"X-Key": 7}}, "Header 'X-Key' of check 'http'"),
        ({"cafile": "/missing.pem"}, "cafile='/missing.pem' of check 'http' cannot be used"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], error: str) -> None:
    """A bound, time or file that cannot be meant is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=error):
        checks.http("https://host/", **settings)


def test_headers_do_not_show_in_the_repr_of_a_check() -> None:
    """A check that is printed shows no secret that it sends."""
    check = checks.http("http://host/", headers={"Authorization": "hunter2"})
    assert "hunter2" not in repr(check)
    assert "hunter2" not in repr(check.func)
