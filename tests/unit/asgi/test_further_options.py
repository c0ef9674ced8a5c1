"""Further labels, time to first byte, OpenTelemetry's names, exemplars; names that are taken; series that go."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import prometheus_client
import pytest
import trio
from prometheus_client import REGISTRY, CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.unit.asgi.driver import Client, call, counted, request
from vitalsign import Counter, generate_latest
from vitalsign.asgi import AccessLogMiddleware, MetricsMiddleware, RequestInfo
from vitalsign.exceptions import DuplicateMetricError, EndpointOptionError, MetricError, VitalsignError
from vitalsign.metrics.caching import ChildCache
from vitalsign.metrics.exposition import generate_openmetrics
from vitalsign.wsgi import AccessLogMiddleware as WsgiAccessLogMiddleware
from vitalsign.wsgi import MetricsMiddleware as WsgiMiddleware

pytestmark = pytest.mark.usefixtures("both_ways")

START = {"type": "http.response.start", "status": 200, "headers": [(b"X-Cache", b"hit")]}
END = {"type": "http.response.body", "body": b"ok"}
TRACED = {"headers": [(b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]}


def app_with(registry: Any, **options: Any) -> Starlette:
    """Make a measured application with one parameterised route."""

    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse("ok", int(request.path_params["status"]), {"X-Cache": "hit"})

    app = Starlette(routes=[Route("/{status}", answer, methods=["GET", "POST"])])
    app.add_middleware(MetricsMiddleware, registry=registry, **options)
    return app


def failures(where: str) -> float:
    """Return what has been counted as failed at one place."""
    return REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": where}) or 0.0


# -- further labels


def test_labels_from_request_and_response(registry):
    """Label functions see both sides of a request; their labels stand on the count and the duration."""
    seen: list[RequestInfo] = []
    labels = {
        "tenant": lambda info: info.header("X-Tenant"),
        "cache": lambda info: info.response_header("x-cache"),
        "nothing": lambda info: seen.append(info),
    }
    app = app_with(registry, labels=labels)
    request(app, "/201", headers=[(b"x-tenant", b"acme")])
    told = {"tenant": "acme", "cache": "hit", "nothing": ""}
    common = {"method": "GET", "endpoint": "/{status}"}
    assert registry.get_sample_value("http_requests_total", {**common, "status": "201", **told}) == 1
    assert registry.get_sample_value("http_request_duration_seconds_count", {**common, **told}) == 1
    assert counted(registry, "http_response_size_bytes_count") == {("/{status}", "GET"): 1}
    (info,) = seen
    assert (info.method, info.path, info.scheme, info.http_version, info.status, info.error) == (
        "GET", "/201", "http", "1.1", 201, None,
    )  # fmt: skip
    assert info.scope["path_params"] == {"status": "201"}


def test_labels_that_change_from_request_to_request(registry):
    """Requests of one route with different values are told apart, each at the first time and later."""
    app = app_with(registry, labels={"tenant": lambda info: info.header("x-tenant")})
    for tenant in (b"a", b"b", b"a", b"b", b"b"):
        request(app, "/200", headers=[(b"x-tenant", tenant)])
    assert {key[-1]: value for key, value in counted(registry).items()} == {"a": 2, "b": 3}


def test_label_function_that_raises(registry, caplog):
    """A label function that raises gives `__error__`, is logged once and counted, and the request is answered."""
    app = app_with(registry, labels={"broken": lambda info: info.scope["missing"]})
    before = failures("label broken of HTTP requests")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert request(app, "/200").text == "ok"
    assert counted(registry) == {("__error__", "/{status}", "GET", "200"): 3}
    assert failures("label broken of HTTP requests") == before + 3


def test_label_values_are_bounded(registry):
    """Values from clients meet the cap on series, and a long one is cut: neither series nor their text can grow."""
    app = app_with(registry, labels={"tenant": lambda info: info.header("x-tenant")})
    stack: Any = app.build_middleware_stack()
    app.middleware_stack = stack

    async def many() -> None:
        for number in range(2_500):
            await call(app, "/200", headers=[(b"x-tenant", b"%d" % number + b"x" * 10_000)])

    asyncio.run(many())
    assert len(counted(registry)) == 2_001
    assert counted(registry)[("__overflow__",) * 4] == 500
    assert max(len(key[-1]) for key in counted(registry)) == 128


def test_label_that_the_metrics_have_already(registry):
    """A further label cannot have the name of one that is there."""
    with pytest.raises(MetricError):
        MetricsMiddleware(app_with(registry), registry=CollectorRegistry(), labels={"status": str})
    with pytest.raises(MetricError, match="url_scheme"):
        MetricsMiddleware(
            app_with(registry), registry=CollectorRegistry(), names="opentelemetry", labels={"url_scheme": str}
        )


def test_labels_of_a_request_that_fails(registry):
    """A label can come from the exception that left the application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError

    request(MetricsMiddleware(app, registry=registry, labels={"error": lambda info: type(info.error).__name__}))
    assert counted(registry) == {("__unmatched__", "LookupError", "GET", "500"): 1}


