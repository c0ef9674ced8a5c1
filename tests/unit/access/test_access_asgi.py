"""One line for each request of an ASGI application, and its id on all others."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient

from tests.unit.asgi.driver import Client, call, endpoints, request
from vitalsign.asgi import AccessLogMiddleware, MetricsMiddleware
from vitalsign.logs import current_context

shop = logging.getLogger("tests.shop")


async def user(request):
    """Answer, and log."""
    shop.info("in the handler")
    return PlainTextResponse("hello")


def routes():
    """Return some routes, one of them under a mount."""
    return [Route("/users/{id}", user), Mount("/api/{version}", routes=[Route("/orders/{id}", user)])]


def access(log):
    """Return the access lines."""
    return [line for line in log.lines if line["logger"] == "vitalsign.access"]


def test_one_line_for_each_request(log):
    """A request's line has method, template, status, duration and bytes, and no path."""
    request(AccessLogMiddleware(Starlette(routes=routes())), "/users/7")
    (line,) = access(log)
    assert {name: line[name] for name in ("method", "route", "status", "response_bytes", "level")} == {
        "method": "GET", "route": "/users/{id}", "status": 200, "response_bytes": 5, "level": "INFO",
    }  # fmt: skip
    assert 0 <= line["duration_seconds"] < 60
    assert line["message"].startswith("GET /users/{id} 200 in 0.")
    assert "/users/7" not in log.stream.getvalue()


def test_the_path_can_be_asked_for(log):
    """With `paths=True` a line has the path, without its query."""
    request(AccessLogMiddleware(Starlette(routes=routes()), paths=True), "/users/7", query_string=b"token=x")
    assert access(log)[0]["path"] == "/users/7"


def test_all_lines_of_a_request_have_its_id(log):
    """What the application logs, also in the background and in threads, has the id that the response carries."""

    async def answer(request):
        shop.info("handler")
        await asyncio.to_thread(shop.info, "thread")
        return PlainTextResponse("x", background=BackgroundTask(shop.info, "background"))

    client = request(AccessLogMiddleware(Starlette(routes=[Route("/", answer)])))
    assert [line["message"] for line in log.lines if line["logger"] == "tests.shop"] == [
        "handler", "thread", "background",
    ]  # fmt: skip
    assert {line["request_id"] for line in log.lines} == {client.headers[b"x-request-id"].decode()}
    assert current_context() == {}


