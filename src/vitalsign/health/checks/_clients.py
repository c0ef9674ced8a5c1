"""Tell which client, pool or connection the host has given, without importing the library that it is from."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitalsign.exceptions import HealthCheckError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["is_a", "load", "require_url", "unknown"]


def is_a(thing: object, *classes: str) -> bool:
    """
    Tell whether *thing* is an instance of one of *classes*, each named as in `redis.asyncio.Redis`.

    Loads nothing: while nobody has imported the library, nothing can be an instance of its classes.
    """
    for path in classes:
        module, _, name = path.rpartition(".")
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, type) and isinstance(thing, found):
            return True
    return False


def unknown(check: str, client: object, accepted: str) -> HealthCheckError:
    """
    Return the error that says what *check* takes instead of *client*, which may hold credentials and is not shown.

    Args:
        check: Its name.
        client: What was given.
        accepted: What may be given.
    """
    kind = type(client)
    return HealthCheckError(f"Check {check!r} cannot use a {kind.__module__}.{kind.__qualname__}. Give {accepted}.")


def require_url(check: str, url: str, schemes: Sequence[str], accepted: str) -> None:
    """
    Require that *url* begins with one of *schemes*.

    Args:
        check: Its name.
        url: Not shown if it is refused, for it may hold a password.
        schemes: Without `://`.
        accepted: What may be given.

    Raises:
        HealthCheckError: It begins with something else.
    """
    scheme, separator, rest = url.partition("://")
    if scheme not in schemes or not separator or not rest:
        raise HealthCheckError(
            f"The text given to check {check!r} is no URL that begins with '{schemes[0]}://'. Give {accepted}."
        )


def load(module: str, extra: str, *, check: str) -> Any:
    """
    Import *module*, which a check needs for itself.

    Args:
        module: Such as `asyncpg`.
        extra: The extra of vitalsign that brings it.
        check: The check as it is called, for the error.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        raise MissingExtraError(check, library=library, extra=extra) from error
