"""Remote APIs: keys, limits, refusals, and the ways to ask."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.unit.health.checks.upstreams import Reply, closed_port, listening, outcome, serving
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import CheckResult, HealthChecker, Result, checks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.health.checks.conftest import Authority

KEY = "sk-hunter2-hunter2"


def by_standard_library(health: HealthChecker, url: str, **settings: Any) -> CheckResult:
    """Ask without a client."""
    return outcome(health, checks.remote_api(url, **{"key": KEY, **settings}))


def by_client(health: HealthChecker, url: str, **settings: Any) -> CheckResult:
    """Ask by the application's httpx client."""
    with httpx.Client(trust_env=False) as client:
        return outcome(health, checks.remote_api(url, client=client, **{"key": KEY, **settings}))


def by_async_client(health: HealthChecker, url: str, **settings: Any) -> CheckResult:
    """Ask by the application's asynchronous httpx client, on its loop."""

    async def main() -> CheckResult:
        async with httpx.AsyncClient(trust_env=False) as client:
            health.add(checks.remote_api(url, client=client, **{"key": KEY, **settings}))
            (result,) = (await health.run()).checks
            return result

    return asyncio.run(main())


each_way = pytest.mark.parametrize("ask", [by_standard_library, by_client, by_async_client])


@each_way
def test_api_that_answers_passes(health: HealthChecker, ask: Callable[..., CheckResult]) -> None:
    """An answer of 2xx passes; the key is sent as a bearer token, and the check is not critical."""
    with serving(Reply(200)) as upstream:
        result = ask(health, f"http://{upstream.address}/models?limit=1", headers={"X-Version": "1"}, name="llm")
    assert (result.name, result.status, result.critical) == ("llm", "pass", False)
    ((method, path, headers),) = upstream.seen
    assert (method, path) == ("GET", "/models?limit=1")
    sent = {name.lower(): value for name, value in headers.items()}
    assert (sent["authorization"], sent["x-version"]) == (f"Bearer {KEY}", "1")


@each_way
@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (401, "fail", "the key is not known (401)"),
        (402, "fail", "the account has no balance left (402)"),
        (403, "fail", "the key may not do this (403)"),
        (429, "warn", "too many calls (429)"),
        (302, "fail", "answered 302, which is not expected"),
        (500, "fail", "answered 500, which is not expected"),
        (503, "fail", "answered 503, which is not expected"),
    ],
)
def test_refusals_are_told_apart(
    health: HealthChecker, ask: Callable[..., CheckResult], answer: int, status: str, message: str
) -> None:
    """A key that is not known, or may not, an empty account, and a limit that is used up are different things."""
    with serving(Reply(answer, {"location": "/login"})) as upstream:
        result = ask(health, f"http://{upstream.address}/models")
    assert (result.status, result.message) == (status, message)
    assert len(upstream.seen) == 1


def test_too_many_calls_says_until_when(health: HealthChecker) -> None:
    """After 429, the message has the seconds after which the API is to be asked again."""
    with serving(Reply(429, {"retry-after": "20"})) as upstream:
        result = by_standard_library(health, f"http://{upstream.address}/")
    assert result.message in {
        "too many calls (429); welcome again in 20 s",
        "too many calls (429); welcome again in 19 s",
    }


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({"x-ratelimit-limit": "100", "x-ratelimit-remaining": "11"}, "pass", "11 of 100 requests left"),
        ({"x-ratelimit-limit": "100", "x-ratelimit-remaining": "9"}, "warn", "9 of 100 requests left"),
        ({"ratelimit": "limit=100, remaining=4, reset=30"}, "fail", "4 of 100 requests left"),
        (
            {
                "x-ratelimit-limit-requests": "100",
                "x-ratelimit-remaining-requests": "90",
                "x-ratelimit-limit-tokens": "10000",
                "x-ratelimit-remaining-tokens": "600",
            },
            "warn",
            "600 of 10000 tokens left",
        ),
        ({"x-ratelimit-remaining": "0"}, "warn", "0 requests left"),
        ({"x-ratelimit-remaining": "1"}, "pass", "1 requests left"),
        ({"x-ratelimit-limit": "many", "x-ratelimit-remaining": "few"}, "pass", "answered 200"),
        ({"x-ratelimit-limit": "100"}, "pass", "answered 200"),
    ],
)
def test_limit_that_is_nearly_used_up_warns(
    health: HealthChecker, headers: dict[str, str], status: str, message: str
) -> None:
    """Below a tenth of a limit it warns, and fails where told so; the limit that is worst off counts."""
    with serving(Reply(200, headers)) as upstream:
        result = by_standard_library(health, f"http://{upstream.address}/", fail_remaining=0.05)
    assert (result.status, result.message) == (status, message)


