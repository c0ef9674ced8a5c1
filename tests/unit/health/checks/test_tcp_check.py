"""TCP: ports that are open, closed, silent, full, and names with several addresses."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.health.checks.upstreams import closed_port, listening, outcome
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import checks
from vitalsign.health.checks._dial import Deadline, dial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vitalsign.health import HealthChecker


def test_port_that_listens_passes(health: HealthChecker) -> None:
    """A port that accepts connections passes; a shared dependency is not critical unless told otherwise."""
    with listening() as port:
        result = outcome(health, checks.tcp("127.0.0.1", port, name="database"))
    assert (result.name, result.status, result.critical) == ("database", "pass", False)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_address_may_stand_in_brackets(health: HealthChecker, host: str) -> None:
    """An IPv6 address is one with the brackets that URLs need and without."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with listening("::1") as port:
        assert outcome(health, checks.tcp(host, port)).status == "pass"


def has_ipv6() -> bool:
    """Tell whether this machine can listen on its IPv6 address."""
    try:
        with listening("::1"):
            return True
    except OSError:
        return False


def test_refused_connection_is_told_without_the_host(health: HealthChecker, caplog: pytest.LogCaptureFixture) -> None:
    """A closed port fails; host and port stand in the log and not in the report."""
    port = closed_port()
    result = outcome(health, checks.tcp("127.0.0.1", port))
    assert (result.status, result.message) == ("fail", "raised ConnectionRefusedError")
    assert f"while connecting to 127.0.0.1 port {port}" in caplog.text


def test_slow_connection_warns(health: HealthChecker) -> None:
    """What takes longer than warn_after warns, with the time that it took."""
    with listening() as port:
        result = outcome(health, checks.tcp("127.0.0.1", port, warn_after=1e-9))
    assert (result.status, result.unit) == ("warn", "seconds")
    assert result.message.startswith("took ")


def test_connection_takes_the_timeout_that_the_check_is_run_with(
    make_checker: Callable[..., HealthChecker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection gives up when the run is due, wherever the timeout was set."""
    seen: list[float] = []

    class Note(Deadline):
        def __init__(self, seconds: float) -> None:
            seen.append(seconds)
            super().__init__(seconds)

    monkeypatch.setattr("vitalsign.health.checks._tcp.Deadline", Note)
    health = make_checker(timeout=11.0, deadline=20.0)
    port = closed_port()
    health.add(checks.tcp("127.0.0.1", port, name="a"))
    health.add(checks.tcp("127.0.0.1", port, name="b", timeout=12.0))
    health.add(checks.tcp("127.0.0.1", port, name="c", timeout=12.0), timeout=13.0)
    health.run_sync()
    assert sorted(seen) == [11.0, 12.0, 13.0]


@pytest.fixture
def full_port() -> Iterator[int]:
    """Keep a socket whose queue is full: further connections are neither accepted nor refused."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for each in waiting:
            each.close()


def test_port_that_does_not_answer_fails_in_time(make_checker: Callable[..., HealthChecker], full_port: int) -> None:
    """A connection that is neither accepted nor refused fails at the timeout, and its thread ends."""
    before = set(threading.enumerate())
    result = outcome(make_checker(deadline=20.0), checks.tcp("127.0.0.1", full_port, timeout=0.1))
    for thread in set(threading.enumerate()) - before:
        thread.join(20.0)
    assert result.status == "fail"
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("kind", ["refusing", "silent"])
def test_address_that_does_not_answer_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch, full_port: int, kind: str
) -> None:
    """Of a name's addresses, one that is dead does not use up the time of the one that lives."""
    with listening() as good:
        bad = full_port if kind == "silent" else closed_port()
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (bad, good)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with dial("database", 5432, Deadline(2.0)) as connection:
            assert connection.getpeername()[1] == good


def test_address_family_that_the_machine_lacks_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address of a kind that this machine cannot even open a socket for is no reason to fail."""
    with listening() as port:
        found = [(family, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for family in (99, socket.AF_INET)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        dial("database", port, Deadline(20.0)).close()


@pytest.mark.parametrize("port", [0, -1, 65_536, "80", None, True])
def test_what_is_no_port_is_refused(port: Any) -> None:
    """A port out of range is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=r"is no TCP port for check 'tcp'\. Give 1 to 65535"):
        checks.tcp("127.0.0.1", port)


@pytest.mark.parametrize("host", ["", "http://host/", "host name", "user@host", None, 7])
def test_what_is_no_host_is_refused(host: Any) -> None:
    """A host with a scheme, a blank or a user, or none, is an error when the check is made."""
    with pytest.raises(HealthCheckError, match="The host of check 'tcp' is no name and no address"):
        checks.tcp(host, 80)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "1", True])
def test_threshold_that_makes_no_sense_is_refused(seconds: Any) -> None:
    """A time to warn after is a finite number above 0."""
    with pytest.raises(HealthCheckError, match="warn_after of check 'tcp'"):
        checks.tcp("127.0.0.1", 80, warn_after=seconds)
