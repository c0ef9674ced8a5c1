"""Hard cases of the metrics endpoint, each for ASGI and for WSGI."""

from __future__ import annotations

import gzip
import hmac
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.servers import wait_until
from tests.unit.endpoint.faces import PEER
from vitalsign import generate_latest
from vitalsign.exceptions import EndpointOptionError

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


class Broken:
    """A collector that raises."""

    def describe(self) -> list[Any]:
        """Describe nothing, so that registering collects nothing."""
        return []

    def collect(self) -> list[Any]:
        """Fail."""
        raise LookupError("secret")


def test_page(make, orders, registry):
    """GET is answered with the page, its type and its length."""
    answer = make(registry=registry)()
    assert (answer.status, answer.body) == (200, generate_latest(registry))
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["content-length"] == str(len(answer.body))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (OPENMETRICS, "openmetrics"),
        (f"{OPENMETRICS};q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", "openmetrics"),
        (f"{OPENMETRICS};q=0.2,text/plain;q=0.3", "text"),
        ("application/openmetrics-text;q=0, text/plain", "text"),
        ("application/openmetrics-text;q=0.0, */*", "text"),
        ("text/plain;q=0, */*", "openmetrics"),
    ],
)
def test_content_negotiation_with_q_values(accept, expected, make, orders, registry):
    """The format with the higher quality is sent, and one with q=0 never."""
    answer = make(registry=registry)(("Accept", accept))
    assert answer.body.endswith(b"# EOF\n") == (expected == "openmetrics")


def test_everything_refused_by_q_values(make, orders, registry):
    """Who refuses every format gets 406, and no metrics."""
    answer = make(registry=registry)(("Accept", "text/plain;q=0, application/openmetrics-text;q=0"))
    assert answer.status == 406
    assert b"shop_orders" not in answer.body


def test_openmetrics_1_0(make, orders, registry):
    """OpenMetrics passes the strict parser, and says its version."""
    answer = make(registry=registry)(("Accept", OPENMETRICS))
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert [family.name for family in text_string_to_metric_families(answer.body.decode())] == ["shop_orders"]


@pytest.mark.parametrize(
    ("accept_encoding", "is_zipped"),
    [("gzip", True), ("gzip;q=0", False), ("gzip;q=0.5, identity;q=0.1", True), ("*;q=0", False), ("br", False)],
)
def test_gzip_with_q_values(accept_encoding, is_zipped, make, orders, registry):
    """The page is compressed where the client wants it, and never where it refuses."""
    answer = make(registry=registry)(("Accept-Encoding", accept_encoding))
    assert (answer.headers.get("content-encoding") == "gzip") == is_zipped
    assert (gzip.decompress(answer.body) if is_zipped else answer.body) == generate_latest(registry)


def test_name_filter(make, orders, registry):
    """`name[]` limits the page to these series, percent-encoded or not."""
    ask = make(registry=registry)
    assert b"shop_orders_total 1.0\n" in ask(query="name[]=shop_orders_total").body
    assert ask(query="name%5B%5D=nothing").body == b""


def test_head(make, orders, registry):
    """HEAD has GET's status and headers, and no body."""
    ask = make(registry=registry)
    got, head = ask(), ask(method="HEAD")
    assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods(method, make, orders, registry):
    """Other methods hear which ones there are, and change nothing."""
    answer = make(registry=registry)(method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_simultaneous_scrapes_are_coalesced(make, slow, registry):
    """Ten scrapes at once ask each collector once, and all get the page."""
    ask = make(registry=registry)
    with ThreadPoolExecutor(10) as pool:
        scrapes = [pool.submit(ask) for _ in range(10)]
        assert slow.started.wait(60)
        wait_until(lambda: ask.waiting() == 10, "ten who wait")
        slow.may_end.set()
        pages = {scrape.result().body for scrape in scrapes}
    assert len(pages) == 1
    assert b"slow 1.0\n" in pages.pop()
    assert len(slow.threads) == 1


def test_deadline_of_the_scraper(make, slow, orders, registry):
    """A collector that takes longer than the scraper says that it waits is left out, and not asked twice."""
    ask = make(registry=registry)
    for _ in range(2):
        answer = ask(("X-Prometheus-Scrape-Timeout-Seconds", "0.4"))
        assert b"shop_orders_total 1.0\n" in answer.body
        assert b"slow" not in answer.body
    assert len(slow.threads) == 1


def test_deadline_of_the_endpoint(make, slow, orders, registry):
    """A deadline of the endpoint's own counts in place of what the scraper says."""
    began = time.monotonic()
    answer = make(registry=registry, deadline=0.1)(("X-Prometheus-Scrape-Timeout-Seconds", "300"))
    assert time.monotonic() - began < 100
    assert b"shop_orders_total 1.0\n" in answer.body
    assert b"slow" not in answer.body


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), float("inf"), "5"])
def test_deadline_that_is_no_time(deadline, make):
    """A deadline that no collector could keep is refused when the endpoint is made."""
    with pytest.raises(EndpointOptionError, match=r"deadline is .* number of seconds above 0"):
        make(deadline=deadline)


