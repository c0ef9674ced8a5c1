"""Who sees what, in which form."""

from __future__ import annotations

import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitalsign.exceptions import HealthCheckError
from vitalsign.health import CheckResult, Report, Status
from vitalsign.health._reply import Access, Request, reply

REPORT = Report("shop", "1.4.0", "full", (CheckResult("database", Status.FAIL, message="raised OSError"),))
SECRET = "open sesame".replace(" ", "-")


def sees_details(request: Request, *, token: str | None = SECRET, allow: Any = ()) -> bool:
    """Tell whether *request* is answered with more than the status."""
    body = json.loads(reply(REPORT, request, Access(token, allow)).body)
    assert body["status"] == "fail"
    return len(body) > 1


def test_anonymous_callers_see_the_status_only() -> None:
    """Without a token, the body is the status and nothing else, whatever the form."""
    access = Access(SECRET, ["10.0.0.0/8"])
    for accept in ("", "application/health+json"):
        answer = reply(REPORT, Request(accept=accept, client="203.0.113.9"), access)
        assert (answer.status_code, answer.body) == (503, b'{"status":"fail"}')


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
    assert sees_details(Request(authorization=header.encode("latin-1"))) is expected


def test_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is left to hmac.compare_digest."""
    seen: list[tuple[object, object]] = []

    def note(one: object, other: object) -> bool:
        seen.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", note)
    assert not sees_details(Request(authorization=f"Bearer {SECRET}".encode()))
    assert seen == [(SECRET.encode(), SECRET.encode())]


def test_no_token_opens_nothing() -> None:
    """Where no token is set, no header opens the details."""
    for header in (b"", b"Bearer ", b"Bearer None", b"Bearer"):
        assert not sees_details(Request(authorization=header), token=None)


def test_token_may_hold_any_letter() -> None:
    """A token outside of ASCII is compared by its UTF-8 bytes."""
    assert sees_details(Request(authorization="Bearer schlüssel".encode()), token="schlüssel")


@pytest.mark.parametrize("token", ["", "  ", "\n"])
def test_empty_token_is_refused(token: str) -> None:
    """An environment variable that is not set does not become a token that everybody has."""
    with pytest.raises(HealthCheckError, match=r"token for health details is empty.*environment variable"):
        Access(token, ())


@pytest.mark.parametrize(
    ("client", "allow", "expected"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("11.1.2.3", ["10.0.0.0/8"], False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", ["192.168.0.0/16", "127.0.0.1/8"], True),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("::1", ["::1", "10.0.0.0/8"], True),
        ("::2", ["::1", "10.0.0.0/8"], False),
        ("", ["0.0.0.0/0", "::/0"], False),
        ("/run/app.sock", ["0.0.0.0/0", "::/0"], False),
        ("127.0.0.1", [], False),
    ],
)
def test_details_by_network(client: str, allow: Any, expected: bool) -> None:
    """The address of the connection decides; what is no address is in no network."""
    assert sees_details(Request(client=client), allow=allow) is expected


def test_forwarded_request_is_in_no_network() -> None:
    """Behind a proxy everybody comes from the proxy's address, so a forwarded request needs the token."""
    forwarded = Request(client="10.0.0.1", is_forwarded=True)
    assert not sees_details(forwarded, allow=["10.0.0.0/8"])
    with_token = Request(client="10.0.0.1", is_forwarded=True, authorization=f"Bearer {SECRET}".encode())
    assert sees_details(with_token, allow=["10.0.0.0/8"])


@pytest.mark.parametrize("network", ["localhost", "10.0.0.0/33", "", "10.0.0"])
def test_what_is_no_network_is_refused(network: str) -> None:
    """A host name or a typing error in the list of networks is an error that shows how to write one."""
    with pytest.raises(HealthCheckError, match=r"is no network .* Give one as '10\.0\.0\.0/8' or '::1'"):
        Access(None, [network])


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
        (",;,;;q=,", "application/json"),
    ],
)
def test_health_json_on_request(accept: str, expected: str) -> None:
    """Who names health+json, with a quality not below that of JSON, gets it; all others get JSON."""
    answer = reply(REPORT, Request(accept=accept), Access(None, ()))
    assert answer.content_type == expected


def test_both_forms_carry_the_details() -> None:
    """The form that was asked for is the one that is sent."""
    request = Request(authorization=f"Bearer {SECRET}".encode())
    access = Access(SECRET, ())
    assert json.loads(reply(REPORT, request, access).body) == REPORT.to_dict()
    asked = Request(accept="application/health+json", authorization=request.authorization)
    assert json.loads(reply(REPORT, asked, access).body) == REPORT.to_health_json()


@given(accept=st.text(), authorization=st.binary(), client=st.text(max_size=40))
def test_no_header_breaks_a_reply(accept: str, authorization: bytes, client: str) -> None:
    """Whatever a client sends, it gets the status, uncached, and not the details."""
    answer = reply(REPORT, Request(accept, authorization, client), Access(SECRET, ["10.0.0.0/8"]))
    assert (answer.status_code, answer.body) == (503, b'{"status":"fail"}')
    assert answer.headers == (("cache-control", "no-store"),)
