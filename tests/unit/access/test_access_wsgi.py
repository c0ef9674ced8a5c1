"""One line for each request of a WSGI application, and its id on all others."""

from __future__ import annotations

import io
import logging
import re
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from tests.unit.asgi.driver import endpoints
from vitalsign.logs import current_context
from vitalsign.wsgi import AccessLogMiddleware, MetricsMiddleware

shop = logging.getLogger("tests.shop")


def request(app, path="/", method="GET", *, read=True, **environ):
    """Make one request as a server does: return the status line, the headers and the body."""
    environ = {"PATH_INFO": path, "REQUEST_METHOD": method, "SCRIPT_NAME": "", "QUERY_STRING": "", **environ}
    setup_testing_defaults(environ)
    started = []

    def start_response(status, headers, exc_info=None):
        started[:] = [status, dict(headers)]
        return written.append

    written = []
    body = app(environ, start_response)
    try:
        pieces = [*body] if read is True else [next(iter(body))]
    finally:
        if hasattr(body, "close"):
            body.close()
    return *started, b"".join([*written, *pieces])


def hello(environ, start_response):
    """Answer, and log."""
    shop.info("in the handler")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def access(log):
    """Return the access lines."""
    return [line for line in log.lines if line["logger"] == "vitalsign.access"]


def test_one_line_for_each_request(log):
    """A request's line has method, route, status, duration and bytes; its id is in the response and on all lines."""
    status, headers, body = request(AccessLogMiddleware(hello), "/users/7", path_template="/users/{id}")
    assert (status, body) == ("200 OK", b"hello")
    (line,) = access(log)
    assert {name: line[name] for name in ("method", "route", "status", "response_bytes", "level")} == {
        "method": "GET", "route": "/users/{id}", "status": 200, "response_bytes": 5, "level": "INFO",
    }  # fmt: skip
    assert re.fullmatch("[0-9a-f]{32}", headers["X-Request-ID"])
    assert [line["request_id"] for line in log.lines] == [headers["X-Request-ID"]] * 2
    assert current_context() == {}


def test_middleware_keeps_to_the_specification(log):
    """Between a server and an application that are checked, no rule of WSGI is broken."""
    _, _, body = request(validator(AccessLogMiddleware(validator(hello))))
    assert body == b"hello"


def test_ids(log):
    """A sane id is taken over, another one is not, and the application's own stays."""

    def own(environ, start_response):
        start_response("200 OK", [("x-request-id", "own")])
        return []

    assert request(AccessLogMiddleware(hello), HTTP_X_REQUEST_ID="mine")[1]["X-Request-ID"] == "mine"
    assert request(AccessLogMiddleware(hello), HTTP_X_REQUEST_ID="a\nb")[1]["X-Request-ID"] != "a\nb"
    assert request(AccessLogMiddleware(own))[1] == {"x-request-id": "own"}


def test_a_streamed_body_logs_with_the_id(log):
    """A generator that runs after the application has returned has the request's id and trace, up to its close."""

    def stream(environ, start_response):
        start_response("200 OK", [])
        try:
            for _ in range(3):
                shop.info("piece")
                yield b"x" * 10
        finally:
            shop.info("closed")

    request(AccessLogMiddleware(stream), HTTP_TRACEPARENT="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    assert len({line["request_id"] for line in log.lines}) == 1
    assert len([line for line in log.lines if line.get("trace_id")]) == 5
    assert access(log)[0]["response_bytes"] == 30
    assert current_context() == {}


def test_a_body_that_is_not_read_to_its_end(log):
    """A body that the server closes before its end, as the client has left, is logged as 499 and closed."""
    closed = []

    class Body:
        def __iter__(self):
            return iter([b"a", b"b"])

        def close(self):
            closed.append(True)

    def app(environ, start_response):
        start_response("200 OK", [])
        return Body()

    request(AccessLogMiddleware(app), read="first")
    assert access(log)[0]["status"] == 499
    assert closed == [True]


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not")])
def test_an_answer_without_a_body_is_whole(log, method, status):
    """Where there is no body to send, a server that reads none of it is no client that has left."""

    def app(environ, start_response):
        start_response(status, [])
        return iter([b""])

    environ = {"PATH_INFO": "/", "REQUEST_METHOD": method}
    AccessLogMiddleware(app)(environ, lambda status, headers: None).close()
    assert (access(log)[0]["status"], access(log)[0]["response_bytes"]) == (int(status[:3]), 0)


def test_a_body_of_the_promised_length_is_whole(log):
    """A body of which all promised bytes were read is whole, though the server did not ask for more."""

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "1")])
        return iter([b"a"])

    request(AccessLogMiddleware(app), read="first")
    assert access(log)[0]["status"] == 200


@pytest.mark.parametrize("when", ["before", "during"])
def test_an_exception_is_an_error_with_its_class(log, when):
    """A request that fails, at once or while its body is read, is logged with what failed; the exception goes on."""

    def at_once(environ, start_response):
        raise LookupError

    def later(environ, start_response):
        start_response("200 OK", [])
        yield b"x"
        raise LookupError

    with pytest.raises(LookupError):
        request(AccessLogMiddleware(at_once if when == "before" else later))
    (line,) = access(log)
    assert (line["status"], line["error"]) == (500 if when == "before" else 200, "LookupError")
    assert line.get("response_bytes") == (None if when == "before" else 1)  # whoever answers stands further out