def test_collector_that_raises_is_left_out(make, orders, registry):
    """A collector that raises costs its own metrics, not the page."""
    registry.register(Broken())
    answer = make(registry=registry)()
    assert answer.status == 200
    assert b"shop_orders_total 1.0\n" in answer.body
    assert b"secret" not in answer.body


def test_page_that_cannot_be_rendered(make, orders, registry, monkeypatch):
    """A failure of the rendering itself is a 500 that tells nothing about the inside, and the next page is whole."""

    def fail(*_: Any) -> Any:
        raise LookupError("secret")

    ask = make(registry=registry)
    with monkeypatch.context() as patch:
        patch.setattr("vitalsign._http_endpoint.render", fail)
        failed = ask()
    assert failed.status == 500
    assert b"secret" not in failed.body
    assert ask().status == 200


def test_hostile_headers(make, orders, registry):
    """Bytes that make no sense, in any header or in the query, break nothing."""
    ask = make(registry=registry, token="s3cret", allow=PEER, trusted_proxies="127.0.0.1")
    junk = "\x80\xff,;=;q=\x00" * 50
    names = ("Accept", "Accept-Encoding", "X-Prometheus-Scrape-Timeout-Seconds")
    headers = [(name, junk) for name in names]
    assert ask(("Authorization", "Bearer s3cret"), *headers, query="name[]=%ff%00&%zz&=").status == 200
    assert ask(("Authorization", junk), *headers).status == 401
    assert ask(("X-Forwarded-For", junk), peer="127.0.0.1").status == 403


# -- who may read


TOKENS = ["s3cret", b"s3cret", lambda: "s3cret", lambda: b"s3cret", " s3cret\n"]


@pytest.mark.parametrize("token", TOKENS, ids=["text", "bytes", "function", "function of bytes", "line of a file"])
def test_no_metrics_without_the_right_token(token, make, orders, registry):
    """Whoever has not the token gets 401, is told which scheme to use, and sees no metric; who has it sees all."""
    ask = make(registry=registry, token=token)
    wrong = ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crett", "Bearer S3CRET", "Basic s3cret", "s3cret"]
    refused = [ask(), *(ask(("Authorization", value)) for value in wrong)]
    refused.append(ask(("Authorization", "Bearer s3cret"), ("Authorization", "Bearer other")))
    assert {answer.status for answer in refused} == {401}
    assert {answer.headers["www-authenticate"] for answer in refused} == {"Bearer"}
    assert not any(b"shop_orders" in answer.body or b"s3cret" in answer.body for answer in refused)
    for right in ("Bearer s3cret", "bearer s3cret", "Bearer   s3cret "):
        assert ask(("Authorization", right)).body == generate_latest(registry)


def test_refused_request_asks_no_collector(make, slow, registry):
    """Who may not read cannot make the collectors work either."""
    ask = make(registry=registry, token="s3cret")
    assert ask().status == 401
    assert ask(method="POST").status == 401
    assert slow.threads == []


def test_token_that_is_not_ascii(make, orders, registry):
    """A token may have any letters: they are sent as UTF-8."""
    sent = "Bearer " + "schlüssel".encode().decode("latin-1")
    assert make(registry=registry, token="schlüssel")(("Authorization", sent)).status == 200


def test_token_that_changes(make, orders, registry):
    """A function gives the token of the moment, so that it can be changed without a restart."""
    tokens = ["old"]
    ask = make(registry=registry, token=lambda: tokens[-1])
    assert ask(("Authorization", "Bearer old")).status == 200
    tokens.append("new")
    assert ask(("Authorization", "Bearer old")).status == 401
    assert ask(("Authorization", "Bearer new")).status == 200


