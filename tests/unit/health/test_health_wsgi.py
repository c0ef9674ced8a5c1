"""The endpoints under WSGI: alone, before Flask and Django, mounted, and as views of one's own."""

from __future__ import annotations

import asyncio
import io
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from wsgiref.validate import validator

import pytest
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, JsonResponse
from django.test import override_settings
from django.urls import path as django_path
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from vitalsign.health import Check, HealthChecker

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "sesame"
BEARER = {"HTTP_AUTHORIZATION": f"Bearer {SECRET}"}


class Answer(NamedTuple):
    """What a WSGI application has answered."""

    status: int
    headers: dict[str, str]
    text: str


def ask(app: Any, path: str, method: str = "GET", **environ: str) -> Answer:
    """Send one request to *app* through the checks of the standard library."""
    path, _, query = path.partition("?")
    given = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "test",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.9",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **environ,
    }
    started: list[Any] = []

    def start_response(status: str, headers: Any, _error: Any = None) -> Any:
        started.append((int(status.split()[0]), {name.lower(): value for name, value in headers}))
        return lambda _: None

    body = validator(app)(given, start_response)
    try:
        text = b"".join(body).decode()
    finally:
        body.close()  # type: ignore[attr-defined]  # the validator's has one
    return Answer(*started[0], text)


def flask_app() -> Any:
    """Make a Flask application with a page."""
    app = Flask("shop")
    app.add_url_rule("/cart", view_func=lambda: "a cart", endpoint="cart")
    return app


def before_flask(health: HealthChecker, **options: Any) -> Any:
    """Put health before a Flask application, in the way of the documentation."""
    app = flask_app()
    app.wsgi_app = health.wsgi(app.wsgi_app, **options)
    return app


urlpatterns = [django_path("cart", lambda _: HttpResponse("a cart"))]


def before_django(health: HealthChecker, **options: Any) -> Any:
    """Put health before a Django application, in the way of the documentation."""
    return health.wsgi(WSGIHandler(), **options)


def alone(health: HealthChecker, **options: Any) -> Any:
    """Give the endpoints as an application of their own."""
    return health.wsgi(**options)


@pytest.fixture(autouse=True)
def django() -> Any:
    """Let Django find the page above."""
    if not settings.configured:
        settings.configure(SECRET_KEY="not one")
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=[], DEBUG=False):
        yield


@pytest.fixture(params=[alone, before_flask, before_django])
def serve(request: pytest.FixtureRequest) -> Any:
    """Give each way to serve the endpoints."""
    return request.param


@pytest.fixture
def shop(health: HealthChecker) -> HealthChecker:
    """Give a shop whose database is down."""

    @health.check("database")
    def database() -> None:
        raise ConnectionError("postgresql://shop:hunter2@db.internal/shop refused")

    @health.check("loop", group="liveness")
    async def loop() -> None:
        await asyncio.sleep(0)

    health.add(Check("queue", lambda: True, groups=("nightly",)))
    return health


