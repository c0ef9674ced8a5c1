"""`wrap` on generators and async generators: whatever their consumers do, they do as without it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitalsign.metrics.wrapping import wrap

seen: list[str] = []
"""What the observers saw."""


class _Watch:
    """An observer that writes down what it sees."""

    def __init__(self) -> None:
        seen.append("begin")

    def pause(self) -> None:
        seen.append("pause")

    def resume(self) -> None:
        seen.append("resume")

    def finish(self, error: BaseException | None) -> None:
        seen.append(f"finish {type(error).__name__}")


def watched(function):
    """Decorate *function* so that `seen` tells what its observers saw."""
    return wrap(function, lambda _args, _kwargs: _Watch())


@pytest.fixture(autouse=True)
def _no_events():
    seen.clear()


async def collect(iterator) -> list:
    """List what an async iterator yields."""
    return [item async for item in iterator]


# -- generators


@watched
def echo():
    """Yield what is sent; report what is thrown, and go on."""
    received = None
    while received != "stop":
        try:
            received = yield received
        except ValueError as error:
            received = f"caught {error}"
    return "returned"


def test_send_throw_and_return_value_reach_through():
    """A generator gets what is sent and thrown, its consumer what it yields and returns."""
    made = echo()
    assert next(made) is None
    assert made.send("sent") == "sent"
    assert made.throw(ValueError("thrown")) == "caught thrown"
    with pytest.raises(StopIteration) as end:
        made.send("stop")
    assert end.value.value == "returned"
    assert seen == ["begin", *["pause", "resume"] * 3, "finish NoneType"]


def test_yield_from_a_decorated_generator():
    """`yield from` gets the return value and passes on what is sent."""

    def outer():
        return (yield from echo())

    made = outer()
    assert next(made) is None
    assert made.send("sent") == "sent"
    with pytest.raises(StopIteration) as end:
        made.send("stop")
    assert end.value.value == "returned"


def test_closing_reaches_the_generator():
    """close() runs the generator's cleanup at once; the observer sees GeneratorExit."""
    cleaned = []

    @watched
    def resource():
        try:
            yield 1
        finally:
            cleaned.append(True)

    made = resource()
    next(made)
    made.close()
    assert cleaned == [True]
    assert seen == ["begin", "pause", "resume", "finish GeneratorExit"]


def test_dropping_a_generator_closes_it():
    """A generator that is dropped half-way cleans up, without waiting for the garbage collector."""
    cleaned = []

    @watched
    def resource():
        try:
            yield 1
            yield 2
        except ValueError:
            yield 3
        finally:
            cleaned.append(True)

    gc.disable()
    try:
        made = resource()
        next(made)
        assert made.throw(ValueError) == 3
        del made
        assert cleaned == [True]
    finally:
        gc.enable()


def test_thrown_exception_is_let_go():
    """An exception that the generator has dealt with is not kept alive while it is paused."""

    class ThrownError(ValueError):
        pass

    gc.disable()
    try:
        made = echo()
        next(made)
        error = ThrownError("x")
        dead = weakref.ref(error)
        made.throw(error)
        del error
        assert dead() is None
    finally:
        gc.enable()


def test_generator_that_never_starts_is_no_call():
    """A generator that is made and closed, or thrown at, before its first step has no observer."""
    echo().close()
    with pytest.raises(ValueError, match="early"):
        echo().throw(ValueError("early"))
    assert seen == []


def test_decorated_generator_is_a_context_manager():
    """contextlib.contextmanager over the decorator works: the body's exception reaches the generator."""

    @contextlib.contextmanager
    @watched
    def ignoring():
        with contextlib.suppress(KeyError):
            yield "given"

    with ignoring() as value:
        raise KeyError(value)
    assert seen == ["begin", "pause", "resume", "finish NoneType"]


def test_context_manager_can_be_decorated():
    """contextlib.contextmanager under the decorator works: what is observed is making the context manager."""

    @watched
    @contextlib.contextmanager
    def giving():
        yield "given"

    with giving() as value:
        assert value == "given"
    assert seen == ["begin", "finish NoneType"]


# -- async generators


@watched
async def async_echo():
    """Yield what is sent; report what is thrown, and go on."""
    received = None
    while received != "stop":
        try:
            await asyncio.sleep(0)
            received = yield received
        except ValueError as error:
            received = f"caught {error}"


def test_asend_and_athrow_reach_through():
    """An async generator gets what is sent and thrown, its consumer what it yields."""

    async def main():
        made = async_echo()
        assert await anext(made) is None
        assert await made.asend("sent") == "sent"
        assert await made.athrow(ValueError("thrown")) == "caught thrown"
        with pytest.raises(StopAsyncIteration):
            await made.asend("stop")

    asyncio.run(main())
    assert seen == ["begin", *["pause", "resume"] * 3, "finish NoneType"]


def slow_to_close(cleaned):
    """Return a decorated async generator function whose cleanup awaits, and is noted when it is done."""

    @watched
    async def resource():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            cleaned.append(True)

    return resource


def test_aclose_reaches_the_async_generator():
    """aclose() runs the generator's cleanup, its awaits too; the observer sees GeneratorExit."""
    cleaned = []

    async def main():
        made = slow_to_close(cleaned)()
        await anext(made)
        await made.aclose()
        assert cleaned == [True]

    asyncio.run(main())
    assert seen == ["begin", "pause", "resume", "finish GeneratorExit"]


