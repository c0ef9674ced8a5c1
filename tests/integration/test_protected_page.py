"""Token, networks and proxies as real servers report them, over TCP and over Unix domain sockets."""

from __future__ import annotations

import gzip
import http.client
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.servers import PATIENCE, ROOT, Server, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

APP = "tests.integration.apps.protected"
RIGHT = {"Authorization": "Bearer s3cret"}
COMMANDS = {
    "gunicorn": ["gunicorn", f"{APP}:wsgi"],
    "gunicorn-threads": ["gunicorn", "--threads", "4", f"{APP}:wsgi"],
    "hypercorn": ["hypercorn", f"{APP}:asgi"],
}


@pytest.fixture(params=COMMANDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Serve the endpoint on a port and on a Unix domain socket."""
    port, (module, *arguments) = free_port(), COMMANDS[request.param]
    binds = ["--bind", f"127.0.0.1:{port}", "--bind", f"unix:{tmp_path / 'socket'}"]
    command = [sys.executable, "-m", module, *binds, *arguments]
    with running(command, port=port, ready="/", log=tmp_path / "log", cwd=ROOT) as server:
        yield server


def by_socket(folder: Path, **headers: str) -> int:
    """Ask over the Unix domain socket, and return the status."""
    client = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.connect(str(folder / "socket"))
    client.request("GET", "/", headers={name.replace("_", "-"): value for name, value in headers.items()})
    status = client.getresponse().status
    client.close()
    return status


def test_token_and_forged_headers_by_tcp(server):
    """Over TCP the connection's address counts, whatever headers claim, and the token is asked for."""
    assert server.get("/", RIGHT).status == 200
    assert server.get("/", RIGHT | {"X-Forwarded-For": "192.0.2.1"}).status == 200
    refused = server.get("/", {"Authorization": "Bearer other", "X-Forwarded-For": "10.0.0.1"})
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "python_info" not in refused.text


def test_proxy_on_a_unix_socket(server, tmp_path):
    """Over a Unix domain socket, which has no address, the trusted proxy names the client."""
    assert by_socket(tmp_path, **RIGHT) == 403
    assert by_socket(tmp_path, X_Forwarded_For="10.0.0.1", **RIGHT) == 200
    assert by_socket(tmp_path, X_Forwarded_For="10.0.0.1") == 401
    assert by_socket(tmp_path, X_Forwarded_For="10.0.0.1, 192.0.2.1", **RIGHT) == 403


def test_compressed_page_by_head_and_get(server):
    """A real server passes on what the endpoint answers: the compressed page to GET, its headers to HEAD."""
    client = http.client.HTTPConnection(server.address, timeout=PATIENCE)
    for method in ("HEAD", "GET"):
        client.request(method, "/", headers=RIGHT | {"Accept-Encoding": "gzip"})
        got = client.getresponse()
        assert (got.status, got.getheader("Content-Encoding")) == (200, "gzip")
        body = got.read()
        assert (b"python_info{" in gzip.decompress(body)) if method == "GET" else body == b""
    client.close()