def test_each_group_has_its_path(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """The paths are those of ASGI, coroutine checks run, and the framework keeps its own pages."""
    app = serve(shop)
    codes = {path: ask(app, path).status for path in ("/health", "/ready", "/startup", "/health/full", "/health/")}
    assert codes == {"/health": 200, "/ready": 503, "/startup": 503, "/health/full": 503, "/health/": 200}
    shop.started()
    assert ask(app, "/startup").status == 200
    if serve is not alone:
        assert ask(app, "/cart").text == "a cart"
    assert ask(app, "/nowhere").status == 404


def test_anonymous_callers_see_status_only(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """A stranger learns neither names nor reasons, the holder of the token both, and nobody the exception's text."""
    app = serve(shop, token=SECRET)
    assert json.loads(ask(app, "/ready", HTTP_AUTHORIZATION="Bearer wrong").text) == {"status": "fail"}
    private = ask(app, "/ready", **BEARER)
    assert json.loads(private.text)["checks"]["database"]["message"] == "raised ConnectionError"
    assert "hunter2" not in private.text
    assert private.headers["cache-control"] == "no-store"


def test_details_by_network_of_the_connection(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """The trusted network sees details; a forwarded request is in none, unless a trusted proxy says so."""
    app = serve(shop, allow=["10.0.0.0/8"], trusted_proxies=["172.16.0.5"])
    near, proxy = {"REMOTE_ADDR": "10.0.0.7"}, {"REMOTE_ADDR": "172.16.0.5"}
    assert "checks" in json.loads(ask(app, "/ready", **near).text)
    for header in ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP"):
        assert "checks" not in json.loads(ask(app, "/ready", **near, **{header: "10.0.0.7"}).text)
    assert "checks" in json.loads(ask(app, "/ready", **proxy, HTTP_X_FORWARDED_FOR="10.0.0.7").text)
    assert "checks" not in json.loads(ask(app, "/ready", **proxy, HTTP_X_FORWARDED_FOR="203.0.113.9").text)


def test_head_and_forms(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """HEAD has the status and headers of GET without a body; the form is the one asked for."""
    app = serve(shop)
    got, head = ask(app, "/ready"), ask(app, "/ready", "HEAD")
    assert (head.status, head.headers, head.text) == (got.status, got.headers, "")
    assert ask(app, "/ready", HTTP_ACCEPT="text/plain").text == "fail\n"
    draft = ask(app, "/ready", HTTP_ACCEPT="application/health+json")
    assert draft.headers["content-type"] == "application/health+json"
    assert ask(app, "/ready", "POST").status == 405


def test_single_check_and_info(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """One check by its name, and what runs here, for those who may see details."""
    app = serve(shop, token=SECRET, info="/health/info")
    assert json.loads(ask(app, "/health/checks/queue", **BEARER).text)["check"] == "queue"
    assert json.loads(ask(app, "/health/info", **BEARER).text)["service"] == "shop"
    for path in ("/health/checks/queue", "/health/checks/nothing", "/health/info"):
        assert ask(app, path).status == 404


def test_check_may_be_named_in_any_language(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """A name outside of ASCII comes as WSGI has it: the bytes of UTF-8, each as a letter."""
    shop.add(Check("größe", lambda: True))
    path = "/health/checks/größe".encode().decode("latin-1")
    assert json.loads(ask(serve(shop, token=SECRET), path, **BEARER).text)["check"] == "größe"


def test_drain_endpoint(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """A POST with the token drains, and is answered when its time is over; without, nothing happens."""
    app = serve(shop, drain="/health/drain", token=SECRET)
    assert ask(app, "/health/drain", "POST").status == 401
    assert not shop.is_draining
    began = time.monotonic()
    assert ask(app, "/health/drain?seconds=0.1", "POST", **BEARER).status == 200
    assert time.monotonic() - began >= 0.1
    assert "draining" in ask(app, "/ready", HTTP_ACCEPT="text/plain", **BEARER).text


def test_mounted_at_the_very_paths(shop: HealthChecker) -> None:
    """Werkzeug's dispatcher leaves nothing of the path to what is mounted there, which answers all the same."""
    flask = flask_app()
    endpoints = shop.wsgi(token=SECRET)
    app = DispatcherMiddleware(flask.wsgi_app, dict.fromkeys(["/health", "/ready"], endpoints))
    codes = {path: ask(app, path).status for path in ("/health", "/ready", "/health/full", "/cart", "/startup")}
    assert codes == {"/health": 200, "/ready": 503, "/health/full": 503, "/cart": 200, "/startup": 404}
    assert json.loads(ask(app, "/health/checks/queue", **BEARER).text)["status"] == "pass"
    below = DispatcherMiddleware(flask.wsgi_app, {"/internal": endpoints})
    assert [ask(below, path).status for path in ("/internal/ready", "/ready")] == [503, 404]
    assert json.loads(ask(below, "/internal", **BEARER).text)["service"] == "shop"


def test_view_of_ones_own(shop: HealthChecker) -> None:
    """A view of Flask or Django can run the checks and show the report as it likes."""
    flask = flask_app()

    @flask.get("/readyz")
    def readyz() -> Any:
        report = shop.run_sync("readiness")
        return report.to_dict(), report.status_code

    answer = ask(flask, "/readyz")
    assert (answer.status, json.loads(answer.text)["service"]) == (503, "shop")

    def view(_: Any) -> Any:
        report = shop.run_sync("readiness")
        return JsonResponse(report.to_dict(details=False), status=report.status_code)

    urlpatterns.append(django_path("readyz", view))
    try:
        with override_settings(ROOT_URLCONF=tuple(urlpatterns)):
            answer = ask(WSGIHandler(), "/readyz")
    finally:
        urlpatterns.pop()
    assert (answer.status, json.loads(answer.text)) == (503, {"status": "fail"})


def test_error_of_ours_is_an_answer_all_the_same(
    shop: HealthChecker, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where vitalsign itself fails, liveness stays 200, for a restart would not help, and readiness turns 503."""

    def broken(group: str) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(shop, "run_sync", broken)
    app = serve(shop)
    live, ready = ask(app, "/health"), ask(app, "/ready")
    assert (live.status, json.loads(live.text)) == (200, {"status": "warn"})
    assert (ready.status, json.loads(ready.text)) == (503, {"status": "fail"})


def test_check_that_does_not_exist_is_an_error_that_names_the_others(shop: HealthChecker) -> None:
    """Asked for from code, a check that there is not is told from one that has failed."""
    for call in (shop.run_check_sync, lambda name: asyncio.run(shop.run_check(name))):
        with pytest.raises(LookupError, match=r"no check 'databse'. There are: database, loop, queue\."):
            call("databse")
    with pytest.raises(LookupError, match="There are: none"):
        HealthChecker("bare", registry=None).run_check_sync("any")
