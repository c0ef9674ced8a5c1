"""A request is measured alike by the compiled part and by the Python code that takes its place, whatever it does."""

from __future__ import annotations

import asyncio
from collections import UserDict, defaultdict
from functools import partial
from http import HTTPMethod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tests.strategies import asgi_messages
from tests.unit.asgi.driver import Client, http_scope
from vitalsign import generate_latest
from vitalsign.asgi import MetricsMiddleware
from vitalsign.metrics.compiled import native
from vitalsign.metrics.internal import _counter

pytestmark = pytest.mark.skipif(native is None, reason="the compiled part is not there to be compared")

OPTIONS: list[dict[str, Any]] = [
    {},
    {"first_byte": True},
    {"sizes": False},
    {"names": "opentelemetry"},
    {"group_status": True, "labels": {"http": lambda request: request.http_version}},
    {"exclude": "/left/*"},
]
ERRORS = [LookupError, BrokenPipeError, asyncio.CancelledError, KeyboardInterrupt, None]


class Clock:
    """A clock that goes on by itself, a little each time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        self.now += 0.25
        return self.now


class Replay:
    """
    An application that does what it is told to.

    Attributes:
        seen: What it was given, and what was raised there.
    """

    def __init__(self, steps: list[Any], error: type[BaseException] | None, left: dict[str, Any]) -> None:
        self._steps = steps
        self._error = error
        self._left = left
        self.seen: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        scope.update(self._left)
        for step in self._steps:
            try:
                self.seen.append(await (receive() if step is None else send(step)))
            except Exception as error:
                self.seen.append(type(error))
        if self._error is not None:
            raise self._error


def trace(steps: list[Any], error: Any, left: dict[str, Any], leaves_after: int | None, **how: Any) -> list[Any]:
    """Return all that can be seen of two requests to one application."""
    registry, options, scope_type = CollectorRegistry(), how["options"], how["scope_type"]
    app = Replay(steps, error, left)
    middleware = MetricsMiddleware(app, registry=registry, **options)
    failures = _counter().labels("asgi.middleware")
    seen: list[Any] = [failures._read()]
    for _ in range(2):
        client = Client([b"abc", b"de"], leaves_after=leaves_after)
        client._is_over.set()
        scope = scope_type(http_scope(how["path"], how["method"], headers=how["headers"]))
        try:
            asyncio.run(middleware(scope, client.receive, client.send))
        except BaseException as raised:
            seen.append(type(raised))
        seen.append(client.sent)
    page = [line for line in generate_latest(registry).splitlines() if b"_created" not in line]
    return [failures._read() - seen[0], *seen[1:], app.seen, page]


@given(
    steps=st.lists(st.none() | asgi_messages, max_size=6),
    error=st.sampled_from(ERRORS),
    left=st.fixed_dictionaries(
        {},
        optional={
            "route": st.just("a route"),
            "endpoint": st.just(len),
            "path_template": st.sampled_from(["/a/{b}", 5]),
            "router": st.just(None),
            "fastapi": st.sampled_from([{}, {"effective_route_context": "a context"}, UserDict(), 7]),
        },
    ),
    leaves_after=st.none() | st.integers(0, 3),
    how=st.fixed_dictionaries(
        {
            "options": st.sampled_from(OPTIONS),
            "scope_type": st.sampled_from([dict, UserDict, partial(defaultdict, None)]),
            "path": st.sampled_from(["/", "/left/out"]),
            "method": st.sampled_from(["GET", "HEAD", HTTPMethod.HEAD, "MADE-UP"]),
            "headers": st.sampled_from([[], [(b"traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")], [7]]),
        }
    ),
)
def test_compiled_and_pure_leave_the_same(steps, error, left, leaves_after, how):
    """Messages, errors, figures and counted failures of ours are the same, of usual requests and of senseless ones."""
    traces = []
    for kind in (native, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vitalsign._http_exchange.native", kind)
            patch.setattr("vitalsign.metrics.together.native", kind)
            patch.setattr("vitalsign._http_exchange.monotonic", Clock())
            traces.append(trace(steps, error, left, leaves_after, **how))
    compiled, pure = traces
    assert compiled == pure
