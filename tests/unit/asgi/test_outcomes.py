"""What becomes of a request: status, duration, sizes and exceptions, however its response ends."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse as FastAPIStreamingResponse
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.unit.asgi.driver import Client, call, counted, http_scope, request
from vitalsign.asgi import MetricsMiddleware
from vitalsign.metrics.exposition import generate_openmetrics

if TYPE_CHECKING:
    from starlette.requests import Request

pytestmark = pytest.mark.usefixtures("both_ways")

START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b""}


def piece(body: bytes) -> dict[str, Any]:
    """Return a part of a response that goes on."""
    return {"type": "http.response.body", "body": body, "more_body": True}


def sending(*messages: dict[str, Any]) -> Any:
    """Make a bare application that sends these messages."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def raising(error: BaseException, *messages: dict[str, Any]) -> Any:
    """Make a bare application that raises *error* after it has sent *messages*."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await sending(*messages)(scope, receive, send)
        raise error

    return app


def on_starlette(endpoint: Any, path: str = "/", **options: Any) -> Starlette:
    """Make a Starlette application with one route."""
    return Starlette(routes=[Route(path, endpoint, methods=["GET", "POST"])], **options)


def in_progress(registry: Any, method: str = "GET") -> float | None:
    """Return the requests that are being answered."""
    value: float | None = registry.get_sample_value("http_requests_in_progress", {"method": method})
    return value


def total(registry: Any, name: str) -> float:
    """Return the sum of a histogram over all its series."""
    return sum(counted(registry, f"{name}_sum").values())


def observed(registry: Any, name: str) -> float:
    """Return how many observations a histogram has over all its series."""
    return sum(counted(registry, f"{name}_count").values())


def statuses(registry: Any) -> dict[str, float]:
    """Return the requests by status, over all endpoints and methods."""
    return {key[-1]: value for key, value in counted(registry).items()}


# -- ordinary responses


def test_every_figure_of_a_request(registry, clock):
    """One request is one count, one duration, one size each way, and none in progress any more."""

    async def handler(request: Request) -> Response:
        assert in_progress(registry, "POST") == 1
        clock.advance(0.2)
        return PlainTextResponse(await request.body(), 201)

    app = on_starlette(handler, "/echo/{id}")
    app.add_middleware(MetricsMiddleware, registry=registry)
    request(app, "/echo/1", "POST", client=Client([b"12345", b"678"]))
    labels = ("/echo/{id}", "POST")
    assert counted(registry) == {(*labels, "201"): 1}
    assert counted(registry, "http_request_duration_seconds_sum") == {labels: pytest.approx(0.2)}
    assert counted(registry, "http_request_size_bytes_sum") == {labels: 8}
    assert counted(registry, "http_response_size_bytes_sum") == {labels: 8}
    assert in_progress(registry, "POST") == 0


@pytest.mark.parametrize("status", [204, 304])
def test_response_without_content(status, registry):
    """204 and 304 are counted with an empty body."""
    app = MetricsMiddleware(sending({**START, "status": status}, END), registry=registry)
    assert request(app).status == status
    assert statuses(registry) == {str(status): 1}
    assert (observed(registry, "http_response_size_bytes"), total(registry, "http_response_size_bytes")) == (1, 0)


def test_status_of_an_enumeration(registry):
    """A status given as HTTPStatus is the same series as its number."""
    app = MetricsMiddleware(sending({**START, "status": HTTPStatus.NOT_FOUND}, END), registry=registry)
    request(app)
    request(MetricsMiddleware(sending({**START, "status": 404}, END), registry=registry))
    assert statuses(registry) == {"404": 2}


def test_head_and_options(registry):
    """HEAD sends no body, whatever the application hands out; OPTIONS is a method like others."""
    app = on_starlette(lambda request: PlainTextResponse("body"))
    app.add_middleware(MetricsMiddleware, registry=registry)
    request(app, method="HEAD")
    assert total(registry, "http_response_size_bytes") == 0
    request(app, method="OPTIONS")
    assert counted(registry) == {("/", "HEAD", "200"): 1, ("/", "OPTIONS", "405"): 1}


def test_informational_response_passes(registry):
    """Early hints go on to the server and are no response."""
    hint = {"type": "http.response.early_hint", "links": [b"</style.css>"]}
    client = request(MetricsMiddleware(sending(hint, START, END), registry=registry))
    assert client.sent == [hint, START, END]
    assert statuses(registry) == {"200": 1}


def test_trailers_belong_to_the_response(registry, clock):
    """With trailers announced, the response ends with the last of them."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "trailers": True})
        await send({**END, "body": b"body"})
        assert statuses(registry) == {}
        clock.advance(0.5)
        await send({"type": "http.response.trailers", "headers": [], "more_trailers": True})
        assert statuses(registry) == {}
        await send({"type": "http.response.trailers", "headers": []})
        assert statuses(registry) == {"200": 1}

    request(MetricsMiddleware(app, registry=registry))
    assert statuses(registry) == {"200": 1}
    assert total(registry, "http_request_duration_seconds") == 0.5
    assert total(registry, "http_response_size_bytes") == 4


