"""`wrap`: one observer for each call of any kind of function, and nothing about the function changed."""

from __future__ import annotations

import abc
import asyncio
import functools
import inspect
import pickle
import traceback
import types
from unittest import mock

import pytest
from prometheus_client import REGISTRY

from vitalsign.metrics.wrapping import bare, name_of, wrap

seen: list[str] = []
"""What the observers saw."""


class _Watch:
    """An observer that writes down what it sees."""

    def __init__(self, events: list[str] = seen) -> None:
        self.events = events
        events.append("begin")

    def pause(self) -> None:
        self.events.append("pause")

    def resume(self) -> None:
        self.events.append("resume")

    def finish(self, error: BaseException | None) -> None:
        self.events.append(f"finish {type(error).__name__}")


def watched(function):
    """Decorate *function* so that `seen` tells what its observers saw."""
    return wrap(function, lambda _args, _kwargs: _Watch())


@pytest.fixture(autouse=True)
def _no_events():
    seen.clear()


def plain(first: int, *, second: str = "2") -> str:
    """Return both arguments."""
    return f"{first}{second}"


async def coroutine(first: int, *, second: str = "2") -> str:
    """Return both arguments, later."""
    await asyncio.sleep(0)
    return f"{first}{second}"


def generator(first: int, *, second: str = "2"):
    """Yield both arguments."""
    yield first
    yield second
    return "end"


async def async_generator(first: int, *, second: str = "2"):
    """Yield both arguments, later."""
    yield first
    await asyncio.sleep(0)
    yield second


KINDS = [plain, coroutine, generator, async_generator]
PREDICATES = [inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction]
undecorated = {function.__name__: function for function in KINDS}
plain, coroutine, generator, async_generator = map(watched, KINDS)
decorated = {function.__name__: function for function in (plain, coroutine, generator, async_generator)}

every_kind = pytest.mark.parametrize("kind", list(undecorated))


class Shop:
    """A class whose methods are decorated in every way."""

    def __init__(self, name: str = "shop") -> None:
        self.name = name

    @watched
    def method(self):
        """Return the name."""
        return self.name

    @watched
    async def coroutine_method(self):
        """Return the name."""
        return self.name

    @watched
    @classmethod
    def above_class(cls):
        """Return the class's name."""
        return cls.__name__

    @classmethod
    @watched
    def below_class(cls):
        """Return the class's name."""
        return cls.__name__

    @watched
    @staticmethod
    def above_static(value):
        """Return the value."""
        return value

    @staticmethod
    @watched
    def below_static(value):
        """Return the value."""
        return value

    @watched
    @classmethod
    async def class_coroutine(cls):
        """Return the class's name."""
        return cls.__name__

    @watched
    @staticmethod
    def static_generator(count):
        """Count."""
        yield from range(count)

    @property
    @watched
    def prop(self):
        """Give the name."""
        return self.name


class OwnShop(Shop):
    """A class that inherits decorated methods."""


async def collect(iterator) -> list:
    """List what an async iterator yields."""
    return [item async for item in iterator]


def run(result):
    """Run what a call of any kind returned to its end."""
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    if inspect.isasyncgen(result):
        return asyncio.run(collect(result))
    return list(result) if inspect.isgenerator(result) else result


# -- what the function is


@every_kind
def test_name_doc_and_module_are_kept(kind):
    """The wrapper has the names, doc and module of the function, which it gives as __wrapped__."""
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
        assert getattr(decorated[kind], name) == getattr(undecorated[kind], name)
    assert inspect.unwrap(decorated[kind]) is undecorated[kind]


@every_kind
def test_signature_is_kept(kind):
    """inspect.signature of the wrapper is the function's."""
    assert inspect.signature(decorated[kind]) == inspect.signature(undecorated[kind])


def test_arguments_are_told_without_looking_through_the_wrapper():
    """`inspect.getfullargspec` sees the function's arguments; annotations that are texts are evaluated as before."""

    def plain(a, b=None, *, c=1):
        pass

    observed = wrap(plain, lambda _args, _kwargs: mock.Mock())
    assert inspect.getfullargspec(observed) == inspect.getfullargspec(plain)

    def deferred(a: int) -> str:  # this module's annotations are texts
        pass

    observed = wrap(deferred, lambda _args, _kwargs: mock.Mock())
    assert inspect.signature(observed, eval_str=True) == inspect.signature(deferred, eval_str=True)
    assert inspect.signature(observed, eval_str=True).return_annotation is str