@pytest.mark.parametrize(
    "given", ["a", "4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "Root=1-67891233-abc:x/y+z@w", "x" * 128]
)
def test_a_sane_id_is_taken(log, given):
    """The id that a request brings is logged and returned."""
    client = request(AccessLogMiddleware(Starlette()), headers=[(b"x-request-id", given.encode())])
    assert client.headers[b"x-request-id"].decode() == given
    assert access(log)[0]["request_id"] == given


@pytest.mark.parametrize(
    "given", [b"", b" ", b"x" * 129, b"a b", b"a\nb", b'{"level":"x"}', b"\xff", b"<script>", b"a\x00", b"a;b"]
)
def test_hard_case_an_insane_id_is_replaced(log, given):
    """An id that is empty, too long, or of other characters is not taken over; a new one is made."""
    client = request(AccessLogMiddleware(Starlette()), headers=[(b"x-request-id", given)])
    assert re.fullmatch(rb"[0-9a-f]{32}", client.headers[b"x-request-id"])


def test_ids_of_strangers_can_be_refused(log):
    """With `trust_request_id=False` every request gets a new id."""
    app = AccessLogMiddleware(Starlette(), trust_request_id=False)
    assert request(app, headers=[(b"x-request-id", b"mine")]).headers[b"x-request-id"] != b"mine"


def test_the_applications_own_header_is_left(log):
    """An id that the application has put into its response stays the only one."""

    async def answer(_):
        return PlainTextResponse("x", headers={"X-Request-ID": "own"})

    client = request(AccessLogMiddleware(Starlette(routes=[Route("/", answer)])))
    (start,) = [message for message in client.sent if message["type"] == "http.response.start"]
    assert [value for name, value in start["headers"] if name == b"x-request-id"] == [b"own"]


@pytest.mark.parametrize("access_first", [True, False])
@pytest.mark.parametrize("framework", [Starlette, FastAPI])
@pytest.mark.parametrize("path", ["/users/7", "/api/v1/orders/3", "/nowhere", "/users/7/"])
def test_routes_are_those_of_the_metrics(log, registry, framework, access_first, path):
    """In either order beside the metrics, lines name the routes that the series are named by."""
    app = framework(routes=routes())
    middleware = [(AccessLogMiddleware, {}), (MetricsMiddleware, {"registry": registry})]
    for kind, options in middleware if access_first else reversed(middleware):
        app.add_middleware(kind, **options)
    request(app, path)
    assert {line["route"] for line in access(log)} == endpoints(registry)


def test_an_exception_is_an_error_with_its_class(log):
    """A request that fails is logged with status 500 at level ERROR, and what failed; the exception goes on."""

    async def fail(scope, receive, send):
        raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(
            AccessLogMiddleware(fail)({"type": "http", "method": "GET", "path": "/", "headers": []}, None, None)
        )
    (line,) = access(log)
    assert (line["status"], line["level"], line["error"]) == (500, "ERROR", "LookupError")
    assert "response_bytes" not in line  # whoever answers stands further out


def test_the_answer_to_a_failure_has_the_id(log):
    """Wrapped round the whole application, its answer to an exception bears the id, and its bytes are on the line."""

    async def fail(request):
        raise LookupError

    app = AccessLogMiddleware(Starlette(routes=[Route("/fail/{id}", fail)]))
    client = request(app, "/fail/1", headers=[(b"x-request-id", b"order-7")])
    assert (client.status, client.headers[b"x-request-id"]) == (500, b"order-7")
    (line,) = access(log)
    assert (line["route"], line["response_bytes"]) == ("/fail/{id}", len(client.text))
    assert (line["request_id"], line["status"]) == ("order-7", 500)


def test_a_client_that_leaves_is_no_error(log):
    """A client that leaves before the last byte is logged as 499, at level INFO."""

    async def stream(request):
        async def pieces():
            for _ in range(10):
                yield b"x" * 10

        return StreamingResponse(pieces())

    request(AccessLogMiddleware(Starlette(routes=[Route("/", stream)])), client=Client(leaves_after=3))
    (line,) = access(log)
    assert (line["status"], line["level"]) == (499, "INFO")


def test_a_cancelled_request_is_logged(log):
    """A request whose task is cancelled is logged as 499, and stays cancelled."""

    async def main():
        started = asyncio.Event()

        async def wait(scope, receive, send):
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(call(AccessLogMiddleware(wait)))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert access(log)[0]["status"] == 499


def test_streams_are_logged_at_their_last_byte(log):
    """A stream's line has all of its bytes, and is written before what runs in the background."""

    async def stream(request):
        async def pieces():
            for _ in range(3):
                yield b"x" * 10

        return StreamingResponse(pieces(), background=BackgroundTask(shop.info, "background"))

    request(AccessLogMiddleware(Starlette(routes=[Route("/", stream)])))
    assert [line.get("response_bytes") for line in log.lines] == [30, None]


@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        ([{"type": "http.response.pathsend", "path": "x"}], None),
        ([{"type": "http.response.zerocopysend", "file": 3, "count": 12}], 12),
        ([{"type": "http.response.zerocopysend", "file": 3}], None),
    ],
)
def test_bytes_that_nobody_counts_are_left_out(log, messages, sent):
    """Where the server sends a file itself, the bytes are those that it was told, or none."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for message in messages:
            await send(message)

    request(AccessLogMiddleware(app))
    assert access(log)[0].get("response_bytes") == sent


def test_trailers_end_the_response(log):
    """A response with trailers is logged after them, once."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": (), "trailers": True})
        await send({"type": "http.response.body", "body": b"abc"})
        assert access(log) == []
        await send({"type": "http.response.trailers", "headers": [], "more_trailers": False})

    request(AccessLogMiddleware(app))
    assert access(log)[0]["response_bytes"] == 3