def test_zero_copy_send(registry):
    """Bytes that the server copies from a file itself are counted where the message says how many."""
    whole = {"type": "http.response.zerocopysend", "file": 3, "count": 1000, "more_body": True}
    rest = {"type": "http.response.zerocopysend", "file": 3}
    request(MetricsMiddleware(sending(START, whole, {**END, "body": b"ab"}), registry=registry))
    assert total(registry, "http_response_size_bytes") == 1002
    request(MetricsMiddleware(sending(START, whole, rest), registry=registry))
    assert statuses(registry) == {"200": 2}
    assert observed(registry, "http_response_size_bytes") == 1


def test_path_send(registry):
    """A file that the server sends by its path ends the response; how many bytes that was is left out."""
    path = {"type": "http.response.pathsend", "path": "/a"}
    client = request(MetricsMiddleware(sending(START, path), registry=registry))
    assert client.sent == [START, path]
    assert statuses(registry) == {"200": 1}
    assert observed(registry, "http_response_size_bytes") == 0


# -- sizes and headers


@pytest.mark.parametrize("length", [b"12x", b"-1", b"", b"9" * 5000, "½".encode("latin-1"), b"\xff\xfe"])
def test_malformed_content_length(length, registry):
    """Sizes are counted from the bytes that pass: a header that lies or makes no sense does no harm."""

    async def handler(request: Request) -> Response:
        return Response(await request.body(), headers={"x-latin": "ü"})

    app = on_starlette(handler)
    app.add_middleware(MetricsMiddleware, registry=registry)
    client = request(
        app, method="POST", client=Client([b"four"]), headers=[(b"content-length", length), (b"\xe9", b"\xff")]
    )
    assert client.text == "four"
    assert total(registry, "http_request_size_bytes") == 4
    assert statuses(registry) == {"200": 1}


