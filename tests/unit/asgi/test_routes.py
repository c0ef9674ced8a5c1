"""The endpoint label: the full template of the route that answered, however it was reached."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from tests.unit.asgi.driver import counted, endpoints, request
from vitalsign._http_routes import Templates
from vitalsign.asgi import MetricsMiddleware

pytestmark = pytest.mark.usefixtures("both_ways")


async def answer(request: Any) -> Response:
    """Answer in Starlette's way."""
    return PlainTextResponse("ok")


async def api_answer() -> str:
    """Answer in FastAPI's way."""
    return "ok"


def measured(app: Any, registry: Any, **options: Any) -> Any:
    """Add the middleware to an application."""
    app.add_middleware(MetricsMiddleware, registry=registry, **options)
    return app


def with_routes(*routes: Any, **options: Any) -> Starlette:
    """Make a Starlette application."""
    return Starlette(routes=list(routes), **options)


def with_api(*paths: str, router: Any = None) -> Any:
    """Put an endpoint of FastAPI on each of *paths*, on a new application unless another router is given."""
    router = FastAPI() if router is None else router
    for path in paths:
        router.get(path)(api_answer)
    return router


class Copying:
    """Middleware that hands on a copy of the scope, so that what the router leaves in it is lost."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand on a copy."""
        await self.app(dict(scope), receive, send)


class Refusing:
    """Middleware that answers itself, and does not show what it is put round."""

    def __init__(self, app: Any) -> None:
        self._wrapped = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse."""
        await PlainTextResponse("no", 401)(scope, receive, send)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows whenever a template is not found by the one look-up."""
    looked_for = []

    def watch(self: Templates, scope: Any, *rest: Any) -> Any:
        looked_for.append(scope["path"])
        return resolve(self, scope, *rest)

    resolve = Templates.resolve
    monkeypatch.setattr(Templates, "resolve", watch)
    return looked_for


# -- one router


@pytest.mark.parametrize(
    "make", [lambda path: with_routes(Route(path, answer)), with_api], ids=["starlette", "fastapi"]
)
def test_parameterised_route(make, registry):
    """A route's parameters stay names in the label, whatever values requests bring."""
    app = measured(make("/users/{name}"), registry)
    for name in ("ann", "bob", "42"):
        assert request(app, f"/users/{name}").status == 200
    assert counted(registry) == {("/users/{name}", "GET", "200"): 3}


def test_convertor_is_no_part_of_the_template(registry):
    """`{path:path}` and `{id:int}` are shown as `{path}` and `{id}`."""
    app = measured(with_routes(Route("/files/{path:path}", answer), Route("/items/{id:int}", answer)), registry)
    request(app, "/files/a/b/c")
    request(app, "/items/7")
    assert endpoints(registry) == {"/files/{path}", "/items/{id}"}


def test_same_endpoint_under_two_routes(registry):
    """One function that answers two routes is counted under the one that was asked for, in both orders."""
    app = measured(with_routes(Route("/old/{id}", answer), Route("/new/{id}", answer)), registry)
    for path in ("/new/1", "/old/1", "/new/2", "/new/3"):
        request(app, path)
    assert counted(registry) == {("/old/{id}", "GET", "200"): 1, ("/new/{id}", "GET", "200"): 3}


@pytest.mark.parametrize("make", [Starlette, FastAPI])
def test_same_endpoint_under_overlapping_routes(make, registry):
    """Of two routes with one function, the one that allows the method counts, though the other stands first."""
    app = measured(make(), registry)
    app.router.add_route("/x", answer, methods=["PUT"])
    app.router.add_route("/{name}", answer, methods=["GET"])
    request(app, "/x")
    request(app, "/x", "PUT")
    assert counted(registry) == {("/{name}", "GET", "200"): 1, ("/x", "PUT", "200"): 1}


@pytest.mark.parametrize(
    "make", [lambda path: with_routes(Route(path, answer)), with_api], ids=["starlette", "fastapi"]
)
def test_method_not_allowed(make, registry):
    """A method that a route does not take is counted under the route, with status 405."""
    app = measured(make("/users/{id}"), registry)
    assert request(app, "/users/1", "DELETE").status == 405
    assert counted(registry) == {("/users/{id}", "DELETE", "405"): 1}


