"""Label values computed from the arguments of a decorated call."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from vitalsign.exceptions import LabelError
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Labels = Mapping[str, "Callable[..., object] | str"]
    Argument = Callable[[tuple[Any, ...], dict[str, Any]], Any]

__all__ = ["FAILED", "label_reader"]

FAILED = "__error__"
"""Value of a label whose function raised."""


def label_reader(
    function: Callable[..., Any], labels: Labels
) -> Callable[[tuple[Any, ...], dict[str, Any]], tuple[object, ...]]:
    """
    Return what computes the label values of one call of *function* from its arguments.

    Args:
        function: The decorated function.
        labels: For each label name a text, or a function whose parameters are named like arguments of *function*.

    Raises:
        LabelError: A label function names an argument that *function* does not take.
    """
    readers = [_reader(function, name, value) for name, value in labels.items()]
    return lambda args, kwargs: tuple(read(args, kwargs) for read in readers)


def _reader(function: Callable[..., Any], label: str, value: Callable[..., object] | str) -> Argument:
    if not callable(value):
        return lambda _args, _kwargs: value
    parameters = inspect.signature(function).parameters
    wanted = list(inspect.signature(value).parameters)
    unknown = [name for name in wanted if name not in parameters]
    if unknown:
        name = getattr(function, "__qualname__", repr(function))
        raise LabelError(
            f"The function for label {label!r} takes {', '.join(unknown)}, but {name} has no such argument. "
            f"Use its argument names: {', '.join(parameters) or 'it takes none'}."
        )
    arguments = [_argument(parameters, name) for name in wanted]

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        try:
            return value(*[argument(args, kwargs) for argument in arguments])
        except Exception as error:  # noqa: BLE001  # the host's call must not fail for its label
            internal_error(f"label {label}", error)
            return FAILED

    return read


def _argument(parameters: Mapping[str, inspect.Parameter], name: str) -> Argument:
    """Return what takes one argument from a call, however it was passed, without binding the whole call."""
    parameter = parameters[name]
    place = list(parameters).index(name)
    if parameter.kind is parameter.VAR_POSITIONAL:
        return lambda args, _kwargs: args[place:]
    if parameter.kind is parameter.VAR_KEYWORD:
        taken = {each.name for each in parameters.values() if each.kind is not each.POSITIONAL_ONLY}
        return lambda _args, kwargs: {key: value for key, value in kwargs.items() if key not in taken}
    if parameter.kind is parameter.KEYWORD_ONLY:
        return lambda _args, kwargs: kwargs.get(name, parameter.default)
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return lambda args, _kwargs: args[place] if place < len(args) else parameter.default
    return lambda args, kwargs: args[place] if place < len(args) else kwargs.get(name, parameter.default)