def test_head_sends_nothing(log):
    """The answer to HEAD is logged without the body that servers drop."""
    request(AccessLogMiddleware(Starlette(routes=routes())), "/users/7", "HEAD")
    assert (access(log)[0]["method"], access(log)[0]["response_bytes"]) == ("HEAD", 0)


def test_excluded_paths_have_an_id_and_no_line(log):
    """Requests of excluded paths are not logged; what they log has their id."""
    app = AccessLogMiddleware(Starlette(routes=routes()), exclude="/users/*")
    client = request(app, "/users/7")
    assert access(log) == []
    assert log.line["request_id"] == client.headers[b"x-request-id"].decode()


def test_two_of_them_write_once(log):
    """An application within another one, both with the middleware, is logged once, under one id."""
    inner = AccessLogMiddleware(Starlette(routes=routes()))
    request(AccessLogMiddleware(inner), "/users/7")
    assert len(access(log)) == 1
    assert len({line["request_id"] for line in log.lines}) == 1


def test_unknown_methods_do_not_reach_the_message(log):
    """What a client makes up as a method is a field, and no part of the text."""
    request(AccessLogMiddleware(Starlette(routes=routes())), "/users/7", "EVIL")
    assert access(log)[0]["message"].startswith("__other__ /users/{id} 405")


def test_websockets_have_an_id(log):
    """What a websocket's handler logs has an id; the connection is no request and has no line."""

    async def socket(websocket):
        await websocket.accept()
        shop.info("open")
        await websocket.close()

    app = AccessLogMiddleware(Starlette(routes=[WebSocketRoute("/", socket)]))
    with TestClient(app) as client, client.websocket_connect("/", headers={"X-Request-ID": "ws-1"}):
        pass
    assert [line["request_id"] for line in log.lines if line["logger"] == "tests.shop"] == ["ws-1"]
    assert access(log) == []


def test_lines_of_a_request_have_its_trace(log):
    """A request that comes with a traceparent is logged with its ids, by this middleware alone."""
    trace = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    request(AccessLogMiddleware(Starlette(routes=routes())), "/users/7", headers=[(b"traceparent", trace)])
    assert {line["trace_id"] for line in log.lines} == {"4bf92f3577b34da6a3ce929d0e0e4736"}


def test_failures_of_ours_break_no_request(log, monkeypatch):
    """A request is answered although its id, its route or its line cannot be made."""
    app = AccessLogMiddleware(Starlette(routes=routes()))
    assert request(app, "/users/7", headers=[("no", "bytes")]).status == 200
    monkeypatch.setattr(app._templates, "resolve", None)
    assert request(app, "/users/7").status == 200
    assert access(log)[-1]["route"] == "__unmatched__"
    monkeypatch.setattr(app._log, "_fields", None)
    assert request(app, "/users/7").status == 200


def test_requests_at_the_same_time_keep_their_ids(log):
    """Requests that are answered at the same time do not mix their ids."""

    async def answer(request):
        await asyncio.sleep(0)
        shop.info(request.query_params["name"])
        return PlainTextResponse("x")

    app = AccessLogMiddleware(Starlette(routes=[Route("/", answer)]))

    async def main():
        await asyncio.gather(
            *(
                call(app, query_string=f"name={number}".encode(), headers=[(b"x-request-id", str(number).encode())])
                for number in range(30)
            )
        )

    asyncio.run(main())
    told = [(line["message"], line["request_id"]) for line in log.lines if line["logger"] == "tests.shop"]
    assert len(told) == 30
    assert all(message == request_id for message, request_id in told)
