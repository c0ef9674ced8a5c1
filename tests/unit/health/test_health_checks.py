"""The built-in checks, against the machine itself and real sockets."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vitalsign.exceptions import HealthCheckError
from vitalsign.health import Check, CheckResult, HealthChecker, Result, Status, checks
from vitalsign.health.checks._sizes import Size, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def outcome(health: HealthChecker, check: Check) -> CheckResult:
    """Run one check and return what the report says of it."""
    health.add(check)
    (result,) = health.run_sync().checks
    return result


# -- sizes


@pytest.mark.parametrize(
    ("size", "total", "expected"),
    [
        (10**9, 0, 10**9),
        (0, 0, 0),
        (1.5, 0, 1.5),
        ("1GiB", 0, 2**30),
        ("1 gib", 0, 2**30),
        ("1Gi", 0, 2**30),
        ("500MB", 0, 500 * 10**6),
        ("500M", 0, 500 * 10**6),
        ("1.5kB", 0, 1_500),
        ("2TiB", 0, 2 * 2**40),
        ("1P", 0, 10**15),
        ("12", 0, 12),
        ("12 B", 0, 12),
        ("10%", 2_000, 200),
        ("2.5 %", 2_000, 50),
        ("100%", 7, 7),
    ],
)
def test_sizes_are_read_as_people_write_them(size: Any, total: float, expected: float) -> None:
    """Numbers are bytes; units are decimal or binary as they say; a percentage is a share of the whole."""
    assert Size.parse("min_free", size).of(total) == expected


@pytest.mark.parametrize("size", ["", "GiB", "1 parsec", "-1", "-1GiB", -1, "101%", "10%%", "1e9", "nan", True, None])
def test_what_is_no_size_is_refused(size: Any) -> None:
    """Anything else is an error that names the setting and shows how to write a size."""
    with pytest.raises(HealthCheckError, match=r"min_free=.* is no size. .* '500MB', '1GiB' or '10%'"):
        checks.disk(min_free=size)


@given(st.floats(0, 2**60))
@example(999.9 * 1024)
def test_readable_sizes_are_read_again(size: float) -> None:
    """What is written for people means about what was measured."""
    assert Size.parse("x", readable(size)).of(0) == pytest.approx(size, rel=0.01, abs=0.5)


# -- disk and memory


def test_disk_with_room_passes(health: HealthChecker, tmp_path: Path) -> None:
    """A disk with room passes and tells how much."""
    result = outcome(health, checks.disk(tmp_path, min_free=1))
    assert (result.status, result.unit, result.critical) == ("pass", "bytes", True)
    assert isinstance(result.value, int)
    assert result.message.endswith(" free")


@pytest.mark.parametrize(("bounds", "status"), [({"min_free": "100%"}, "fail"), ({"warn_free": "100%"}, "warn")])
def test_disk_without_room_says_what_is_missing(
    health: HealthChecker, tmp_path: Path, bounds: dict[str, str], status: str
) -> None:
    """Below a bound, the disk fails or warns, with what is free and the bound as it was written."""
    result = outcome(health, checks.disk(tmp_path, **{"min_free": 0, **bounds}))  # type: ignore[arg-type]
    assert result.status == status
    assert result.message.endswith("free, less than 100%")


def test_disk_is_measured_when_it_is_checked(
    make_checker: Callable[..., HealthChecker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is exact: one byte below it fails, and the bound itself passes."""
    health = make_checker(timeout=30.0, deadline=20.0, ttl=0.0)
    health.add(checks.disk("/", min_free="10%", warn_free="20%"))
    seen = []
    for free in (100, 99, 200, 199):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: (1_000, 1_000 - free, free))
        seen.append(health.run_sync().checks[0].status)
    assert seen == ["warn", "fail", "pass", "warn"]


