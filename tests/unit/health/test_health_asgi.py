"""The endpoints, as an application, as routes, mounted, and under attack."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from vitalsign.exceptions import EndpointOptionError, HealthCheckError
from vitalsign.health import Check, HealthChecker, Result

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "sesame"
METHODS = ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW")


def ask(app: Any, path: str, method: str = "GET", *, client: str = "203.0.113.9", **headers: str) -> httpx.Response:
    """Send one request to *app* in this process, from the address *client*."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as session:
            return await session.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return asyncio.run(send())


def as_application(health: HealthChecker, **settings: Any) -> Any:
    """Give the endpoints as an application of its own."""
    return health.asgi(**settings)


def as_routes(health: HealthChecker, **settings: Any) -> Any:
    """Give the endpoints as routes of a Starlette application, in the way of the documentation."""
    app = Starlette()
    app.routes.extend(health.routes(**settings))
    return app


def as_fastapi_routes(health: HealthChecker, **settings: Any) -> Any:
    """Give the endpoints as routes of a FastAPI application."""
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()
    app.routes.extend(health.routes(**settings))
    return app


@pytest.fixture(params=[as_application, as_routes, as_fastapi_routes])
def serve(request: pytest.FixtureRequest) -> Any:
    """Give each way to serve the endpoints."""
    return request.param


@pytest.fixture
def shop(health: HealthChecker) -> HealthChecker:
    """Give a shop whose database is down and whose cache, not critical, is too."""

    @health.check("database")
    async def database() -> None:
        raise ConnectionError("postgresql://shop:hunter2@db.internal/shop refused")

    health.add(Check("cache", lambda: False, critical=False))
    health.add(Check("queue", lambda: Result("warn", "long", 900, "jobs"), groups=("nightly",)))
    return health


