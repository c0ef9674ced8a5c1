"""Labels of the host's own on HTTP metrics, computed from what is known of a request when it has been answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vitalsign.metrics.arguments import FAILED
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    LabelFunction = Callable[["RequestInfo"], object]

__all__ = ["ExtraLabels", "RequestInfo"]

_LONGEST = 128  # characters of a value: clients can send headers of many KiB


class RequestInfo:
    """
    What a label function is given: a request, and how it ended.

    Attributes:
        scope: The ASGI scope as the application left it, or the WSGI environ.
        method: As the client sent it.
        path: As the client asked for it, without the prefix of a proxy that the server has taken off.
        scheme: `http` or `https`, or what else the server says.
        http_version: `1.1`, `2`, or what else the server says; empty if it does not.
        status: What is counted: the status of the response, or 499 for a client that has left.
        error: The exception that left the application, if any.
    """

    __slots__ = ("error", "http_version", "method", "path", "scheme", "scope", "status")

    def __init__(
        self,
        scope: Mapping[str, Any],
        *,
        method: str,
        path: str,
        scheme: str,
        http_version: str,
        status: int,
        error: BaseException | None,
    ) -> None:
        self.scope: Mapping[str, Any] = scope
        self.method: str = method
        self.path: str = path
        self.scheme: str = scheme
        self.http_version: str = http_version
        self.status: int = status
        self.error: BaseException | None = error

    def header(self, name: str) -> str:
        """Return a header of the request, whatever the case of its name; empty if there is none."""
        raise NotImplementedError

    def response_header(self, name: str) -> str:
        """Return a header of the response, whatever the case of its name; empty if there is none."""
        raise NotImplementedError


class ExtraLabels:
    """Compute the values of further labels."""

    def __init__(self, functions: Mapping[str, LabelFunction]) -> None:
        self.names = tuple(functions)
        self._functions = tuple(functions.items())

    def values(self, info: RequestInfo) -> tuple[str, ...]:
        """Return the values in the order of the names; None makes an empty one, and a failure `__error__`."""
        return tuple([_value(name, function, info) for name, function in self._functions])


def _value(name: str, function: LabelFunction, info: RequestInfo) -> str:
    try:
        value = function(info)
        return "" if value is None else str(value)[:_LONGEST]
    except Exception as error:  # noqa: BLE001  # the host's request must not fail for its label
        internal_error(f"label {name} of HTTP requests", error)
        return FAILED
