"""What the middleware can be told, and how several of them stand beside each other."""

from __future__ import annotations

import asyncio
import random
import string
from typing import Any

import prometheus_client
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from tests.unit.asgi.driver import call, counted, endpoints, request
from vitalsign import generate_latest
from vitalsign.asgi import MetricsMiddleware
from vitalsign.exceptions import DuplicateMetricError

pytestmark = pytest.mark.usefixtures("both_ways")


def app_with(registry: Any, *paths: str, **options: Any) -> Starlette:
    """Make an application with routes on these paths, measured with these options."""
    app = Starlette(routes=[Route(path, lambda request: PlainTextResponse("ok")) for path in paths or ["/"]])
    app.add_middleware(MetricsMiddleware, registry=registry, **options)
    return app


# -- options


def test_default_registry(both_ways):
    """Without a registry the metrics stand on prometheus_client's default one, under the options' namespace."""
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok"))])
    app.add_middleware(MetricsMiddleware, namespace=f"default_registry_{both_ways}")
    request(app)
    labels = {"method": "GET", "endpoint": "/", "status": "200"}
    assert REGISTRY.get_sample_value(f"default_registry_{both_ways}_http_requests_total", labels) == 1


def test_namespace(registry):
    """The namespace is the first part of every name."""
    request(app_with(registry, namespace="shop"))
    names = {metric.name for metric in registry.collect()}
    assert {name.removeprefix("shop_http_") for name in names} == {
        "requests",
        "request_duration_seconds",
        "requests_in_progress",
        "request_exceptions",
        "request_size_bytes",
        "response_size_bytes",
        "websocket_connections",
        "websocket_connections_active",
        "websocket_duration_seconds",
        "websocket_messages",
    }


def test_buckets(registry):
    """The duration histogram has the buckets that it was given."""
    request(app_with(registry, buckets=(0.25, 1.0)))
    bounds = [
        sample.labels["le"]
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "http_request_duration_seconds_bucket"
    ]
    assert bounds == ["0.25", "1.0", "+Inf"]


def test_sizes_can_be_left_out(registry):
    """Without sizes there are no size histograms; all else is counted."""
    request(app_with(registry, sizes=False))
    assert "size_bytes" not in generate_latest(registry).decode()
    assert counted(registry) == {("/", "GET", "200"): 1}


def test_status_classes(registry):
    """Grouped, statuses are counted by class, the client's leaving among them."""
    app = app_with(registry, "/", "/x", group_status=True)
    for path in ("/", "/x", "/nowhere"):
        request(app, path)
    assert {key[-1] for key in counted(registry)} == {"2xx", "4xx"}


@pytest.mark.parametrize(
    ("exclude", "measured"),
    [
        ("/metrics", {"/health", "/health/full"}),
        (["/metrics", "/health"], {"/health/full"}),
        (["/health*", "/metric?"], set()),
        (["/[hm]*/full"], {"/health", "/metrics"}),
        ([], {"/metrics", "/health", "/health/full"}),
    ],
)
def test_excluded_paths(exclude, measured, registry):
    """Excluded paths, exact or with wildcards, are answered and leave no figure; a proxy's prefix does not matter."""
    paths = ("/metrics", "/health", "/health/full")
    app = app_with(registry, *paths, exclude=exclude)
    for path in paths:
        assert request(app, path).status == 200
        assert request(app, "/proxy" + path, root_path="/proxy").status == 200
    assert endpoints(registry) == measured
    assert counted(registry, "http_requests_in_progress").get(("GET",), 0) == 0


# -- several at once


def test_two_apps_share_their_metrics(registry):
    """Two applications on one registry are counted together."""
    for path in ("/a", "/b"):
        request(app_with(registry, path), path)
    assert counted(registry) == {("/a", "GET", "200"): 1, ("/b", "GET", "200"): 1}


def test_two_apps_with_a_registry_each():
    """Two applications on two registries, or under two namespaces, are counted apart."""
    first, second = CollectorRegistry(), CollectorRegistry()
    request(app_with(first))
    for _ in range(2):
        request(app_with(second))
    request(app_with(second, namespace="other"))
    assert list(counted(first).values()) == [1]
    assert list(counted(second).values()) == [2]
    assert list(counted(second, "other_http_requests_total").values()) == [1]


def test_middleware_stack_rebuilt(registry):
    """An application whose middleware is built anew goes on counting."""
    app = app_with(registry)
    for _ in range(3):
        app.middleware_stack = None
        request(app)
    assert counted(registry) == {("/", "GET", "200"): 3}


def test_mounted_app_with_middleware_of_its_own(registry):
    """A request that passes two middleware with the same metrics is counted once, by the outer; others each count."""
    other = CollectorRegistry()
    inner = app_with(registry, "/users/{id}")
    inner.add_middleware(MetricsMiddleware, registry=other)
    app = Starlette(routes=[Mount("/api", app=inner)], middleware=[Middleware(MetricsMiddleware, registry=registry)])
    request(app, "/api/users/1")
    assert counted(registry) == {("/api/users/{id}", "GET", "200"): 1}
    assert counted(other) == {("/api/users/{id}", "GET", "200"): 1}
    assert counted(registry, "http_requests_in_progress") == {("GET",): 0}


