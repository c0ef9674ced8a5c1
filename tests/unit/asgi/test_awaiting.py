"""`receive` and `send` as the application gets them can be awaited in every way in which the server's can."""

from __future__ import annotations

import asyncio
import collections
import gc
import inspect
import types
import warnings
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from tests.unit.asgi.driver import Client, call, counted, http_scope
from vitalsign.asgi import MetricsMiddleware

pytestmark = pytest.mark.usefixtures("both_ways")

START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"four"}


def measured(application: Any, registry: Any) -> MetricsMiddleware:
    """Put the middleware round an application."""
    return MetricsMiddleware(application, registry=registry)


def statuses(registry: Any) -> dict[str, float]:
    """Return how many requests were counted, by status."""
    return {status: value for (*_, status), value in counted(registry).items()}


class Steps:
    """What a server's send is awaited by, where it is no coroutine: it yields, and can do no more than that."""

    def __init__(self, steps: int, result: Any = None, error: BaseException | None = None) -> None:
        self._left = steps
        self._result = result
        self._error = error

    def __await__(self) -> Steps:
        """Return what is iterated over."""
        return self

    def __iter__(self) -> Steps:
        """Return itself."""
        return self

    def __next__(self) -> None:
        """Go one step."""
        if self._left:
            self._left -= 1
            return
        if self._error is not None:
            raise self._error
        raise StopIteration(self._result)


# -- by the ways of event loops


@pytest.mark.parametrize("way", ["await", "create_task", "ensure_future", "gather", "wait_for", "TaskGroup"])
def test_ways_of_asyncio(registry, way):
    """Messages can be awaited, and made into tasks."""

    async def pass_message(coroutine: Any) -> Any:
        if way == "await":
            return await coroutine
        if way == "create_task":
            return await asyncio.create_task(coroutine)
        if way == "ensure_future":
            return await asyncio.ensure_future(coroutine)
        if way == "gather":
            return (await asyncio.gather(coroutine))[0]
        if way == "wait_for":
            return await asyncio.wait_for(coroutine, 5)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(coroutine)
        return task.result()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert (await pass_message(receive()))["body"] == b"abc"
        await pass_message(send(START))
        await pass_message(send(END))

    client = asyncio.run(call(measured(application, registry), client=Client([b"abc"])))
    assert client.sent == [START, END]
    assert statuses(registry) == {"200": 1}
    assert registry.get_sample_value("http_request_size_bytes_sum", {"method": "GET", "endpoint": "__unmatched__"}) == 3
    assert (
        registry.get_sample_value("http_response_size_bytes_sum", {"method": "GET", "endpoint": "__unmatched__"}) == 4
    )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_task_groups_of_anyio(registry, backend):
    """A task group starts them as they are, and can cancel those that wait."""
    given_up = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(send, START)
        async with anyio.create_task_group() as group:
            group.start_soon(send, END)
        with anyio.move_on_after(0.01) as limit:
            async with anyio.create_task_group() as group:
                group.start_soon(receive)
        given_up.append(limit.cancelled_caught)

    sent: list[Any] = []

    async def receive() -> Any:
        await anyio.sleep(60)

    async def send(message: Any) -> None:
        await anyio.lowlevel.checkpoint()
        sent.append(message)

    async def main() -> None:
        await measured(application, registry)(http_scope(), receive, send)

    anyio.run(main, backend=backend)
    assert sent == [START, END]
    assert given_up == [True]
    assert statuses(registry) == {"200": 1}


def test_nurseries_of_trio(registry):
    """A nursery starts them as they are."""
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        for message in (START, END):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, message)

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    trio.run(measured(application, registry), http_scope(), None, send)
    assert sent == [START, END]
    assert statuses(registry) == {"200": 1}