# -- time to the first byte


def test_time_to_first_byte(registry, clock):
    """The first byte of a stream has its own histogram; the duration goes on to the last one."""

    async def chunks() -> Any:
        clock.advance(1.0)
        yield b"a"
        clock.advance(2.0)
        yield b"b"

    app = Starlette(routes=[Route("/", lambda request: StreamingResponse(chunks()))])
    request(MetricsMiddleware(app, registry=registry, first_byte=True))
    assert counted(registry, "http_response_first_byte_seconds_sum") == {("/", "GET"): 1.0}
    assert counted(registry, "http_request_duration_seconds_sum") == {("/", "GET"): 3.0}


def test_time_to_first_byte_of_a_response_in_one_piece(registry, clock):
    """A response in one piece, or with no body, has its first byte when it is sent; one that fails has none."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        clock.advance(0.5)
        if scope["path"] == "/fail":
            raise ValueError
        await send(START)
        await send({**END, "body": b"" if scope["path"] == "/empty" else b"ok"})

    app = MetricsMiddleware(app, registry=registry, first_byte=True)
    for path in ("/", "/empty", "/fail"):
        request(app, path)
    assert counted(registry, "http_response_first_byte_seconds_sum") == {("__unmatched__", "GET"): 1.0}
    assert counted(registry, "http_response_first_byte_seconds_count") == {("__unmatched__", "GET"): 2}


# -- OpenTelemetry's names


def test_opentelemetry_names(registry, clock):
    """By OpenTelemetry's names, each metric has the attributes and the buckets of its semantic conventions."""
    app = app_with(registry, names="opentelemetry")
    request(app, "/201", "POST", client=Client([b"12345"]))
    labels = {
        "http_request_method": "POST",
        "http_route": "/{status}",
        "http_response_status_code": "201",
        "url_scheme": "http",
        "network_protocol_version": "1.1",
        "error_type": "",
    }
    for name in ("request_duration_seconds", "request_body_size_bytes", "response_body_size_bytes"):
        assert registry.get_sample_value(f"http_server_{name}_count", labels) == 1
    active = {"http_request_method": "POST", "url_scheme": "http"}
    assert registry.get_sample_value("http_server_active_requests", active) == 0
    bounds = ["0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1.0", "2.5", "5.0", "7.5",
              "10.0", "+Inf"]  # fmt: skip
    assert [
        sample.labels["le"]
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "http_server_request_duration_seconds_bucket"
    ] == bounds
    assert not any(metric.name.startswith("http_request") for metric in registry.collect())


def test_opentelemetry_errors(registry):
    """A failure is told by `error_type`: the exception's class, or else the status; a client that left is none."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/raise":
            raise LookupError
        if scope["path"] == "/leave":
            raise asyncio.CancelledError
        await send({**START, "status": 503 if scope["path"] == "/503" else 404})
        await send(END)

    measured = MetricsMiddleware(app, registry=registry, names="opentelemetry")
    for path in ("/raise", "/503", "/404"):
        request(measured, path)
    with pytest.raises(asyncio.CancelledError):
        request(measured, "/leave")
    found = {
        (sample.labels["http_response_status_code"], sample.labels["error_type"])
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "http_server_request_duration_seconds_count"
    }
    assert found == {("500", "LookupError"), ("503", "503"), ("404", ""), ("499", "")}


def test_opentelemetry_labels_are_bounded(registry):
    """Methods, schemes and versions that a client makes up share one value each, or none."""
    app = app_with(registry, names="opentelemetry")
    for number in range(50):
        request(app, f"/x{number}/y", f"M{number}", scheme=f"s{number}", http_version=f"9.{number}")
    (labels,) = [
        sample.labels
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "http_server_request_duration_seconds_count"
    ]
    assert labels == {
        "http_request_method": "_OTHER", "http_route": "", "http_response_status_code": "404",
        "url_scheme": "_OTHER", "network_protocol_version": "", "error_type": "",
    }  # fmt: skip


def test_unknown_names(registry):
    """Names of a kind that is not known are an error that lists the known ones."""
    names: Any = "otel"
    with pytest.raises(MetricError, match=r"opentelemetry.*prometheus"):
        MetricsMiddleware(app_with(registry), registry=registry, names=names)


@pytest.mark.parametrize("labels", [["plan"], {"plan": "x-plan"}])
def test_labels_without_functions(labels, registry):
    """Further labels that are no functions are an error at the start, not one of each request."""
    with pytest.raises(MetricError, match="for each name a function"):
        MetricsMiddleware(app_with(registry), registry=registry, labels=labels)


@pytest.mark.parametrize("exclude", ["metrics", ["/health", "ready*"], ["/x", 7]])
@pytest.mark.parametrize("make", [MetricsMiddleware, AccessLogMiddleware, WsgiMiddleware, WsgiAccessLogMiddleware])
def test_excluded_path_that_fits_none(make, exclude):
    """A pattern to exclude that can fit no path, for want of its slash, is an error."""
    options = {"registry": CollectorRegistry()} if "Metrics" in make.__name__ else {}
    with pytest.raises(EndpointOptionError, match="fits no path"):
        make(lambda *_: None, exclude=exclude, **options)


# -- exemplars


def test_exemplars_can_be_switched_off(registry):
    """Without exemplars the middleware's metrics bear no ids of a trace; with them they do."""
    other = CollectorRegistry()
    request(app_with(registry), "/200", **TRACED)
    request(app_with(other, exemplars=False), "/200", **TRACED)
    assert "trace_id" in generate_openmetrics(registry).decode()
    for _ in range(3):
        page = generate_openmetrics(other).decode()
        request(app_with(other, exemplars=False), "/200", **TRACED)
        assert "http_requests_total" in page
        assert "trace_id" not in page


