"""The trace of a request, for exemplars of what is counted while it is answered."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.asgi.driver import call, http_scope, request
from vitalsign import Counter
from vitalsign._trace import REQUEST_HEADERS, Trace, current_trace
from vitalsign.asgi import MetricsMiddleware
from vitalsign.metrics.exposition import generate_openmetrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

pytestmark = pytest.mark.usefixtures("both_ways")

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def traceparent(trace_id: str = TRACE, flags: str = "01") -> dict[str, Any]:
    """Return what a request brings that belongs to a trace."""
    return {"headers": [(b"traceparent", f"00-{trace_id}-{SPAN}-{flags}".encode())]}


async def answer(send: Any) -> None:
    """Answer with nothing."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


def test_figures_of_a_traced_request_bear_its_ids(registry: CollectorRegistry) -> None:
    """The duration's bucket and the count of requests lead to the trace, and so does what the application counts."""
    orders = Counter("orders", "o", registry=registry)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        orders.inc()
        await answer(send)

    request(MetricsMiddleware(app, registry=registry), **traceparent())
    lines = [line for line in generate_openmetrics(registry).decode().splitlines() if f'trace_id="{TRACE}"' in line]
    assert {line.partition("{")[0].partition(" ")[0] for line in lines} >= {
        "orders_total", "http_requests_total", "http_request_duration_seconds_bucket",
    }  # fmt: skip
    assert all(f'# {{span_id="{SPAN}",trace_id="{TRACE}"}} ' in line for line in lines)


def test_unsampled_request_leaves_none(registry: CollectorRegistry) -> None:
    """A trace that its beginner has not stored is not referred to."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)

    request(MetricsMiddleware(app, registry=registry), **traceparent(flags="00"))
    assert "trace_id" not in generate_openmetrics(registry).decode()


def test_trace_ends_with_the_request(registry: CollectorRegistry) -> None:
    """Requests that are answered by turns each see their own trace, and whoever called them sees none afterwards."""
    seen: dict[str, list[Trace | None]] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        before = current_trace()
        await asyncio.sleep(0)
        seen[scope["path"]] = [before, current_trace()]
        await answer(send)

    measured = MetricsMiddleware(app, registry=registry)

    async def both() -> None:
        await asyncio.gather(*(call(measured, f"/{digit}", **traceparent(digit * 32)) for digit in "12"))
        await call(measured, "/none")
        assert REQUEST_HEADERS.get() is None

    asyncio.run(both())
    assert seen == {f"/{digit}": [Trace(digit * 32, SPAN, True)] * 2 for digit in "12"} | {"/none": [None, None]}


def test_trace_ends_with_a_request_that_fails(registry: CollectorRegistry) -> None:
    """After an exception too, what comes next in the same task is outside of the trace."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError

    async def ask() -> None:
        await call(MetricsMiddleware(app, registry=registry), **traceparent())
        assert current_trace() is None

    asyncio.run(ask())
    assert f'exception="ValueError",method="GET"}} 1.0 # {{span_id="{SPAN}"' in generate_openmetrics(registry).decode()


def test_request_closed_from_elsewhere_ends_quietly(registry: CollectorRegistry) -> None:
    """A server that drops a request from another context than it began in gets no error, and the client has left."""

    class Never:
        def __await__(self) -> Any:
            yield

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Never()

    measured = MetricsMiddleware(app, registry=registry)
    request_of_its_own: Any = measured(http_scope("/", **traceparent()), None, None)  # type: ignore[arg-type]
    contextvars.Context().run(request_of_its_own.send, None)
    request_of_its_own.close()
    labels = {"method": "GET", "endpoint": "__unmatched__", "status": "499"}
    assert registry.get_sample_value("http_requests_total", labels) == 1
    assert REQUEST_HEADERS.get() is None