@pytest.mark.parametrize(
    "header",
    [
        (b"x-name", "Zoë".encode("latin-1")),
        (b"\xe9", b"\xff\xfe"),
        (b"traceparent", b"00-" + b"f" * 100_000),
        (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e47\xe4\xf6-00f067aa0ba902b7-01"),
        (b"tracestate", b"\xe9" * 10_000),
        (b"x-request-id", b"\xff" * 10_000),
    ],
)
def test_latin_1_headers_and_over_long_trace_ids(header, registry):
    """A header of odd bytes, or of any length, reaches the application and no figure, and nothing fails for it."""

    async def handler(request: Request) -> Response:
        assert header in request.scope["headers"]
        return Response(headers={"x-latin": "ü"})

    app = on_starlette(handler)
    app.add_middleware(
        MetricsMiddleware,
        registry=registry,
        labels={"asked": lambda info: info.header("x-name"), "said": lambda info: info.response_header("x-latin")},
    )
    client = request(app, headers=[header])
    assert client.headers[b"x-latin"] == "ü".encode("latin-1")
    named = "Zoë" if header[0] == b"x-name" else ""
    assert list(counted(registry)) == [(named, "/", "GET", "ü", "200")]
    page = generate_openmetrics(registry).decode()
    assert "trace_id" not in page


def test_body_that_nobody_reads(registry):
    """A body that the application does not ask for has not been received."""
    request(MetricsMiddleware(sending(START, END), registry=registry), client=Client([b"x" * 1000]))
    assert (observed(registry, "http_request_size_bytes"), total(registry, "http_request_size_bytes")) == (1, 0)


# -- time


@pytest.mark.parametrize("streaming", [StreamingResponse, FastAPIStreamingResponse])
def test_streaming_response(streaming, registry, clock):
    """A stream lasts to its last byte, and its size is what was sent, whatever the header says."""

    async def stream() -> Any:
        for _ in range(4):
            clock.advance(0.5)
            assert in_progress(registry) == 1
            yield b"chunk"

    app = FastAPI()
    app.add_route("/", lambda request: streaming(stream(), headers={"content-length": "7"}))
    app.add_middleware(MetricsMiddleware, registry=registry)
    request(app)
    assert total(registry, "http_request_duration_seconds") == 2.0
    assert total(registry, "http_response_size_bytes") == 20


def test_time_to_send_counts(registry, clock):
    """A slow client's time is part of the duration: it ends when the server has taken the last byte."""
    client = Client()
    take = client.send

    async def slow(message: Any) -> None:
        clock.advance(1.0)
        await take(message)

    client.send = slow  # type: ignore[method-assign]
    request(MetricsMiddleware(sending(START, piece(b"a"), END), registry=registry), client=client)
    assert total(registry, "http_request_duration_seconds") == 3.0


def test_background_task(registry, clock):
    """What runs after the response is in no latency, and the request is in progress no more."""

    def work() -> None:
        assert in_progress(registry) == 0
        assert statuses(registry) == {"200": 1}
        clock.advance(60)

    app = on_starlette(lambda request: PlainTextResponse("ok", background=BackgroundTask(work)))
    app.add_middleware(MetricsMiddleware, registry=registry)
    request(app)
    assert clock.now > 1050
    assert total(registry, "http_request_duration_seconds") == 0
    assert statuses(registry) == {"200": 1}


# -- exceptions


@pytest.mark.parametrize("wrapped", [True, False], ids=["outside", "add_middleware"])
def test_handler_raises_before_the_response(wrapped, registry):
    """An exception is one request with status 500 and one exception of its class, and goes on to the server."""

    async def handler(request: Request) -> Response:
        raise LookupError("no such thing")

    app: Any = on_starlette(handler, "/{id}")
    if wrapped:
        app = MetricsMiddleware(app, registry=registry)
    else:
        app.add_middleware(MetricsMiddleware, registry=registry)
    client = Client()
    with pytest.raises(LookupError, match="no such thing"):
        asyncio.run(app(http_scope("/1"), client.receive, client.send))
    assert client.status == 500
    assert counted(registry) == {("/{id}", "GET", "500"): 1}
    assert counted(registry, "http_request_exceptions_total") == {("/{id}", "LookupError", "GET"): 1}
    assert in_progress(registry) == 0


def test_handler_raises_after_the_response_started(registry):
    """An exception in a stream counts beside the status that was sent."""
    app = MetricsMiddleware(raising(ValueError("late"), START, piece(b"abc")), registry=registry)
    request(app)
    assert statuses(registry) == {"200": 1}
    assert counted(registry, "http_request_exceptions_total") == {("__unmatched__", "ValueError", "GET"): 1}
    assert total(registry, "http_response_size_bytes") == 3
    assert in_progress(registry) == 0


def test_handler_raises_after_the_response(registry):
    """An exception of a background task counts; the request does not count again."""
    request(MetricsMiddleware(raising(ValueError("too late"), START, END), registry=registry))
    assert statuses(registry) == {"200": 1}
    assert counted(registry, "http_request_exceptions_total") == {("__unmatched__", "ValueError", "GET"): 1}


def test_handled_exception_is_a_response(registry):
    """An exception that the application turns into a response is that response and no exception."""

    async def handler(request: Request) -> Response:
        raise LookupError

    handlers: Any = {LookupError: lambda request, error: PlainTextResponse("gone", 410)}
    app = on_starlette(handler, exception_handlers=handlers)
    app.add_middleware(MetricsMiddleware, registry=registry)
    request(app)
    assert statuses(registry) == {"410": 1}
    assert counted(registry, "http_request_exceptions_total") == {}


def test_size_of_an_answer_that_passed_further_out(registry):
    """Where Starlette answers an exception outside of the middleware, no size is made up."""

    async def handler(request: Request) -> Response:
        raise LookupError

    app = on_starlette(handler)
    app.add_middleware(MetricsMiddleware, registry=registry)
    assert request(app).text == "Internal Server Error"
    assert observed(registry, "http_response_size_bytes") == 0


def test_application_that_sends_nothing(registry):
    """A response that never starts is the server's 500; one that never ends has the status that it started with."""
    request(MetricsMiddleware(sending(), registry=registry))
    request(MetricsMiddleware(sending({**START, "status": 206}), registry=registry))
    assert statuses(registry) == {"500": 1, "206": 1}
    assert in_progress(registry) == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_end_of_the_process_passes_through(error, registry):
    """What ends the process is neither an exception of the request nor a client that left."""
    client = Client()
    with pytest.raises(type(error)):
        asyncio.run(MetricsMiddleware(raising(error), registry=registry)(http_scope(), client.receive, client.send))
    assert statuses(registry) == {"500": 1}
    assert counted(registry, "http_request_exceptions_total") == {}


# -- clients that leave


def given_up(registry: Any) -> None:
    """Check that all requests are counted as given up by the client, and none as failed."""
    assert statuses(registry) == {"499": 1}
    assert counted(registry, "http_request_exceptions_total") == {}
    assert in_progress(registry) == 0


@pytest.mark.parametrize("messages", [[], [START], [START, piece(b"a")]], ids=["waiting", "started", "streaming"])
def test_cancelled_request(messages, registry):
    """A request whose task is cancelled before the last byte is the client's doing: 499, and no exception."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await sending(*messages)(scope, receive, send)
        reached.set()
        await asyncio.Event().wait()

    async def cancel() -> None:
        client = Client()
        task = asyncio.ensure_future(
            MetricsMiddleware(app, registry=registry)(http_scope(), client.receive, client.send)
        )
        await reached.wait()
        assert in_progress(registry) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    reached = asyncio.Event()
    asyncio.run(cancel())
    given_up(registry)


def test_cancelled_after_the_response(registry):
    """Being cancelled after the last byte, in a background task, changes nothing."""
    client = Client()
    app = MetricsMiddleware(raising(asyncio.CancelledError(), START, END), registry=registry)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(app(http_scope(), client.receive, client.send))
    assert statuses(registry) == {"200": 1}


@pytest.mark.parametrize("taken", [1, 2, 3])
@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
def test_client_leaves_a_stream(taken, spec_version, registry):
    """A client that leaves in mid-stream is counted as such, whether the server raises or sends a message."""

    async def stream() -> Any:
        while True:
            await asyncio.sleep(0)
            yield b"chunk"

    app = on_starlette(lambda request: StreamingResponse(stream()))
    app.add_middleware(MetricsMiddleware, registry=registry)
    request(app, client=Client(leaves_after=taken), asgi={"version": "3.0", "spec_version": spec_version})
    given_up(registry)


def test_client_leaves_while_it_sends(registry):
    """A client that leaves before its body is whole is counted as such; Starlette raises then."""

    async def handler(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    app = on_starlette(handler)
    app.add_middleware(MetricsMiddleware, registry=registry)
    request(app, client=Client(leaves_after=0))
    given_up(registry)


def test_client_leaves_before_the_last_byte_is_sent(registry):
    """A last byte that the server could not send makes no success."""
    request(MetricsMiddleware(sending(START, END), registry=registry), client=Client(leaves_after=1))
    given_up(registry)


def test_response_sent_to_nobody(registry):
    """An application that goes on after the client has left does not turn that into a success."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await sending(START, END)(scope, receive, swallow)

    async def swallow(message: Any) -> None:
        """Take a message as uvicorn does when nobody is there."""

    client = Client(leaves_after=0)
    asyncio.run(MetricsMiddleware(app, registry=registry)(http_scope(), client.receive, swallow))
    given_up(registry)


def test_disconnect_after_the_response_is_no_failure(registry):
    """Servers report a disconnect to whoever waits when the response is complete: that is the normal end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await sending(START, piece(b"a"), END)(scope, receive, send)
        assert (await waiting)["type"] == "http.disconnect"

    request(MetricsMiddleware(app, registry=registry))
    assert statuses(registry) == {"200": 1}


def test_disconnect_while_the_last_byte_is_sent(registry):
    """A server that reports the end of the exchange before it has taken the last message is no client that left."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        waiting = asyncio.ensure_future(receive())
        await sending(START, END)(scope, receive, send)
        assert (await waiting)["type"] == "http.disconnect"

    async def send_slowly(message: Any) -> None:
        await client.send(message)
        for _ in range(5):
            await asyncio.sleep(0)

    client = Client()
    asyncio.run(MetricsMiddleware(app, registry=registry)(http_scope(), client.receive, send_slowly))
    assert statuses(registry) == {"200": 1}


def test_error_after_the_client_left_is_still_an_error(registry):
    """A bug that shows only when the client has left is counted as an exception beside the 499."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise ZeroDivisionError

    request(MetricsMiddleware(app, registry=registry), client=Client(leaves_after=0))
    assert statuses(registry) == {"499": 1}
    assert counted(registry, "http_request_exceptions_total") == {("__unmatched__", "ZeroDivisionError", "GET"): 1}


def test_os_error_of_the_application_is_an_error(registry):
    """An OSError that does not come from sending is the application's."""
    request(MetricsMiddleware(raising(FileNotFoundError("a.txt")), registry=registry))
    assert statuses(registry) == {"500": 1}
    assert counted(registry, "http_request_exceptions_total") == {("__unmatched__", "FileNotFoundError", "GET"): 1}


# -- what is not ours


@pytest.mark.parametrize("kind", ["lifespan", "webtransport"])
def test_other_scopes_pass_through(kind, registry):
    """Lifespan and scopes of the future reach the application as they are, and are not measured."""
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.append(arguments)

    async def nothing(*_: Any) -> Any:
        return {}

    scope = {"type": kind}
    asyncio.run(MetricsMiddleware(app, registry=registry)(scope, nothing, nothing))
    assert seen == [({"type": kind}, nothing, nothing)]
    assert counted(registry) == {}


def test_messages_pass_unchanged(registry):
    """Every message reaches the other side as the same object, unknown ones too."""
    unknown = {"type": "http.response.debug", "info": object()}
    sent = [unknown, START, piece(b"a"), END]
    received: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.append(await receive())
        await sending(*sent)(scope, receive, send)

    client = Client([b"body"])
    asyncio.run(MetricsMiddleware(app, registry=registry)(http_scope(), client.receive, client.send))
    assert [id(message) for message in client.sent] == [id(message) for message in sent]
    assert received == [{"type": "http.request", "body": b"body", "more_body": False}]


def internal_errors(where: str) -> float:
    """Return the failures that the library has counted at a place."""
    return REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": where}) or 0.0


def test_failure_of_the_library_leaves_the_response_untouched(registry, monkeypatch, caplog):
    """When our own code fails at every step, the client still gets its answer; it is logged once and counted."""
    app = on_starlette(lambda request: PlainTextResponse("fine"), "/{id}")
    app.add_middleware(MetricsMiddleware, registry=registry)
    request(app, "/1")
    failing = MetricsMiddleware(raising(LookupError("theirs")), registry=registry)

    def fail(*_: Any, **__: Any) -> Any:
        raise ArithmeticError("ours")

    monkeypatch.setattr("vitalsign.metrics.internal._reported", set())
    before = internal_errors("asgi.middleware")
    for broken in ("_http_metrics._InProgress.__missing__", "_http_recorder.Recorder._look_up"):
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            patch.setattr(f"vitalsign.{broken}", fail)
            assert request(app, "/2", "HEAD").status == 200
    monkeypatch.setattr("vitalsign._http_recorder.Recorder.count_exception", fail)
    with pytest.raises(LookupError, match="theirs"):
        asyncio.run(failing(http_scope(), Client().receive, Client().send))
    assert internal_errors("asgi.middleware") == before + 3
    assert len([record for record in caplog.records if "asgi.middleware" in record.getMessage()]) == 1
    assert in_progress(registry) == 0


def test_router_of_an_unknown_kind(registry):
    """A router that cannot be read costs the template, not the count."""

    class Router:
        @property
        def routes(self) -> Any:
            raise NotImplementedError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["router"] = Router()
        await sending(START, END)(scope, receive, send)

    before = internal_errors("asgi.route")
    request(MetricsMiddleware(app, registry=registry))
    assert counted(registry) == {("__unmatched__", "GET", "200"): 1}
    assert internal_errors("asgi.route") == before + 1


@pytest.mark.parametrize(
    "message",
    [{}, {"type": "http.response.start"}, {"type": "http.response.body", "body": None}],
    ids=["no type", "no status", "no bytes"],
)
def test_malformed_messages_are_the_servers_to_refuse(message, registry):
    """What breaks the protocol reaches the server, which says so; it does not fail on the way."""
    client = request(MetricsMiddleware(sending(message), registry=registry))
    assert client.sent == [message]


def test_malformed_message_of_the_server(registry):
    """A message of the server that breaks the protocol reaches the application."""
    message = {"type": "http.request", "body": None}
    received = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.append(await receive())
        await sending(START, END)(scope, receive, send)

    async def receive() -> Any:
        return message

    asyncio.run(MetricsMiddleware(app, registry=registry)(http_scope(), receive, Client().send))
    assert received == [message]
    assert statuses(registry) == {"200": 1}


def test_concurrent_requests(registry):
    """Requests at once are told apart: each has its own figures, and all are in progress together."""
    highest = 0.0

    async def handler(request: Request) -> Response:
        nonlocal highest
        await asyncio.sleep(0)
        highest = max(highest, in_progress(registry) or 0)
        await asyncio.sleep(0)
        return PlainTextResponse("x" * int(request.path_params["size"]))

    app = on_starlette(handler, "/{size}")
    app.add_middleware(MetricsMiddleware, registry=registry)

    async def many() -> None:
        await asyncio.gather(*map(partial(call, app), [f"/{size}" for size in range(50)]))

    asyncio.run(many())
    assert statuses(registry) == {"200": 50}
    assert total(registry, "http_response_size_bytes") == sum(range(50))
    assert highest == 50
    assert in_progress(registry) == 0