@pytest.mark.parametrize(
    "make", [lambda path: with_routes(Route(path, answer)), with_api], ids=["starlette", "fastapi"]
)
def test_unmatched_path(make, registry):
    """Paths without a route share one label."""
    app = measured(make("/users/{id}"), registry)
    for number in range(50):
        assert request(app, f"/wp-admin/{number}").status == 404
    assert counted(registry) == {("__unmatched__", "GET", "404"): 50}


@pytest.mark.parametrize(
    "make", [lambda path: with_routes(Route(path, answer)), with_api], ids=["starlette", "fastapi"]
)
def test_not_found_by_the_handler(make, registry):
    """A 404 of the handler's own is counted under its route."""

    async def missing(request: Any) -> Response:
        raise HTTPException(404)

    app = make("/health")
    app.router.routes.append(Route("/users/{id}", missing))
    request(measured(app, registry), "/users/1")
    assert counted(registry) == {("/users/{id}", "GET", "404"): 1}


@pytest.mark.parametrize("make", [lambda *paths: with_routes(*[Route(path, answer) for path in paths]), with_api])
def test_slash_redirect(make, registry):
    """A redirect between /x and /x/ is counted under the template that it leads to; no other path is."""
    app = measured(make("/users/{id}/", "/items/{id}"), registry)
    assert request(app, "/users/1").status == 307
    assert request(app, "/items/1/").status == 307
    assert request(app, "/nowhere/").status == 404
    assert counted(registry) == {
        ("/users/{id}/", "GET", "307"): 1,
        ("/items/{id}", "GET", "307"): 1,
        ("__unmatched__", "GET", "404"): 1,
    }


def test_slash_redirect_inside_a_mount(registry):
    """A slash redirect of a mounted router is counted under the full template."""
    app = measured(with_routes(Mount("/api/{version}", routes=[Route("/users/", answer)])), registry)
    assert request(app, "/api/v1/users").status == 307
    assert endpoints(registry) == {"/api/{version}/users/"}


def test_redirect_of_a_handler(registry):
    """A redirect that a handler sends is counted under its own route."""

    async def redirect(request: Any) -> Response:
        return Response(status_code=307, headers={"location": "/users/"})

    request(measured(with_routes(Route("/go/{where}", redirect)), registry), "/go/home")
    assert endpoints(registry) == {"/go/{where}"}


def test_plain_route_on_fastapi(registry):
    """Routes in Starlette's way on a FastAPI application, its own documentation among them, have their templates."""
    app = with_api("/users/{id}")
    app.add_route("/plain/{id}", answer)
    measured(app, registry)
    for path in ("/plain/1", "/plain/2", "/docs", "/users/1"):
        assert request(app, path).status == 200
    assert endpoints(registry) == {"/plain/{id}", "/docs", "/users/{id}"}


def test_route_added_while_serving(registry):
    """A route that is added after the first request is recognised."""

    async def late(request: Any) -> Response:
        return PlainTextResponse("late")

    app = measured(with_routes(Route("/a", answer)), registry)
    request(app, "/a")
    app.router.routes.append(Mount("/late", routes=[Route("/{id}", late)]))
    request(app, "/late/1")
    assert endpoints(registry) == {"/a", "/late/{id}"}


def test_route_for_the_same_endpoint_added_while_serving(registry):
    """A route that is added for a function which has one already is told apart from it."""
    app = measured(with_api("/a/{id}"), registry)
    request(app, "/a/1")
    with_api("/b/{id}", router=app)
    request(app, "/b/1")
    request(app, "/a/2")
    assert counted(registry) == {("/a/{id}", "GET", "200"): 2, ("/b/{id}", "GET", "200"): 1}


