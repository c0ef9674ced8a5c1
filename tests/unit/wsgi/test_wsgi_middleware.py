"""The WSGI middleware: what becomes of a request, however its response is made, read and closed."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import prometheus_client
import pytest
from prometheus_client import REGISTRY

from tests.unit.asgi.driver import counted, endpoints
from vitalsign._trace import current_trace
from vitalsign.exceptions import DuplicateMetricError, EndpointOptionError
from vitalsign.wsgi import MetricsMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Response:
    """What a server got."""

    def __init__(self) -> None:
        self.status = ""
        self.pieces: list[bytes] = []
        self.body: Any = None

    @property
    def text(self) -> str:
        """The whole body."""
        return b"".join(self.pieces).decode()


def request(
    app: Any, path: str = "/", method: str = "GET", *, takes: int | None = None, close: bool = True, **environ: Any
) -> Response:
    """
    Make one request as a server does.

    Args:
        app: A WSGI application.
        path: As the application sees it.
        method: As sent.
        takes: Pieces of the body that are read before the client leaves; None for all.
        close: Whether the server closes the body.
        environ: Further variables.
    """
    response = Response()

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        if exc_info is not None and response.pieces:
            raise exc_info[1]
        response.status = status
        return response.pieces.append

    variables: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, **environ}
    setup_testing_defaults(variables)
    response.body = body = app(variables, start_response)
    try:
        for number, piece in enumerate(body):
            if number == takes:
                break
            response.pieces.append(piece)
    finally:
        if close and hasattr(body, "close"):
            body.close()
    return response


class Pieces:
    """An iterable body that notes how it is read and closed."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.closed = 0
        self._pieces = pieces
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Be closed."""
        self.closed += 1


def answering(body: Any, status: str = "200 OK", headers: tuple[tuple[str, str], ...] = ()) -> Any:
    """Make an application that answers with this body."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, [("Content-Type", "text/plain"), *headers])
        return body

    return app


def statuses(registry: Any) -> dict[str, float]:
    """Return the requests by status."""
    return {key[-1]: value for key, value in counted(registry).items()}


def in_progress(registry: Any) -> float | None:
    """Return the requests that are being answered."""
    value: float | None = registry.get_sample_value("http_requests_in_progress", {"method": "GET"})
    return value


def sizes(registry: Any, name: str = "http_response_size_bytes") -> tuple[float, float]:
    """Return how many bodies were measured, and their bytes."""
    return (
        sum(counted(registry, f"{name}_count").values()),
        sum(counted(registry, f"{name}_sum").values()),
    )


# -- ordinary responses


def test_every_figure_of_a_request(registry, monkeypatch):
    """One request is one count, one duration, one size each way, and none in progress any more."""
    now = iter([1000.0, 1000.1, 1000.25])
    monkeypatch.setattr("vitalsign._http_wsgi_exchange.monotonic", lambda: next(now))
    app = MetricsMiddleware(answering([b"12345", b"678"]), registry=registry, route=lambda environ: "/echo/{id}")
    response = request(app, "/echo/1", "POST", CONTENT_LENGTH="4")
    labels = ("/echo/{id}", "POST")
    assert (response.status, response.text) == ("200 OK", "12345678")
    assert counted(registry) == {(*labels, "200"): 1}
    assert counted(registry, "http_request_duration_seconds_sum") == {labels: pytest.approx(0.25)}
    assert sizes(registry) == (1, 8)
    assert sizes(registry, "http_request_size_bytes") == (1, 4)
    assert counted(registry, "http_requests_in_progress") == {("POST",): 0}


def test_specification_is_kept(registry):
    """Between a server and an application that both mind the specification, nobody has anything to complain about."""

    def app(environ: Any, start_response: Any) -> Any:
        environ["wsgi.input"].read(1)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Pieces(b"a", b"b")

    checked = validator(MetricsMiddleware(validator(app), registry=registry))
    assert request(checked, SCRIPT_NAME="", QUERY_STRING="").text == "ab"
    assert statuses(registry) == {"200": 1}


def test_single_piece_keeps_its_length(registry):
    """A list stays something with a length, from which servers make the Content-Length; a generator has none."""
    assert len(request(MetricsMiddleware(answering([b"abc"]), registry=registry)).body) == 1
    assert not hasattr(request(MetricsMiddleware(answering(iter([b"abc"])), registry=registry)).body, "__len__")


