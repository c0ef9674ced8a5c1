"""Functions that the host gives to a check, plain or coroutine functions, and what they answer."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, cast

from vitalsign.exceptions import HealthCheckError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["awaited", "called", "is_async"]


def is_async(check: str, setting: str, function: object) -> bool:
    """
    Tell whether *function* has to be awaited.

    Raises:
        HealthCheckError: It cannot even be called.
    """
    if not callable(function):
        raise HealthCheckError(f"{setting} of check {check!r} is no function but {function!r}. Give one to call.")
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # the method itself is looked at
    )


def called(function: Callable[[], object]) -> object:
    """
    Return what a plain function answers.

    Raises:
        TypeError: It answered something that has to be awaited.
    """
    answer = function()
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise TypeError("a function of the check returned an awaitable that nobody awaits; declare it with 'async def'")
    return answer


async def awaited(function: Callable[[], object]) -> object:
    """Return what a function answers, awaited if it has to be."""
    answer = function()
    return await cast("Awaitable[object]", answer) if inspect.isawaitable(answer) else answer
