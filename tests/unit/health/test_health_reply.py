"""Who sees what, in which form."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitalsign import _access
from vitalsign.exceptions import EndpointOptionError
from vitalsign.health import CheckResult, Report, Status
from vitalsign.health._reply import Reply, check_reply, info_reply, report_reply
from vitalsign.health._request import Audience, Request

DOWN = CheckResult("database", Status.FAIL, message="raised OSError", age=0.2, duration=1.5)
REPORT = Report("shop", "1.4.0", "full", (DOWN, CheckResult("cache", Status.UNKNOWN, critical=False)))
SECRET = "open-sesame"
BEARER = (b"authorization", f"Bearer {SECRET}".encode())


def reply(request: Request, audience: Audience) -> Reply:
    """Answer as an endpoint of a group does."""
    return report_reply(REPORT, request.accept, details=audience.includes(request))


def sees_details(request: Request, *, token: Any = SECRET, allow: Any = (), trusted_proxies: Any = ()) -> bool:
    """Tell whether *request* is answered with more than the status."""
    body = json.loads(reply(request, Audience(token, allow, trusted_proxies)).body)
    assert body["status"] == "fail"
    return len(body) > 1


@pytest.mark.parametrize(
    ("accept", "body"),
    [(b"", b'{"status":"fail"}'), (b"application/health+json", b'{"status":"fail"}'), (b"text/plain", b"fail\n")],
)
def test_anonymous_callers_see_status_only(accept: bytes, body: bytes) -> None:
    """Without a token, the body is the status and nothing else, whatever the form."""
    request = Request(headers=[(b"accept", accept)], peer="203.0.113.9")
    answer = reply(request, Audience(SECRET, ["10.0.0.0/8"], ()))
    assert (answer.status_code, answer.body) == (503, body)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"Bearer {SECRET}", True),
        (f"bearer  {SECRET} ", True),
        (f"Bearer {SECRET}x", False),
        (f"Bearer {SECRET[:-1]}", False),
        ("Bearer ", False),
        ("Bearer", False),
        ("", False),
        (f"Basic {SECRET}", False),
        (SECRET, False),
        ("Bearer \xff\xfe", False),
    ],
)
def test_details_by_token(header: str, expected: bool) -> None:
    """Only the whole token after the word Bearer opens the details."""
    assert sees_details(Request(headers=[(b"authorization", header.encode("latin-1"))])) is expected


def test_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is left to hmac.compare_digest."""
    seen: list[tuple[object, object]] = []

    def note(one: object, other: object) -> bool:
        seen.append((one, other))
        return False

    monkeypatch.setattr(_access, "compare_digest", note)
    assert not sees_details(Request(headers=[BEARER]))
    assert seen == [(SECRET.encode(), SECRET.encode())]


def test_no_token_opens_nothing() -> None:
    """Where no token is set, no header opens the details."""
    for header in (b"", b"Bearer ", b"Bearer None", b"Bearer"):
        assert not sees_details(Request(headers=[(b"authorization", header)]), token=None)


def test_token_may_hold_any_letter() -> None:
    """A token outside of ASCII is compared by its UTF-8 bytes."""
    assert sees_details(Request(headers=[(b"authorization", "Bearer schlüssel".encode())]), token="schlüssel")


def test_token_can_change_without_a_restart() -> None:
    """A function gives the token of the moment; where it raises, nobody has it."""
    tokens = iter(["first", "second"])
    audience = Audience(lambda: next(tokens), (), ())
    old, new = (Request(headers=[(b"authorization", b"Bearer " + name)]) for name in (b"first", b"second"))
    assert audience.includes(old)
    assert audience.includes(new)
    assert not audience.includes(new)


@pytest.mark.parametrize("token", ["", "  ", "\n", b""])
def test_empty_token_is_refused(token: Any) -> None:
    """An environment variable that is not set does not become a token that everybody has."""
    with pytest.raises(EndpointOptionError, match="token is empty"):
        Audience(token, (), ())


