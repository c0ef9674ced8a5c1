"""The trace to which what happens now belongs: OpenTelemetry's span, or what the request's W3C traceparent says."""

from __future__ import annotations

import re
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "REQUEST_HEADERS",
    "Trace",
    "current_trace",
    "expect_requests",
    "may_be_known",
    "onward_headers",
    "parse_traceparent",
]

REQUEST_HEADERS: ContextVar[Iterable[tuple[bytes, bytes]] | None] = ContextVar("vitalsign_headers", default=None)
"""
Headers of the request that is being answered, their names in lower case.

Middleware sets them as they are: most requests are never asked for their trace, and need not be searched for it.
"""

_API = "opentelemetry.trace"
_LONGEST = 512  # characters; no version of the header is near that
_TRACEPARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
).fullmatch
_SAMPLED = 0x01

_are_requests_expected = False


class Trace(NamedTuple):
    """
    Where in a trace something happens.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        is_sampled: Whether whoever began the trace has it stored.
    """

    trace_id: str
    span_id: str
    is_sampled: bool


def current_trace() -> Trace | None:
    """
    Return where in a trace the caller is; None outside of any.

    A span of OpenTelemetry's goes before the request's header, whose span is the caller's on the other side. The
    library is used if the host has loaded it; what its context raises is not caught.
    """
    return _current_span() or _requested()


def onward_headers() -> list[tuple[str, str]]:
    """
    Return the headers that let a call to another service belong to the current trace; none outside of any.

    There are no spans of our own. So within a span of OpenTelemetry's that is the caller, and otherwise the request's
    headers go on as they came: a new parent id would be one that nobody has stored, and break the trace in two.
    """
    span = _current_span()
    if span is not None:
        return [("traceparent", f"00-{span.trace_id}-{span.span_id}-{span.is_sampled:02x}"), *_span_state()]
    headers = _request_headers()
    parents = [value for name, value in headers if name == b"traceparent"]
    if len(parents) != 1 or parse_traceparent(parents[0]) is None:
        return []
    state = b",".join(value for name, value in headers if name == b"tracestate")
    is_sound = state and len(state) <= _LONGEST and state.isascii() and state.decode().isprintable()
    return [("traceparent", parents[0].decode()), *([("tracestate", state.decode())] if is_sound else [])]


def expect_requests() -> None:
    """Say that there is middleware which sets REQUEST_HEADERS."""
    global _are_requests_expected  # one for the process
    _are_requests_expected = True


def may_be_known() -> bool:
    """Tell whether anything in this process can know of a trace at all."""
    return _are_requests_expected or _API in sys.modules


def parse_traceparent(value: bytes) -> Trace | None:
    """
    Read a `traceparent` header, by https://www.w3.org/TR/trace-context/ (section 3.2); None if it is not valid.

    Of a version to come, what version 00 has is read, as the specification has it.
    """
    match = _TRACEPARENT(value) if len(value) <= _LONGEST else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more) or not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return Trace(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & _SAMPLED))


def _span_context() -> Any:
    api = sys.modules.get(_API)
    get_current_span = getattr(api, "get_current_span", None)  # it may just be being imported
    if get_current_span is None:
        return None
    context = get_current_span().get_span_context()
    return context if context.is_valid else None


def _span_state() -> list[tuple[str, str]]:
    context = _span_context()
    state = context.trace_state.to_header() if context is not None else ""
    return [("tracestate", state)] if state else []


def _current_span() -> Trace | None:
    context = _span_context()
    if context is None:
        return None
    return Trace(f"{context.trace_id:032x}", f"{context.span_id:016x}", bool(context.trace_flags & _SAMPLED))


def _request_headers() -> Iterable[tuple[bytes, bytes]]:
    headers = REQUEST_HEADERS.get()
    if headers is None or iter(headers) is headers:  # what can be read only once is left to the application
        return ()
    return headers


def _requested() -> Trace | None:
    found = [value for name, value in _request_headers() if name == b"traceparent"]
    return parse_traceparent(found[0]) if len(found) == 1 else None