def test_key_may_come_from_a_function_for_each_run(make_checker: Callable[..., HealthChecker]) -> None:
    """A key that is changed while the service runs is sent from the next run on."""
    keys = ["first", "second"]
    health = make_checker(timeout=30.0, deadline=20.0)
    with serving(Reply(200)) as upstream:
        check = checks.remote_api(f"http://{upstream.address}/", key=lambda: keys.pop(0), ttl=0.0)
        health.add(check)
        health.run_sync()
        health.run_sync()
    assert [asked.headers["Authorization"] for asked in upstream.seen] == ["Bearer first", "Bearer second"]


def test_key_may_go_into_another_header(health: HealthChecker) -> None:
    """Where the API wants the key in a header of its own, without a scheme, it is sent so."""
    with serving(Reply(200)) as upstream:
        by_standard_library(health, f"http://{upstream.address}/", key_header="x-api-key", key_scheme="")
    headers = upstream.seen[0].headers
    assert headers["x-api-key"] == KEY
    assert "Authorization" not in headers


@each_way
def test_api_that_is_down_shows_neither_key_nor_address(
    health: HealthChecker, ask: Callable[..., CheckResult], caplog: pytest.LogCaptureFixture
) -> None:
    """An API that refuses connections fails; its address is in the log only, and the key nowhere."""
    port = closed_port()
    result = ask(health, f"http://127.0.0.1:{port}/models")
    assert result.status == "fail"
    assert str(port) not in result.message
    assert f"while asking http://127.0.0.1:{port}/models" in caplog.text
    assert "hunter2" not in caplog.text


def test_error_that_repeats_the_key_is_kept_out_of_the_log(
    health: HealthChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception whose text holds the key is replaced by its class."""

    def tell(request: httpx.Request) -> httpx.Response:
        raise httpx.ProxyError(f"cannot send {request.headers['x-api-key']!r}")

    with httpx.Client(transport=httpx.MockTransport(tell)) as client:
        check = checks.remote_api("http://api.example/", key=KEY, key_header="x-api-key", key_scheme="", client=client)
        result = outcome(health, check)
    assert result.status == "fail"
    assert "ProxyError, whose text holds the secret that was sent" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("ask", [by_standard_library, by_client])
def test_api_that_never_answers_fails_in_time(
    make_checker: Callable[..., HealthChecker], ask: Callable[..., CheckResult]
) -> None:
    """An API that accepts and stays silent fails at the timeout."""
    with listening() as port:
        result = ask(make_checker(deadline=20.0), f"http://127.0.0.1:{port}/", timeout=0.1)
    assert result.status == "fail"


def test_certificate_is_verified(health: HealthChecker, authority: Authority) -> None:
    """The key is not sent to a server whose certificate is not trusted."""
    with serving(Reply(200), context=authority.server()) as upstream:
        result = by_standard_library(health, f"https://{upstream.address}/")
    assert (result.status, upstream.seen) == ("fail", [])


def test_api_is_asked_seldom(health: HealthChecker) -> None:
    """A result is served for a minute, so that probes do not use the limit up."""
    with serving(Reply(200)) as upstream:
        check = checks.remote_api(f"http://{upstream.address}/", key=KEY)
        health.add(check)
        for _ in range(5):
            health.run_sync()
    assert (len(upstream.seen), check.ttl, check.failure_ttl) == (1, 60.0, 15.0)


def test_key_is_not_in_the_repr_of_a_check() -> None:
    """A check that is printed, or its function, does not show the key."""
    check = checks.remote_api("https://api.example/", key=KEY)
    assert "hunter2" not in repr(check) + repr(check.func)


@pytest.mark.parametrize("key", ["", "  ", "sk-\u20ac-hunter2", "sk-hunter2\nX-Injected: 1", None, 7])
def test_key_that_cannot_be_sent_is_refused_without_showing_it(key: Any) -> None:
    """An empty key, or one with characters that no header can carry, is an error that does not repeat it."""
    with pytest.raises(HealthCheckError, match="The key of check 'llm'") as caught:
        checks.remote_api("https://api.example/", key=key, name="llm")
    assert "hunter2" not in str(caught.value)


def test_function_without_a_key_fails_the_check(health: HealthChecker, caplog: pytest.LogCaptureFixture) -> None:
    """A function that returns no key is noticed when it is asked, and the log says so."""
    result = by_standard_library(health, "http://127.0.0.1:9/", key=lambda: "")
    assert result.status == "fail"
    assert "The key of check 'remote_api' is empty; is the variable set that it comes from?" in caplog.text


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"url": "api.example"}, "is none that can be asked"),
        ({"warn_remaining": 10}, "warn_remaining=10 .* at most 1"),
        ({"warn_remaining": 0.1, "fail_remaining": 0.2}, "before it warns"),
        ({"client": object()}, "client= of check 'remote_api' is object, which it cannot ask by"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], error: str) -> None:
    """What cannot be meant is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=error):
        checks.remote_api(**{"url": "https://api.example/", "key": KEY, **settings})


