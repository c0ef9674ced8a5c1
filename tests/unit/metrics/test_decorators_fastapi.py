"""Decorated endpoints and dependencies of FastAPI, which looks closely at what functions are."""

# No `from __future__ import annotations`: FastAPI could not evaluate annotations that name a test's own functions.

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient

from vitalsign import instrument


@pytest.fixture
def decorated(registry):
    """Return the decorator that the tests use, on their own registry."""
    return instrument(registry=registry)


def recorded(registry, name):
    """Return the values of one metric by the last part of the function's name."""
    return {
        sample.labels["function"].rpartition(".")[2]: sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name
    }


@pytest.fixture
def answer():
    """Return a function that sends one request to an endpoint at / and returns the response."""

    def get(endpoint, path="/", query=""):
        app = FastAPI()
        app.get(path)(endpoint)
        with TestClient(app, raise_server_exceptions=False) as client:
            return client.get(path + query)

    return get


def test_plain_endpoint_with_a_generator_dependency(registry, decorated, answer):
    """A decorated dependency with `yield` gives its value, is closed after the request, and its parameters are seen."""
    closed = []

    @decorated
    def session(user: str) -> Iterator[str]:
        yield f"session of {user}"
        closed.append(True)

    @decorated
    def endpoint(given: Annotated[str, Depends(session)]) -> str:
        return given

    assert answer(endpoint, query="?user=ann").json() == "session of ann"
    assert closed == [True]
    assert recorded(registry, "function_calls_total") == {"session": 1, "endpoint": 1}
    assert recorded(registry, "function_in_progress") == {"session": 0, "endpoint": 0}


def test_coroutine_endpoint_with_an_async_generator_dependency(registry, decorated, answer):
    """The same with coroutines and async generators; a wrong parameter is refused as without the decorator."""
    closed = []

    @decorated
    async def tenant(number: int) -> AsyncIterator[str]:
        yield f"tenant {number}"
        closed.append(True)

    @decorated
    async def endpoint(given: Annotated[str, Depends(tenant)]) -> str:
        return given

    assert answer(endpoint, query="?number=3").json() == "tenant 3"
    assert answer(endpoint, query="?number=x").status_code == 422
    assert closed == [True]
    assert recorded(registry, "function_calls_total") == {"tenant": 1, "endpoint": 1}


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_dependency_sees_the_endpoints_exception(registry, decorated, answer, kind):
    """An exception of the endpoint is thrown into the decorated dependency, and counted for both."""
    seen = []

    @decorated
    def session() -> Iterator[str]:
        try:
            yield "session"
        except KeyError as error:
            seen.append(error.args)
            raise

    @decorated
    async def async_session() -> AsyncIterator[str]:
        try:
            yield "session"
        except KeyError as error:
            seen.append(error.args)
            raise

    dependency = session if kind == "generator" else async_session

    @decorated
    async def endpoint(given: Annotated[str, Depends(dependency)]) -> str:
        raise KeyError(given)

    assert answer(endpoint).status_code == 500
    assert seen == [("session",)]
    assert recorded(registry, "function_errors_total") == {dependency.__name__: 1, "endpoint": 1}


def test_decorated_stream(registry, decorated, answer):
    """A decorated async generator is streamed whole."""

    @decorated
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async def endpoint() -> StreamingResponse:
        return StreamingResponse(chunks())

    assert answer(endpoint).content == b"ab"
    assert recorded(registry, "function_duration_seconds_count") == {"chunks": 1}