@pytest.mark.parametrize("token", [lambda: "", lambda: None, lambda: [][0]], ids=["empty", "none", "error"])
def test_token_that_cannot_be_had(token, make, orders, registry):
    """A function that has no token lets nobody in, and its failure is not the application's."""
    ask = make(registry=registry, token=token)
    assert {ask(*headers).status for headers in ([], [("Authorization", "Bearer ")])} == {401}


@pytest.mark.parametrize("token", ["", "  ", b"", b"\n"])
def test_empty_token(token, make):
    """An empty token, as from a variable that is not set, is an error at once and no open door."""
    with pytest.raises(EndpointOptionError, match="token is empty"):
        make(token=token)


@pytest.mark.parametrize(
    ("option", "complaint"), [({"token": 5}, "of type int"), ({"registry": None}, "nothing to show")]
)
def test_option_of_the_wrong_kind(option, complaint, make):
    """What cannot be a token, or a registry, is an error at once, and not one of every request."""
    with pytest.raises(EndpointOptionError, match=complaint):
        make(**option)


def test_token_is_compared_in_constant_time(make, orders, registry, monkeypatch):
    """Whatever is sent as a token goes through `hmac.compare_digest`, as bytes, whether right, wrong, long or short."""
    compared: list[tuple[Any, Any]] = []

    def spy(sent: bytes, right: bytes) -> bool:
        compared.append((sent, right))
        return hmac.compare_digest(sent, right)

    monkeypatch.setattr("vitalsign._access.compare_digest", spy)
    ask = make(registry=registry, token="s3cret")
    sent = ["s3cret", "x3cret", "s3crex", "s", "\xff" * 100]
    assert [ask(("Authorization", f"Bearer {value}")).status for value in sent] == [200, 401, 401, 401, 401]
    assert compared == [(value.encode("latin-1"), b"s3cret") for value in sent]


