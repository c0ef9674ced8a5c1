"""
The interface that users were promised, run as it was promised.

Each block of code is the promise's own text; what stands around it is only what a user would have before it. A change
here is a change of the public interface.
"""

from __future__ import annotations

import asyncio
import json
import textwrap
from types import SimpleNamespace

import httpx
import pytest
from flask import Flask
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.testclient import TestClient

from tests.pages import Block, run
from tests.servers import free_port, wait_until
from vitalsign.metrics.instruments import Instrument


@pytest.fixture(autouse=True)
def clean_default_registry():
    """Lay the default registry's metrics of ours aside, and take from it what a test has put there."""
    aside = [collector for collector in REGISTRY._collector_to_names if isinstance(collector, Instrument)]
    for collector in aside:
        REGISTRY.unregister(collector)
    before = set(REGISTRY._collector_to_names)
    yield
    for collector in set(REGISTRY._collector_to_names) - before:
        REGISTRY.unregister(collector)
    for collector in aside:
        REGISTRY.register(collector)


def promised(code, **given):
    """Run *code* in a module that holds what is *given*, and return what the module holds then."""
    return SimpleNamespace(**run("promise", [Block(1, textwrap.dedent(code))], **given))


def value(name, **labels):
    """Return the value of one sample of the default registry."""
    return REGISTRY.get_sample_value(name, labels)


# -- instruments


def test_instruments():
    """Instruments are declared and written as prometheus_client's, by position or by name, with exemplars."""
    promised(
        """
        from vitalsign import Counter, Gauge, Histogram, Summary, Info, Enum

        ORDERS = Counter("shop_orders", "Orders placed.", ["channel"])
        ORDERS.labels("web").inc()
        ORDERS.labels(channel="web").inc(2, exemplar={"trace_id": "4bf9…"})
        """
    )
    assert value("shop_orders_total", channel="web") == 3


def test_page():
    """One call renders a registry, with the metrics of prometheus_client's own instruments on the same page."""
    promised("from vitalsign import Counter; Counter('shop_orders', 'Orders placed.').inc()")
    page = promised(
        """
        from vitalsign import generate_latest
        page = generate_latest(registry)
        """,
        registry=REGISTRY,
    ).page
    assert b"\nshop_orders_total 1.0\n" in page
    assert b"\npython_info{" in page


# -- decorators and context managers


def test_decorators():
    """Decorators understand functions, coroutines and async generators, and label from the arguments."""
    made = promised(
        """
        from vitalsign import Histogram
        LATENCY = Histogram("job_seconds", "Time of a job.", ["job"])
        DB_SECONDS = Histogram("db_seconds", "Time of a query.", ["kind"])

        from vitalsign import track_time, count_errors, count_calls, track_inprogress, instrument, timer

        @track_time                                   # function_duration_seconds{module,function}
        def quote(): ...

        @track_time("shop_checkout_duration_seconds", "Time to check out.",
                    labels={"plan": lambda cart: cart.plan})        # computed from the arguments
        @count_errors("shop_checkout_errors_total", "Failed checkouts.")   # label error=<exception class>
        async def checkout(cart): ...

        @track_time(LATENCY.labels("export"))         # a metric that exists
        async def export(rows):                       # async generators, generators, methods,
            yield b"..."                              # classmethods and staticmethods too

        @instrument                                   # calls, errors, duration, in progress, in one go
        def reprice(): ...

        with timer(DB_SECONDS.labels("select")) as t: # `with` and `async with`
            ...
        print(t.elapsed)                              # seconds

        from types import SimpleNamespace
        quote()
        await checkout(SimpleNamespace(plan="gold"))
        chunks = [chunk async for chunk in export([])]
        reprice()
        try:
            await checkout(None)
        except AttributeError:
            pass
        """
    )
    assert made.chunks == [b"..."]
    assert made.t.elapsed > 0
    assert value("function_duration_seconds_count", module="page", function="quote") == 1
    assert value("shop_checkout_duration_seconds_count", plan="gold") == 1
    assert value("job_seconds_count", job="export") == 1
    assert value("db_seconds_count", kind="select") == 1


# -- HTTP


@pytest.mark.parametrize("framework", ["starlette.applications:Starlette", "fastapi:FastAPI"])
def test_asgi(framework):
    """Two lines measure an app's requests by route template, and serve the metrics at their exact path."""
    module, _, name = framework.partition(":")
    app = getattr(pytest.importorskip(module), name)()
    promised(
        """
        from vitalsign.asgi import MetricsMiddleware, metrics_app
        app.add_middleware(MetricsMiddleware)         # Starlette, FastAPI; or MetricsMiddleware(app) round any ASGI app
        app.add_route("/metrics", metrics_app())      # text, OpenMetrics, gzip; token=, allow=, registry=, deadline=
        """,
        app=app,
    )

    async def hello(request):
        return PlainTextResponse("hello")

    app.router.add_route("/hello/{name}", hello)
    with TestClient(app, follow_redirects=False) as client:
        assert client.get("/hello/you").status_code == 200
        page = client.get("/metrics")
    assert page.status_code == 200
    assert 'endpoint="/hello/{name}"' in page.text
    assert value("http_requests_total", method="GET", endpoint="/hello/{name}", status="200") == 1