@every_kind
@pytest.mark.parametrize("is_kind", PREDICATES)
def test_kind_is_kept(kind, is_kind):
    """A coroutine function stays one, so do generator and async generator functions."""
    assert is_kind(decorated[kind]) == is_kind(undecorated[kind])
    assert is_kind(watched(decorated[kind])) == is_kind(undecorated[kind])


@every_kind
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_decorated_function_is_pickled_by_name(kind, protocol):
    """A decorated function of a module pickles as any function does."""
    assert pickle.loads(pickle.dumps(decorated[kind], protocol)) is decorated[kind]


@pytest.mark.parametrize("name", ["method", "above_class", "below_class", "above_static", "below_static"])
def test_decorated_method_is_pickled(name):
    """A decorated method pickles with its object, those of the class by name, in either order of stacking."""
    bound = getattr(Shop("corner"), name)
    restored = pickle.loads(pickle.dumps(bound))
    values = ["here"] if name.endswith("static") else []
    assert restored(*values) == bound(*values)


@every_kind
def test_result_is_the_functions(kind):
    """A call gives what the function gives, with arguments by position and by keyword."""
    expected = run(undecorated[kind](1, second="b"))
    assert run(decorated[kind](1, second="b")) == expected


@every_kind
def test_observer_sees_the_call(kind):
    """An observer begins when the body starts, pauses at each value handed out, and finishes without an error."""
    result = decorated[kind](1)
    assert (seen == []) is (kind != "plain")
    run(result)
    pauses = ["pause", "resume"] * 2 if "generator" in kind else []
    assert seen == ["begin", *pauses, "finish NoneType"]


@every_kind
def test_observer_starts_with_the_arguments(kind):
    """What starts the observer gets the arguments of the call as they were passed."""
    calls = []

    def begin(args, kwargs):
        calls.append((args, kwargs))
        return _Watch()

    run(wrap(undecorated[kind], begin)(1, second="b"))
    assert calls == [((1,), {"second": "b"})]


@every_kind
def test_wrong_arguments_are_refused_as_without_the_decorator(kind):
    """A call that lacks an argument raises the function's own TypeError."""
    with pytest.raises(TypeError) as expected:
        run(undecorated[kind]())
    with pytest.raises(TypeError) as caught:
        run(decorated[kind]())
    assert str(caught.value) == str(expected.value)


# -- methods


@pytest.mark.parametrize("name", ["above_class", "below_class"])
def test_classmethods_work_in_either_order(name):
    """A classmethod, decorated above or below, gets the class that it is called on, from class and object."""
    assert getattr(OwnShop, name)() == getattr(OwnShop(), name)() == "OwnShop"
    assert isinstance(inspect.getattr_static(Shop, name), classmethod)
    assert seen == ["begin", "finish NoneType"] * 2


@pytest.mark.parametrize("name", ["above_static", "below_static"])
def test_staticmethods_work_in_either_order(name):
    """A staticmethod, decorated above or below, gets its arguments only, from class and object."""
    assert getattr(Shop, name)(3) == getattr(Shop(), name)(3) == 3
    assert isinstance(inspect.getattr_static(Shop, name), staticmethod)
    assert seen == ["begin", "finish NoneType"] * 2


def test_methods_get_their_object():
    """A decorated method is bound to its object, also below @property."""
    assert OwnShop("corner").method() == OwnShop("corner").prop == "corner"


def test_methods_of_other_kinds_keep_them():
    """Coroutine methods, class coroutines and static generators are seen as what they are."""
    assert run(Shop("corner").coroutine_method()) == "corner"
    assert inspect.iscoroutinefunction(Shop.class_coroutine)
    assert run(OwnShop.class_coroutine()) == "OwnShop"
    assert inspect.isgeneratorfunction(Shop.static_generator)
    assert run(Shop.static_generator(2)) == [0, 1]


def test_bound_method_can_be_decorated():
    """A method taken from an object is decorated like a function."""
    bound = watched(Shop("corner").method.__wrapped__.__get__(Shop("corner")))
    assert bound() == "corner"
    assert seen == ["begin", "finish NoneType"]