# -- names that are taken


def taken() -> CollectorRegistry:
    """Return a registry on which another library has a name of ours."""
    registry = CollectorRegistry()
    prometheus_client.Counter("http_requests", "Another library's.", registry=registry)
    return registry


def test_names_taken_fail_the_start_of_the_lifespan():
    """Where the framework makes its middleware lazily, the lifespan fails to start, with the names and the way out."""
    app = app_with(taken())
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(DuplicateMetricError):
        asyncio.run(app({"type": "lifespan", "state": {}}, receive, send))
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    for part in ("http_requests", "prometheus_client.metrics.Counter", "namespace="):
        assert part in sent[0]["message"]


@pytest.mark.parametrize("options", [{"exclude": "metrics"}, {"labels": {"plan": "x"}}, {"names": "otel"}])
def test_options_that_are_not_valid_fail_the_start_of_the_lifespan(options, registry):
    """A mistake in the options ends the server at its start too, in place of failing each request."""
    with pytest.raises(VitalsignError), TestClient(app_with(registry, **options)):
        pass
    assert request(app_with(registry, **options), "/200").text == "ok"


def test_names_taken_on_trio():
    """The same holds where trio runs the application."""
    app = app_with(taken())
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(DuplicateMetricError):
        trio.run(app, {"type": "lifespan", "state": {}}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]


def test_names_taken_under_a_test_client():
    """A test client raises the error when it starts the application."""
    with pytest.raises(DuplicateMetricError, match="namespace="), TestClient(app_with(taken())):
        pass


def test_names_taken_without_a_lifespan(caplog):
    """Where no lifespan tells of the start, requests are answered unmeasured, and the error is logged once."""
    registry = taken()
    app = app_with(registry)
    before = failures("asgi.middleware")
    for _ in range(3):
        assert request(app, "/200").text == "ok"
    assert failures("asgi.middleware") == before + 3
    assert len(list(registry.collect())) == 1


# -- series that go


@pytest.mark.parametrize("how", ["clear", "remove", "remove_by_labels"])
def test_series_that_were_removed_come_back(how, registry):
    """Whoever removes series of the middleware's metrics finds later requests on the page, not lost."""
    app = app_with(registry)
    request(app, "/200")
    for metric in list(registry._collector_to_names):
        for key in list(metric._metrics):
            if how == "clear":
                metric.clear()
            elif how == "remove":
                metric.remove(*key)
            else:
                metric.remove_by_labels({metric._labelnames[0]: key[0]})
    assert counted(registry) == {}
    request(app, "/200")
    labels = ("/{status}", "GET")
    assert counted(registry) == {(*labels, "200"): 1}
    assert counted(registry, "http_request_duration_seconds_count") == {labels: 1}
    assert counted(registry, "http_requests_in_progress") == {("GET",): 0}


def test_cache_keeps_nothing_that_was_removed_meanwhile(registry):
    """A child that was looked up before a removal is not kept after it."""
    counter = orders(registry)
    cache = ChildCache([counter])
    age = cache.age
    child = counter.labels("a")
    counter.clear()
    cache.keep("a", child, age)
    assert not cache
    cache.keep("a", counter.labels("a"), cache.age)
    assert list(cache) == ["a"]


def test_caches_are_let_go(registry):
    """A metric does not keep the middleware alive whose cache it empties."""
    counter = orders(registry)
    gone = [weakref.ref(ChildCache([counter])) for _ in range(10)]
    gc.collect()
    assert [each() for each in gone] == [None] * 10
    kept = ChildCache([counter])
    assert len(counter._family.caches) == 1
    counter.clear()
    assert kept.age == 1


def orders(registry: Any) -> Any:
    """Make a counter with a label."""
    return Counter("orders", "Orders.", ["shop"], registry=registry)


def test_page_is_valid_with_everything_on(registry):
    """With every option on, both pages can be rendered."""
    app = app_with(registry, first_byte=True, group_status=True, labels={"kind": lambda info: info.scheme})
    request(app, "/200")
    assert b"# EOF" in generate_openmetrics(registry)
    assert b"http_response_first_byte_seconds" in generate_latest(registry)