def test_route_added_to_an_included_router_while_serving(registry, resolved):
    """Where FastAPI serves routes that are added to an included router later, they have their prefix, at full speed."""
    router = with_api("/a/{id}", router=APIRouter())
    app = FastAPI()
    app.include_router(router, prefix="/api")
    measured(app, registry)
    request(app, "/api/a/1")
    with_api("/b/{id}", router=router)
    if request(app, "/api/b/1").status != 200:
        pytest.skip("this FastAPI copies the routes of included routers")
    for number in range(10):
        request(app, f"/api/a/{number}")
    assert counted(registry) == {("/api/a/{id}", "GET", "200"): 11, ("/api/b/{id}", "GET", "200"): 1}
    assert len(resolved) == 3


# -- mounts, hosts, included routers


def test_mounted_application(registry):
    """An application mounted under a prefix is counted with the prefix."""
    app = measured(with_routes(Mount("/shop", app=with_routes(Route("/users/{id}", answer)))), registry)
    request(app, "/shop/users/1")
    assert endpoints(registry) == {"/shop/users/{id}"}


def test_parameterised_mounts_inside_each_other(registry):
    """The parameters of mounts stay names too, at every depth."""
    inner = Mount("/{team}", routes=[Route("/users/{id}", answer)])
    app = measured(with_routes(Mount("/api/{version}", routes=[inner])), registry)
    for number in range(5):
        request(app, f"/api/v{number}/team{number}/users/{number}")
    assert counted(registry) == {("/api/{version}/{team}/users/{id}", "GET", "200"): 5}


def test_one_application_mounted_twice(registry):
    """The same routes under two prefixes are told apart, request by request."""
    shared = with_routes(Route("/users/{id}", answer))
    app = measured(with_routes(Mount("/v1", app=shared), Mount("/v2/{region}", app=shared)), registry)
    for path in ("/v1/users/1", "/v2/eu/users/1", "/v1/users/2", "/v2/us/users/2"):
        request(app, path)
    assert counted(registry) == {("/v1/users/{id}", "GET", "200"): 2, ("/v2/{region}/users/{id}", "GET", "200"): 2}


def test_mount_at_the_root(registry):
    """A mount without a path adds nothing to the template."""
    app = measured(with_routes(Mount("/", routes=[Route("/", answer), Route("/users/{id}", answer)])), registry)
    request(app, "/")
    request(app, "/users/1")
    assert endpoints(registry) == {"/", "/users/{id}"}


def test_unmatched_path_inside_a_mount(registry):
    """Paths that a mounted router does not know share the label of all unmatched ones."""
    app = measured(with_routes(Mount("/api", routes=[Route("/users", answer)])), registry)
    for number in range(20):
        request(app, f"/api/{number}")
    assert counted(registry) == {("__unmatched__", "GET", "404"): 20}


def test_mounted_application_without_routes(registry, tmp_path):
    """All that a mount leads to which has no routes, such as files, has one template."""
    (tmp_path / "a.txt").write_text("a")
    app = measured(with_routes(Mount("/static", app=StaticFiles(directory=tmp_path))), registry)
    request(app, "/static/a.txt")
    request(app, "/static/missing.txt")
    assert counted(registry) == {("/static/{path}", "GET", "200"): 1, ("/static/{path}", "GET", "404"): 1}


def test_mounted_application_with_middleware_of_its_own(registry):
    """Middleware round a mounted application does not hide its routes."""
    inner = with_routes(Route("/users/{id}", answer), middleware=[Middleware(Copying)])
    app = measured(with_routes(Mount("/a", app=Copying(inner)), Mount("/b", app=inner)), registry)
    request(app, "/a/users/1")
    request(app, "/b/users/1")
    assert endpoints(registry) == {"/a/users/{id}", "/b/users/{id}"}


