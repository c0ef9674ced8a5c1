"""The httpx transports, against a real server on this machine: every answer, and every way to get none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.processes import run_script
from tests.servers import free_port
from vitalsign.collectors import ApiClientCollector
from vitalsign.testing import sample_value

GET = {"client": "shop", "operation": "GET 127.0.0.1"}


class Handler(BaseHTTPRequestHandler):
    """Answer by the path: a status, three chunks, a body that breaks off, one that never ends, or nothing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer."""
        getattr(self, f"answer_{self.path.strip('/').split('/')[0]}")()

    def answer_status(self):
        """Answer with the status in the path."""
        self.send_response(int(self.path.split("?")[0].split("/")[2]))
        self.send_header("X-RateLimit-Limit", "10")
        self.send_header("X-RateLimit-Remaining", "3")
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def answer_stream(self):
        """Answer with three chunks, the second and third when told."""
        self._chunked()
        for number in range(3):
            if number:
                self.server.go_on.wait(30)
            self.wfile.write(b"5\r\nchunk\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def answer_broken(self):
        """Break off after the first chunk."""
        self._chunked()
        self.wfile.write(b"5\r\nchunk\r\n")
        self.close_connection = True

    def answer_stall(self):
        """Send one chunk and no more."""
        self._chunked()
        self.wfile.write(b"5\r\nchunk\r\n")
        self.server.go_on.wait(30)

    def answer_silence(self):
        """Send nothing."""
        self.server.asked.set()
        self.server.go_on.wait(30)

    def _chunked(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def log_message(self, *args):
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """Ends although handlers hang."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        """Keep quiet about clients that went away."""


@pytest.fixture
def server():
    """Run the server, and return it."""
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked, running.go_on = threading.Event(), threading.Event()
        running.url = f"http://127.0.0.1:{running.server_port}"
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.go_on.set()
        running.shutdown()


@pytest.fixture
def api(registry):
    """Return a bound API client collector."""
    return ApiClientCollector("shop").bind(registry)


@pytest.fixture(params=["sync", "async"])
def fetch(request, api):
    """Return a function that fetches a URL whole, by the one or the other kind of client."""

    def fetch_sync(url, **options):
        with httpx.Client(transport=api.httpx_transport(), **options) as client:
            return client.get(url)

    async def fetch_async(url, **options):
        async with httpx.AsyncClient(transport=api.httpx_async_transport(), **options) as client:
            return await client.get(url)

    return fetch_sync if request.param == "sync" else lambda url, **options: asyncio.run(fetch_async(url, **options))


@pytest.fixture
def value(registry):
    """Return a function that reads a series of the operation `GET 127.0.0.1`."""
    return lambda name, **labels: sample_value(registry, name, **(GET | labels))


def assert_ended(value, *, status, kind=None):
    """Check that one call was counted and timed, with this status and kind of error, and none is in progress."""
    assert value("api_client_requests_total", status=status) == 1
    assert value("api_client_request_duration_seconds_count") == 1
    assert value("api_client_requests_in_progress") == 0
    kinds = {each: value("api_client_errors_total", kind=each) for each in ("timeout", "connect", "transport",
             "rate_limited", "client_error", "server_error", "other")}  # fmt: skip
    assert {each for each, count in kinds.items() if count} == ({kind} if kind else set())


@pytest.mark.parametrize(
    ("status", "kind"), [(200, None), (404, "client_error"), (429, "rate_limited"), (500, "server_error")]
)
def test_answer(server, fetch, value, registry, status, kind):
    """An answer is counted by its status, its rate limits are shown, and its body arrives unharmed."""
    response = fetch(f"{server.url}/status/{status}?secret=1")
    assert (response.status_code, response.text) == (status, "hello")
    assert_ended(value, status=str(status), kind=kind)
    for name, expected in (("quota", 10), ("remaining", 3)):
        shown = sample_value(registry, f"api_client_rate_limit_{name}", client="shop", resource="requests")
        assert shown == expected


def test_refused_connection(fetch, value):
    """A refused connection is of the kind `connect`, which event hooks would miss; httpx's exception passes."""
    with pytest.raises(httpx.ConnectError):
        fetch(f"http://127.0.0.1:{free_port()}/")
    assert_ended(value, status="none", kind="connect")


def test_timeout(server, fetch, value):
    """No answer in time is of the kind `timeout`."""
    with pytest.raises(httpx.ReadTimeout):
        fetch(f"{server.url}/silence", timeout=0.1)
    assert_ended(value, status="none", kind="timeout")


def test_timeout_in_the_body(server, fetch, value):
    """A body that stops coming is a timeout too, under the status that came."""
    with pytest.raises(httpx.ReadTimeout):
        fetch(f"{server.url}/stall", timeout=0.2)
    assert_ended(value, status="200", kind="timeout")


def test_body_that_breaks_off(server, fetch, value):
    """A connection that is lost in the body is of the kind `transport`."""
    with pytest.raises(httpx.RemoteProtocolError):
        fetch(f"{server.url}/broken")
    assert_ended(value, status="200", kind="transport")


def test_stream_lasts_until_its_last_byte(server, api, value):
    """A streamed call is in progress until its body ends, and its chunks arrive one by one."""
    with (
        httpx.Client(transport=api.httpx_transport()) as client,
        client.stream("GET", f"{server.url}/stream") as response,
    ):
        chunks = response.iter_raw()
        assert next(chunks) == b"chunk"
        assert value("api_client_requests_in_progress") == 1
        assert value("api_client_request_duration_seconds_count") is None
        server.go_on.set()
        assert list(chunks) == [b"chunk"] * 2
    assert_ended(value, status="200")


