"""Wrap any kind of Python function so that an observer sees each call: the one place that knows the kinds."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Protocol, TypeVar, cast

from vitalsign.metrics.internal import internal_error

__all__ = ["Begin", "Decorated", "Decorator", "Observer", "wrap"]

Decorated = TypeVar("Decorated", bound="Callable[..., Any] | classmethod[Any, Any, Any] | staticmethod[Any, Any]")
"""What a decorator takes and returns: its type passes through unchanged, overloads and generics with it."""


class Decorator(Protocol):
    """What a decorator with arguments returns."""

    def __call__(self, function: Decorated, /) -> Decorated:
        """Decorate *function*."""


class Observer(Protocol):
    """
    See one call from its start to its end.

    Whoever makes an observer starts it. A generator is paused while its consumer works and resumed when it is
    asked for more; other functions are never paused. Nothing that an observer raises reaches the host.
    """

    def resume(self) -> None:
        """Note that the body goes on."""

    def pause(self) -> None:
        """Note that the body has handed a value out and waits."""

    def finish(self, error: BaseException | None) -> None:
        """Note that the body has ended, by *error* or by returning."""


Begin = Callable[[tuple[Any, ...], dict[str, Any]], Observer]
"""Starts the observer of one call, given its arguments."""


def wrap(
    target: Decorated,
    begin_for: Callable[[Callable[..., Any]], Begin],
    plain: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
) -> Decorated:
    """
    Wrap a function, coroutine function, generator, async generator, classmethod or staticmethod.

    The result has the name, signature, kind and picklability of *target*.

    Args:
        target: What the decorator stands on.
        begin_for: Called once, with the bare function, for what starts the observer of each call.
        plain: Makes the wrapper of a plain function where there is a faster one than by an observer.

    Raises:
        TypeError: *target* is a class, a property or nothing that can be called.
    """
    if isinstance(target, (classmethod, staticmethod)):
        return type(target)(wrap(target.__func__, begin_for, plain))
    if isinstance(target, type) or not callable(target):
        raise TypeError(
            f"{target!r} cannot be decorated: it is no function. Decorate its methods, "
            "and put the decorator below @property, nearest to the function."
        )
    make = _KINDS.get(_kind(target))
    if make is None and plain is not None:
        wrapper = plain(target)
    else:
        wrapper = (make or _plain_function)(target, _guarded(begin_for(target)))
    return cast("Decorated", functools.update_wrapper(wrapper, target))


def _kind(function: Callable[..., Any]) -> str:
    called = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    for kind, is_kind in _TESTS.items():
        if is_kind(function) or is_kind(called):
            return kind
    return "plain"


def _plain_function(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    def observed(*args: Any, **kwargs: Any) -> Any:
        observer = begin(args, kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            _finish(observer, error)
            raise
        _finish(observer, None)
        return result

    return observed


def _coroutine_function(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    async def observed(*args: Any, **kwargs: Any) -> Any:
        observer = begin(args, kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            _finish(observer, error)
            raise
        _finish(observer, None)
        return result

    return observed


def _generator_function(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    def observed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        source = function(*args, **kwargs)
        observer = begin(args, kwargs)
        advance, argument = source.send, None
        try:
            while True:
                item = advance(argument)
                observer.pause()
                try:
                    argument = yield item
                except GeneratorExit:
                    observer.resume()
                    source.close()
                    raise
                except BaseException as thrown:  # noqa: BLE001  # it goes on into the generator
                    advance, argument = source.throw, thrown
                else:
                    advance = source.send
                observer.resume()
        except StopIteration as stop:
            _finish(observer, None)
            return stop.value
        except BaseException as error:
            _finish(observer, error)
            raise

    return observed


def _async_generator_function(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    async def observed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        source = function(*args, **kwargs)
        observer = begin(args, kwargs)
        advance, argument = source.asend, None
        try:
            while True:
                item = await advance(argument)
                observer.pause()
                try:
                    argument = yield item
                except GeneratorExit:
                    observer.resume()
                    await source.aclose()
                    raise
                except BaseException as thrown:  # noqa: BLE001  # it goes on into the generator
                    advance, argument = source.athrow, thrown
                else:
                    advance = source.asend
                observer.resume()
        except StopAsyncIteration:
            _finish(observer, None)
        except BaseException as error:
            _finish(observer, error)
            raise

    return observed


_TESTS: dict[str, Callable[[object], bool]] = {
    "coroutine": inspect.iscoroutinefunction,
    "async generator": inspect.isasyncgenfunction,
    "generator": inspect.isgeneratorfunction,
}
_KINDS = {
    "coroutine": _coroutine_function,
    "async generator": _async_generator_function,
    "generator": _generator_function,
}


class _Blind:
    """The observer of a call whose own observer could not be started."""

    def resume(self) -> None:
        pass

    def pause(self) -> None:
        pass

    def finish(self, error: BaseException | None) -> None:
        pass


def _finish(observer: Observer, error: BaseException | None) -> None:
    """Keep what goes wrong at the end of an observer away from the host."""
    try:
        observer.finish(error)
    except Exception as failure:  # noqa: BLE001  # whatever it is, the host's call goes on
        internal_error("decorator", failure)


def _guarded(begin: Begin) -> Begin:
    """Keep what goes wrong at the start of an observer away from the host."""

    def start(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Observer:
        try:
            return begin(args, kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it is, the host's call goes on
            internal_error("decorator", error)
            return _Blind()

    return start