def test_head(registry):
    """An answer to HEAD has no body, whatever is handed out, and one that the server does not read is complete."""
    app = MetricsMiddleware(answering(Pieces(b"abc", b"d")), registry=registry)
    request(app, "/", "HEAD")
    request(app, "/", "HEAD", takes=0)
    assert statuses(registry) == {"200": 2}
    assert sizes(registry) == (2, 0)


@pytest.mark.parametrize(
    ("line", "status"),
    [("200", "200"), ("404 NOT FOUND", "404"), ("299 \xe4", "299"), ("200OK", "200"), ("abc", "0"), ("", "0")],
)
def test_odd_status_lines(line, status, registry):
    """A status line without a phrase, or without a number, reaches the server as it is and breaks nothing."""
    assert request(MetricsMiddleware(answering([b""], line), registry=registry)).status == line
    assert statuses(registry) == {status: 1}


@pytest.mark.parametrize(
    ("length", "measured"),
    [("", (1, 0)), ("17", (1, 17)), ("abc", (0, 0)), ("-1", (0, 0)), ("1" * 400, (0, 0)), ("\u0661", (0, 0))],
)
def test_malformed_content_length(length, measured, registry):
    """A Content-Length that is no number is left out; the request is answered."""
    app = MetricsMiddleware(answering([b"ok"]), registry=registry)
    assert request(app, CONTENT_LENGTH=length).text == "ok"
    assert sizes(registry, "http_request_size_bytes") == measured


def test_chunked_request_has_no_size(registry):
    """A request that does not tell its length is not measured as empty."""
    request(MetricsMiddleware(answering([b"ok"]), registry=registry), HTTP_TRANSFER_ENCODING="chunked")
    assert sizes(registry, "http_request_size_bytes") == (0, 0)


# -- streams, write(), close()


def test_stream_lasts_to_its_last_byte(registry, monkeypatch):
    """The duration ends when the server asks for more and there is none; closing, which can take long, is not in it."""
    now = 0.0
    monkeypatch.setattr("vitalsign._http_wsgi_exchange.monotonic", lambda: now)

    class Slow(Pieces):
        def close(self) -> None:
            nonlocal now
            now += 100.0

    def stream() -> Iterator[bytes]:
        nonlocal now
        for _ in range(3):
            now += 1.0
            assert in_progress(registry) == 1
            yield b"x"

    slow = Slow()
    slow.__class__.__iter__ = lambda self: stream()
    request(MetricsMiddleware(answering(slow), registry=registry, first_byte=True))
    assert counted(registry, "http_request_duration_seconds_sum") == {("__unmatched__", "GET"): 3.0}
    assert counted(registry, "http_response_first_byte_seconds_sum") == {("__unmatched__", "GET"): 1.0}
    assert in_progress(registry) == 0


def test_generator_that_starts_its_response_late(registry):
    """An application that is a generator starts its response at the first piece."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", [])
        yield b"late"

    assert request(MetricsMiddleware(app, registry=registry)).text == "late"
    assert statuses(registry) == {"201": 1}


def test_close_is_called_once(registry):
    """The application's close is called once, read to its end or not, however often the server closes."""
    for takes in (None, 1):
        body = Pieces(b"a", b"b")
        response = request(MetricsMiddleware(answering(body), registry=registry), takes=takes)
        response.body.close()
        assert body.closed == 1
    assert statuses(registry) == {"200": 1, "499": 1}


def test_generator_that_is_never_read(registry):
    """A body that the server closes unread, since the client has gone, is given up: 499, and nothing in progress."""
    body = Pieces(b"a")
    request(MetricsMiddleware(answering(body), registry=registry), takes=0)
    assert body.closed == 1
    assert statuses(registry) == {"499": 1}
    assert in_progress(registry) == 0


def test_server_that_closes_nothing(registry):
    """A body that a server neither reads nor closes is recorded when it is thrown away."""
    response = request(MetricsMiddleware(answering(Pieces(b"a")), registry=registry), takes=0, close=False)
    assert in_progress(registry) == 1
    del response
    gc.collect()
    assert in_progress(registry) == 0


@pytest.mark.parametrize(("status", "length"), [("200 OK", "2"), ("304 Not Modified", "7"), ("204 No Content", None)])
def test_server_that_stops_when_all_is_there(status, length, registry):
    """A server that does not ask for more than the response has is not a client that left."""
    headers = (("content-LENGTH", length),) if length else ()
    request(MetricsMiddleware(answering(Pieces(b"ab", b""), status, headers), registry=registry), takes=1)
    assert statuses(registry) == {status[:3]: 1}