def test_abstract_methods_stay_abstract():
    """A class with a decorated abstract method cannot be made, as without the decorator."""

    class Base(abc.ABC):
        @watched
        @classmethod
        @abc.abstractmethod
        def make(cls): ...

    assert Base.__abstractmethods__ == {"make"}


# -- what is called like a function but is none


class Caller:
    """An object that is called."""

    def __call__(self, value):
        """Give the value."""
        return value


class AsyncCaller:
    """An object that is called and awaited."""

    async def __call__(self, value):
        """Give the value."""
        await asyncio.sleep(0)
        return value


class GeneratorCaller:
    """An object whose calls are generators."""

    def __call__(self, value):
        """Give the value."""
        yield value


class AsyncGeneratorCaller:
    """An object whose calls are async generators."""

    async def __call__(self, value):
        """Give the value."""
        yield value


@pytest.mark.parametrize(
    ("made", "result", "pauses"),
    [
        (Caller(), 1, 0),
        (AsyncCaller(), 1, 0),
        (GeneratorCaller(), [1], 1),
        (AsyncGeneratorCaller(), [1], 1),
    ],
)
@pytest.mark.parametrize("partial", [False, True])
def test_callable_objects_are_seen_as_what_they_are(made, result, pauses, partial):
    """An object with __call__ of any kind, or a partial of it, is observed as a function of that kind."""
    wrapper = watched(functools.partial(functools.partial(made), 1) if partial else made)
    assert run(wrapper() if partial else wrapper(1)) == result
    assert seen == ["begin", *["pause", "resume"] * pauses, "finish NoneType"]
    assert wrapper.__name__ == wrapper.__qualname__ == type(made).__name__
    assert wrapper.__module__ == __name__


@every_kind
def test_partials_are_seen_as_what_they_call(kind):
    """A partial of a function of any kind keeps that kind, the partial's signature and the function's name."""
    partial = functools.partial(undecorated[kind], second="b")
    wrapper = watched(partial)
    assert run(wrapper(1)) == run(partial(1))
    assert [is_kind(wrapper) for is_kind in PREDICATES] == [is_kind(partial) for is_kind in PREDICATES]
    assert inspect.signature(wrapper) == inspect.signature(partial)
    assert wrapper.__name__ == kind


def test_generator_based_coroutine_is_awaited():
    """What types.coroutine made of a generator function is awaited as before, and never paused."""

    @watched
    @types.coroutine
    def nap():
        yield
        return "rested"

    async def sleeper():
        return await nap()

    assert asyncio.run(sleeper()) == "rested"
    assert seen == ["begin", "finish NoneType"]


def test_async_mock_is_awaited():
    """An AsyncMock is seen as a coroutine function."""
    assert run(watched(mock.AsyncMock(return_value=1))()) == 1


@pytest.mark.parametrize("function", [len, functools.lru_cache(lambda text: len(text)), str.__len__])
def test_functions_written_in_c_are_observed(function):
    """Builtins, cached functions and slots are observed as plain functions."""
    assert watched(function)("abc") == 3
    assert seen == ["begin", "finish NoneType"]


def test_names_of_what_has_none():
    """A partial goes by what it calls, an object by its class, a function by its own names."""
    assert name_of(functools.partial(Shop.method)) == (__name__, "Shop.method")
    assert name_of(Caller()) == (__name__, "Caller")
    assert name_of(plain) == (__name__, "plain")


@pytest.mark.parametrize("target", [Shop, property(plain), classmethod(property(plain)), 5, None, "plain"])
def test_what_is_no_function_is_refused(target):
    """A class, a property or a value that cannot be called is a TypeError that says where the decorator belongs."""
    with pytest.raises(TypeError, match=r"cannot be decorated: it is no function. .* nearest to the function"):
        watched(target)


def test_bare_function_is_found():
    """The function in a classmethod or staticmethod is found; a function is its own."""
    assert bare(classmethod(plain)) is bare(staticmethod(plain)) is bare(plain) is plain


def test_faster_wrapper_is_used_for_plain_functions_only():
    """The wrapper given for plain functions serves those, staticmethods too, and no other kind."""
    made = []

    def faster(function):
        made.append(function)
        return lambda *args, **kwargs: function(*args, **kwargs)

    for function in undecorated.values():
        wrap(function, lambda _args, _kwargs: _Watch(), faster)
    wrap(staticmethod(undecorated["plain"]), lambda _args, _kwargs: _Watch(), faster)
    assert made == [undecorated["plain"]] * 2