def test_missing_path_is_a_failed_check_that_does_not_name_it(health: HealthChecker, tmp_path: Path) -> None:
    """A path that is not there fails the check; the path itself is for the log."""
    result = outcome(health, checks.disk(tmp_path / "missing"))
    assert (result.status, result.message) == ("fail", "raised FileNotFoundError")


def test_memory_within_bounds_passes(health: HealthChecker) -> None:
    """A process within its bounds passes and tells its resident memory."""
    result = outcome(health, checks.memory(max_rss="100%", min_available="0%"))
    assert (result.status, result.unit, result.critical) == ("pass", "bytes", True)
    assert isinstance(result.value, int)
    assert result.value > 1_000_000


def test_process_that_holds_too_much_fails(health: HealthChecker) -> None:
    """Above max_rss the check fails, with both sizes."""
    result = outcome(health, checks.memory(max_rss="1MiB", min_available=None))
    assert result.status == "fail"
    assert result.message.endswith("MiB, more than 1MiB")


def test_machine_without_memory_fails(health: HealthChecker) -> None:
    """Below min_available the check fails, with what is left."""
    result = outcome(health, checks.memory(min_available="100%"))
    assert (result.status, result.unit) == ("fail", "bytes")
    assert result.message.endswith("available, less than 100%")
    assert isinstance(result.value, int)
    assert result.value <= psutil.virtual_memory().total


# -- TCP


@contextmanager
def listening() -> Iterator[socket.socket]:
    """Keep a socket that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_tcp_port_that_listens_passes(health: HealthChecker) -> None:
    """A port that accepts connections passes; a shared dependency is not critical unless told otherwise."""
    with listening() as server:
        result = outcome(health, checks.tcp("127.0.0.1", server.getsockname()[1], name="database"))
    assert (result.name, result.status, result.critical) == ("database", "pass", False)


def test_refused_connection_is_told_without_the_host(health: HealthChecker, caplog: pytest.LogCaptureFixture) -> None:
    """A closed port fails; host and port stand in the log and not in the report."""
    with listening() as server:
        port = server.getsockname()[1]
    result = outcome(health, checks.tcp("127.0.0.1", port))
    assert (result.status, result.message) == ("fail", "raised ConnectionRefusedError")
    assert f"while connecting to 127.0.0.1 port {port}" in caplog.text


def test_tcp_check_takes_the_timeout_that_it_is_run_with(
    make_checker: Callable[..., HealthChecker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection gives up when the run is due, wherever the timeout was set."""
    seen: list[float] = []

    def connect(_: object, timeout: float) -> socket.socket:
        seen.append(timeout)
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    health = make_checker(timeout=11.0, deadline=20.0)
    health.add(checks.tcp("127.0.0.1", 1, name="a"))
    health.add(checks.tcp("127.0.0.1", 1, name="b", timeout=12.0))
    health.add(checks.tcp("127.0.0.1", 1, name="c", timeout=12.0), timeout=13.0)
    health.run_sync()
    assert sorted(seen) == [11.0, 12.0, 13.0]


