"""Another service of vitalsign: what it says is passed on."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from tests.servers import free_port, wait_until
from tests.unit.health.checks.upstreams import Reply, closed_port, listening, outcome, serving
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import HealthChecker, Result, checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.health.checks.conftest import Authority

TOKEN = "hunter2-hunter2"


@contextmanager
def upstream_service(state: list[str]) -> Iterator[str]:
    """Serve another service's health, whose one check says the last of *state*; yield its address."""
    health = HealthChecker("search", registry=None, ttl=0.0, timeout=30.0, deadline=20.0)
    health.check("index")(lambda: Result(state[-1]))  # type: ignore[arg-type]
    health.check("cache", critical=False)(lambda: None)
    port = free_port()
    config = uvicorn.Config(health.asgi(token=TOKEN), host="127.0.0.1", port=port, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "start of the other service")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("state", "anonymous", "named"),
    [
        ("pass", "says pass", "says pass"),
        ("warn", "says warn", "says warn: index"),
        ("fail", "says fail", "says fail: index"),
    ],
)
def test_what_the_other_service_says_is_passed_on(
    health: HealthChecker, state: str, anonymous: str, named: str
) -> None:
    """pass, warn and fail are passed on; with its token, the checks that did not pass are named."""
    with upstream_service([state]) as address:
        health.add(checks.service(address, name="without"))
        health.add(checks.service(f"{address}/ready", token=lambda: TOKEN, name="with"))
        without, with_token = health.run_sync().checks
    assert (without.status, without.message, without.critical) == (state, anonymous, False)
    assert (with_token.status, with_token.message) == (state, named)


def test_clients_of_the_application_may_ask(health: HealthChecker) -> None:
    """The application's own httpx client, plain or asynchronous, asks as well."""

    async def main(address: str) -> list[str]:
        with httpx.Client(trust_env=False) as plain:
            async with httpx.AsyncClient(trust_env=False) as asynchronous:
                health.add(checks.service(address, client=plain, name="plain"))
                health.add(checks.service(address, client=asynchronous, token=TOKEN, name="asynchronous"))
                return [check.message for check in (await health.run()).checks]

    with upstream_service(["warn"]) as address:
        assert asyncio.run(main(address)) == ["says warn", "says warn: index"]


@pytest.mark.parametrize(
    ("reply", "status", "message"),
    [
        (Reply(200, {}, b'{"status": "pass"}'), "pass", "says pass"),
        (Reply(200, {}, b'{"status": "PASS"}'), "pass", "says pass"),
        (Reply(503, {}, b'{"status": "fail"}'), "fail", "says fail"),
        (Reply(200, {}, b'{"status": "fail"}'), "fail", "says fail"),
        (Reply(503, {}, b'{"status": "pass"}'), "fail", "says pass, but answered 503"),
        (Reply(200, {}, b'{"status": "ok"}'), "fail", "answered 200, without a status that is pass, warn or fail"),
        (Reply(200, {}, b"<html>welcome"), "fail", "answered 200, without a status that is pass, warn or fail"),
        (Reply(200, {}, b"[" * 100_000), "fail", "answered 200, without a status that is pass, warn or fail"),
        (Reply(200, {}, b"[]"), "fail", "answered 200, without a status that is pass, warn or fail"),
        (Reply(200, {}, b"\xff\xfe\x00"), "fail", "answered 200, without a status that is pass, warn or fail"),
        (Reply(404), "fail", "answered 404, without a status that is pass, warn or fail"),
    ],
)
def test_answers_of_others_are_judged(health: HealthChecker, reply: Reply, status: str, message: str) -> None:
    """What is no report, or contradicts its own status code, fails."""
    with serving(reply) as upstream:
        result = outcome(health, checks.service(f"http://{upstream.address}"))
    assert (result.status, result.message) == (status, message)
    assert upstream.seen[0].path == "/ready"


def test_names_of_failed_checks_are_bounded(health: HealthChecker) -> None:
    """Few names are passed on, and only what can name a check; health+json's lists are read over."""
    found = {f"check{number}": {"status": "fail"} for number in range(8)}
    found |= {"<script>": {"status": "fail"}, "good": {"status": "pass"}, "listed": [{"status": "fail"}]}  # type: ignore[dict-item]
    with serving(Reply(503, {}, json.dumps({"status": "fail", "checks": found}).encode())) as upstream:
        result = outcome(health, checks.service(f"http://{upstream.address}/health/full"))
    assert result.message == "says fail: check0, check1, check2, check3, check4 and 3 more"


def test_service_that_is_down_is_told_without_token_or_address(
    health: HealthChecker, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that refuses connections fails; its address is in the log only, and the token nowhere."""
    port = closed_port()
    result = outcome(health, checks.service(f"http://127.0.0.1:{port}", token=TOKEN))
    assert (result.status, result.message) == ("fail", "raised ConnectionRefusedError")
    assert f"while asking http://127.0.0.1:{port}/ready" in caplog.text
    assert "hunter2" not in caplog.text


def test_service_that_never_answers_fails_in_time(make_checker: Callable[..., HealthChecker]) -> None:
    """A service that accepts and stays silent fails at the timeout."""
    with listening() as port:
        check = checks.service(f"http://127.0.0.1:{port}", timeout=0.1)
        assert outcome(make_checker(deadline=20.0), check).status == "fail"


def test_certificate_is_verified(health: HealthChecker, authority: Authority) -> None:
    """An unknown authority is refused; one of a file is trusted."""
    with serving(Reply(200, {}, b'{"status": "pass"}'), context=authority.server()) as upstream:
        health.add(checks.service(f"https://{upstream.address}", name="strict"))
        health.add(checks.service(f"https://{upstream.address}", cafile=authority.cafile, name="trusting"))
        strict, trusting = health.run_sync().checks
    assert (strict.status, trusting.status) == ("fail", "pass")
    assert strict.message == "the certificate is signed by an authority that is not trusted"


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"url": "search:8000"}, "is none that can be asked"),
        ({"url": "http://user:hunter2@search/"}, "carries credentials"),
        ({"token": ""}, "The token of check 'service' is empty"),
        ({"client": "httpx"}, "client= of check 'service' is str"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], error: str) -> None:
    """What cannot be meant is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=error):
        checks.service(**{"url": "http://search/", **settings})


def test_slow_service_warns(health: HealthChecker) -> None:
    """A service that says pass, but takes longer than warn_after, warns."""
    with serving(Reply(200, {}, b'{"status": "pass"}')) as upstream:
        result = outcome(health, checks.service(f"http://{upstream.address}", warn_after=1e-9))
    assert result.status == "warn"
    assert result.message.startswith("says pass, but took ")