@pytest.mark.parametrize("make", [Starlette, FastAPI])
def test_served_to_a_test_client(make, registry):
    """Under the frameworks' own test client, with its lifespan, requests are counted by template."""
    app = make()
    app.add_middleware(MetricsMiddleware, registry=registry)
    app.router.add_route("/users/{id}", lambda request: PlainTextResponse("ok"))
    with TestClient(app) as client:
        assert client.get("/users/1").text == "ok"
        assert client.post("/users/1", content=b"body").status_code == 405
    assert counted(registry) == {("/users/{id}", "GET", "200"): 1, ("/users/{id}", "POST", "405"): 1}


# -- names that are taken


def test_names_taken_by_another_library(registry):
    """At its start the middleware names the metric that is taken, who holds it, and the way out."""
    prometheus_client.Counter("http_requests", "Another library's.", registry=registry)

    async def app(*_: Any) -> None:
        """Answer nothing."""

    with pytest.raises(DuplicateMetricError) as caught:
        MetricsMiddleware(app, registry=registry)
    for part in ("HTTP middleware of vitalsign", "http_requests", "prometheus_client.metrics.Counter", "namespace="):
        assert part in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert caught.value.name == "http_requests"
    MetricsMiddleware(app, registry=registry, namespace="shop")


def test_names_taken_by_other_buckets(registry):
    """Two middleware with different buckets on one registry are an error that says so."""
    request(app_with(registry))
    with pytest.raises(DuplicateMetricError, match=r"buckets.*namespace="):
        request_raising(app_with(registry, buckets=(1.0,)))


def request_raising(app: Any) -> None:
    """Make a request whose error is not left to the server."""
    with TestClient(app) as client:
        client.get("/")


# -- bounds


def test_10_000_random_paths_share_one_label(registry):
    """10,000 random paths, as of a scanner, leave one series, and nothing that grows inside."""
    app, chance = app_with(registry, "/users/{id}"), random.Random(20)
    paths = ["/" + "".join(chance.choices(string.printable, k=12)) for _ in range(10_000)]
    assert_bounded(app, [(path, "GET") for path in paths])
    assert counted(registry) == {("__unmatched__", "GET", "404"): 10_000}
    assert counted(registry, "http_requests_in_progress") == {("GET",): 0}
    assert len(generate_latest(registry).splitlines()) < 100


def test_10_000_unknown_or_lower_case_methods_share_one_label(registry):
    """10,000 methods that HTTP does not know, or in lower case, leave one series, and nothing that grows inside."""
    app, chance = app_with(registry, "/users/{id}"), random.Random(20)
    methods = ["".join(chance.choices(string.ascii_letters, k=7)) for _ in range(9_000)]
    methods += [chance.choice(["get", "Post", "hEAD"]) for _ in range(1_000)]
    assert_bounded(app, [("/users/1", method) for method in methods])
    assert counted(registry) == {("/users/{id}", "__other__", "405"): 10_000}
    assert counted(registry, "http_requests_in_progress") == {("__other__",): 0}
    assert len(generate_latest(registry).splitlines()) < 100


def assert_bounded(app: Any, requests: list[tuple[str, str]]) -> None:
    """Make requests, and check that the middleware remembers none of them."""
    stack: Any = app.build_middleware_stack()
    app.middleware_stack = stack
    asyncio.run(every(app, requests))
    assert not stack.app._recorder.known


async def every(app: Any, requests: list[tuple[str, str]]) -> None:
    """Make requests, given by path and method, one after the other."""
    for path, method in requests:
        await call(app, path, method)


@given(
    path=st.text(),
    method=st.text(),
    root_path=st.text(max_size=5),
    headers=st.lists(st.tuples(st.binary(), st.binary()), max_size=3),
)
def test_hostile_requests_are_bounded(path, method, root_path, headers):
    """Whatever a client sends, the labels are ours: a template or a placeholder, a known method or a placeholder."""
    registry = CollectorRegistry()
    app = app_with(registry, "/users/{id}", exclude=["/health*"])
    request(app, "/" + path, method, root_path=root_path, headers=headers)
    for endpoint, counted_method, _ in counted(registry):
        assert endpoint in ("/users/{id}", "__unmatched__")
        assert counted_method in ("__other__", "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT",
                                  "QUERY", "TRACE")  # fmt: skip
    generate_latest(registry).decode()


def test_statuses_made_up_by_the_application_are_bounded(registry):
    """An application that answers with ever new statuses meets the cap on series."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": int(scope["path"][1:]), "headers": []})
        await send({"type": "http.response.body", "body": b""})

    middleware = MetricsMiddleware(app, registry=registry)
    asyncio.run(every(middleware, [(f"/{status}", "GET") for status in range(1, 3001)]))
    assert len(counted(registry)) == 2001
    assert counted(registry)[("__overflow__",) * 3] == 1000