def test_cancellation_goes_through_to_the_server(registry):
    """Who is cancelled while a message is on its way is cancelled there, and counted as a client that has gone."""
    reached = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(START)

    async def send(message: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            reached.append(message)
            raise

    async def main() -> None:
        task = asyncio.create_task(measured(application, registry)(http_scope(), None, send))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert reached == [START]
    assert statuses(registry) == {"499": 1}


# -- what a server's functions return


@pytest.mark.parametrize("kind", ["coroutine", "future", "generator", "steps"])
def test_whatever_the_server_returns(registry, kind):
    """A server may return any awaitable, also one without the methods of coroutines."""
    sent: list[Any] = []

    async def as_coroutine(result: Any) -> Any:
        await asyncio.sleep(0)
        return result

    def as_future(result: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, result)
        return future

    @types.coroutine
    def as_generator(result: Any) -> Any:
        yield
        return result

    answer = {"coroutine": as_coroutine, "future": as_future, "generator": as_generator}.get(
        kind, lambda result: Steps(2, result)
    )

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == {"type": "http.request", "body": b"ab"}
        assert await send(START) is None
        await send(END)

    def send(message: Any) -> Any:
        sent.append(message)
        return answer("sent")

    def receive() -> Any:
        return answer({"type": "http.request", "body": b"ab"})

    asyncio.run(measured(application, registry)(http_scope(), receive, send))
    assert sent == [START, END]
    assert statuses(registry) == {"200": 1}


@pytest.mark.parametrize("nothing", [None, 7, "text", (step for step in ())])
def test_what_cannot_be_awaited_is_the_usual_error(registry, nothing):
    """A server that returns what is no awaitable gets Python's own error, and the request is counted."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(START)

    with pytest.raises(TypeError, match="can't be used in 'await' expression"):
        asyncio.run(measured(application, registry)(http_scope(), None, lambda message: nothing))
    assert statuses(registry) == {"200": 1}


@pytest.mark.parametrize("error", [BrokenPipeError("gone"), LookupError("theirs"), KeyboardInterrupt()])
@pytest.mark.parametrize("steps", [0, 1])
def test_errors_of_the_server_reach_the_application(registry, error, steps):
    """What the server raises is raised as it is; an OSError says that the client has left."""
    caught = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send(START)
        except BaseException as mine:
            caught.append(mine)

    asyncio.run(measured(application, registry)(http_scope(), None, lambda message: Steps(steps, error=error)))
    assert caught == [error]
    assert statuses(registry) == {"499" if isinstance(error, OSError) else "200": 1}


@pytest.mark.parametrize("awaited", ["plain generator", "of no iterator", "of a coroutine"])
def test_senseless_awaitables_are_refused(registry, awaited):
    """What only looks like an awaitable is Python's own kind of error, and nothing of it runs."""

    async def coroutine() -> None:
        """Never come here."""

    class Odd:
        def __await__(self) -> Any:
            return 7 if awaited == "of no iterator" else coroutine()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(TypeError):
            await send(START)

    def send(message: Any) -> Any:
        return iter_of_nothing() if awaited == "plain generator" else Odd()

    def iter_of_nothing() -> Any:
        yield

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the coroutine that nobody can await
        asyncio.run(measured(application, registry)(http_scope(), None, send))


# -- by hand, as frameworks and debuggers do


def test_message_is_driven_by_hand(registry):
    """What is returned has the methods of a coroutine, with their results and errors."""
    kept: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        kept.extend((receive(), send(START), send(START), send(START), send(START)))

    app = measured(application, registry)
    asyncio.run(app(http_scope(), lambda: Steps(1, {"type": "http.request"}), lambda _: Steps(2)))
    receiving, sending, thrown_into, closed, begun = kept

    assert inspect.isawaitable(receiving)
    assert isinstance(receiving, collections.abc.Coroutine)
    assert receiving.send(None) is None
    with pytest.raises(StopIteration) as stop:
        receiving.send(None)
    assert stop.value.value == {"type": "http.request"}

    assert (sending.send(None), sending.send(None)) == (None, None)
    with pytest.raises(StopIteration):
        sending.send(None)
    for again in (sending.send, sending.throw):
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            again(None if again == sending.send else ValueError())
    sending.close()

    thrown_into.send(None)
    with pytest.raises(ValueError, match="into"):
        thrown_into.throw(ValueError("into"))
    closed.send(None)
    closed.close()
    with pytest.raises(RuntimeError, match="cannot reuse"):
        closed.send(None)

    assert inspect.getcoroutinestate(begun) in {inspect.CORO_CREATED, inspect.CORO_CLOSED}
    begun.send(None)
    assert inspect.getcoroutinestate(begun) == inspect.CORO_SUSPENDED
    assert begun.cr_await is not None
    assert (begun.__name__, receiving.__qualname__) in {
        ("send", "Exchange.receive"),
        ("Exchange.send", "Exchange.receive"),
    }
    begun.close()
    assert inspect.getcoroutinestate(begun) == inspect.CORO_CLOSED


@pytest.mark.filterwarnings("ignore:the .* signature of throw:DeprecationWarning")  # since 3.12
@pytest.mark.parametrize("form", ["instance", "instance and nothing", "class", "class and value", "nonsense"])
def test_forms_of_throw(registry, form):
    """Errors are thrown in by every form that coroutines take, whether the server's awaitable can be thrown into."""
    given: Any = {
        "instance": (ValueError("a"),),
        "instance and nothing": (ValueError("a"), None, None),
        "class": (ValueError,),
        "class and value": (ValueError, ValueError("a")),
        "nonsense": (7,),
    }[form]
    kept: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        kept.extend((send(START), send(START)))

    async def slow(message: Any) -> None:
        await Steps(1)

    awaitables = iter([slow(START), Steps(1)])
    asyncio.run(measured(application, registry)(http_scope(), None, lambda _: next(awaitables)))
    for message in kept:
        message.send(None)
        with pytest.raises(TypeError if form == "nonsense" else ValueError):
            message.throw(*given)


@pytest.mark.parametrize("kind", ["coroutine", "steps"])
def test_ends_from_outside(registry, kind):
    """A message is given up by GeneratorExit, and by errors before its way; it is over then."""
    kept: list[Any] = []
    closed = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        kept.extend(send(START) for _ in range(4))

    async def slow(message: Any) -> None:
        try:
            await Steps(1)
        except GeneratorExit:
            closed.append(message)
            raise

    answer = slow if kind == "coroutine" else lambda _: Steps(1)
    asyncio.run(measured(application, registry)(http_scope(), None, answer))
    begun, closed_early, thrown_early, given = kept

    begun.send(None)
    with pytest.raises(GeneratorExit):
        begun.throw(GeneratorExit())
    assert closed == ([START] if kind == "coroutine" else [])
    closed_early.close()
    with pytest.raises(OSError, match="before"):
        thrown_early.throw(OSError("before"))
    for over in (begun, closed_early, thrown_early):
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            over.send(None)

    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        given.send(5)
    assert given.send(None) is None
    given.close()
    assert statuses(registry) == {"500": 1}


def test_message_by_name(registry):
    """The message may be given by the name that it has in the specification; nothing else may."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(message=START)
        await send(message=END)
        for wrong in (lambda: send(), lambda: send(START, END), lambda: send(event=START)):
            with pytest.raises(TypeError):
                wrong()
        with pytest.raises(TypeError):
            receive(START)
        assert str(inspect.signature(send)) in {"(message)", "(message: 'Message') -> 'None'"}

    client = asyncio.run(call(measured(application, registry)))
    assert client.sent == [START, END]
    assert statuses(registry) == {"200": 1}


def test_forgotten_await_is_told_of(registry):
    """Who forgets to await a message gets Python's warning, as without the middleware."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        send(START)
        gc.collect()

    async def send(message: Any) -> None:
        """Never come here."""

    with pytest.warns(RuntimeWarning, match=r"coroutine 'Exchange.send' was never awaited"):
        asyncio.run(measured(application, registry)(http_scope(), None, send))
    assert statuses(registry) == {"500": 1}


def test_message_counts_when_it_is_on_its_way(registry):
    """The response has ended when its last message was taken, not when it was made."""
    taken = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        last = send(END)
        await send(START)
        assert statuses(registry) == {}
        await last
        assert statuses(registry) == {"200": 1}

    async def send(message: Any) -> None:
        taken.append(message)

    asyncio.run(measured(application, registry)(http_scope(), None, send))
    assert taken == [START, END]


def test_two_at_once_is_an_error(registry):
    """A message that waits is awaited by one, as a coroutine is."""
    errors = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        message = send(START)

        async def wait() -> None:
            await message

        first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
        done, _ = await asyncio.wait([first, second], timeout=0.05)
        errors.extend(type(task.exception()) for task in done if task.exception())
        for task in (first, second):
            task.cancel()
        await asyncio.wait([first, second])

    async def send(message: Any) -> None:
        await asyncio.sleep(60)

    asyncio.run(measured(application, registry)(http_scope(), None, send))
    assert errors == [RuntimeError]
