"""Templates of frameworks that route without Starlette, and what they leave behind in theirs."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from flask import Flask
from flask import request as flask_request
from prometheus_client import REGISTRY
from quart import Quart

from tests.unit.asgi.driver import counted, endpoints, request
from tests.unit.wsgi.test_wsgi_middleware import request as wsgi_request
from vitalsign._http_frameworks import _from_django, _from_werkzeug
from vitalsign.asgi import MetricsMiddleware
from vitalsign.wsgi import MetricsMiddleware as WsgiMiddleware

pytestmark = pytest.mark.usefixtures("both_ways")


@pytest.mark.parametrize(
    ("route", "template"),
    [
        ("", "/"),
        ("users/<int:id>/", "/users/{id}/"),
        ("files/<path:name>", "/files/{name}"),
        ("<slug>/", "/{slug}/"),
        (r"^articles/(?P<year>[0-9]{4})/$", "/articles/{year}/"),
        (r"^a/(?P<x>(b|c(d)?)+)/e\.html$", "/a/{x}/e.html"),
        (r"^a/(\d+)/\Z", "/a/{group}/"),
        (r"api/^v(?P<version>\d+)/<int:id>", "/api/v{version}/{id}"),
        (r"^paren\(s\)/(?P<x>\))$", "/paren(s)/{x}"),
    ],
)
def test_routes_of_django(route, template):
    """Routes of path() and expressions of re_path() become templates with names in braces."""
    assert _from_django(route) == template


@pytest.mark.parametrize(
    ("rule", "template"),
    [
        ("/", "/"),
        ("/users/<int:id>", "/users/{id}"),
        ("/<lang>/<path:rest>", "/{lang}/{rest}"),
        ("/<any(a,b):kind>/<string(length=2):code>", "/{kind}/{code}"),
    ],
)
def test_rules_of_werkzeug(rule, template):
    """Rules of Flask and Quart become templates with names in braces."""
    assert _from_werkzeug(rule) == template


def flask_app(**options: Any) -> Flask:
    """Make an application with one route."""
    app = Flask("service")
    app.add_url_rule("/users/<int:id>/", "user", lambda **found: str(found), methods=["GET"])
    return app


REQUESTS = [("/users/1/", "GET"), ("/users/2/", "GET"), ("/users/1", "GET"), ("/users/1/", "POST"), ("/no", "GET")]
FIGURES = {
    ("/users/{id}/", "GET", "200"): 2,
    ("/users/{id}/", "GET", "308"): 1,
    ("/users/{id}/", "POST", "405"): 1,
    ("__unmatched__", "GET", "404"): 1,
}


@pytest.mark.parametrize("how", ["wsgi_app", "around", "twice around"])
def test_flask(how, registry):
    """However the middleware is put round Flask, all that a route answers or turns away has its template."""
    app: Any = flask_app()
    if how == "wsgi_app":
        app.wsgi_app = WsgiMiddleware(app.wsgi_app, registry=registry)
    else:
        app = WsgiMiddleware(app, registry=registry)
        if how == "twice around":
            app = WsgiMiddleware(app, registry=registry)
    for path, method in REQUESTS:
        wsgi_request(app, path, method, SCRIPT_NAME="")
    assert counted(registry) == FIGURES


def test_quart(registry):
    """The same holds for Quart."""
    app = Quart("service")

    @app.route("/users/<int:number>/", methods=["GET"])
    async def user(number: int) -> str:
        return str(number)

    app.asgi_app = MetricsMiddleware(app.asgi_app, registry=registry)  # type: ignore[method-assign,assignment]
    for path, method in REQUESTS:
        request(app, path, method)
    assert {(key[0].replace("number", "id"), *key[1:]): value for key, value in counted(registry).items()} == FIGURES


def test_mounted_flask(registry):
    """An application under a prefix of the server's has the same templates there, slash redirects too."""
    app = WsgiMiddleware(flask_app(), registry=registry)
    for path, method in REQUESTS:
        wsgi_request(app, path, method, SCRIPT_NAME="/shop")
    assert counted(registry) == FIGURES


def test_flask_that_raises(registry):
    """An exception that Flask lets through has the template of its route."""
    app = flask_app()

    def fail() -> Any:
        raise LookupError

    app.add_url_rule("/fail/<kind>", "fail", lambda kind: fail())
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(LookupError):
        wsgi_request(WsgiMiddleware(app, registry=registry), "/fail/badly")
    assert endpoints(registry) == {"/fail/{kind}"}
    assert counted(registry, "http_request_exceptions_total") == {("/fail/{kind}", "LookupError", "GET"): 1}


def test_requests_are_let_go(registry):
    """A request that has been answered does not wait for a garbage collection."""
    app, seen = flask_app(), []
    app.add_url_rule("/seen", "seen", lambda: str(seen.append(weakref.ref(flask_request._get_current_object()))))
    measured = WsgiMiddleware(app, registry=registry)
    gc.disable()
    try:
        body = wsgi_request(measured, "/seen").body
        del body
        assert [each() for each in seen] == [None]
    finally:
        gc.enable()


def test_framework_that_cannot_be_changed(registry):
    """An application object that takes no note costs the template, not the request."""

    class Fixed:
        __slots__ = ()
        url_map = None

        def create_url_adapter(self, request: Any) -> Any:
            """Do nothing."""

        def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            return [b"ok"]

    where = {"where": "http.framework"}
    before = REGISTRY.get_sample_value("vitalsign_internal_errors_total", where) or 0
    assert wsgi_request(WsgiMiddleware(Fixed(), registry=registry)).text == "ok"
    assert endpoints(registry) == {"__unmatched__"}
    assert REGISTRY.get_sample_value("vitalsign_internal_errors_total", where) == before + 1
