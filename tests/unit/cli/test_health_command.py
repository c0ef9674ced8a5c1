"""`vitalsign health` and `vitalsign drain` against real servers: up, failing, hanging, absent, and something else."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from tests.servers import free_port
from vitalsign.cli import main
from vitalsign.health import Check, HealthChecker, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.certificates import Certificates

TOKEN = "sesame"


class QuietServer(WSGIServer):
    """A WSGI server whose requests may end in the middle."""

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


class QuietHandler(WSGIRequestHandler):
    """Its handler, which writes no log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def running(server: Any) -> Iterator[str]:
    """Serve on a thread for the length of the block, and give the URL."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def health() -> HealthChecker:
    """Make a checker whose checks run for each request."""
    return HealthChecker("shop", version="1.4.0", registry=None, timeout=30.0, deadline=20.0, ttl=0.0)


@pytest.fixture
def shop(health: HealthChecker) -> Iterator[str]:
    """Serve the checker's endpoints, and give the URL."""
    app = health.wsgi(token=TOKEN, drain="/health/drain")
    with running(make_server("127.0.0.1", 0, app, QuietServer, QuietHandler)) as url:
        yield url


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """Serve one answer at every path, and give the URL."""
    with contextlib.ExitStack() as stack:

        def serve(status: int, body: bytes = b"", **headers: str) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(status)
                    for name, value in {**headers, "Content-Length": str(len(body))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)

                do_POST = do_GET  # noqa: N815  # the name is the server's

                def log_message(self, *_: object) -> None:
                    pass

            return stack.enter_context(running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)))

        yield serve


@contextlib.contextmanager
def raw(behaviour: Callable[[socket.socket], object]) -> Iterator[str]:
    """Do something with the first connection to a port, and give the URL."""
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                behaviour(connection)
                is_over.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            is_over.set()
            thread.join()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process, and return its code and what it wrote."""
    code = main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_service_that_passes_is_0(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that is ready ends with 0 and one line that says what was asked, and what it answered."""
    code, out, err = run(capsys, "health", shop)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert out.startswith(f"pass  {shop}/ready  200 in ")


def test_degraded_service_is_0(shop: str, health: HealthChecker, capsys: pytest.CaptureFixture[str]) -> None:
    """A degraded service still works."""
    health.add(Check("cache", lambda: False, critical=False))
    code, out, _ = run(capsys, "health", shop)
    assert (code, out.split()[0]) == (0, "warn")


