"""What one line says, whichever library was asked to write it."""

from __future__ import annotations

import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vitalsign.logs._clean import kind_of

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

__all__ = ["exception_fields", "free_name", "line_fields", "timestamp"]

_NO_EXCEPTION = "NoneType: None"  # what logging makes of `exc_info=True` where there is none
_IDS = ("request_id", "trace_id", "span_id", "job_id")


def line_fields(
    head: Mapping[str, object],
    context: Mapping[str, object],
    own: Mapping[str, object],
    *,
    exception: Mapping[str, str] | None = None,
    stack: object = None,
) -> dict[str, object]:
    """
    Put the fields of a line in order: what is cut off when a line becomes too long stands last.

    Args:
        head: What every line begins with. What has the same name elsewhere gets a `_` at its end.
        context: Fields of the block that it was logged in.
        own: Fields of the line itself, which go before those of its block.
        exception: As `exception_fields` returns it.
        stack: Text of the stack.
    """
    line = dict(head)
    ids = {name: own.get(name, context.get(name)) for name in _IDS}
    line.update((name, value) for name, value in ids.items() if value is not None)
    if exception:
        line["exception"] = exception
    if stack:
        line["stack"] = stack
    taken = line.keys() - _IDS
    for fields in (own, {name: value for name, value in context.items() if name not in own}):
        for name, value in fields.items():
            if name not in ids:
                line[free_name(name, taken)] = value
    return line


def free_name(name: str, taken: Container[str]) -> str:
    """Return *name*, with a `_` at its end for as long as it is taken."""
    while name in taken:
        name += "_"
    return name


def timestamp(seconds: float) -> str:
    """Write Unix time as RFC 3339 has it: in UTC, with milliseconds; of what is no time, the present is made."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ArithmeticError, OSError, TypeError, ValueError):
        moment = datetime.now(UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def exception_fields(given: object) -> dict[str, str] | None:
    """
    Return an exception's class, text and traceback, or what of these is known; None where there is none.

    Args:
        given: The exception, the triple that `sys.exc_info()` returns, True for what that returns here and now, or a
            text that somebody has made of it.
    """
    given = sys.exc_info() if given is True else given
    error = given[1] if isinstance(given, tuple) and len(given) == 3 else given
    if isinstance(error, BaseException):
        return {"type": kind_of(error), "message": _text_of(error), "stack": _stack_of(error)}
    return {"stack": error} if isinstance(error, str) and error not in ("", _NO_EXCEPTION) else None


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001
        return "<unprintable>"


def _stack_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001  # an attribute of the exception's may raise
        return "".join(traceback.format_tb(error.__traceback__))