def test_write(registry):
    """What is written by the old way counts as sent."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"abc")
        write(b"de")
        return [b"f"]

    assert request(MetricsMiddleware(app, registry=registry)).text == "abcdef"
    assert sizes(registry) == (1, 6)


def test_file_wrapper_stays_the_servers_own(registry):
    """A server's file wrapper reaches it as the same object, is closed once, and is recorded when it is closed."""
    file = io.BytesIO(b"content")
    body = FileWrapper(file)
    response = request(MetricsMiddleware(answering(body), registry=registry), **{"wsgi.file_wrapper": FileWrapper})
    assert response.body is body
    assert response.text == "content"
    assert file.closed
    assert statuses(registry) == {"200": 1}
    assert sizes(registry) == (0, 0)
    assert in_progress(registry) == 0


def test_file_wrapper_that_cannot_be_watched(registry):
    """A wrapper that takes no attributes is recorded when it is handed over."""

    class Closed:
        __slots__ = ("file",)

        def __init__(self, file: Any) -> None:
            self.file = file

        def __iter__(self) -> Iterator[bytes]:
            return iter(self.file)

    response = request(MetricsMiddleware(answering(Closed([b"a"])), registry=registry), **{"wsgi.file_wrapper": Closed})
    assert type(response.body) is Closed
    assert statuses(registry) == {"200": 1}


def test_file_of_a_server_whose_wrapper_is_a_function(registry):
    """What such a wrapper has made reaches the server as the same object: it knows it by identity."""
    files: list[Any] = []

    def wrap(file: Any, size: int = 8192) -> Any:
        files.append(file)
        return file

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"content"), 10)

    response = request(MetricsMiddleware(app, registry=registry), **{"wsgi.file_wrapper": wrap})
    assert response.body is files[0]
    assert statuses(registry) == {"200": 1}
    assert sizes(registry) == (0, 0)
    assert in_progress(registry) == 0


# -- exceptions


def test_application_raises(registry):
    """An exception is one request with status 500 and one exception of its class, and goes on to the server."""

    def app(environ: Any, start_response: Any) -> Any:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        request(MetricsMiddleware(app, registry=registry))
    assert statuses(registry) == {"500": 1}
    assert counted(registry, "http_request_exceptions_total") == {("__unmatched__", "LookupError", "GET"): 1}
    assert in_progress(registry) == 0


def test_iterator_raises(registry):
    """An exception in the body counts beside the status that was sent; the body is closed all the same."""
    body = Pieces(b"a", error=ValueError("late"))
    with pytest.raises(ValueError, match="late"):
        request(MetricsMiddleware(answering(body), registry=registry))
    assert body.closed == 1
    assert statuses(registry) == {"200": 1}
    assert counted(registry, "http_request_exceptions_total") == {("__unmatched__", "ValueError", "GET"): 1}


def test_close_raises(registry):
    """An exception of close counts beside the status, and goes on to the server."""

    class Failing(Pieces):
        def close(self) -> None:
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        request(MetricsMiddleware(answering(Failing(b"a")), registry=registry))
    assert statuses(registry) == {"200": 1}
    assert counted(registry, "http_request_exceptions_total") == {("__unmatched__", "OSError", "GET"): 1}


def test_response_started_anew(registry):
    """With exc_info, an error page takes the place of a response that had only begun."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise KeyError("x")
        except KeyError as error:
            start_response("503 Sorry", [], (KeyError, error, None))
        return [b"sorry"]

    assert request(MetricsMiddleware(app, registry=registry)).status == "503 Sorry"
    assert statuses(registry) == {"503": 1}


def test_response_started_anew_too_late(registry):
    """Where something was sent already, the server raises what exc_info holds, and it is counted."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        start_response("500 Oops", [], (KeyError, KeyError("x"), None))

    with pytest.raises(KeyError):
        request(MetricsMiddleware(app, registry=registry))
    assert statuses(registry) == {"200": 1}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_end_of_the_process_passes_through(error, registry):
    """What ends the process is neither an exception of the request nor a client that left."""

    def app(environ: Any, start_response: Any) -> Any:
        raise error

    with pytest.raises(type(error)):
        request(MetricsMiddleware(app, registry=registry))
    assert statuses(registry) == {"500": 1}
    assert counted(registry, "http_request_exceptions_total") == {}


# -- options