def test_service_that_fails_is_1(shop: str, health: HealthChecker, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that is not ready ends with 1, and strangers are told no more."""
    health.add(Check("database", lambda: False))
    code, out, _ = run(capsys, "health", shop)
    assert (code, out.count("\n"), out.split()[0]) == (1, 1, "fail")
    assert run(capsys, "health", shop, "--group", "liveness")[0] == 0
    assert run(capsys, "health", f"{shop}/health")[0] == 0
    assert run(capsys, "health", shop, "--group", "startup")[0] == 1


@pytest.mark.parametrize("by", ["option", "variable"])
def test_details_come_with_the_token(
    shop: str, health: HealthChecker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """With the token, by option or variable, each check has a line."""
    health.add(Check("database", lambda: Result("fail", "no\nroute \x1b[31m")))
    health.add(Check("cache", lambda: True, critical=False))
    option = ["--token", TOKEN] if by == "option" else []
    monkeypatch.setenv("VITALSIGN_HEALTH_TOKEN", f"{TOKEN}\n" if by == "variable" else "")
    code, out, _ = run(capsys, "health", shop, *option)
    assert code == 1
    assert out.splitlines()[1:] == ["  database  fail  critical  no route  [31m", "  cache     pass"]


def test_single_check_can_be_asked(shop: str, health: HealthChecker, capsys: pytest.CaptureFixture[str]) -> None:
    """A URL with a path is asked as it is, that of one check too."""
    health.add(Check("cache", lambda: False, critical=False))
    assert run(capsys, "health", f"{shop}/health/checks/cache", "--token", TOKEN)[0] == 1


@pytest.mark.parametrize(
    ("status", "body", "code", "word"),
    [
        (200, b"", 0, "pass"),
        (204, b"", 0, "pass"),
        (200, b"OK", 0, "pass"),
        (200, b'{"status":"UP"}', 0, "pass"),
        (200, b'{"status":"DOWN"}', 1, "fail"),
        (200, b'{"status":"warn"}', 0, "warn"),
        (200, b'{"status":{},"checks":[1]}', 0, "pass"),
        (200, b'{"status":"pass","checks":{"a":1,"b":null}}', 0, "pass"),
        (200, b"[" * 100_000, 0, "pass"),
        (200, b"\xff\xfe", 0, "pass"),
        (500, b"", 1, "fail"),
        (503, b"<html>busy</html>", 1, "fail"),
    ],
)
def test_other_services_can_be_asked(
    answering: Callable[..., str], capsys: pytest.CaptureFixture[str], status: int, body: bytes, code: int, word: str
) -> None:
    """Any health endpoint will do: the status code decides, and the words that the draft has for it."""
    found, out, _ = run(capsys, "health", f"{answering(status, body)}/health")
    assert (found, out.split()[0]) == (code, word)


@pytest.mark.parametrize(
    ("status", "headers", "complaint"),
    [
        (401, {}, "it answered 401: it wants another token, or another network."),
        (403, {}, "it answered 403: it wants another token, or another network."),
        (404, {}, "it answered 404: there is no health endpoint."),
        (302, {"Location": "/login\x1b"}, "it answered 302, and points to /login."),
        (418, {}, "it answered 418, which says nothing about health."),
    ],
)
def test_answer_about_something_else_is_2(
    answering: Callable[..., str], capsys: pytest.CaptureFixture[str], status: int, headers: Any, complaint: str
) -> None:
    """An answer that is not about health is an error that says what it is, whatever its body claims."""
    url = answering(status, b'{"status":"fail"}', **headers)
    code, out, err = run(capsys, "health", url)
    assert (code, out) == (2, "")
    assert err.replace(" .", ".") == f"vitalsign health: {url}/ready: {complaint}\n"


def test_service_that_is_not_there_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that nobody listens on is an error that says so."""
    url = f"http://127.0.0.1:{free_port()}/ready"
    assert run(capsys, "health", url) == (
        2, "", f"vitalsign health: {url}: the connection is refused: nothing listens there.\n",
    )  # fmt: skip


def test_host_that_does_not_exist_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that nobody knows is an error that names it."""
    code, _, err = run(capsys, "health", "http://nowhere.invalid/ready")
    assert code == 2
    assert "there is no host 'nowhere.invalid'" in err or "no answer within" in err


def trickle(connection: socket.socket) -> None:
    """Answer, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n")
        time.sleep(0.02)


@pytest.mark.parametrize("behaviour", [lambda _: None, trickle], ids=["silent", "trickling"])
def test_service_that_hangs_is_2_in_time(behaviour: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Who says nothing, and who never ends, is given up after the timeout."""
    with raw(behaviour) as url:
        began = time.monotonic()
        code, _, err = run(capsys, "health", url, "--timeout", "300ms")
        assert (code, err) == (2, f"vitalsign health: {url}/ready: no answer within 0.3 s.\n")
        assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "its answer is not HTTP (BadStatusLine)."),
        (b"HTTP/1.1 two hundred\r\n\r\n", "its answer is not HTTP (BadStatusLine)."),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, "its answer is not HTTP (HTTPException)."),
    ],
)
def test_what_is_not_http_is_2(sent: bytes, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A server of another kind, or one that breaks off, is an error that says so."""

    def behaviour(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)

    with raw(behaviour) as url:
        code, _, err = run(capsys, "health", url)
    assert (code, err) == (2, f"vitalsign health: {url}/ready: {complaint}\n")


def test_connection_that_is_closed_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that hangs up is an error that says so."""

    def behaviour(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.shutdown(socket.SHUT_RDWR)

    with raw(behaviour) as url:
        code, _, err = run(capsys, "health", url)
    assert (code, err) == (2, f"vitalsign health: {url}/ready: it closed the connection without an answer.\n")


def test_tls(certificates: Certificates, health: HealthChecker, capsys: pytest.CaptureFixture[str]) -> None:
    """A certificate of an unknown authority is refused, at once also when waiting; with the authority it is taken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    server = make_server("127.0.0.1", 0, health.wsgi(), QuietServer, QuietHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with running(server) as url:
        secure = url.replace("http:", "https:")
        code, _, err = run(capsys, "health", secure, "--wait", "1h")
        assert code == 2
        assert "certificate is not trusted" in err
        assert "--cafile" in err
        code, out, _ = run(capsys, "health", secure, "--cafile", str(certificates.ca))
        assert (code, out.split()[0]) == (0, "pass")
        assert run(capsys, "health", secure.replace("127.0.0.1", "localhost"), "--cafile", str(certificates.ca))[0] == 0


def test_http_server_asked_for_tls_is_2(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no TLS is spoken, the error asks whether it is http."""
    code, _, err = run(capsys, "health", shop.replace("http:", "https:"))
    assert code == 2
    assert "does not speak TLS" in err
    assert "is it http?" in err


def test_wait_ends_when_it_passes(shop: str, health: HealthChecker, capsys: pytest.CaptureFixture[str]) -> None:
    """With --wait, a service that is not ready yet is asked until it is."""
    asked = []

    def database() -> bool:
        asked.append(1)
        return len(asked) > 2

    health.add(Check("database", database))
    code, out, _ = run(capsys, "health", shop, "--wait", "1m")
    assert (code, out.split()[0], len(asked)) == (0, "pass", 3)


def test_wait_begins_before_there_is_a_server(health: HealthChecker, capsys: pytest.CaptureFixture[str]) -> None:
    """With --wait, a service that has not opened its port yet is waited for."""
    port = free_port()
    codes: list[int] = []
    waiting = threading.Thread(
        target=lambda: codes.append(main(["health", f"http://127.0.0.1:{port}", "--wait", "1m"]))
    )
    waiting.start()
    time.sleep(0.2)  # so that the first attempt finds nobody
    with running(make_server("127.0.0.1", port, health.wsgi(), QuietServer, QuietHandler)):
        waiting.join()
    assert codes == [0]
    assert capsys.readouterr().out.startswith("pass")


def test_wait_that_is_over_says_what_came_last(
    shop: str, health: HealthChecker, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the time is over, the last answer decides."""
    health.add(Check("database", lambda: False))
    code, out, _ = run(capsys, "health", shop, "--wait", "600ms")
    assert (code, out.split()[0]) == (1, "fail")


@pytest.mark.parametrize("command", ["health", "drain"])
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: URL"),
        (["shop:8000"], "'shop:8000' is no URL that can be asked"),
        (["ftp://shop/"], "is no URL that can be asked"),
        (["http://shop:eighty/"], "is no URL that can be asked"),
        (["http://shop/a b"], "is no URL that can be asked"),
        (["http://shop:hunter2@db/"], "the URL carries credentials"),
        (["http://shop/", "--token", "a\nb"], "the token holds what cannot be sent"),
        (["http://shop/", "--cafile", "nowhere.pem"], "'nowhere.pem' is no file of certificates: No such file"),
        (["http://shop/", "--cafile", __file__], "is no file of certificates"),
        (["http://shop/", "--insecure"], "there is no '--insecure'"),
    ],
)
def test_wrong_usage_is_2(
    command: str, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arguments that make no sense end with 2 and one line, which repeats no secret."""
    code, out, err = run(capsys, command, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
    assert "hunter2" not in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--group", "nightly"], "invalid choice: 'nightly'"),
        (["--wait", "long"], "'long' is no length of time"),
        (["--timeout", "0"], "'0' is no length of time"),
    ],
)
def test_wrong_options_are_2(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """So do options of the health command alone."""
    code, _, err = run(capsys, "health", "http://shop", *arguments)
    assert code == 2
    assert complaint in err


def test_drain_waits_until_the_time_is_over(
    shop: str, health: HealthChecker, capsys: pytest.CaptureFixture[str]
) -> None:
    """`vitalsign drain` takes the service out of traffic, and ends with 0 when the time is over."""
    began = time.monotonic()
    code, out, _ = run(capsys, "drain", shop, "--for", "200ms", "--token", TOKEN)
    assert time.monotonic() - began >= 0.2
    assert (code, out.split()[:2]) == (0, ["drained", f"{shop}/health/drain"])
    assert health.is_draining


def test_drain_that_cannot_be_is_2(
    shop: str, health: HealthChecker, answering: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the token, without an endpoint or without a service, `vitalsign drain` ends with 2 and says why."""
    code, _, err = run(capsys, "drain", shop, "--for", "1ms")
    assert (code, "another token" in err, health.is_draining) == (2, True, False)
    code, _, err = run(capsys, "drain", answering(404), "--for", "1ms")
    assert (code, "there is no drain endpoint" in err) == (2, True)
    code, _, err = run(capsys, "drain", f"{answering(500)}/mine", "--for", "1ms")
    assert (code, err.rstrip().endswith("/mine: it answered 500.")) == (2, True)
    code, _, err = run(capsys, "drain", f"http://127.0.0.1:{free_port()}")
    assert (code, "refused" in err) == (2, True)


def test_command_is_light() -> None:
    """The command loads no framework, no psutil, no event loop, and nothing of the other commands."""
    program = (
        "import json, sys\n"
        "from vitalsign.cli import main\n"
        "code = main(['health', 'http://127.0.0.1:9', '--timeout', '5'])\n"
        "print(json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    code, loaded = json.loads(done.stdout)
    assert code == 2
    heavy = {
        "starlette",
        "psutil",
        "wrapt",
        "uvicorn",
        "httpx",
        "vitalsign.health",
        "vitalsign.cli.demo",
        "importlib.metadata",
    }
    assert heavy.isdisjoint(loaded)