@pytest.mark.parametrize("port", [0, -1, 65_536, "80", None])
def test_what_is_no_port_is_refused(port: Any) -> None:
    """A port out of range is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=r"is no TCP port for check 'tcp'\. Give 1 to 65535"):
        checks.tcp("127.0.0.1", port)


# -- HTTP


class Upstream(BaseHTTPRequestHandler):
    """A server that answers with the status in its path, and says what it was asked."""

    seen: list[tuple[str, str, dict[str, str]]]

    def do_GET(self) -> None:
        """Answer."""
        self.seen.append((self.command, self.path, dict(self.headers)))
        self.send_response(int(self.path[1:4]))
        self.send_header("location", "/200")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815  # the name that the base class looks for

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[tuple[str, str, dict[str, str]]]]]:
    """Keep a server; yield its address and the list of requests."""
    handler = type("Handler", (Upstream,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", handler.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


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
def test_http_status_decides(health: HealthChecker, answer: int, expected: Any, status: str) -> None:
    """A status from 200 to 299, or one that is expected, passes; redirects are not followed."""
    settings = {} if expected is None else {"status": expected}
    with serving() as (address, seen):
        result = outcome(health, checks.http(f"http://{address}/{answer}", **settings))
    assert (result.status, result.value, result.critical) == (status, answer, False)
    assert [path for _, path, _ in seen] == [f"/{answer}"]


def test_http_request_is_what_was_asked_for(health: HealthChecker) -> None:
    """Method, query and headers are sent as given."""
    with serving() as (address, seen):
        url = f"http://{address}/200/probe?depth=1#part"
        outcome(health, checks.http(url, method="HEAD", headers={"Authorization": "Bearer x"}))
    ((method, path, headers),) = seen
    assert (method, path, headers["Authorization"]) == ("HEAD", "/200/probe?depth=1", "Bearer x")


def test_http_server_that_is_down_is_told_without_the_host(
    health: HealthChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that refuses connections fails; its address is in the log only, and a token in its query nowhere."""
    with listening() as server:
        port = server.getsockname()[1]
    result = outcome(health, checks.http(f"http://127.0.0.1:{port}/200?token=hunter2"))
    assert (result.status, result.message) == ("fail", "raised ConnectionRefusedError")
    assert f"while asking http://127.0.0.1:{port}/200?token=***" in caplog.text
    assert "hunter2" not in caplog.text


def test_http_server_that_never_answers_fails_in_time(make_checker: Callable[..., HealthChecker]) -> None:
    """A server that accepts and stays silent fails at the timeout, and its thread ends."""
    health = make_checker(deadline=20.0)
    before = set(threading.enumerate())
    with listening() as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        result = outcome(health, checks.http(f"http://{address}/200", timeout=0.1))
        for thread in set(threading.enumerate()) - before:
            thread.join(20.0)
    assert result.status == "fail"
    assert not set(threading.enumerate()) - before


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_https_is_verified(health: HealthChecker, tmp_path: Path) -> None:
    """A certificate that nobody signed fails; with a context that trusts it, the check passes."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with serving(server_side) as (address, _):
        health.add(checks.http(f"https://{address}/200", name="strict"))
        health.add(checks.http(f"https://{address}/200", name="trusting", context=trusting))
        strict, trusted = health.run_sync().checks
    assert (strict.status, strict.message) == ("fail", "raised SSLCertVerificationError")
    assert trusted.status == "pass"


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


# -- the folder of checks


def test_headers_do_not_show_in_the_repr_of_a_check() -> None:
    """A check that is printed shows no secret that it sends."""
    assert "hunter2" not in repr(checks.http("http://host/", headers={"Authorization": "hunter2"}))


def test_checks_are_loaded_when_asked_for() -> None:
    """Naming one check loads its module and not those of the others."""
    program = """if True:
        import sys
        from vitalsign.health import checks
        loaded = lambda: {name.rpartition(".")[2] for name in sys.modules if name.startswith(checks.__name__ + ".")}
        assert loaded() == set(), loaded()
        checks.tcp
        assert loaded() == {"_tcp"}, loaded()
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_unknown_check_is_an_attribute_error_that_names_those_there_are() -> None:
    """A check that does not exist is told from one that does."""
    with pytest.raises(AttributeError, match=r"no attribute 'dsik'; there are: .*disk, .*http, .*memory, .*tcp"):
        checks.dsik  # noqa: B018
    assert set(checks.__all__) <= set(dir(checks))


def test_own_check_in_a_few_lines(health: HealthChecker) -> None:
    """A factory of one's own, which takes the timeout that it is run with, stands beside the built-in ones."""

    def look(limit: int, timeout: float) -> Result:
        return Result(Status.PASS if timeout > limit else Status.FAIL)

    def patience(limit: int) -> Check:
        return Check("patience", partial(look, limit), takes_timeout=True)

    assert outcome(health, patience(5)).status == "pass"
