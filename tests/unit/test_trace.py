"""The current trace: OpenTelemetry's span, or the request's W3C traceparent, read strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from tests.processes import run_script
from vitalsign._trace import REQUEST_HEADERS, Trace, current_trace, parse_traceparent

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01".encode()


@pytest.fixture
def headers() -> Iterator[list[tuple[bytes, bytes]]]:
    """Be within a request, whose headers these are."""
    present = [(b"host", b"testserver")]
    token = REQUEST_HEADERS.set(present)
    yield present
    REQUEST_HEADERS.reset(token)


@pytest.mark.parametrize(
    ("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("fe", False), ("ff", True)]
)
def test_valid_header_is_read(flags: str, is_sampled: bool) -> None:
    """Ids are returned as they stand, and of the flags the one that says whether the trace is stored."""
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}".encode()) == Trace(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize("more", ["", "-", "-what-comes-after"])
def test_versions_to_come_are_read_as_far_as_known(more: str) -> None:
    """A higher version may have more fields, after a dash."""
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01{more}".encode()) == Trace(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"cc-{TRACE}-{SPAN}-01more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0A",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00_{TRACE}_{SPAN}_01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"0g-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 500}",
    ],
)
def test_header_that_is_not_valid_is_ignored(header: str) -> None:
    """What breaks the specification in any way is no trace, nor is what is longer than any header of the kind."""
    assert parse_traceparent(header.encode()) is None


def test_outside_of_any_trace_there_is_none(headers: list[tuple[bytes, bytes]]) -> None:
    """Neither a request without the header nor no request at all is in a trace."""
    assert current_trace() is None
    REQUEST_HEADERS.set(None)
    assert current_trace() is None


def test_request_tells_its_trace(headers: list[tuple[bytes, bytes]]) -> None:
    """The header of the request that is being answered names the trace."""
    headers.append((b"traceparent", HEADER))
    assert current_trace() == Trace(TRACE, SPAN, True)


def test_header_that_is_there_twice_is_ignored(headers: list[tuple[bytes, bytes]]) -> None:
    """Of two headers nobody knows which one holds."""
    headers += [(b"traceparent", HEADER)] * 2
    assert current_trace() is None


def test_headers_that_can_be_read_once_are_left_to_the_application() -> None:
    """An iterator is not used up."""
    headers: Any = iter([(b"traceparent", HEADER)])
    token = REQUEST_HEADERS.set(headers)
    try:
        assert current_trace() is None
    finally:
        REQUEST_HEADERS.reset(token)
    assert list(headers) == [(b"traceparent", HEADER)]


@pytest.mark.parametrize("is_sampled", [True, False])
def test_span_goes_before_the_header(headers: list[tuple[bytes, bytes]], *, is_sampled: bool) -> None:
    """A valid span is the truth about this process, sampled or not; an invalid one says nothing."""
    headers.append((b"traceparent", HEADER))
    context = trace.SpanContext(0xA, 0xB, False, trace.TraceFlags(is_sampled))
    with trace.use_span(trace.NonRecordingSpan(context)):
        assert current_trace() == Trace("a".zfill(32), "b".zfill(16), is_sampled)
    with trace.use_span(trace.INVALID_SPAN):
        assert current_trace() == Trace(TRACE, SPAN, True)


def test_opentelemetry_is_never_imported() -> None:
    """The library is used where the host has loaded it, also while that is still going on, and not loaded otherwise."""
    script = """
        import sys, types
        from vitalsign import Counter
        from vitalsign._trace import current_trace, may_be_known
        from vitalsign.metrics.exposition import generate_openmetrics
        Counter("c", "c").inc()
        generate_openmetrics()
        print(current_trace(), may_be_known(), [name for name in sys.modules if name.startswith("opentelemetry")])
        sys.modules["opentelemetry.trace"] = types.ModuleType("opentelemetry.trace")
        print(current_trace(), may_be_known())
    """
    assert run_script(script).splitlines() == ["None False []", "None True"]
