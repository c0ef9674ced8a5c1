"""Wrap any kind of Python function so that an observer sees each call: the one place that knows the kinds."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Protocol, TypeVar, cast

from vitalsign.metrics.internal import internal_error

__all__ = ["Begin", "Decorated", "Decorator", "Observer", "bare", "name_of", "wrap"]

Decorated = TypeVar("Decorated", bound="Callable[..., Any] | classmethod[Any, Any, Any] | staticmethod[Any, Any]")
"""What a decorator takes and returns: its type passes through unchanged, overloads and generics with it."""


class Decorator(Protocol):
    """What a decorator with arguments returns."""

    def __call__(self, function: Decorated, /) -> Decorated:
        """Decorate *function*."""
        ...


class Observer(Protocol):
    """
    See one call from its start to its end.

    Whoever makes an observer starts it. A generator is paused while its consumer works and resumed when it is
    asked for more; other functions are never paused. What `finish` raises never reaches the host; the other two
    must not raise.
    """

    def resume(self) -> None:
        """Note that the body goes on."""

    def pause(self) -> None:
        """Note that the body has handed a value out and waits."""

    def finish(self, error: BaseException | None) -> None:
        """Note that the body has ended, by *error* or by returning."""


Begin = Callable[[tuple[Any, ...], dict[str, Any]], Observer]
"""Starts the observer of one call, given its arguments."""


def bare(target: Any) -> Callable[..., Any]:
    """
    Return the function in *target*, which may be a classmethod or staticmethod.

    Raises:
        TypeError: *target* is a class, a property or nothing that can be called.
    """
    function = target.__func__ if isinstance(target, (classmethod, staticmethod)) else target
    if isinstance(function, type) or not callable(function):
        raise TypeError(
            f"{target!r} cannot be decorated: it is no function. Decorate its methods, "
            "and put the decorator below @property, nearest to the function."
        )
    return cast("Callable[..., Any]", function)


def name_of(function: Callable[..., Any]) -> tuple[str, str]:
    """Return the module and the qualified name of *function*; what has none goes by what it calls or by its class."""
    function = _unbound(function)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return getattr(function, "__module__", None) or "", name


def wrap(
    target: Decorated, begin: Begin, plain: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
) -> Decorated:
    """
    Wrap a function, coroutine function, generator, async generator, classmethod or staticmethod.

    The result has the name, signature, kind and picklability of *target*. A callable object or a partial becomes a
    function.

    Args:
        target: What the decorator stands on.
        begin: Starts the observer of each call. If it raises, the call goes on unobserved.
        plain: Makes the wrapper of a plain function where there is a faster one than by an observer.

    Raises:
        TypeError: *target* is a class, a property or nothing that can be called.
    """
    function = bare(target)
    make = _maker(function)
    if make is _plain_function and plain is not None:
        wrapper = plain(function)
    else:
        wrapper = make(function, _Guard(begin, function))
    functools.update_wrapper(wrapper, function)
    _tell_signature(wrapper, function)
    if not hasattr(function, "__name__"):
        wrapper.__module__, wrapper.__qualname__ = name_of(function)
        wrapper.__name__ = wrapper.__qualname__.rpartition(".")[2]
    rewrap: Any = type(target)
    return cast("Decorated", wrapper if function is target else rewrap(wrapper))


def _tell_signature(wrapper: Any, function: Callable[..., Any]) -> None:
    """Let `inspect.getfullargspec`, which does not look through wrappers, tell what *function* takes."""
    try:
        signature = inspect.signature(function)
    except (NameError, TypeError, ValueError):  # an annotation that cannot be evaluated yet, or a builtin
        return
    annotations = [signature.return_annotation, *(each.annotation for each in signature.parameters.values())]
    if not any(isinstance(each, str) for each in annotations):  # those, `eval_str=True` would no longer evaluate
        wrapper.__signature__ = signature


class _Guard:
    """Keep what goes wrong in the observers of one function away from the host."""

    def __init__(self, begin: Begin, function: Callable[..., Any]) -> None:
        self._begin = begin
        self._where = f"decorator of {name_of(function)[1]}"

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Observer:
        try:
            return self._begin(args, kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, the host's call goes on
            internal_error(self._where, error)
            return _Blind()

    def finish(self, observer: Observer, error: BaseException | None) -> None:
        try:
            observer.finish(error)
        except Exception as failure:  # noqa: BLE001  # whatever it is, the host's call goes on
            internal_error(self._where, failure)


class _Blind:
    """The observer of a call whose own observer could not be started."""

    def resume(self) -> None:
        pass

    def pause(self) -> None:
        pass

    def finish(self, error: BaseException | None) -> None:
        pass


def _plain_function(function: Callable[..., Any], guard: _Guard) -> Callable[..., Any]:
    def observed(*args: Any, **kwargs: Any) -> Any:
        observer = guard.start(args, kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            guard.finish(observer, error)
            raise
        guard.finish(observer, None)
        return result

    return observed


def _coroutine_function(function: Callable[..., Any], guard: _Guard) -> Callable[..., Any]:
    async def observed(*args: Any, **kwargs: Any) -> Any:
        observer = guard.start(args, kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            guard.finish(observer, error)
            raise
        guard.finish(observer, None)
        return result

    return observed


def _generator_function(function: Callable[..., Any], guard: _Guard) -> Callable[..., Any]:
    def observed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        source = function(*args, **kwargs)
        observer = guard.start(args, kwargs)
        sent = None
        thrown: BaseException | None = None
        try:
            while True:
                item = source.send(sent) if thrown is None else source.throw(thrown)
                thrown = None  # kept while paused, it would hold this frame, and this frame it
                observer.pause()
                try:
                    sent = yield item
                except BaseException as error:  # noqa: BLE001  # it goes on into the generator, GeneratorExit too
                    thrown = error
                observer.resume()
        except StopIteration as stop:
            guard.finish(observer, None)
            return stop.value
        except BaseException as error:
            guard.finish(observer, error)
            raise

    return observed


def _async_generator_function(function: Callable[..., Any], guard: _Guard) -> Callable[..., Any]:
    async def observed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        source = function(*args, **kwargs)
        observer = guard.start(args, kwargs)
        step = _first_step(source)
        try:
            while True:
                item = await step
                step = None  # as above: it may hold what was thrown
                observer.pause()
                try:
                    sent = yield item
                except BaseException as error:  # noqa: BLE001  # it goes on into the generator, GeneratorExit too
                    step = source.athrow(error)
                else:
                    step = source.asend(sent)
                observer.resume()
        except StopAsyncIteration:
            guard.finish(observer, None)
        except BaseException as error:
            guard.finish(observer, error)
            raise

    return observed


def _first_step(source: AsyncGenerator[Any, Any]) -> Any:
    """
    Start *source* without the event loop hearing of it.

    A loop closes the async generators that it knows when it ends or when they are dropped. It knows the wrapper,
    which closes *source*; closing both at once makes one of the two fail.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, _leave_to_wrapper)
    try:
        return source.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _leave_to_wrapper(source: AsyncGenerator[Any, Any]) -> None:
    pass


def _maker(target: Callable[..., Any]) -> Callable[[Callable[..., Any], _Guard], Callable[..., Any]]:
    function = _unbound(target)
    called = function if inspect.isroutine(function) else function.__call__
    for is_kind, make in _KINDS:
        if is_kind(function) or is_kind(called):
            return make
    return _plain_function


def _unbound(function: Any) -> Any:
    """Return what partials of *function* call in the end."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _is_generator_based_coroutine_function(function: Any) -> bool:
    """Tell what `types.coroutine` has made of a generator function: it is awaited, not iterated."""
    return inspect.isgeneratorfunction(function) and bool(function.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE)


_KINDS = (
    (inspect.iscoroutinefunction, _coroutine_function),
    (_is_generator_based_coroutine_function, _coroutine_function),
    (inspect.isasyncgenfunction, _async_generator_function),
    (inspect.isgeneratorfunction, _generator_function),
)
