"""TLS: certificates that are good, about to expire, expired, for another name, and of unknown authorities."""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.unit.health.checks.upstreams import closed_port, listening, outcome, serving
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import checks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.health.checks.conftest import Authority
    from vitalsign.health import HealthChecker


@pytest.mark.parametrize(("days", "status"), [(90, "pass"), (22, "pass"), (20, "warn"), (8, "warn"), (6, "fail")])
def test_days_that_are_left_decide(health: HealthChecker, authority: Authority, days: float, status: str) -> None:
    """A certificate passes, warns below 21 days and fails below 7; the days are told."""
    with serving(context=authority.server(days=days)) as upstream:
        result = outcome(health, checks.tls("127.0.0.1", upstream.port, cafile=authority.cafile))
    assert (result.status, result.critical, result.unit) == (status, False, "days")
    assert result.value == pytest.approx(days, abs=0.1)


@pytest.mark.parametrize(
    ("names", "days", "reason"),
    [
        (["127.0.0.1"], -1, "has expired"),
        (["shop.example"], 90, "is for another address"),
    ],
)
def test_certificate_that_is_refused_says_why(
    health: HealthChecker, authority: Authority, names: list[str], days: float, reason: str
) -> None:
    """An expired certificate, or one for another name, fails with its reason and without the names."""
    with serving(context=authority.server(*names, days=days)) as upstream:
        result = outcome(health, checks.tls("127.0.0.1", upstream.port, cafile=authority.cafile))
    assert (result.status, result.message) == ("fail", f"the certificate {reason}")


def test_name_of_the_server_may_be_another_than_the_host(health: HealthChecker, authority: Authority) -> None:
    """The certificate has to be for server_name where that is given."""
    with serving(context=authority.server("shop.example")) as upstream:
        for name in ("shop.example", "bank.example"):
            check = checks.tls("127.0.0.1", upstream.port, server_name=name, cafile=authority.cafile, name=name)
            health.add(check)
        shop, bank = health.run_sync().checks
    assert (shop.status, bank.status, bank.message) == ("pass", "fail", "the certificate is for another name")


def test_unknown_authority_is_refused(health: HealthChecker, authority: Authority) -> None:
    """A certificate of an authority that the machine does not know fails."""
    with serving(context=authority.server()) as upstream:
        result = outcome(health, checks.tls("127.0.0.1", upstream.port))
    assert (result.status, result.message) == (
        "fail",
        "the certificate is signed by an authority that is not trusted",
    )


def test_certificate_that_signs_itself_is_refused(health: HealthChecker) -> None:
    """A certificate that nobody else has signed fails."""
    own = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.issue_cert("127.0.0.1").configure_cert(context)
    with serving(context=context) as upstream:
        trusting_another = trustme.CA()
        client = ssl.create_default_context()
        trusting_another.configure_trust(client)
        result = outcome(health, checks.tls("127.0.0.1", upstream.port, context=client))
    assert result.status == "fail"
    assert result.message.startswith("the certificate is signed by")


def test_server_that_is_down_is_told_without_the_host(health: HealthChecker, caplog: pytest.LogCaptureFixture) -> None:
    """A server that refuses connections fails; its address is in the log only."""
    port = closed_port()
    result = outcome(health, checks.tls("127.0.0.1", port))
    assert (result.status, result.message) == ("fail", "raised ConnectionRefusedError")
    assert f"while connecting to 127.0.0.1 port {port}" in caplog.text


def test_server_that_never_shakes_hands_fails_in_time(make_checker: Callable[..., HealthChecker]) -> None:
    """A server that accepts and stays silent fails at the timeout, and the thread ends."""
    before = set(threading.enumerate())
    with listening() as port:
        result = outcome(make_checker(deadline=20.0), checks.tls("127.0.0.1", port, timeout=0.1))
        for thread in set(threading.enumerate()) - before:
            thread.join(20.0)
    assert result.status == "fail"
    assert not set(threading.enumerate()) - before


def test_server_without_tls_fails(health: HealthChecker) -> None:
    """A server that speaks something else fails."""
    with serving() as upstream:
        assert outcome(health, checks.tls("127.0.0.1", upstream.port)).status == "fail"


def unverifying() -> ssl.SSLContext:
    """Return a context that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"port": 0}, "is no TCP port"),
        ({"warn_days": 3}, r"would fail \(fail_days=7\) before it warns"),
        ({"context": unverifying()}, "verifies no certificates"),
        ({"context": ssl.create_default_context(), "cafile": "ca.pem"}, "was given context= and cafile="),
        ({"cafile": "/missing.pem"}, "cannot be used"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], error: str) -> None:
    """What cannot be meant is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=error):
        checks.tls("shop.example", **settings)