@pytest.mark.parametrize(
    ("client", "allow", "expected"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("11.1.2.3", ["10.0.0.0/8"], False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", ["192.168.0.0/16", "127.0.0.1/8"], True),
        ("10.1.2.3", ip_network("10.0.0.0/8"), True),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("::1", ["::1", "10.0.0.0/8"], True),
        ("::2", ["::1", "10.0.0.0/8"], False),
        ("", ["0.0.0.0/0", "::/0"], False),
        (None, ["0.0.0.0/0", "::/0"], False),
        (None, ["unix"], True),
        ("/run/app.sock", ["0.0.0.0/0", "::/0"], False),
        ("127.0.0.1", [], False),
    ],
)
def test_details_by_network(client: str | None, allow: Any, expected: bool) -> None:
    """The address of the connection decides; what is no address is in no network."""
    assert sees_details(Request(peer=client), allow=allow) is expected


FORWARDED = [b"forwarded", b"x-forwarded-for", b"x-real-ip"]


@pytest.mark.parametrize("header", FORWARDED)
def test_forwarded_request_is_in_no_network(header: bytes) -> None:
    """Behind a proxy everybody comes from the proxy's address, so a forwarded request needs the token."""
    forwarded = (header, b"10.0.0.2")
    assert not sees_details(Request(headers=[forwarded], peer="10.0.0.1"), allow=["10.0.0.0/8"])
    assert sees_details(Request(headers=[forwarded, BEARER], peer="10.0.0.1"), allow=["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("headers", "peer", "expected"),
    [
        ([(b"x-forwarded-for", b"10.0.0.2")], "172.16.0.5", True),
        ([(b"x-forwarded-for", b"10.0.0.2"), (b"x-real-ip", b"10.0.0.2")], "172.16.0.5", True),
        ([(b"x-forwarded-for", b"203.0.113.9")], "172.16.0.5", False),
        ([(b"x-forwarded-for", b"10.0.0.2, 203.0.113.9")], "172.16.0.5", False),  # the left part is the client's word
        ([(b"x-forwarded-for", b"10.0.0.2")], "10.0.0.9", False),  # not from the proxy
        ([(b"x-real-ip", b"10.0.0.2")], "172.16.0.5", False),  # says nothing that is read
        ([(b"forwarded", b"for=10.0.0.2")], "172.16.0.5", False),
        ([(b"x-forwarded-for", b"somebody")], "172.16.0.5", False),
        ([(b"x-forwarded-for", b"10.0.0.2")], "nonsense", False),
        ([], "10.0.0.9", True),
        ([], "172.16.0.5", False),
    ],
)
def test_trusted_proxy_says_where_a_request_is_from(headers: Any, peer: str, expected: bool) -> None:
    """What a trusted proxy has written counts, and nothing that anybody else can write."""
    request = Request(headers=headers, peer=peer)
    assert sees_details(request, allow=["10.0.0.0/8"], trusted_proxies=["172.16.0.5"]) is expected


@pytest.mark.parametrize("network", ["localhost", "10.0.0.0/33", "", "10.0.0"])
def test_what_is_no_network_is_refused(network: str) -> None:
    """A host name or a typing error in the list of networks is an error that shows how to write one."""
    with pytest.raises(EndpointOptionError, match=r"is no network\. Give one as '10\.0\.0\.0/8' or '::1'"):
        Audience(None, [network], ())


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        ("application/health+json", "application/health+json"),
        ("Application/Health+JSON", "application/health+json"),
        ("application/health+json, application/json", "application/health+json"),
        ("application/json, application/health+json;q=0.5", "application/json"),
        ("application/json;q=0.4, application/health+json; q=0.5", "application/health+json"),
        ("application/health+json;q=0", "application/json"),
        ("application/health+json;q=zero", "application/json"),
        ("text/html, application/health+json;charset=utf-8;q=0.9, */*;q=0.8", "application/health+json"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/plain, */*;q=0.1", "text/plain; charset=utf-8"),
        ("application/json, text/plain, */*", "application/json"),
        ("application/json;q=0.5, text/plain", "text/plain; charset=utf-8"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        (",;,;;q=,", "application/json"),
    ],
)
def test_form_on_request(accept: str, expected: str) -> None:
    """Who names health+json or plain text gets it, unless another is preferred; all others get JSON."""
    for answer in (report_reply(REPORT, accept, details=True), check_reply("shop", DOWN, accept)):
        assert answer.content_type == expected


def test_both_forms_of_json_carry_the_details() -> None:
    """The form that was asked for is the one that is sent."""
    plain, draft = (report_reply(REPORT, accept, details=True) for accept in ("", "application/health+json"))
    assert json.loads(plain.body) == REPORT.to_dict()
    assert json.loads(draft.body) == REPORT.to_health_json()


def test_text_is_a_table_for_people() -> None:
    """Plain text has a heading and one aligned line for each check; columns that nobody fills are left out."""
    assert report_reply(REPORT, "text/plain", details=True).body.decode().splitlines() == [
        "shop 1.4.0: full fail",
        "",
        "check     status   critical  age     took   message",
        "database  fail     critical  200 ms  1.5 s  raised OSError",
        "cache     unknown",
    ]


def test_text_of_a_group_without_checks_is_its_status() -> None:
    """Where there is nothing to list, there is no table."""
    answer = report_reply(Report("shop", "", "liveness", ()), "text/plain", details=True)
    assert answer.body == b"shop: liveness pass\n"


def test_text_holds_nothing_that_a_terminal_obeys() -> None:
    """What a check says stays on its line, and without control characters."""
    check = CheckResult("queue", Status.WARN, True, "two\nlines \x1b[31mred\x07 \udc80", value="9\r0", unit="jobs")
    text = check_reply("shop", check, "text/plain").body.decode()
    assert text == "queue  warn  critical  9 0 jobs  two lines  [31mred   ?\n".replace("   ?", "   ")


@pytest.mark.parametrize(("status", "code"), [("pass", 200), ("warn", 200), ("fail", 503), ("unknown", 503)])
@pytest.mark.parametrize("critical", [True, False])
def test_single_check_answers_for_itself(status: str, code: int, critical: bool) -> None:
    """Who asks for one check hears whether that has failed, critical or not."""
    check = CheckResult("cache", Status(status), critical)
    answer = check_reply("shop", check, "")
    assert (answer.status_code, json.loads(answer.body)) == (
        code,
        {"service": "shop", "check": "cache", "status": status, "critical": critical},
    )
    draft = json.loads(check_reply("shop", check, "application/health+json").body)
    assert list(draft["checks"]) == ["cache"]


def test_info_in_both_forms() -> None:
    """Facts about the service come as JSON or as lines."""
    info = {"service": "shop", "paths": {"readiness": "/ready", "full": "/health/full"}}
    assert json.loads(info_reply(info, "").body) == info
    lines = info_reply(info, "text/plain").body.decode()
    assert lines == "service  shop\npaths    readiness /ready, full /health/full\n"


@given(accept=st.binary(), authorization=st.binary(), forwarded=st.binary(), peer=st.none() | st.text(max_size=40))
def test_no_header_breaks_a_reply(accept: bytes, authorization: bytes, forwarded: bytes, peer: str | None) -> None:
    """Whatever a client sends, it gets the status, uncached, and not the details."""
    names = (b"accept", b"authorization", b"x-forwarded-for")
    request = Request(headers=list(zip(names, (accept, authorization, forwarded), strict=True)), peer=peer)
    answer = reply(request, Audience(SECRET, ["10.0.0.0/8"], ["127.0.0.1"]))
    assert answer.status_code == 503
    assert answer.body in (b'{"status":"fail"}', b"fail\n")
    assert answer.headers == (("cache-control", "no-store"),)
