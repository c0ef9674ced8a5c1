"""What a call to an API ended in, judged by its status or by its exception."""

from __future__ import annotations

from typing import Any

__all__ = ["KINDS", "kind_of_error", "kind_of_status", "response_of"]

KINDS = ("timeout", "connect", "transport", "rate_limited", "client_error", "server_error", "other")
"""
Kinds of errors: no answer in time; no connection; the connection broke or carried nonsense; status 429; other
statuses from 400; statuses from 500; anything else, such as an answer that could not be decoded.
"""

# Client libraries have exception trees of their own; by the names in them they are all told apart without importing
# any. The order matters: a ConnectTimeout is a timeout.
_BY_NAME = (
    ("timeout", "timeout"),
    ("ratelimit", "rate_limited"),
    ("connectionreset", "transport"),
    ("connectionaborted", "transport"),
    ("brokenpipe", "transport"),
    ("serverdisconnected", "transport"),
    ("connect", "connect"),
    ("gaierror", "connect"),
    ("transport", "transport"),
    ("network", "transport"),
    ("protocol", "transport"),
    ("chunkedencoding", "transport"),
    ("incompleteread", "transport"),
)


def kind_of_status(status: int) -> str | None:
    """Return the kind of error that an HTTP *status* means, None if it means none."""
    if status == 429:
        return "rate_limited"
    if status >= 500:
        return "server_error"
    return "client_error" if status >= 400 else None


def kind_of_error(error: BaseException) -> str:
    """Return the kind of *error*, judged by the names of its class and their bases."""
    names = [cls.__name__.lower() for cls in type(error).__mro__]
    return next((kind for part, kind in _BY_NAME if any(part in name for name in names)), "other")


def response_of(error: BaseException) -> tuple[int, Any] | None:
    """
    Return status and headers of the response that *error* carries, as those of httpx, requests and most SDKs do.

    Returns:
        None if it carries none.
    """
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return (status, getattr(response, "headers", {})) if isinstance(status, int) else None
