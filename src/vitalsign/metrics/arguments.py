"""Label values computed from the arguments of a decorated call."""

from __future__ import annotations

import inspect
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from vitalsign.exceptions import LabelError
from vitalsign.metrics.internal import internal_error
from vitalsign.metrics.wrapping import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Labels = Mapping[str, "Callable[..., object] | str"]
    Reader = Callable[[tuple[Any, ...], dict[str, Any]], Any]

__all__ = ["FAILED", "label_reader"]

FAILED = "__error__"
"""Value of a label whose function raised."""

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def label_reader(
    function: Callable[..., Any], labels: Labels
) -> Callable[[tuple[Any, ...], dict[str, Any]], tuple[object, ...]]:
    """
    Return what computes the label values of one call of *function* from its arguments.

    Args:
        function: The decorated function.
        labels: For each label name a text, or a function whose parameters are named like arguments of *function*.
            Parameters with other names must have defaults, and keep them.

    Raises:
        LabelError: A label function asks for what it cannot be given.
    """
    if not any(map(callable, labels.values())):
        fixed = tuple(labels.values())
        return lambda _args, _kwargs: fixed
    readers = [_reader(function, name, value) for name, value in labels.items()]
    return lambda args, kwargs: tuple([read(args, kwargs) for read in readers])


def _reader(function: Callable[..., Any], label: str, value: Callable[..., object] | str) -> Reader:
    if not callable(value):
        return lambda _args, _kwargs: value
    arguments = _arguments(function, label, value)
    where = f"label {label} of {name_of(function)[1]}"

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        try:
            return value(**{name: argument(args, kwargs) for name, argument in arguments})
        except Exception as error:  # noqa: BLE001  # the host's call must not fail for its label
            internal_error(where, error)
            return FAILED

    return read


def _arguments(function: Callable[..., Any], label: str, value: Callable[..., object]) -> list[tuple[str, Reader]]:
    """Return the names of what *value* takes, each with what finds that argument in a call of *function*."""
    parameters = _parameters(function, label)
    found: list[tuple[str, Reader]] = []
    for name, taken in _parameters(value, label).items():
        if name in parameters and taken.kind in _BY_NAME:
            found.append((name, _argument(parameters, name)))
        elif taken.default is taken.empty:
            raise LabelError(
                f"The function for label {label!r} takes {taken}, but it gets only arguments of "
                f"{name_of(function)[1]}, by their names: {', '.join(parameters) or 'there are none'}."
            )
    return found


def _parameters(function: Callable[..., Any], label: str) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise LabelError(
            f"Label {label!r} cannot be computed from arguments: {function!r} does not tell what it takes. "
            "Put a function or lambda that names its parameters in its place."
        ) from error


def _argument(parameters: Mapping[str, inspect.Parameter], name: str) -> Reader:
    """Return what finds one argument in a call, however it was passed, without binding the whole call."""
    parameter = parameters[name]
    place = list(parameters).index(name)
    if parameter.kind is parameter.VAR_POSITIONAL:
        return lambda args, _kwargs: args[place:]
    if parameter.kind is parameter.VAR_KEYWORD:
        named = {each.name for each in parameters.values() if each.kind in _BY_NAME}
        return lambda _args, kwargs: {key: value for key, value in kwargs.items() if key not in named}
    otherwise = _otherwise(parameter)
    if parameter.kind is parameter.KEYWORD_ONLY:
        return lambda _args, kwargs: otherwise(kwargs)
    return lambda args, kwargs: args[place] if place < len(args) else otherwise(kwargs)


def _otherwise(parameter: inspect.Parameter) -> Callable[[dict[str, Any]], Any]:
    """Return what finds an argument that was not passed by position."""
    name, default = parameter.name, parameter.default
    if default is parameter.empty:
        return itemgetter(name)  # KeyError: the call lacks an argument, and will fail
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return lambda _kwargs: default
    return lambda kwargs: kwargs.get(name, default)