@pytest.mark.parametrize("times", [1, 3])
def test_async_generators_left_open_are_closed_with_the_loop(times):
    """The event loop closes the async generators that are open when it ends, each once and without an error."""
    cleaned, problems, kept = [], [], []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
        for _ in range(20):
            made = slow_to_close(cleaned)
            for _ in range(times - 1):
                made = watched(made)
            kept.append(made())
            await anext(kept[-1])

    asyncio.run(main())
    assert cleaned == [True] * 20
    assert problems == []
    assert seen.count("finish GeneratorExit") == 20 * times
    assert not [event for event in seen if event == "finish RuntimeError"]


@pytest.mark.parametrize("in_a_cycle", [False, True])
def test_dropped_async_generator_is_closed_by_the_loop(in_a_cycle):
    """An async generator that is dropped half-way is closed by the loop once, also from a reference cycle."""
    cleaned, problems = [], []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
        made = slow_to_close(cleaned)()
        await anext(made)
        if in_a_cycle:
            cycle = [made]
            cycle.append(cycle)
            del cycle
        del made
        gc.collect()
        for _ in range(10):
            await asyncio.sleep(0)
        assert cleaned == [True]

    asyncio.run(main())
    assert problems == []


def test_hooks_of_the_loop_are_left_in_place():
    """Starting a decorated async generator leaves the loop's hooks for async generators as they were."""

    async def main():
        before = sys.get_asyncgen_hooks()
        made = async_echo()
        await anext(made)
        assert sys.get_asyncgen_hooks() == before
        await made.aclose()

    asyncio.run(main())


def test_cancellation_reaches_an_async_generator():
    """A task that is cancelled inside an async generator cancels its body, which may clean up."""
    cleaned = []

    @watched
    async def stuck():
        try:
            await asyncio.Event().wait()
            yield
        finally:
            cleaned.append(True)

    async def main():
        task = asyncio.create_task(collect(stuck()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert cleaned == [True]
    assert seen == ["begin", "finish CancelledError"]


def test_exception_thrown_into_an_async_generator_is_let_go():
    """An exception that the async generator has dealt with is not kept alive while it is paused."""

    class ThrownError(ValueError):
        pass

    async def main():
        made = async_echo()
        await anext(made)
        error = ThrownError("x")
        dead = weakref.ref(error)
        await made.athrow(error)
        del error
        gc.collect()
        assert dead() is None
        await made.aclose()

    asyncio.run(main())


# -- any generator, consumed in any way, behaves as without the decorator


class OtherError(Exception):
    """What a body raises in place of what it was given."""


REACTIONS = ["go on", "again", "raise", "replace", "return"]
"""What a body does with an exception thrown into it."""

THROWN = [ValueError, StopIteration, StopAsyncIteration, GeneratorExit, KeyboardInterrupt, OtherError]

bodies = st.lists(st.sampled_from(REACTIONS), max_size=5)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers()),
        st.tuples(st.just("throw"), st.sampled_from(THROWN)),
        st.tuples(st.just("close"), st.none()),
    ),
    max_size=8,
)


def reaction_to(reaction, error):
    """Raise what a body raises on *error*, or tell whether it ends."""
    if reaction == "raise":
        raise error
    if reaction == "replace":
        raise OtherError
    return reaction == "return"


def scripted(reactions):
    """Return a generator function and an async generator function that follow a script."""

    def generator():
        for place, reaction in enumerate(reactions):
            try:
                received = yield place
                if received == 0:
                    raise OtherError(place)
            except BaseException as error:
                if reaction_to(reaction, error):
                    return place
                if reaction == "again":
                    yield f"after {type(error).__name__}"
        return "end"

    async def async_generator():
        for place, reaction in enumerate(reactions):
            try:
                received = yield place
                await asyncio.sleep(0)
                if received == 0:
                    raise OtherError(place)
            except GeneratorExit:
                return  # one that goes on cannot even be closed by the event loop
            except BaseException as error:
                if reaction_to(reaction, error):
                    return
                if reaction == "again":
                    yield f"after {type(error).__name__}"

    return generator, async_generator


def to_the_end(reactions, steps):
    """Start a script's generator, take *steps*, and close it until even a body that ignores that has ended."""
    return [("send", None), *steps, *[("close", None)] * (2 * len(reactions) + 1)]


def told(error):
    """Describe an exception for comparison, what led to it too."""
    causes = [f"{type(each).__name__}{each.args}" for each in (error, error.__cause__, error.__context__) if each]
    return [*causes, getattr(error, "value", None)]


def transcript(made, steps):
    """List what a generator answers to each move."""
    answers = []
    for move, value in steps:
        try:
            answers.append(getattr(made, move)(*([] if move == "close" else [value])))
        except BaseException as error:
            answers.append(told(error))
    return answers


async def async_transcript(made, steps):
    """List what an async generator answers to each move."""
    answers = []
    for move, value in steps:
        try:
            answers.append(await getattr(made, f"a{move}")(*([] if move == "close" else [value])))
        except BaseException as error:
            answers.append(told(error))
    return answers


@given(bodies, moves)
def test_generator_answers_as_without_the_decorator(reactions, steps):
    """Whatever is sent, thrown or closed, in any order, a decorated generator answers as the bare one does."""
    bare, _ = scripted(reactions)
    steps = to_the_end(reactions, steps)
    assert transcript(watched(bare)(), steps) == transcript(bare(), steps)


@given(bodies, moves)
def test_async_generator_answers_as_without_the_decorator(reactions, steps):
    """Whatever is sent, thrown or closed, in any order, a decorated async generator answers as the bare one does."""
    _, bare = scripted(reactions)
    steps = to_the_end(reactions, steps)
    expected = asyncio.run(async_transcript(bare(), steps))
    assert asyncio.run(async_transcript(watched(bare)(), steps)) == expected
