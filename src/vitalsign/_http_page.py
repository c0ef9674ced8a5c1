"""What a scraper asks of a metrics page and what it gets: negotiation and rendering, without I/O."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs

from vitalsign.metrics.exposition import CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE
from vitalsign.metrics.exposition import render as render_pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import CollectorRegistry

__all__ = [
    "READING",
    "Page",
    "PageRequest",
    "failure",
    "negotiate",
    "render",
    "seconds_left",
    "wrong_method",
]

READING = ("GET", "HEAD")
"""The methods that are answered."""

Format = Literal["text", "openmetrics"]

_SCRAPE_TIMEOUT = 10.0  # seconds; Prometheus's default
_LONGEST_TIMEOUT = 600.0  # seconds; more is no scraper's
_MARGIN = 0.5  # seconds, for what comes after the collectors
_GZIP_LEVEL = 4  # a page shrinks to a fifteenth; level 9 takes four times as long for a tenth less


@dataclass(frozen=True, slots=True)
class PageRequest:
    """
    What is to be rendered. Equal requests have equal pages.

    Attributes:
        format: Prometheus text or OpenMetrics 1.0.
        is_gzipped: Whether the page is compressed.
        names: Series names that it is limited to; empty for all.
    """

    format: Format
    is_gzipped: bool
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Page:
    """A response: status, headers as ASGI wants them, body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Offer:
    """One element of an Accept or Accept-Encoding header."""

    value: str
    version: str | None
    quality: float


def negotiate(method: str, headers: Iterable[tuple[bytes, bytes]], query: bytes) -> PageRequest | Page:
    """
    Decide what to render for a request.

    Args:
        method: The request's method.
        headers: Its headers, their names in lower case.
        query: Its query string; each `name[]` in it is a series to be shown.

    Returns:
        What to render, or a response that says why nothing is.
    """
    if method not in READING:
        return wrong_method()
    listed = list(headers)
    chosen = _choose_format(_joined(listed, b"accept"))
    if chosen is None:
        return notice(406, "This page is text/plain or application/openmetrics-text, and both are refused.")
    names = parse_qs(query.decode("latin-1")).get("name[]", ())
    return PageRequest(chosen, _chooses_gzip(_joined(listed, b"accept-encoding")), frozenset(names))


def render(registry: CollectorRegistry, request: PageRequest, deadline: float | None = None) -> Page:
    """
    Render what *request* asks for; this can take long and is for a thread of its own.

    Args:
        registry: What is rendered.
        request: What is asked for.
        deadline: Seconds after which a collector that has not answered is left out.
    """
    source = registry.restricted_registry(request.names) if request.names else registry
    is_openmetrics = request.format == "openmetrics"
    body = b"".join(_unhurried(render_pieces(source, openmetrics=is_openmetrics, deadline=deadline)))
    content_type = OPENMETRICS_CONTENT_TYPE if is_openmetrics else CONTENT_TYPE
    headers = [(b"content-type", content_type.encode()), (b"vary", b"accept, accept-encoding")]
    if request.is_gzipped:
        body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        headers.append((b"content-encoding", b"gzip"))
    return Page(200, (*headers, (b"content-length", b"%d" % len(body))), body)


def _unhurried(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Let other threads go on after each piece; unasked, the interpreter would keep an event loop waiting for 5 ms."""
    for piece in pieces:
        yield piece
        sleep(0)


def seconds_left(headers: Iterable[tuple[bytes, bytes]]) -> float:
    """Return how long the page may take: what the scraper says it waits, less a margin, or Prometheus's default."""
    said = _joined(headers, b"x-prometheus-scrape-timeout-seconds")
    try:
        seconds = float(said)
    except ValueError:
        seconds = _SCRAPE_TIMEOUT
    if not 0 < seconds < _LONGEST_TIMEOUT:
        seconds = _SCRAPE_TIMEOUT
    return max(seconds - _MARGIN, seconds / 2)


def failure() -> Page:
    """Return the answer to a request whose page could not be rendered; the reason is in the log."""
    return notice(500, "The metrics could not be rendered; the log says why.")


def wrong_method() -> Page:
    """Return the answer to a request that wants to do something else than read."""
    return notice(405, "This page answers GET and HEAD.", (b"allow", b"GET, HEAD"))


def notice(status: int, text: str, *headers: tuple[bytes, bytes]) -> Page:
    """Return an answer that is no page of metrics but a line of text."""
    body = text.encode() + b"\n"
    plain = (b"content-type", b"text/plain; charset=utf-8")
    return Page(status, (plain, *headers, (b"content-length", b"%d" % len(body))), body)


def _joined(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    return ",".join(value.decode("latin-1") for key, value in headers if key == name)


def _choose_format(accept: str) -> Format | None:
    """Choose by quality, text if they are equal; None if text is refused and OpenMetrics not asked for."""
    offers = list(_offers(accept))
    text = _quality(offers, ("text/plain", "text/*", "*/*"), "0.0.4")
    metrics = _quality(offers, ("application/openmetrics-text", "application/*", "*/*"), "1.0.0")
    if (metrics or 0) > (text or 0):
        return "openmetrics"
    # Who asks for other types only, such as a browser for HTML, is better served with text than with nothing.
    return None if text == 0 else "text"


def _chooses_gzip(accept_encoding: str) -> bool:
    offers = list(_offers(accept_encoding))
    zipped = _quality(offers, ("gzip", "*"), None) or 0
    return zipped > 0 and zipped >= (_quality(offers, ("identity", "*"), None) or 0)


def _quality(offers: list[_Offer], ranges: tuple[str, ...], version: str | None) -> float | None:
    """Return the quality that the most specific of *ranges* was given; None if none of them was named."""
    for wanted in ranges:
        named = [offer for offer in offers if offer.value == wanted]
        exact = [offer.quality for offer in named if offer.version == version]
        loose = [offer.quality for offer in named if offer.version is None]
        if exact or loose:
            return max(exact or loose)
    return None


def _offers(header: str) -> Iterator[_Offer]:
    for element in header.split(","):
        value, *parameters = (part.strip() for part in element.split(";"))
        fields = {
            key.strip().lower(): text.strip().strip('"') for key, _, text in (one.partition("=") for one in parameters)
        }
        quality = _as_quality(fields.get("q", "1"))
        if value and quality is not None:
            yield _Offer(value.lower(), fields.get("version"), quality)


def _as_quality(text: str) -> float | None:
    try:
        quality = float(text)
    except ValueError:
        return None
    return quality if 0 <= quality <= 1 else None
