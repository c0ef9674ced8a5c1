"""The compiled part itself: when it is used, how it behaves over time and among threads, what it refuses."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.processes import run_script
from tests.unit.asgi.driver import Client, call, counted, http_scope
from vitalsign import Counter, Histogram
from vitalsign._http_exchange import _RarelyAsked
from vitalsign._trace import REQUEST_HEADERS
from vitalsign.asgi import MetricsMiddleware
from vitalsign.metrics import cells
from vitalsign.metrics.cells import CounterCell, DistributionCell
from vitalsign.metrics.compiled import native
from vitalsign.metrics.values import GaugeCell

needs_compiled = pytest.mark.skipif(native is None, reason="the compiled part is not there")

START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"four"}

WHICH = """
    import asyncio, os, sys
    {before}
    from vitalsign.asgi import MetricsMiddleware
    from vitalsign.metrics.compiled import native
    from vitalsign import generate_latest
    from prometheus_client import REGISTRY

    async def app(scope, receive, send):
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": b"ok"}})

    async def send(message):
        pass

    asyncio.run(MetricsMiddleware(app)({{"type": "http", "method": "GET", "path": "/", "headers": []}}, None, send))
    assert b'http_requests_total{{endpoint="__unmatched__",method="GET",status="200"}} 1.0' in generate_latest(REGISTRY)
    print(native is not None)
"""


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request."""
    await receive()
    await send(START)
    await send(END)


# -- when it is used


@pytest.mark.parametrize(
    "before",
    ['os.environ["VITALSIGN_NATIVE"] = "0"', 'sys.modules["vitalsign._native"] = None'],
    ids=["off", "missing"],
)
def test_without_the_compiled_part(before):
    """Without it, by wish or for want of it, requests are measured all the same."""
    assert run_script(WHICH.format(before=before)).split() == ["False"]


@needs_compiled
def test_with_the_compiled_part():
    """Where it is there, it is used."""
    assert run_script(WHICH.format(before="")).split() == ["True"]
    middleware = MetricsMiddleware(answer, registry=CollectorRegistry())
    assert type(middleware._open.__self__).__name__ == "Opener"


# -- over time


async def _raise(scope: Any, receive: Any, send: Any) -> None:
    raise LookupError("theirs")