def test_exporter():
    """A worker shows its metrics on a port of their own, until it closes that."""
    free, taken = free_port(), []

    def fetch():
        taken.append(httpx.get(f"http://127.0.0.1:{free}/metrics", trust_env=False))

    promised(
        """
        from vitalsign.exporter import start_exporter
        exporter = start_exporter(port=9091)          # for workers: own thread, 127.0.0.1 unless told otherwise
        fetch()
        exporter.close()
        """.replace("9091", str(free)),
        fetch=fetch,
    )
    assert taken[0].status_code == 200
    assert "python_info{" in taken[0].text
    with pytest.raises(httpx.ConnectError):
        fetch()


def test_wsgi():
    """The middleware of the same name goes round Flask, and any WSGI application."""
    app = Flask("shop")
    app.add_url_rule("/hello/<name>", "hello", lambda name: name)
    promised(
        """
        from vitalsign.wsgi import MetricsMiddleware  # Flask, Django, any WSGI app
        app.wsgi_app = MetricsMiddleware(app.wsgi_app)
        """,
        app=app,
    )
    assert app.test_client().get("/hello/you").status_code == 200
    assert value("http_requests_total", method="GET", endpoint="/hello/{name}", status="200") == 1


# -- collectors


def test_collectors():
    """Collectors take what they observe, register when they are bound, and measure jobs and calls."""
    made = promised(
        """
        from vitalsign.collectors import (SystemCollector, ProcessCollector,
            QueueCollector, WorkerCollector, ApiClientCollector)

        SystemCollector().bind()                      # bind(registry=REGISTRY) registers; unbind() removes; also
                                                      # a context manager
        queue = QueueCollector("backtests", depth=lambda: redis.llen("q"), refresh=5.0, deadline=1.0).bind()
        worker = WorkerCollector("pricing", queue="backtests").bind()
        with worker.job("backtest") as job:           # duration, outcome, in progress, errors by class
            job.retried(); job.dead_lettered()
        api = ApiClientCollector("zoho").bind()
        client = httpx.AsyncClient(transport=api.httpx_async_transport())
        """,
        redis=SimpleNamespace(llen={"q": 7}.get),
        httpx=httpx,
    )
    job = {"worker": "pricing", "queue": "backtests", "type": "backtest"}
    with made.queue, made.worker, made.api:
        wait_until(lambda: value("queue_depth", queue="backtests") == 7, "a sample of the queue")
        assert value("worker_job_retries_total", **job) == 1
        assert value("worker_job_dead_letters_total", **job) == 1
        with pytest.raises(httpx.ConnectError):
            asyncio.run(made.client.get(f"http://127.0.0.1:{free_port()}/"))
        assert value("api_client_errors_total", client="zoho", operation="GET 127.0.0.1", kind="connect") == 1
    assert value("system_cpus") >= 1
    assert value("queue_depth", queue="backtests") is None


# -- health


def test_health():
    """Checks are declared on a checker, whose reports come as routes, as an app and by calls of one's own."""
    app, served = Starlette(), []
    made = promised(
        """
        from vitalsign.health import HealthChecker, checks

        health = HealthChecker("shop", version="1.4.0")

        @health.check("database", timeout=0.5, critical=True)          # in readiness by default
        async def database():
            await pool.execute("select 1")

        health.add(checks.disk("/", min_free="1GiB"), group="liveness")

        app.routes.extend(health.routes())   # /health (alive), /ready, /startup, /health/full; paths can be changed
        serve(health.asgi())                 # or as an application of its own, for another port

        async def endpoint():
            report = await health.run("readiness")                          # or in an endpoint of your own
            return JSONResponse(report.to_dict(), report.status_code)

        response = await endpoint()
        """,
        app=app,
        serve=served.append,
        pool=Pool(),
        JSONResponse=JSONResponse,
    )
    assert made.response.status_code == 200
    assert json.loads(made.response.body)["status"] == "pass"
    for one in (app, *served):
        with TestClient(one) as client:
            assert client.get("/ready").status_code == 200
            assert client.get("/health").status_code in {200, 503}
    report = promised('report = health.run_sync("readiness")', health=made.health).report
    assert report.status_code == 200


class Pool:
    """A pool of connections to a database that is there."""

    async def execute(self, query):
        """Answer any query."""


# -- logs


def test_logs(capsys):
    """One call makes JSON lines of everything that is logged, with the ids of where it was logged."""
    made = promised(
        """
        from vitalsign.logs import configure_logging, log_context
        configure_logging(service="shop")              # JSON lines on stderr, with request_id, job_id, trace_id

        import logging
        with log_context(request_id="r-1", job_id=7):
            logging.getLogger("shop").info("order %d placed", 3)
        """
    )
    made.configure_logging("shop").close()
    line = json.loads(capsys.readouterr().err)
    assert (line["service"], line["message"], line["request_id"], line["job_id"]) == (
        "shop",
        "order 3 placed",
        "r-1",
        7,
    )
    assert value("log_messages_total", level="INFO", logger="shop") == 1
