"""Lay aside what the metrics of a registry have counted, and put it back."""

from __future__ import annotations

import weakref
from contextlib import suppress
from functools import cache, wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from vitalsign.metrics.base import Instrument
from vitalsign.metrics.registry import DECLARING, REGISTRY, CollectorRegistry, Tables, name_registry, shared_name
from vitalsign.metrics.scope import Scope
from vitalsign.metrics.shards import LOCK

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from vitalsign.metrics.cells import Cell

__all__ = ["isolated"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_IDENTITY = frozenset({"__weakref__", "_family", "_labelvalues"})
_UNSET = object()


class isolated:  # noqa: N801  # called like a function, as contextlib.suppress is
    """
    Let the metrics of a registry begin from nothing for a while, for code that declares them at module level.

    ```python
    @pytest.fixture(autouse=True)
    def metrics():
        with isolated() as registry:
            yield registry
    ```

    Also a decorator, of functions and of coroutine functions. Inside, vitalsign's metrics have no label sets and
    stand at zero, and whatever holds them or their children may use them: a child is on the page as soon as it is
    written. At the end, also by an exception, everything is as it was: values, label sets, infos, states, exemplars,
    gauges' functions, and which collectors are registered. It can be nested; let one thread do so at a time.

    - A child that was made inside and is written later is a series of its own labels, which begins from zero.
    - A metric that was declared inside is off the page for good: import the modules that declare metrics before.
    - What other threads write meanwhile counts inside, and goes with it. What they are writing at the very moment of
      the beginning or the end counts on either side.
    - Collectors of other libraries, and what vitalsign's collectors have measured, stay in place.
    - Where many processes share metrics, the page shows this one alone, and the others see nothing of the inside.

    Args:
        registry: The registry; `with` returns it. For a scope it is the whole registry beneath.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        if not isinstance(registry, CollectorRegistry):
            raise TypeError(f"isolated() takes a registry, not {registry!r}. As a decorator, write @isolated().")
        self._registry = registry.base if isinstance(registry, Scope) else registry
        self._begun: list[_Isolation] = []

    def __enter__(self) -> CollectorRegistry:
        self._begun.append(_Isolation(self._registry))
        return self._registry

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._begun.pop().end()

    def __call__(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """
        Make each call of *function* begin from nothing.

        Raises:
            TypeError: It is a class or a generator function, which does not run when it is called.
        """
        if isinstance(function, type) or isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(f"@isolated() cannot decorate {function!r}. Write `with isolated():` in its body.")
        if iscoroutinefunction(function):

            @wraps(function)
            async def isolated_coroutine(*args: _P.args, **kwargs: _P.kwargs) -> Any:
                with isolated(self._registry):
                    return await function(*args, **kwargs)

            return cast("Callable[_P, _T]", isolated_coroutine)

        @wraps(function)
        def isolated_call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            with isolated(self._registry):
                return function(*args, **kwargs)

        return isolated_call


class _Isolation:
    """
    The metrics of ours on one registry, begun anew; `end` puts back what was there.

    Children keep their identity, since callers hold them: each is emptied and laid aside, where its family finds it
    when its labels are asked for or when it has been written. While it lasts, other processes are not told anything.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        with DECLARING, LOCK:
            self._registry = registry
            self._name = shared_name(registry)
            self._tables = Tables(registry)
            name_registry(registry, None)
            ours = [each for each in self._tables.collectors if isinstance(each, Instrument)]
            self._metrics = [_Metric(instrument) for instrument in ours]

    def end(self) -> None:
        """Put back what was there, and lay aside what was made since."""
        with DECLARING, LOCK:
            for metric in self._metrics:
                metric.restore()
            name_registry(self._registry, self._name)
            self._tables.restore()


class _Metric:
    """What one metric was before."""

    def __init__(self, instrument: Instrument) -> None:
        family = self._family = instrument._family
        self._warned, self._registry_name, self._children = family.warned, family.registry_name, family.shown()
        self._states = [(child, _state_of(child)) for child in instrument._children()]
        self._views = dict(family.views)
        family.warned, family.registry_name, family.children = False, None, {}
        family.forget_views()
        for child, _ in self._states:
            aside = _Aside(child)
            if child is not instrument:
                family.aside[child._labelvalues or ()] = aside

    def restore(self) -> None:
        family = self._family
        before = {id(child) for child, _ in self._states}
        made = {key: _Aside(child) for key, child in family.shown().items() if id(child) not in before}
        # Where a child was removed inside, there may be another one of its labels: only one of them can be shown.
        family.aside = {key: each for key, each in {**family.aside, **made}.items() if key not in self._children}
        family.warned, family.registry_name, family.children = self._warned, self._registry_name, self._children
        family.views = self._views
        for view in self._views.values():
            view._family.whole = family  # one that was taken off has left it
        family.forget_views()
        for child, state in self._states:
            _put_back(child, state)


class _Aside:
    """A child that was emptied, and what it looks like while nobody has written to it."""

    __slots__ = ("_empty", "child")

    def __init__(self, child: Cell) -> None:
        """Empty *child*. Only a weak reference is kept: it may go when its holder lets it go."""
        child._open(child._family, child._labelvalues)
        self.child = weakref.ref(child)
        self._empty = _state_of(child)
        del self._empty["_text"]  # which reading writes
        for name, value in self._empty.items():
            if type(value) is float:  # an object that no write can put there
                self._empty[name] = float(repr(value))
        _put_back(child, self._empty)

    def is_written(self) -> bool:
        child = self.child()
        return child is not None and any(getattr(child, name, _UNSET) is not it for name, it in self._empty.items())


def _state_of(child: Cell) -> dict[str, Any]:
    """Return what *child* holds, by slot; what it holds in other objects is never changed once it holds new ones."""
    kind: Any = type(child)
    return {name: getattr(child, name, _UNSET) for name in _slots(kind)}


def _put_back(child: Cell, state: dict[str, Any]) -> None:
    for name, value in state.items():
        if value is not _UNSET:
            setattr(child, name, value)
        else:
            with suppress(AttributeError):
                delattr(child, name)


@cache
def _slots(kind: type) -> tuple[str, ...]:
    slots = (name for each in kind.__mro__ for name in getattr(each, "__slots__", ()))
    return tuple(name for name in slots if name not in _IDENTITY)