def test_mounted_application_that_hides_its_router(registry):
    """Behind a function nobody can look for routes: the template is bounded, and whole if the router left its route."""
    inner = with_routes(Route("/users/{id}", answer))

    async def hide(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    app = measured(with_routes(Mount("/a/{version}", app=hide), Mount("/b", app=hide)), registry)
    for number in range(5):
        request(app, f"/a/v{number}/users/{number}")
    request(app, "/b/users/1")
    assert endpoints(registry) in ({"/a/{version}/users/{id}", "/b/users/{id}"}, {"/a/{version}/{path}", "/b/{path}"})


def test_hidden_router_with_an_endpoint_that_is_also_in_sight(registry):
    """A function that answers a route in sight, too, does not give its template to what is hidden."""
    inner = with_api("/users/{id}")

    async def hide(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    app = with_api("/plain")
    app.mount("/hidden", hide)
    measured(app, registry)
    request(app, "/plain")
    request(app, "/hidden/users/1")
    assert endpoints(registry) == {"/plain", "/hidden/users/{id}"}


def test_host_routing(registry):
    """Routes behind a host have their path as template; the host is no part of it."""
    api = Router([Route("/users/{id}", answer)])
    app = measured(with_routes(Host("{tenant}.example.org", app=api), Route("/users", answer)), registry)
    request(app, "/users/1", host=b"a.example.org")
    request(app, "/users/1", host=b"b.example.org")
    request(app, "/users", host=b"example.org")
    assert counted(registry) == {("/users/{id}", "GET", "200"): 2, ("/users", "GET", "200"): 1}


def test_root_path(registry):
    """The prefix of a proxy is no part of the template, also round mounts."""
    app = measured(with_routes(Route("/users/{id}", answer), Mount("/api", routes=[Route("/{id}", answer)])), registry)
    request(app, "/proxy/users/1", root_path="/proxy")
    request(app, "/proxy/api/1", root_path="/proxy")
    request(app, "/proxy/nowhere", root_path="/proxy")
    assert endpoints(registry) == {"/users/{id}", "/api/{id}", "__unmatched__"}


def test_included_router(registry):
    """Routers included with prefixes, also inside each other, are counted with all prefixes."""
    outer = APIRouter(prefix="/shop")
    outer.include_router(with_api("/users/{id}", router=APIRouter(prefix="/{region}")), prefix="/v1")
    app = FastAPI()
    app.include_router(outer, prefix="/api")
    measured(app, registry)
    assert request(app, "/api/shop/v1/eu/users/1").status == 200
    assert endpoints(registry) == {"/api/shop/v1/{region}/users/{id}"}


def test_one_router_included_twice(registry):
    """A router that is included under two prefixes is told apart."""
    router = with_api("/users/{id}", router=APIRouter())
    app = FastAPI()
    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")
    measured(app, registry)
    for path in ("/v1/users/1", "/v2/users/1", "/v1/users/2"):
        request(app, path)
    assert counted(registry) == {("/v1/users/{id}", "GET", "200"): 2, ("/v2/users/{id}", "GET", "200"): 1}


def test_plain_routes_in_an_included_router(registry):
    """Plain routes and mounts of an included router have the router's prefix."""
    router = APIRouter()
    router.add_route("/plain/{id}", answer)
    router.routes.append(Mount("/deep", routes=[Route("/{id}", answer)]))
    app = FastAPI()
    app.include_router(router, prefix="/api")
    measured(app, registry)
    expected = {"/api/plain/{id}"}
    assert request(app, "/api/plain/1").status == 200
    if request(app, "/api/deep/1").status == 200:  # older FastAPI leaves mounts of included routers out
        expected.add("/api/deep/{id}")
    assert endpoints(registry) - {"__unmatched__"} == expected


def test_method_not_allowed_and_redirect_in_an_included_router(registry):
    """What an included router answers itself has the full template too."""
    app = FastAPI()
    app.include_router(with_api("/users/{id}/", router=APIRouter()), prefix="/api")
    measured(app, registry)
    assert request(app, "/api/users/1/", "DELETE").status == 405
    assert request(app, "/api/users/1").status == 307
    assert counted(registry) == {
        ("/api/users/{id}/", "DELETE", "405"): 1,
        ("/api/users/{id}/", "GET", "307"): 1,
    }


@pytest.mark.parametrize("outer", ["starlette", "fastapi"])
@pytest.mark.parametrize("inner", ["starlette", "fastapi", "included", "plain"])
def test_frameworks_mounted_in_each_other(outer, inner, registry):
    """Starlette in FastAPI and the other way round: the full template, with every kind of route inside."""
    mounted: Any = with_routes(Route("/users/{id}", answer)) if inner == "starlette" else FastAPI()
    if inner == "fastapi":
        with_api("/users/{id}", router=mounted)
    elif inner == "included":
        mounted.include_router(with_api("/{id}", router=APIRouter()), prefix="/users")
    elif inner == "plain":
        mounted.add_route("/users/{id}", answer)
    mounted.add_route("/plain", lambda request: PlainTextResponse("plain"))
    app: Any = FastAPI() if outer == "fastapi" else Starlette()
    app.mount("/api/{version}", mounted)
    measured(app, registry)
    for number in range(3):
        assert request(app, f"/api/v{number}/users/{number}").status == 200
    request(app, "/api/v1/plain")
    request(app, "/api/v1/nowhere")
    assert counted(registry) == {
        ("/api/{version}/users/{id}", "GET", "200"): 3,
        ("/api/{version}/plain", "GET", "200"): 1,
        ("__unmatched__", "GET", "404"): 1,
    }


@pytest.mark.skipif(not hasattr(FastAPI, "frontend"), reason="this FastAPI has no frontend()")
def test_frontend_of_fastapi(registry, tmp_path):
    """The pages of a built frontend have one template, behind its prefix."""
    (tmp_path / "index.html").write_text("<p>shop</p>")
    app = with_api("/users/{id}")
    app.frontend("/shop", directory=tmp_path)
    measured(app, registry)
    request(app, "/shop/cart", headers=[(b"accept", b"text/html")])
    request(app, "/shop/index.html")
    request(app, "/users/1")
    assert endpoints(registry) == {"/shop/{path}", "/users/{id}"}


# -- the middleware's own place


def test_middleware_round_the_application(registry):
    """Wrapped round an application from outside, the middleware sees the same templates."""
    app = with_routes(Mount("/api", routes=[Route("/users/{id}", answer)]))
    request(MetricsMiddleware(app, registry=registry), "/api/users/1")
    assert endpoints(registry) == {"/api/users/{id}"}


def test_middleware_inside_a_mount(registry):
    """On a mounted application alone, the template still begins at the root."""
    inner = measured(with_routes(Route("/users/{id}", answer)), registry)
    app = with_routes(Mount("/api/{version}", app=inner), Route("/free", answer))
    request(app, "/api/v1/users/1")
    request(app, "/free")
    assert endpoints(registry) == {"/api/{version}/users/{id}"}


def test_middleware_that_answers_before_the_router(registry):
    """What middleware answers in a route's place, such as a refusal, is counted under the route."""
    app = with_routes(Route("/users/{id}", answer, methods=["GET"]), middleware=[Middleware(Refusing)])
    measured(app, registry)
    request(app, "/users/1")
    request(app, "/users/1", "POST")
    request(app, "/nowhere")
    assert counted(registry) == {
        ("/users/{id}", "GET", "401"): 1,
        ("/users/{id}", "POST", "401"): 1,
        ("__unmatched__", "GET", "401"): 1,
    }


def test_middleware_that_copies_the_scope(registry):
    """Where middleware keeps what the router found from us, the path is matched once more."""

    async def missing(request: Any) -> Response:
        raise HTTPException(404)

    app = with_routes(Route("/users/{id}", answer), Route("/x/{id}", missing), middleware=[Middleware(Copying)])
    measured(app, registry)
    for path in ("/users/1", "/x/1", "/nowhere"):
        request(app, path)
    request(MetricsMiddleware(Copying(with_routes(Route("/b/{id}", answer))), registry=registry), "/b/1")
    assert counted(registry) == {
        ("/users/{id}", "GET", "200"): 1,
        ("/x/{id}", "GET", "404"): 1,
        ("/b/{id}", "GET", "200"): 1,
        ("__unmatched__", "GET", "404"): 1,
    }


@pytest.mark.parametrize("make", [Starlette, FastAPI])
def test_two_routers_behind_one_middleware(make, registry):
    """Two applications that share an endpoint, chosen by hand, are told apart."""
    apps = {"/a": make(), "/b": make()}
    for prefix, app in apps.items():
        app.router.add_route(prefix + "/{id}", answer)

    async def choose(scope: Any, receive: Any, send: Any) -> None:
        await apps[scope["path"][:2]](scope, receive, send)

    middleware = MetricsMiddleware(choose, registry=registry)
    for path in ("/a/1", "/b/1", "/a/2", "/b/2"):
        request(middleware, path)
    assert counted(registry) == {("/a/{id}", "GET", "200"): 2, ("/b/{id}", "GET", "200"): 2}


def test_many_routers_behind_one_middleware(registry, monkeypatch):
    """What is remembered of routers and routes is bounded, and forgetting it loses no figure."""
    monkeypatch.setattr("vitalsign._http_recorder._MAX_RECORDINGS", 3)
    apps = {f"/{number}": with_routes(Route("/{id}", answer), Route(f"/{number}/x", answer)) for number in range(40)}

    async def choose(scope: Any, receive: Any, send: Any) -> None:
        await apps[scope["path"].removesuffix("/x")](scope, receive, send)

    middleware = MetricsMiddleware(choose, registry=registry)
    for path in [*apps, *(path + "/x" for path in apps)] * 2:
        request(middleware, path)
    assert counted(registry)["/{id}", "GET", "200"] == 80
    assert {value for key, value in counted(registry).items() if key[0] != "/{id}"} == {2}
    assert len(counted(registry)) == 41
    assert len(middleware._recorder.known) <= 3
    assert len(middleware._recorder._templates._trees) <= 16


def test_bare_application(registry):
    """An application without a router is unmatched, unless it names its template in the scope."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith("/users/"):
            scope["path_template"] = "/users/{id}"
        await PlainTextResponse("ok")(scope, receive, send)

    app = MetricsMiddleware(bare, registry=registry)
    request(app, "/users/1")
    request(app, "/random/1")
    assert endpoints(registry) == {"/users/{id}", "__unmatched__"}


def test_application_mounted_in_itself(registry):
    """Routes that lead back to themselves are followed for so long and no longer."""
    app = with_routes(Route("/users/{id}", answer))
    app.mount("/again", app)
    measured(app, registry)
    assert request(app, "/users/1").status == 200
    assert endpoints(registry) == {"/users/{id}"}


# -- what it costs


class Counting(Route):
    """A route that counts how often a path was compared with it."""

    compared = 0

    def matches(self, scope: Any) -> Any:
        """Compare."""
        Counting.compared += 1
        return super().matches(scope)


def comparisons(app: Any, path: str) -> int:
    """Return how many routes one request is compared with."""
    before = Counting.compared
    request(app, path)
    return Counting.compared - before


@pytest.mark.parametrize("path", ["/r250/1", "/nowhere", "/r250/1/"])
def test_300_routes_are_not_matched_again(path, registry):
    """With 300 routes, no path is compared with more routes than by the framework itself; redirects alone are."""

    def endpoint() -> Any:
        return lambda request: PlainTextResponse("ok")

    def make() -> Starlette:
        return with_routes(*[Counting(f"/r{number}/{{id}}", endpoint()) for number in range(300)])

    bare, app = make(), measured(make(), registry)
    request(app, path)
    again = 251 + 300 if path.endswith("/1/") else 0
    assert comparisons(app, path) == comparisons(bare, path) + again


def test_templates_are_looked_up_once(registry, resolved):
    """Whatever kind of route answers, its template is put together at the first request and found at the others."""
    router = with_api("/users/{id}", router=APIRouter())
    app = with_api("/a/{id}", "/b/{id}")
    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")
    app.add_route("/plain/{id}", lambda request: PlainTextResponse("ok"))
    app.mount("/{version}/deep", with_routes(Route("/{id}", answer)))
    measured(app, registry)
    paths = ["/a/1", "/b/1", "/v1/users/1", "/v2/users/1", "/plain/1", "/x/deep/1"]
    for path in paths * 10:
        assert request(app, path).status == 200
    assert len(endpoints(registry)) == 6
    assert sorted(resolved) == sorted(paths)