def test_async_stream_lasts_until_its_last_byte(server, api, value):
    """The same for a stream that is awaited."""

    async def main():
        async with (
            httpx.AsyncClient(transport=api.httpx_async_transport()) as client,
            client.stream("GET", f"{server.url}/stream") as response,
        ):
            chunks = response.aiter_raw()
            assert await anext(chunks) == b"chunk"
            assert value("api_client_requests_in_progress") == 1
            server.go_on.set()
            assert [chunk async for chunk in chunks] == [b"chunk"] * 2

    asyncio.run(main())
    assert_ended(value, status="200")


def test_stream_that_is_left_early_ends(server, api, value):
    """A consumer that closes a stream early ends the call, without an error."""
    with (
        httpx.Client(transport=api.httpx_transport()) as client,
        client.stream("GET", f"{server.url}/stall") as response,
    ):
        next(response.iter_raw())
    assert_ended(value, status="200")


async def cancel(task):
    """Cancel *task* and wait for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_cancelled_task_is_no_error(server, api, value):
    """A task that is cancelled while it waits for an answer ends the call; it is no error of the API."""

    async def main():
        async with httpx.AsyncClient(transport=api.httpx_async_transport()) as client:
            task = asyncio.create_task(client.get(f"{server.url}/silence"))
            await asyncio.to_thread(server.asked.wait, 30)
            await cancel(task)

    asyncio.run(main())
    assert_ended(value, status="cancelled")


def test_task_cancelled_in_the_body_is_no_error(server, api, value):
    """A task that is cancelled while it reads a body ends the call under the status that came; it is no error."""

    async def main():
        has_begun = asyncio.Event()

        async def read(client):
            async with client.stream("GET", f"{server.url}/stall") as response:
                async for _ in response.aiter_raw():
                    has_begun.set()

        async with httpx.AsyncClient(transport=api.httpx_async_transport()) as client:
            task = asyncio.create_task(read(client))
            await has_begun.wait()
            await cancel(task)

    asyncio.run(main())
    assert_ended(value, status="200")


def test_transport_that_answers_by_itself(registry, value):
    """A transport whose responses come with their body, as in tests, is recorded as any other."""
    api = ApiClientCollector("shop").bind(registry)
    inner = httpx.MockTransport(lambda request: httpx.Response(200, json={"ok": True}))
    with httpx.Client(transport=api.httpx_transport(inner)) as client:
        assert client.get("http://127.0.0.1/").json() == {"ok": True}
    assert_ended(value, status="200")


def test_async_transport_that_answers_by_itself(registry, value):
    """The same for an async transport."""
    api = ApiClientCollector("shop").bind(registry)
    inner = httpx.MockTransport(lambda request: httpx.Response(200, json={"ok": True}))

    async def main():
        async with httpx.AsyncClient(transport=api.httpx_async_transport(inner)) as client:
            return (await client.get("http://127.0.0.1/")).json()

    assert asyncio.run(main()) == {"ok": True}
    assert_ended(value, status="200")


def test_client_can_be_used_without_a_block(server, api, value):
    """Closing a client closes the connections of the transport inside."""
    client = httpx.Client(transport=api.httpx_transport())
    client.get(f"{server.url}/status/200")
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.get(f"{server.url}/status/200")

    async def main():
        client = httpx.AsyncClient(transport=api.httpx_async_transport())
        await client.get(f"{server.url}/status/200")
        await client.aclose()

    asyncio.run(main())
    assert value("api_client_requests_total", status="200") == 2


def test_redirects_and_retries_are_calls_of_their_own(server, api, value):
    """Each request that goes out is a call, also the ones that httpx makes by itself."""
    answers = iter([httpx.Response(301, headers={"Location": "/b"}), httpx.Response(200)])
    inner = httpx.MockTransport(lambda request: next(answers))
    with httpx.Client(transport=api.httpx_transport(inner), follow_redirects=True) as client:
        client.get("http://127.0.0.1/a")
    assert value("api_client_requests_total", status="301") == 1
    assert value("api_client_requests_total", status="200") == 1


def test_unbound_collector_changes_nothing(server):
    """A client whose collector is not bound works the same."""
    with httpx.Client(transport=ApiClientCollector("shop").httpx_transport()) as client:
        assert client.get(f"{server.url}/status/200").text == "hello"


def test_unknown_host(api, registry, monkeypatch):
    """A host whose name is not known is of the kind `connect`."""

    def refuse(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with httpx.Client(transport=api.httpx_transport()) as client, pytest.raises(httpx.ConnectError):
        client.get("http://nowhere.invalid/")
    shown = sample_value(
        registry, "api_client_errors_total", client="shop", operation="GET nowhere.invalid", kind="connect"
    )
    assert shown == 1


def test_missing_httpx_is_told_with_the_command():
    """Without httpx, asking for a transport is an ImportError that says what to install; the rest works."""
    script = """
        import sys
        sys.modules["httpx"] = None
        from vitalsign.collectors import ApiClientCollector
        api = ApiClientCollector("shop")
        with api.call("sync"):
            pass
        for ask in (api.httpx_transport, api.httpx_async_transport):
            try:
                ask()
            except ImportError as error:
                print(error)
    """
    lines = run_script(script).splitlines()
    assert lines == ["The httpx transports need httpx, which is not installed. Run: pip install 'vitalsign[httpx]'"] * 2