def test_labels_and_grouping(registry):
    """Labels are computed from both sides of the request; a function that fails gives `__error__`."""
    app = MetricsMiddleware(
        answering([b"ok"], headers=(("X-Cache", "hit"),)),
        registry=registry,
        group_status=True,
        labels={
            "tenant": lambda info: info.header("x-tenant"),
            "cache": lambda info: info.response_header("x-cache"),
            "kind": lambda info: info.header("content-type"),
            "version": lambda info: info.http_version,
            "broken": lambda info: info.scope["missing"],
        },
    )
    request(app, HTTP_X_TENANT="acme", CONTENT_TYPE="text/html", SERVER_PROTOCOL="HTTP/1.1")
    assert registry.get_sample_value(
        "http_requests_total",
        {"method": "GET", "endpoint": "__unmatched__", "status": "2xx", "tenant": "acme", "cache": "hit",
         "kind": "text/html", "version": "1.1", "broken": "__error__"},
    ) == 1  # fmt: skip


def test_excluded_paths(registry):
    """Excluded paths are answered and leave no figure."""
    app = MetricsMiddleware(answering([b"ok"]), registry=registry, exclude="/health*")
    assert request(app, "/health/live").text == "ok"
    assert counted(registry) == {}


def test_two_middleware_on_the_way(registry):
    """A request that passes two middleware with the same metrics is counted once."""
    inner = MetricsMiddleware(answering([b"ok"]), registry=registry)
    request(MetricsMiddleware(inner, registry=registry))
    assert statuses(registry) == {"200": 1}


def test_names_taken_by_another_library(registry):
    """When it is made, the middleware names the metric that is taken, and the way out, also inside an event loop."""
    prometheus_client.Counter("http_requests", "Another library's.", registry=registry)

    async def make() -> None:
        MetricsMiddleware(answering([]), registry=registry)

    with pytest.raises(DuplicateMetricError, match="namespace="):
        asyncio.run(make())
    MetricsMiddleware(answering([]), registry=registry, namespace="shop")


def test_opentelemetry_names(registry):
    """By OpenTelemetry's names, one histogram has every attribute of the request."""
    app = MetricsMiddleware(answering([b"ok"], "503 No"), registry=registry, names="opentelemetry")
    request(app, method="BREW", SERVER_PROTOCOL="HTTP/1.1")
    labels = {"http_request_method": "_OTHER", "http_route": "", "http_response_status_code": "503",
              "url_scheme": "http", "network_protocol_version": "1.1", "error_type": "503"}  # fmt: skip
    assert registry.get_sample_value("http_server_request_duration_seconds_count", labels) == 1
    assert counted(registry, "http_server_active_requests") == {("_OTHER", "http"): 0}


# -- traces


def test_trace_of_the_request(registry):
    """While a request is answered, in the call and in the body, its traceparent is the current trace; not after."""
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        seen.append(current_trace())
        start_response("200 OK", [])

        def body() -> Iterator[bytes]:
            seen.append(current_trace())
            yield b""

        return body()

    request(MetricsMiddleware(app, registry=registry), HTTP_TRACEPARENT=TRACEPARENT)
    request(MetricsMiddleware(app, registry=registry))
    assert [trace.trace_id if trace else None for trace in seen] == [TRACEPARENT[3:35]] * 2 + [None] * 2
    assert current_trace() is None


# -- what is not ours


def test_failure_of_the_library_leaves_the_response_untouched(registry, monkeypatch, caplog):
    """When our own code fails at every step, the client still gets its answer; it is logged once and counted."""

    def fail(*_: Any, **__: Any) -> Any:
        raise ArithmeticError("ours")

    def failures() -> float:
        return REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": "wsgi.middleware"}) or 0

    app = MetricsMiddleware(answering([b"fine"]), registry=registry)
    monkeypatch.setattr("vitalsign.metrics.internal._reported", set())
    before = failures()
    for broken in ("_http_recorder.Recorder.find", "_http_wsgi_exchange.WsgiExchange.__init__",
                   "_http_wsgi_exchange.WsgiExchange._is_file"):  # fmt: skip
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            patch.setattr(f"vitalsign.{broken}", fail)
            assert request(app).text == "fine"
    assert failures() == before + 3
    assert len(caplog.records) == 1
    assert in_progress(registry) == 0


def test_route_that_is_no_function(registry):
    """A route that cannot be called is an error at once."""
    with pytest.raises(EndpointOptionError, match="but has to be a function of the environ"):
        MetricsMiddleware(answering([b"ok"]), registry=registry, route="/orders/{id}")  # type: ignore[arg-type]


def test_route_function_that_fails(registry):
    """A route function that raises costs the template, not the count."""
    app = MetricsMiddleware(answering([b"ok"]), registry=registry, route=lambda environ: environ["missing"])
    request(app)
    assert endpoints(registry) == {"__unmatched__"}