def test_each_group_has_its_path(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """Liveness, readiness, startup and full answer at their paths with the status that their checks make."""
    app = serve(shop)
    codes = {path: ask(app, path).status_code for path in ("/health", "/ready", "/startup", "/health/full")}
    assert codes == {"/health": 200, "/ready": 503, "/startup": 503, "/health/full": 503}
    shop.started()
    assert ask(app, "/startup").status_code == 200


def test_anonymous_answer_is_the_status_alone(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """A stranger learns neither names nor reasons from any endpoint."""
    app = serve(shop, token=SECRET, allow=["10.0.0.0/8"])
    for path in ("/ready", "/health/full"):
        assert ask(app, path, authorization="Bearer wrong").json() == {"status": "fail"}


@pytest.mark.parametrize("accept", ["application/json", "application/health+json"])
def test_details_hold_no_exception_text_host_or_password(
    shop: HealthChecker, serve: Callable[..., Any], accept: str
) -> None:
    """Also those who see details are told the class of an exception, not its text."""
    answer = ask(serve(shop, token=SECRET), "/health/full", authorization=f"Bearer {SECRET}", accept=accept)
    assert answer.headers["content-type"] == accept
    assert "raised ConnectionError" in answer.text
    assert not any(secret in answer.text for secret in ("hunter2", "db.internal", "refused"))


def test_details_by_network_of_the_connection(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """The trusted network sees details; a forged X-Forwarded-For gains nothing, and a proxy inside it gives nothing."""
    app = serve(shop, allow=["10.0.0.0/8"])
    assert "checks" in ask(app, "/ready", client="10.0.0.7").json()
    assert "checks" not in ask(app, "/ready", client="203.0.113.9", x_forwarded_for="10.0.0.7").json()
    for header in ("x_forwarded_for", "forwarded", "x_real_ip"):
        assert "checks" not in ask(app, "/ready", client="10.0.0.7", **{header: "203.0.113.9"}).json()


def test_no_store_always(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """No answer of an endpoint may be cached, whether good, bad, or a refusal."""
    app = serve(shop)
    requests = [("GET", "/health"), ("GET", "/ready"), ("HEAD", "/ready"), ("POST", "/ready")]
    assert {ask(app, path, method).headers["cache-control"] for method, path in requests} == {"no-store"}


def test_head_answers_the_same_status(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """HEAD has the status and headers of GET, and no body."""
    app = serve(shop)
    for path in ("/health", "/ready", "/startup", "/health/full"):
        got, head = ask(app, path), ask(app, path, "HEAD")
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers == got.headers


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_refused(shop: HealthChecker, serve: Callable[..., Any], method: str) -> None:
    """What is neither GET nor HEAD gets 405 with the methods that there are, and runs no check."""
    answer = ask(serve(shop), "/ready", method)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert shop._runner.slots["database"].last is None


def test_degraded_answers_200_with_warn(health: HealthChecker, serve: Callable[..., Any]) -> None:
    """A failing check that is not critical degrades the service, which stays ready."""
    health.add(Check("cache", lambda: False, critical=False))
    answer = ask(serve(health), "/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "warn"})


@pytest.mark.parametrize("accept", ["application/json", "application/health+json", "text/plain"])
def test_single_check_has_a_path(shop: HealthChecker, serve: Callable[..., Any], accept: str) -> None:
    """Who may see details can ask for one check by name, which alone is run and decides."""
    headers = {"authorization": f"Bearer {SECRET}", "accept": accept}
    app = serve(shop, token=SECRET)
    answers = {name: ask(app, f"/health/checks/{name}", **headers) for name in ("database", "cache", "queue")}
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "database": 503,
        "cache": 503,
        "queue": 200,
    }
    assert "900" in answers["queue"].text
    assert answers["queue"].headers["content-type"].startswith(accept)
    assert ask(app, "/health/checks/queue", "POST", **headers).status_code == 405


def test_check_may_be_named_in_any_language(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """A name outside of ASCII is found."""
    shop.add(Check("größe", lambda: True))
    app = serve(shop, token=SECRET)
    assert ask(app, "/health/checks/größe", authorization=f"Bearer {SECRET}").json()["check"] == "größe"


def test_strangers_cannot_tell_which_checks_exist(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """Without the right to see details, a check that exists and one that does not are answered alike, and none runs."""
    app = serve(shop, token=SECRET)
    there, not_there = (ask(app, f"/health/checks/{name}") for name in ("database", "nothing"))
    assert (there.status_code, there.content, there.headers) == (404, not_there.content, not_there.headers)
    assert ask(app, "/health/checks/database", "POST").status_code == 404
    assert shop._runner.slots["database"].last is None
    assert ask(app, "/health/checks/nothing", authorization=f"Bearer {SECRET}").status_code == 404


def test_checks_can_have_another_path_or_none(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """The path above the names can be another one, and left out."""
    near = {"allow": ["10.0.0.0/8"]}
    assert ask(serve(shop, checks="/probe/", **near), "/probe/queue", client="10.0.0.7").status_code == 200
    assert ask(serve(shop, checks="/", **near), "/queue", client="10.0.0.7").status_code == 200
    app = serve(shop, checks=None, **near)
    assert ask(app, "/health/checks/queue", client="10.0.0.7").status_code == 404


def test_text_for_people(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """Plain text on request: the status for strangers, a table for those who may see it."""
    app = serve(shop, allow=["10.0.0.0/8"])
    assert ask(app, "/ready", accept="text/plain").text == "fail\n"
    table = ask(app, "/ready", accept="text/plain", client="10.0.0.7").text
    assert "raised ConnectionError" in table
    assert "hunter2" not in table


def test_info_at_a_path_of_its_own(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """Where it is asked for, name, start and uptime are shown to those who see details; to others nothing is there."""
    app = serve(shop, info="/health/info", token=SECRET)
    shown = ask(app, "/health/info", authorization=f"Bearer {SECRET}").json()
    assert (shown["service"], shown["draining"], shown["paths"]["readiness"]) == ("shop", False, "/ready")
    assert shown["uptime_seconds"] >= 0
    assert ask(app, "/health/info").status_code == 404


def test_application_of_its_own_has_info_at_its_root(shop: HealthChecker) -> None:
    """Alone, the application says at / what runs there; before another one, or with a group there, it does not."""
    secret = {"authorization": f"Bearer {SECRET}"}
    assert ask(shop.asgi(token=SECRET), "/", **secret).json()["service"] == "shop"
    assert ask(shop.asgi(token=SECRET, info=None), "/", **secret).status_code == 404
    before = shop.asgi(Starlette(), token=SECRET)
    assert ask(before, "/", **secret).headers.get("cache-control") is None
    assert "checks" in ask(shop.asgi(token=SECRET, paths={"full": "/"}), "/", **secret).json()


def test_application_before_another_one(shop: HealthChecker) -> None:
    """Put before an application, health answers at its paths, and everything else goes on, lifespan too."""
    seen = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], scope.get("path")))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = shop.asgi(inner)
    assert [ask(app, path).status_code for path in ("/health", "/cart", "/")] == [200, 204, 204]

    async def send(_: Any) -> None:
        pass

    for kind in ("lifespan", "websocket"):
        asyncio.run(app({"type": kind}, _never, send))
    assert seen == [("http", "/cart"), ("http", "/"), ("lifespan", None), ("websocket", None)]


def test_drain_endpoint(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """A POST by somebody who may see details lets the service drain, and is answered when its time is over."""
    app = serve(shop, drain="/health/drain", token=SECRET)
    secret = {"authorization": f"Bearer {SECRET}"}
    began = time.monotonic()
    answer = ask(app, "/health/drain?seconds=0.1", "POST", **secret)
    assert time.monotonic() - began >= 0.1
    assert (answer.status_code, answer.json()) == (200, {"status": "draining"})
    assert answer.headers["cache-control"] == "no-store"
    assert ask(app, "/health").status_code == 200
    assert ask(app, "/ready", **secret).json()["checks"]["draining"]["status"] == "fail"
    assert ask(app, "/health/drain", "POST", **secret).status_code == 200


@pytest.mark.parametrize(
    ("method", "query", "authorization", "code"),
    [
        ("POST", "", "Bearer wrong", 401),
        ("GET", "", f"Bearer {SECRET}", 405),
        ("HEAD", "", f"Bearer {SECRET}", 405),
        *(("POST", f"?seconds={bad}", f"Bearer {SECRET}", 400) for bad in ("soon", "-1", "nan", "inf", "3601", "")),
    ],
)
def test_drain_that_is_refused_changes_nothing(
    shop: HealthChecker, serve: Callable[..., Any], method: str, query: str, authorization: str, code: int
) -> None:
    """Without the token, by a method that changes nothing, or for a time that is none, the service stays as it is."""
    app = serve(shop, drain="/health/drain", token=SECRET)
    answer = ask(app, "/health/drain" + query, method, authorization=authorization)
    assert (answer.status_code, shop.is_draining) == (code, False)
    assert answer.headers["cache-control"] == "no-store"


def test_drain_is_for_trusted_networks(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """Where networks are trusted and there is no token, others get 403; there is no such path unless asked for."""
    app = serve(shop, drain="/health/drain", allow=["10.0.0.0/8"])
    assert ask(app, "/health/drain", "POST").status_code == 403
    assert ask(app, "/health/drain", "POST", client="10.0.0.7", x_forwarded_for="10.0.0.7").status_code == 403
    assert ask(serve(shop, allow=["10.0.0.0/8"]), "/health/drain", "POST", client="10.0.0.7").status_code == 404
    assert not shop.is_draining
    assert ask(app, "/health/drain", "POST", client="10.0.0.7").status_code == 200
    assert shop.is_draining


def test_drain_that_nobody_could_use_is_refused(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """A drain endpoint without token and network is an error when it is made."""
    with pytest.raises(EndpointOptionError, match=r"closed to everybody.*Give a token="):
        serve(shop, drain="/health/drain")


def test_paths_can_be_changed_left_out_and_added(shop: HealthChecker, serve: Callable[..., Any]) -> None:
    """A path can be another one, none, or that of a group of one's own; a trailing slash is no other path."""
    app = serve(shop, paths={"readiness": "/readyz/", "startup": None, "nightly": "/health/nightly"}, token=SECRET)
    assert ask(app, "/readyz").status_code == 503
    assert ask(app, "/ready").status_code == ask(app, "/startup").status_code == 404
    nightly = ask(app, "/health/nightly", authorization=f"Bearer {SECRET}").json()
    assert nightly["checks"]["queue"]["value"] == 900


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        ({"readiness": "ready"}, "'ready' is no path for the health of 'readiness'"),
        ({"readiness": ""}, "'' is no path"),
        ({"readiness": "/{probe}"}, "is no path"),
        ({"readiness": "/health"}, "'/health' is to be that of both 'liveness' and 'readiness'"),
        ({"full": "/"}, "both 'full' and 'info='"),
    ],
)
def test_path_that_cannot_be_served_is_refused(shop: HealthChecker, paths: dict[str, str], complaint: str) -> None:
    """A path without a slash, with a parameter, or given twice is an error when the application is made."""
    with pytest.raises(HealthCheckError, match=complaint):
        shop.asgi(paths=paths, info="/")


def test_application_knows_no_other_path(shop: HealthChecker) -> None:
    """The application of its own answers 404 elsewhere, uncached, and accepts a trailing slash."""
    app = shop.asgi()
    answer = ask(app, "/")
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
    assert ask(app, "/health/").status_code == 200


def test_root_can_be_a_path(shop: HealthChecker) -> None:
    """An application of its own can answer for a group at its root."""
    assert ask(shop.asgi(paths={"readiness": "/"}), "/").status_code == 503


def test_application_can_be_mounted(shop: HealthChecker) -> None:
    """Under a mount, and behind a proxy that strips a prefix, the paths follow the prefix."""
    app = Starlette(routes=[Mount("/internal", shop.asgi())])
    assert ask(app, "/internal/ready").status_code == 503
    assert ask(app, "/ready").status_code == 404


def test_group_of_a_path_without_checks_is_not_passed(health: HealthChecker, caplog: pytest.LogCaptureFixture) -> None:
    """A path for a group that no check is in answers 503, and the log says which groups there are."""
    app = health.asgi(paths={"nightli": "/nightly"})
    assert ask(app, "/nightly").status_code == 503


def test_error_of_ours_is_an_answer_all_the_same(
    shop: HealthChecker, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where vitalsign itself fails, liveness stays 200, for a restart would not help, and readiness turns 503."""

    async def broken(group: str) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(shop, "run", broken)
    app = serve(shop)
    live, ready = ask(app, "/health"), ask(app, "/ready")
    assert (live.status_code, live.json()) == (200, {"status": "warn"})
    assert (ready.status_code, ready.json()) == (503, {"status": "fail"})
    assert live.headers["cache-control"] == ready.headers["cache-control"] == "no-store"


def test_routes_are_hidden_from_openapi(shop: HealthChecker) -> None:
    """Health endpoints are not part of the documented API of a FastAPI application, and have names to refer to."""
    app = as_fastapi_routes(shop)
    assert app.openapi()["paths"] == {}
    assert app.url_path_for("health:readiness") == "/ready"


def test_application_follows_the_lifespan() -> None:
    """Served alone, the application completes startup and shutdown."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    app = HealthChecker("shop", registry=None).asgi()
    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_websocket_is_refused() -> None:
    """A websocket to the application is closed, not left waiting."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    app = HealthChecker("shop", registry=None).asgi()
    asyncio.run(app({"type": "websocket", "path": "/health"}, receive, send))
    assert sent == ["websocket.close"]


def test_disconnected_client_passes_its_cancellation_on(shop: HealthChecker) -> None:
    """A cancelled request stays cancelled: it is no error of ours to be answered."""

    async def scenario() -> None:
        app = shop.asgi()
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/ready", "headers": [], "client": None}

        async def send(_: Any) -> None:
            raise AssertionError("nobody is there")

        task = asyncio.create_task(app(scope, _never, send))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scenario())


async def _never() -> Any:
    return await asyncio.get_running_loop().create_future()