# -- exceptions


def failing(error):
    """Return a function of each kind that raises *error*, by name."""

    def plain():
        raise error

    async def coroutine():
        await asyncio.sleep(0)
        raise error

    def generator():
        yield 1
        raise error

    async def async_generator():
        yield 1
        raise error

    return {function.__name__: function for function in (plain, coroutine, generator, async_generator)}


@every_kind
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3), GeneratorExit()], ids=repr)
def test_exceptions_pass_unchanged(kind, error):
    """The caller gets the very exception, without context, its traceback ending in the function's own frame."""
    with pytest.raises(type(error)) as caught:
        run(watched(failing(error)[kind])())
    assert caught.value is error
    assert error.__context__ is error.__cause__ is None
    assert traceback.extract_tb(error.__traceback__)[-1].name == kind
    assert seen[-1] == f"finish {type(error).__name__}"
    error.__traceback__ = None


def test_stop_iteration_of_a_plain_function_passes():
    """StopIteration, raised by a plain function as an iterator's __next__ does, reaches the caller."""
    end = StopIteration("value")
    with pytest.raises(StopIteration) as caught:
        watched(failing(end)["plain"])()
    assert caught.value is end
    assert seen == ["begin", "finish StopIteration"]


def test_cancellation_passes():
    """A cancelled coroutine raises CancelledError, which its observer sees."""

    @watched
    async def wait():
        await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())
    assert seen == ["begin", "finish CancelledError"]


# -- observers that fail


def counted(where):
    """Return how often something failed at *where*."""
    return REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": where}) or 0


@every_kind
@pytest.mark.parametrize("moment", ["begin", "finish"])
def test_failing_observer_does_not_reach_the_host(kind, moment):
    """A call whose observer raises, at its start or end, gives its result, and the failure is counted by function."""

    class Broken(_Watch):
        def finish(self, error):
            raise RuntimeError("finish")

    def begin(args, kwargs):
        if moment == "begin":
            raise RuntimeError("begin")
        return Broken()

    where = f"decorator of {kind}"
    before = counted(where)
    wrapper = wrap(undecorated[kind], begin)
    assert run(wrapper(1)) == run(undecorated[kind](1))
    assert counted(where) == before + 1


@every_kind
def test_failing_observer_does_not_replace_the_hosts_exception(kind):
    """A call that raises, and whose observer then raises too, raises its own exception."""

    class Broken(_Watch):
        def finish(self, error):
            raise RuntimeError("finish")

    error = ValueError("the host's")
    with pytest.raises(ValueError, match="the host's") as caught:
        run(wrap(failing(error)[kind], lambda _args, _kwargs: Broken())())
    assert caught.value is error
    assert error.__context__ is None


# -- recursion and concurrency


def test_recursive_calls_have_observers_of_their_own():
    """Each level of a recursion is one call."""

    @watched
    def countdown(number):
        return countdown(number - 1) if number else "done"

    assert countdown(2) == "done"
    assert seen == ["begin"] * 3 + ["finish NoneType"] * 3


def test_concurrent_coroutines_have_observers_of_their_own():
    """A hundred coroutines that run at once are a hundred observers, each of its own call."""
    logs: dict[int, list[str]] = {}

    def begin(args, kwargs):
        return _Watch(logs.setdefault(args[0], []))

    @functools.partial(wrap, begin=begin)
    async def work(number, barrier):
        await barrier.wait()
        if number % 2:
            raise ValueError(number)
        return number

    async def main():
        barrier = asyncio.Barrier(100)
        return await asyncio.gather(*[work(number, barrier) for number in range(100)], return_exceptions=True)

    results = asyncio.run(main())
    for number, result in enumerate(results):
        assert result == number if number % 2 == 0 else result.args == (number,)
        assert logs[number] == ["begin", "finish ValueError" if number % 2 else "finish NoneType"]


def test_interleaved_generators_have_observers_of_their_own():
    """Two generators of one function, consumed in turns, are two observers."""
    logs: list[list[str]] = []

    def begin(args, kwargs):
        logs.append([])
        return _Watch(logs[-1])

    wrapper = wrap(undecorated["generator"], begin)
    assert list(zip(wrapper(1), wrapper(2), strict=True)) == [(1, 2), ("2", "2")]
    assert logs == [["begin", *["pause", "resume"] * 2, "finish NoneType"]] * 2