@pytest.mark.parametrize(
    ("allow", "inside", "outside"),
    [
        ("192.0.2.0/24", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.3.7", "::ffff:192.0.3.7", "::1"]),
        ("192.0.2.7", ["192.0.2.7"], ["192.0.2.8"]),
        (["10.0.0.0/8", "::1"], ["10.9.8.7", "::1"], ["11.0.0.1", "::2", "127.0.0.1"]),
        (["2001:db8::/32"], ["2001:db8::5", "2001:DB8:0:0::5"], ["2001:db9::5", "10.0.0.1"]),
        ("::ffff:10.0.0.0/104", ["10.1.1.1", "::ffff:10.1.1.1"], ["11.0.0.1"]),
        ("fe80::/10", ["fe80::1%eth0"], ["fec0::1"]),
        ("0.0.0.0/0", ["203.0.113.9"], ["2001:db8::5"]),
        ("unix", [None, ""], ["127.0.0.1", "unix"]),
        ("127.0.0.1", ["127.0.0.1"], [None, "", "localhost", "testclient", "127.1", "127.0.0.1.evil"]),
    ],
)
def test_allow_list_by_network(allow, inside, outside, make, orders, registry):
    """Clients of the networks see the metrics, all others get 403 and none: IPv4, IPv6, mapped, without an address."""
    ask = make(registry=registry, allow=allow)
    assert {ask(peer=peer).body for peer in inside} == {generate_latest(registry)}
    answers = [ask(peer=peer) for peer in outside]
    assert {answer.status for answer in answers} == {403}
    assert not any(b"shop_orders" in answer.body for answer in answers)


def test_network_comes_before_the_token(make, orders, registry):
    """Both have to be right, and who comes from elsewhere does not learn whether the token is."""
    ask = make(registry=registry, token="s3cret", allow="10.0.0.0/8")
    right = ("Authorization", "Bearer s3cret")
    assert ask(right, peer="10.0.0.1").status == 200
    assert ask(peer="10.0.0.1").status == 401
    assert ask(right, peer="192.0.2.1").status == ask(peer="192.0.2.1").status == 403


@pytest.mark.parametrize("option", ["allow", "trusted_proxies"])
@pytest.mark.parametrize("network", ["", "10.0.0.0/33", "localhost", "10.0.0", "*"])
def test_network_that_is_none(option, network, make):
    """What is no network is named when the endpoint is made."""
    with pytest.raises(EndpointOptionError, match=f"{option} has .* which is no network"):
        make(**{option: ["10.0.0.0/8", network]})


def test_nobody_allowed(make):
    """A list of networks without any is a mistake, neither a closed door nor an open one."""
    with pytest.raises(EndpointOptionError, match="allow names no network"):
        make(allow=[])


# -- proxies


FORGED = ["10.0.0.1", "10.0.0.1, 192.0.2.1", "192.0.2.1, 10.0.0.1", "127.0.0.1", "unix", "", ", ,", "10.0.0.1," * 500]


@pytest.mark.parametrize("trusted", [(), "198.51.100.0/24"])
@pytest.mark.parametrize("claim", FORGED)
def test_forged_forwarding_gains_nothing(claim, trusted, make, orders, registry):
    """Without a trusted proxy in between, no header brings anybody in, and none keeps out who may read."""
    ask = make(registry=registry, allow=["10.0.0.0/8", "127.0.0.1"], trusted_proxies=trusted)
    others = [("Forwarded", f"for={claim}"), ("X-Real-IP", claim), ("X-Client-IP", claim)]
    assert ask(("X-Forwarded-For", claim), *others, peer="192.0.2.1").status == 403
    assert ask(("X-Forwarded-For", "192.0.2.1"), *others, peer="10.0.0.1").status == 200


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ([], 403),  # the proxy itself
        (["10.0.0.1"], 200),
        (["192.0.2.1"], 403),
        (["10.0.0.1, 192.0.2.1"], 403),  # what stands further left, anybody can have written
        (["10.0.0.1", "192.0.2.1"], 403),
        (["192.0.2.1, 10.0.0.1"], 200),
        (["192.0.2.1", "10.0.0.1"], 200),
        (["192.0.2.1, 10.0.0.1, 172.16.0.9"], 200),  # through two proxies
        (["10.0.0.1, 192.0.2.1, 172.16.0.9"], 403),
        (["172.16.0.9"], 403),  # from a proxy for a proxy
        (["10.0.0.1:4711"], 200),
        (["[2001:db8::5]:4711"], 200),
        (["[2001:db8::5]"], 200),
        (["2001:db8::5"], 200),
        (["::ffff:10.0.0.1"], 200),
        (["10.0.0.1:http"], 403),
        (["unknown"], 403),
        (["10.0.0.1, unknown"], 403),
        (["10.0.0.1, "], 403),
        ([""], 403),
        (["10.0.0.1, 172.16.0.9, "], 403),
        (["10.0.0.1\xff"], 403),
        (["unix"], 403),
    ],
)
def test_trusted_proxy_names_the_client(claims, status, make, orders, registry):
    """A trusted proxy is believed, from the right and past other trusted ones; what is no address lets nobody in."""
    ask = make(registry=registry, allow=["10.0.0.0/8", "2001:db8::/32"], trusted_proxies="172.16.0.0/12")
    headers = [("X-Forwarded-For", claim) for claim in claims]
    assert ask(*headers, peer="172.16.0.1").status == status
    assert ask(*headers, peer="::ffff:172.16.0.1").status == status


def test_trusted_proxy_on_a_unix_socket(make, orders, registry):
    """A proxy that comes by a Unix domain socket is trusted as `unix`, and is no client itself."""
    ask = make(registry=registry, allow="10.0.0.0/8", trusted_proxies="unix")
    assert ask(("X-Forwarded-For", "10.0.0.1"), peer=None).status == 200
    assert ask(("X-Forwarded-For", "192.0.2.1"), peer=None).status == 403
    assert ask(peer=None).status == 403
    assert ask(("X-Forwarded-For", "10.0.0.1"), peer="192.0.2.1").status == 403


# -- its threads


def test_two_formats_at_once(make, slow, registry):
    """Scrapes of different pages wait for their own only."""
    ask = make(registry=registry)
    slow.may_end.set()
    barrier = threading.Barrier(8)

    def scrape(number: int) -> bytes:
        barrier.wait(60)
        return ask(("Accept", OPENMETRICS if number % 2 else "text/plain")).body

    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(scrape, range(8)))
    assert [page.endswith(b"# EOF\n") for page in pages] == [bool(number % 2) for number in range(8)]