def test_write_is_counted(log):
    """Bytes that an application writes by the callable of `start_response` are counted."""

    def app(environ, start_response):
        start_response("200 OK", [])(b"abc")
        return [b"de"]

    assert request(AccessLogMiddleware(app))[2] == b"abcde"
    assert access(log)[0]["response_bytes"] == 5


def test_a_file_is_left_to_the_server(log):
    """What the server sends by its own file wrapper comes through as it is."""
    seen = []

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "3")])
        seen.append(environ["wsgi.file_wrapper"](io.BytesIO(b"abc")))
        return seen[0]

    environ = {"wsgi.file_wrapper": FileWrapper, "PATH_INFO": "/", "REQUEST_METHOD": "GET"}
    body = AccessLogMiddleware(app)(environ, lambda status, headers: None)
    assert body is seen[0]
    assert (access(log)[0]["status"], access(log)[0]["response_bytes"]) == (200, 3)


def test_a_body_of_known_length_keeps_it(log):
    """Servers that look at the number of pieces, to make a Content-Length, still can."""
    environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET"}
    body = AccessLogMiddleware(hello)(environ, lambda status, headers: None)
    assert len(body) == 1


def test_errors_after_the_start_are_passed_on(log):
    """`exc_info` of a second `start_response` reaches the server, and the line has the second status."""
    given = []

    def start_response(status, headers, exc_info=None):
        given.append((status, exc_info))

    def app(environ, start):
        start("200 OK", [])
        start("500 Oops", [], ("kind", "error", "trace"))
        return []

    list(AccessLogMiddleware(app)({"PATH_INFO": "/", "REQUEST_METHOD": "GET"}, start_response))
    assert given == [("200 OK", None), ("500 Oops", ("kind", "error", "trace"))]
    assert access(log)[0]["status"] == 500


def test_options(log):
    """Paths can be excluded and shown, the logger chosen, ids refused, and two middleware write once."""
    app = AccessLogMiddleware(
        AccessLogMiddleware(hello), exclude="/health", logger="tests.access", paths=True, trust_request_id=False
    )
    request(app, "/health")
    request(app, "/x", HTTP_X_REQUEST_ID="mine")
    (line,) = [line for line in log.lines if line["logger"] == "tests.access"]
    assert line["path"] == "/x"
    assert line["request_id"] != "mine"
    assert access(log) == []


def test_a_status_that_is_none_breaks_nothing(log):
    """A status line that is no number goes to the server as it is."""

    def app(environ, start_response):
        start_response("what", [])
        return []

    assert request(AccessLogMiddleware(app))[0] == "what"


def test_routes_of_flask(log):
    """A Flask application's lines have its templates; what no rule answers shares one name."""
    flask = pytest.importorskip("flask")
    app = flask.Flask("shop")

    @app.get("/users/<int:number>")
    def user(number):
        shop.info("in the handler")
        return "hello"

    app.wsgi_app = AccessLogMiddleware(app.wsgi_app)
    with app.test_client() as client:
        answer = client.get("/users/7", headers={"X-Request-ID": "mine"}, buffered=True)
        client.get("/nowhere", buffered=True)
    assert answer.headers["X-Request-ID"] == "mine"
    assert [line["route"] for line in access(log)] == ["/users/{number}", "__unmatched__"]
    assert {line["request_id"] for line in log.lines if line["logger"] == "tests.shop"} == {"mine"}


@pytest.mark.parametrize("access_first", [True, False])
@pytest.mark.parametrize("path", ["/users/7", "/users/7/", "/nowhere"])
def test_routes_are_those_of_the_metrics(log, registry, access_first, path):
    """In either order beside the metrics, lines name the routes that the series are named by."""
    app = pytest.importorskip("flask").Flask("shop")
    app.add_url_rule("/users/<int:number>/", view_func=lambda number: "hello", endpoint="user")
    if access_first:
        app.wsgi_app = AccessLogMiddleware(MetricsMiddleware(app.wsgi_app, registry=registry))
    else:
        app.wsgi_app = MetricsMiddleware(AccessLogMiddleware(app.wsgi_app), registry=registry)
    request(app.wsgi_app, path)
    assert {line["route"] for line in access(log)} == endpoints(registry)
    assert endpoints(registry) == {"__unmatched__" if path == "/nowhere" else "/users/{number}/"}


def test_the_frameworks_request_is_let_go(log):
    """What was noted to find the route does not stay in the environ, which it refers to."""
    app = pytest.importorskip("flask").Flask("shop")
    app.add_url_rule("/", view_func=lambda: "hello", endpoint="home")
    environ = {}
    setup_testing_defaults(environ)
    body = AccessLogMiddleware(app.wsgi_app)(environ, lambda status, headers, exc_info=None: None)
    assert b"".join(body) == b"hello"
    body.close()
    assert "vitalsign.request" not in environ


def test_a_framework_that_cannot_be_asked_breaks_nothing(log, monkeypatch):
    """If the route cannot be found, the request is answered and logged without it."""
    app = AccessLogMiddleware(hello)
    monkeypatch.setattr(app, "_framework", None)
    assert request(app)[2] == b"hello"
    assert access(log)[0]["route"] == "__unmatched__"