async def _be_cancelled(scope: Any, receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


async def _keep_in_a_cycle(scope: Any, receive: Any, send: Any) -> None:
    scope["all"] = [scope, receive, send]
    await answer(scope, receive, send)


async def _forget(scope: Any, receive: Any, send: Any) -> None:
    waiting = receive()
    waiting.send(None)
    waiting.close()


async def _reach_a_client_that_has_left(scope: Any, receive: Any, send: Any) -> None:
    await answer(scope, receive, send)
    await answer(scope, receive, send)


@needs_compiled
@pytest.mark.parametrize(
    "application", [answer, _raise, _be_cancelled, _keep_in_a_cycle, _forget, _reach_a_client_that_has_left]
)
def test_nothing_is_left_of_a_request(application):
    """Whatever becomes of a request, its memory is free afterwards, and shared objects are held as often as before."""
    middleware = MetricsMiddleware(application, registry=CollectorRegistry())
    shared = [None, True, False, START, END, middleware, middleware._open.__self__, middleware._recorder]

    class Server:
        async def receive(self) -> Any:
            return {"type": "http.request", "body": b"abc"}

        async def send(self, message: Any) -> None:
            if application is _reach_a_client_that_has_left:
                raise BrokenPipeError

    def ask(times: int) -> None:
        for _ in range(times):
            server = Server()
            request = middleware(http_scope(), server.receive, server.send)
            try:
                request.send(None)
            except BaseException:
                pass
            finally:
                request.close()

    ask(200)
    gc.collect()
    before = (sys.getallocatedblocks(), [sys.getrefcount(each) for each in shared])
    ask(1000)
    gc.collect()
    after = (sys.getallocatedblocks(), [sys.getrefcount(each) for each in shared])
    assert after[0] - before[0] < 500
    assert all(abs(now - then) < 100 for now, then in zip(after[1], before[1], strict=True)), (before, after)


@needs_compiled
def test_threads_lose_nothing(registry):
    """Event loops on several threads measure by one middleware, and each request is counted once."""
    middleware = MetricsMiddleware(answer, registry=registry)
    threads, requests = 4, 500

    async def ask() -> None:
        for _ in range(requests):
            await call(middleware, client=Client([b"abc"]))

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        running = [threading.Thread(target=asyncio.run, args=(ask(),)) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    total = threads * requests
    assert counted(registry) == {("__unmatched__", "GET", "200"): total}
    labels = {"method": "GET", "endpoint": "__unmatched__"}
    assert registry.get_sample_value("http_request_duration_seconds_count", labels) == total
    assert registry.get_sample_value("http_request_size_bytes_sum", labels) == 3 * total
    assert registry.get_sample_value("http_response_size_bytes_sum", labels) == 4 * total
    assert registry.get_sample_value("http_requests_in_progress", {"method": "GET"}) == 0


# -- what it refuses


class _Recorder:
    """What an opener asks of a recorder."""

    def __init__(self, known: Any) -> None:
        self.in_progress: Any = {}
        self.known = known
        self.find = None
        self.is_by_scheme = False


def _opener(recorder: Any, **changed: Any) -> Any:
    arguments = {
        "exchange": type(MetricsMiddleware(answer, registry=CollectorRegistry())._open(http_scope(), None, None)),
        "recorder": recorder,
        "mark": "mark",
        "excludes": None,
        "headers": REQUEST_HEADERS,
        "clock": float,
        "report": print,
    }
    return native.Opener(**{**arguments, **changed})  # type: ignore[union-attr]


@needs_compiled
def test_wrong_use_is_refused():
    """Objects whose slots would be misread are refused before anything is read."""
    assert native is not None
    registry = CollectorRegistry()
    count = Counter("events", "Events.", registry=registry)
    size = Histogram("sizes", "Sizes.", registry=registry)
    write = native.Together(count, size, size, size)
    known = vars(cells)
    refused: list[tuple[Any, type[Exception], str]] = [
        (lambda: native.Together(size, size, size, size), TypeError, "must be CounterCell"),
        (lambda: native.Together(count, size, count, size), TypeError, "is no distribution"),
        (lambda: native.Together(count, size, size), TypeError, "exactly 4 arguments|takes exactly|argument"),
        (lambda: native.Together(count, size, size, size, more=1), TypeError, "no names of arguments"),
        (lambda: write(1.0, 2.0), TypeError, "expected 3 figures"),
        (lambda: write(1.0, 2.0, three=3.0), TypeError, "expected 3 figures"),
        (lambda: write(1.0, 2.0, "3"), TypeError, "must be real number"),
        (lambda: native.learn(known, int, DistributionCell, GaugeCell), AttributeError, "_owner"),
        (lambda: native.learn(known, CounterCell, GaugeCell, GaugeCell), AttributeError, "_owner"),
        (lambda: native.exchange_type(_RarelyAsked, type("R", (), {"add_usual": 1})), TypeError, "no slot add_usual"),
        (lambda: _opener(_Recorder({}), exchange=int), TypeError, "exchange_type"),
        (lambda: _opener(_Recorder({}), headers=None), TypeError, "ContextVar"),
        (lambda: _opener(_Recorder([])), TypeError, "kept in dicts"),
        (lambda: _opener(object()), AttributeError, "is_by_scheme"),
        (lambda: _opener(_Recorder({})).open(http_scope()), TypeError, "scope, receive and send"),
    ]
    for call_it, error, text in refused:
        with pytest.raises(error, match=text):
            call_it()
    assert count._read() == 0
    write(1.0, 2.0, 3.0)  # what was refused has changed nothing
    assert count._read() == 1
    assert size._read()[0] == 6.0
