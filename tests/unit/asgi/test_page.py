"""What a scraper asks of the metrics page, by its headers and query, and what it gets."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from vitalsign import Counter, Gauge, generate_latest
from vitalsign._http_page import Page, PageRequest, negotiate, render, seconds_left

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def asked(*headers: tuple[str, str], query: str = "", method: str = "GET") -> Any:
    """Negotiate a request with these headers."""
    return negotiate(method, [(name.encode(), value.encode()) for name, value in headers], query.encode())


@pytest.fixture
def filled(registry: CollectorRegistry) -> CollectorRegistry:
    """Return a registry with two metrics."""
    Counter("shop_orders", "Orders.", ["channel"], registry=registry).labels("web").inc(3)
    Gauge("shop_depth", "Depth.", registry=registry).set(7)
    return registry


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "text"),
        ("", "text"),
        ("*/*", "text"),
        (BROWSER, "text"),
        (PROMETHEUS_2, "openmetrics"),
        (PROMETHEUS_3, "openmetrics"),
        ("text/plain", "text"),
        ("text/plain; version=0.0.4", "text"),
        ("text/plain; version=1.0.0", "text"),
        ("text/*", "text"),
        ("application/json", "text"),
        ("application/openmetrics-text", "openmetrics"),
        ("Application/OpenMetrics-Text; Version=1.0.0", "openmetrics"),
        ('application/openmetrics-text; version="1.0.0"; charset=utf-8', "openmetrics"),
        ("application/openmetrics-text; version=0.0.1", "text"),
        ("application/openmetrics-text;q=0", "text"),
        ("application/openmetrics-text;q=0.0, */*", "text"),
        ("application/openmetrics-text;q=0.9, text/plain", "text"),
        ("application/openmetrics-text;q=0.9, text/plain;q=0.8", "openmetrics"),
        ("application/openmetrics-text, text/plain", "text"),
        ("text/plain;q=0, */*", "openmetrics"),
        ("text/plain;q=0, application/openmetrics-text;q=0.1", "openmetrics"),
        ("text/plain;version=0.0.4;q=0.1, text/plain, application/openmetrics-text;q=0.5", "openmetrics"),
        ("application/*", "openmetrics"),
        ("application/openmetrics-text;q=high, text/plain;q=0.1", "text"),
        ("application/openmetrics-text;q=2, text/plain;q=0.1", "text"),
        (",;,=;q", "text"),
    ],
)
def test_format(accept, expected):
    """The format is chosen by quality, the most specific range first; what makes no sense is passed over."""
    headers = [] if accept is None else [("accept", accept)]
    assert asked(*headers) == PageRequest(expected, is_gzipped=False)


def test_accept_in_several_headers():
    """Several Accept headers are one list."""
    assert asked(("accept", "text/plain;q=0.1"), ("accept", "application/openmetrics-text")).format == "openmetrics"


@pytest.mark.parametrize("accept", ["text/plain;q=0", "text/plain;q=0, application/*;q=0", "*/*;q=0"])
def test_every_format_refused(accept):
    """Who refuses text, and does not ask for OpenMetrics, gets 406 and hears what there is."""
    page = asked(("accept", accept))
    assert (page.status, b"application/openmetrics-text" in page.body) == (406, True)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=0.5", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0, gzip;q=0.1", True),
        ("br, zstd", False),
        ("gzip;q=yes", False),
    ],
)
def test_compression(accept_encoding, expected):
    """The page is compressed if gzip is wanted at least as much as plain text."""
    headers = [] if accept_encoding is None else [("accept-encoding", accept_encoding)]
    assert asked(*headers).is_gzipped is expected


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "BREW"])
def test_other_methods(method):
    """Methods other than GET and HEAD are told which to use."""
    page = asked(method=method)
    assert page.status == 405
    assert (b"allow", b"GET, HEAD") in page.headers


def test_text_page(filled):
    """The text page is what the engine renders."""
    page = render(filled, asked())
    headers = dict(page.headers)
    assert (page.status, page.body) == (200, generate_latest(filled))
    assert headers[b"content-type"] == b"text/plain; version=0.0.4; charset=utf-8"
    assert headers[b"content-length"] == str(len(page.body)).encode()
    assert headers[b"vary"] == b"accept, accept-encoding"
    assert b"\nshop_depth 7.0\n" in page.body


def test_openmetrics_page(filled):
    """The OpenMetrics page passes the strict parser and says what it is."""
    page = render(filled, asked(("accept", PROMETHEUS_2)))
    assert dict(page.headers)[b"content-type"] == b"application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = list(text_string_to_metric_families(page.body.decode()))
    assert {family.name for family in families} == {"shop_orders", "shop_depth"}


@pytest.mark.parametrize("accept", ["text/plain", PROMETHEUS_3])
def test_compressed_page(accept, filled):
    """Compressed, the page is the same page, and says so."""
    plain = render(filled, asked(("accept", accept)))
    page = render(filled, asked(("accept", accept), ("accept-encoding", "gzip")))
    headers = dict(page.headers)
    assert gzip.decompress(page.body) == plain.body
    assert headers[b"content-encoding"] == b"gzip"
    assert headers[b"content-length"] == str(len(page.body)).encode()
    assert headers[b"content-type"] == dict(plain.headers)[b"content-type"]


def test_name_filter(filled):
    """`name[]` limits the page to series of these names; unknown ones are no error."""
    one = render(filled, asked(query="name[]=shop_depth&name%5B%5D=nowhere&other=1"))
    assert [line for line in one.body.decode().splitlines() if not line.startswith("#")] == ["shop_depth 7.0"]
    both = render(filled, asked(query="name[]=shop_depth&name[]=shop_orders_total"))
    assert sorted(line for line in both.body.decode().splitlines() if not line.startswith("#")) == [
        "shop_depth 7.0",
        'shop_orders_total{channel="web"} 3.0',
    ]
    assert render(filled, asked(query="name[]=nowhere")).body == b""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, 9.5),
        *[(b"15", 14.5), (b"10.000000", 9.5), (b"0.8", 0.4)],
        *[(text, 9.5) for text in (b"", b"0", b"-1", b"nan", b"inf", b"1e9", b"soon", b"\xff")],
    ],
)
def test_deadline(said, expected):
    """A page may take what the scraper waits, less a margin; Prometheus's default if that makes no sense."""
    headers = [] if said is None else [(b"x-prometheus-scrape-timeout-seconds", said)]
    assert seconds_left([(b"host", b"x"), *headers]) == expected


@given(accept=st.binary(), encoding=st.binary(), query=st.binary(), method=st.text())
def test_hostile_negotiation(accept, encoding, query, method):
    """No bytes in headers or query break the page."""
    for verb in ("GET", method):
        answer = negotiate(verb, [(b"accept", accept), (b"accept-encoding", encoding)], query)
        page = answer if isinstance(answer, Page) else render(CollectorRegistry(), answer)
        assert page.status in (200, 405, 406)
