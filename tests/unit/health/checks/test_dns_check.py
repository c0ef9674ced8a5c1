"""DNS: names that resolve, that do not, and a resolver that hangs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.health.checks.upstreams import outcome
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import checks

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from vitalsign.health import HealthChecker


def test_name_that_resolves_passes(health: HealthChecker) -> None:
    """A name that resolves passes with the number of its addresses; what is asked is not on this machine."""
    check = checks.dns("localhost", name="names")
    result = outcome(health, check)
    assert (result.name, result.status, result.critical, result.unit) == ("names", "pass", False, "addresses")
    assert isinstance(result.value, int)
    assert result.value >= 1
    assert check.is_external


def test_addresses_are_counted_once(health: HealthChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is listed twice is one."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("10.0.0.1", "10.0.0.2", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert outcome(health, checks.dns("shop.example")).value == 2


def test_family_is_asked_for(health: HealthChecker) -> None:
    """A check of one family finds the addresses of that family only."""
    assert outcome(health, checks.dns("localhost", family="ipv4")).value == 1


def test_name_that_does_not_resolve_is_told_without_it(
    health: HealthChecker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A name that is not known fails; it stands in the log and not in the report."""

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    result = outcome(health, checks.dns("db.shop.example"))
    assert (result.status, result.message) == ("fail", "raised gaierror")
    assert "while resolving db.shop.example" in caplog.text


def test_resolver_that_hangs_fails_in_time(
    make_checker: Callable[..., HealthChecker], monkeypatch: pytest.MonkeyPatch, gate: Event
) -> None:
    """A resolver that does not come back fails the check at its timeout."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: gate.wait(30.0) and [])
    result = outcome(make_checker(deadline=20.0), checks.dns("shop.example", timeout=0.05))
    assert (result.status, result.message) == ("fail", "no answer within 0.05 s")


def test_slow_resolver_warns(health: HealthChecker) -> None:
    """What takes longer than warn_after warns."""
    assert outcome(health, checks.dns("localhost", warn_after=1e-9)).status == "warn"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]"])
def test_address_needs_no_resolving(host: str) -> None:
    """An address instead of a name is an error: such a check would always pass."""
    with pytest.raises(HealthCheckError, match="needs no resolving"):
        checks.dns(host)


@pytest.mark.parametrize(("settings", "error"), [({"family": "ipv5"}, "Give 'any'"), ({"warn_after": 0}, "warn_after")])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], error: str) -> None:
    """A family or time that is none is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=error):
        checks.dns("localhost", **settings)
