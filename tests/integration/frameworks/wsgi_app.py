"""
The same small service in each WSGI framework, measured; the variable FRAMEWORK says in which.

Whatever the framework, `/api/{version}/items/{id}` echoes, `/api/{version}/slash/` wants its slash, `/stream` sends
three chunks, `/broken` breaks off after the first, `/endless` sends until nobody listens, `/file` is a file, and
`/fail` raises.
"""

from __future__ import annotations

import os
import sys
import time
import types
from typing import TYPE_CHECKING, Any

import prometheus_client

from vitalsign import generate_latest
from vitalsign.metrics.exposition import generate_openmetrics
from vitalsign.wsgi import MetricsMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTIONS: dict[str, Any] = {"first_byte": True}


def three() -> Iterator[bytes]:
    """Send 30 bytes."""
    for _ in range(3):
        yield b"x" * 10
        time.sleep(0.01)


def broken() -> Iterator[bytes]:
    """Break off."""
    yield b"x" * 10
    raise LookupError("as asked, late")


def endless() -> Iterator[bytes]:
    """Never end."""
    while True:
        yield b"x" * 1000
        time.sleep(0.01)


def flask() -> Any:
    """Build it with Flask."""
    from flask import Flask, Response, request, send_file

    app = Flask("service")

    @app.route("/api/<version>/items/<int:number>", methods=["GET", "POST"])
    def item(**_: Any) -> Any:
        return request.get_data()

    @app.route("/api/<version>/slash/")
    def slash(version: str) -> Any:
        return b""

    app.add_url_rule("/stream", "stream", lambda: Response(three()))
    app.add_url_rule("/broken", "broken", lambda: Response(broken()))
    app.add_url_rule("/endless", "endless", lambda: Response(endless()))
    app.add_url_rule("/file", "file", lambda: send_file(__file__))

    @app.route("/fail")
    def fail() -> Any:
        raise LookupError("as asked")

    app.wsgi_app = MetricsMiddleware(app.wsgi_app, **OPTIONS)  # type: ignore[method-assign]
    return app


def refusing(get_response: Any) -> Any:
    """Make middleware of Django's that answers before a route is chosen."""
    from django.http import HttpResponse

    return lambda request: HttpResponse(status=403) if "X-Refuse" in request.headers else get_response(request)


def django() -> Any:
    """Build it with Django."""
    from pathlib import Path

    from django import setup
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import FileResponse, HttpResponse, StreamingHttpResponse
    from django.urls import include, path, re_path

    def fail(request: Any) -> Any:
        raise LookupError("as asked")

    def item(request: Any, **_: Any) -> Any:
        return HttpResponse(request.body)

    urls: Any = types.ModuleType("service_urls")
    urls.urlpatterns = [
        re_path(
            r"^api/(?P<version>v[0-9]+)/",
            include([path("items/<int:number>", item), path("slash/", item)]),
        ),
        path("stream", lambda request: StreamingHttpResponse(three())),
        path("broken", lambda request: StreamingHttpResponse(broken())),
        path("endless", lambda request: StreamingHttpResponse(endless())),
        path("file", lambda request: FileResponse(Path(__file__).open("rb"))),  # noqa: SIM115
        path("fail", fail),
    ]
    sys.modules["service_urls"] = urls
    settings.configure(
        ROOT_URLCONF="service_urls",
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware", f"{__name__}.refusing"],
        SECRET_KEY="not one",
    )
    setup()
    return MetricsMiddleware(get_wsgi_application(), **OPTIONS)


def bare() -> Any:
    """Build it with nothing."""
    streams = {"/stream": three, "/broken": broken, "/endless": endless}

    def app(environ: Any, start_response: Any) -> Any:
        path: str = environ["PATH_INFO"]
        if path == "/fail":
            raise LookupError("as asked")
        if path.startswith("/api/v1/items/"):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]
        if path == "/file":
            start_response("200 OK", [("Content-Length", str(os.path.getsize(__file__)))])  # noqa: PTH202
            return environ["wsgi.file_wrapper"](open(__file__, "rb"))  # noqa: PTH123
        start_response("200 OK" if path in streams else "404 Not Found", [("Content-Type", "text/plain")])
        return streams[path]() if path in streams else [b""]

    def route(environ: Any) -> str | None:
        path: str = environ["PATH_INFO"]
        if path.startswith("/api/v1/items/"):
            return "/api/{version}/items/{number}"
        return path if path in {*streams, "/fail", "/file"} else None

    return MetricsMiddleware(app, route=route, **OPTIONS)


BUILDERS = {"bare": bare, "django": django, "flask": flask}
service = BUILDERS[os.environ["FRAMEWORK"]]()


def app(environ: Any, start_response: Any) -> Any:
    """Answer the path of the metrics page, and hand on all others."""
    if environ["PATH_INFO"] != "/metrics":
        return service(environ, start_response)
    is_open = "openmetrics" in environ.get("HTTP_ACCEPT", "")
    page = (generate_openmetrics if is_open else generate_latest)(prometheus_client.REGISTRY)
    start_response("200 OK", [("Content-Length", str(len(page)))])
    return [page]


def serve(by: str, port: int) -> None:
    """Serve by a server of the standard library's or werkzeug's, with a thread for each request."""
    if by == "werkzeug":
        from werkzeug.serving import run_simple

        run_simple("127.0.0.1", port, app, threaded=True)
    else:
        from socketserver import ThreadingMixIn
        from wsgiref.simple_server import WSGIServer, make_server

        class Server(ThreadingMixIn, WSGIServer):
            daemon_threads = True

        make_server("127.0.0.1", port, app, Server).serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