def test_reset_may_be_a_moment(health: HealthChecker) -> None:
    """A reset as Unix time is told as seconds from now; one in the past is not told."""
    for offset, told in ((3_600, "welcome again in"), (-3_600, "(429)")):
        with serving(Reply(429, {"x-ratelimit-reset": str(int(time.time()) + offset)})) as upstream:
            result = by_standard_library(health, f"http://{upstream.address}/", name=f"api{offset}")
            health = HealthChecker("other", registry=None, timeout=30.0, deadline=20.0)
        assert told in result.message


@each_way
@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b'{"is_available": true}', "pass", ""),
        (b'{"is_available": false}', "fail", ""),
        (b'{"balance": 1}', "fail", "raised KeyError"),
        (b"<html>", "fail", "raised JSONDecodeError"),
    ],
)
def test_answer_may_be_judged_by_what_it_says(
    health: HealthChecker, ask: Callable[..., CheckResult], body: bytes, status: str, message: str
) -> None:
    """accept= looks at the JSON, for an API that answers 200 whatever there is to say."""
    with serving(Reply(200, {}, body)) as upstream:
        result = ask(health, f"http://{upstream.address}/user/balance", accept=lambda said: said["is_available"])
    assert (result.status, result.message) == (status, message)


def test_answer_and_limit_are_judged_together(health: HealthChecker) -> None:
    """What is worse counts: the limit that is nearly used up, or what accept= says."""
    headers = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "1"}
    with serving(Reply(200, headers, b"7")) as upstream:
        for name, said in (("good", None), ("bad", Result("fail", "seven"))):
            url = f"http://{upstream.address}/"
            health.add(checks.remote_api(url, key=KEY, accept=lambda _, said=said: said, name=name))  # type: ignore[misc]
        good, bad = health.run_sync().checks
    assert (good.status, good.message) == ("warn", "1 of 100 requests left")
    assert (bad.status, bad.message) == ("fail", "seven")


@each_way
def test_slow_api_warns(health: HealthChecker, ask: Callable[..., CheckResult]) -> None:
    """An answer that takes longer than warn_after warns."""
    with serving(Reply(200)) as upstream:
        result = ask(health, f"http://{upstream.address}/", warn_after=1e-9)
    assert result.status == "warn"
    assert result.message.startswith("answered 200, but took ")
