"""Checks behind others: in which order they run, and what they are while the others fail."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from vitalsign.exceptions import HealthCheckError, HealthDependencyError
from vitalsign.health import Check, HealthChecker, Report, Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from prometheus_client import CollectorRegistry

LONG = 60.0
"""Seconds that no test waits for."""


class House:
    """A database that can be down, a cache behind it, and pages behind that; who ran is noted."""

    def __init__(self, make_checker: Callable[..., HealthChecker], ttl: float = 0.0, **settings: Any) -> None:
        self.health = make_checker(timeout=LONG, deadline=LONG, ttl=ttl)
        self.is_up = True
        self.ran: list[str] = []
        self.health.add(Check("pages", self.pages, depends_on=("cache",)))
        self.health.add(Check("cache", self.cache, depends_on=("database",)))
        self.health.add(Check("database", self.database, **settings))

    def database(self) -> bool:
        """Fail while it is down."""
        self.ran.append("database")
        return self.is_up

    def cache(self) -> None:
        """Pass."""
        self.ran.append("cache")

    async def pages(self) -> None:
        """Pass."""
        self.ran.append("pages")

    def look(self) -> dict[str, Any]:
        """Return the details of a report."""
        report: Any = self.health.run_sync().to_dict()
        return report


@pytest.fixture
def house(make_checker: Callable[..., HealthChecker]) -> House:
    """Return a house whose database is critical."""
    return House(make_checker)


def test_check_runs_after_what_it_depends_on(house: House) -> None:
    """Checks run in the order of their dependencies, declared in whatever order, and are shown as declared."""
    report = house.health.run_sync()
    assert house.ran == ["database", "cache", "pages"]
    assert [check.name for check in report.checks] == ["pages", "cache", "database"]
    assert report.status is Status.PASS


def test_check_behind_a_failed_one_is_skipped_not_failed(house: House) -> None:
    """While the database fails, nothing behind it is run; it is unknown, with the reason, at any distance."""
    house.is_up = False
    report = house.look()
    assert house.ran == ["database"]
    assert report["checks"]["database"]["status"] == "fail"
    for name in ("cache", "pages"):
        shown = report["checks"][name]
        assert (shown["status"], shown["message"], shown["behind"]) == (
            "unknown", "not run, since 'database' fails", "database",
        )  # fmt: skip


def test_check_behind_one_that_recovers_is_run_at_once(house: House) -> None:
    """In the same report in which the database passes again, what is behind it is known again."""
    for house.is_up in (True, False, True):
        report = house.look()
    assert {check["status"] for check in report["checks"].values()} == {"pass"}
    assert house.ran == ["database", "cache", "pages", "database", "database", "cache", "pages"]


@pytest.mark.parametrize(("critical", "code"), [(True, 503), (False, 200)])
def test_skipped_check_blocks_no_more_than_what_it_depends_on(
    make_checker: Callable[..., HealthChecker], critical: bool, code: int
) -> None:
    """What is behind a check that is not critical degrades the service only, though it is critical itself."""
    house = House(make_checker, critical=critical)
    house.is_up = False
    assert house.health.run_sync().status_code == code


def test_gravest_of_several_failed_dependencies_counts(make_checker: Callable[..., HealthChecker]) -> None:
    """Behind two failed checks of which one is critical, that one is named, and the service fails; near and far."""
    health = make_checker(timeout=LONG, deadline=LONG)
    for name, critical in (("search", False), ("database", True)):
        health.add(Check(name, lambda: False, groups=("others",), critical=critical))
    health.add(Check("near", lambda: None, depends_on=("search", "database")))
    health.add(Check("far", lambda: None, depends_on=("search", "near")))
    report = health.run_sync()
    assert [check.behind for check in report.checks] == ["database", "database"]
    assert report.status_code == 503


@pytest.mark.parametrize(("critical", "code"), [(True, 503), (False, 200)])
def test_dependency_of_another_group_is_asked_and_not_shown(
    make_checker: Callable[..., HealthChecker], critical: bool, code: int
) -> None:
    """A group runs what its checks depend on, and shows its own checks; what is critical there still blocks here."""
    house = House(make_checker, critical=critical, groups=("nightly",))
    house.is_up = False
    report = house.health.run_sync()
    assert [(check.name, check.status) for check in report.checks] == [("pages", "unknown"), ("cache", "unknown")]
    assert report.status_code == code
    assert house.ran == ["database"]


def test_first_result_after_a_skip_counts_at_once(make_checker: Callable[..., HealthChecker]) -> None:
    """What a check was before it was skipped is forgotten: it could have changed meanwhile."""
    health = make_checker(timeout=LONG, deadline=LONG, ttl=0.0)
    outcomes = {"database": [True, False, True], "pages": [True, False]}
    for name, behind in (("database", ()), ("pages", "database")):
        health.check(name, fall=1 if name == "database" else 3, depends_on=behind)(
            lambda name=name: outcomes[name].pop(0)  # type: ignore[misc]
        )
    seen = [health.run_sync().checks[1].status for _ in range(3)]
    assert seen == ["pass", "unknown", "fail"]


def test_check_waits_for_its_dependency_only(make_checker: Callable[..., HealthChecker], gate: Event) -> None:
    """A check starts as soon as what it depends on has landed, though others of the report still run."""
    health = make_checker(timeout=LONG, deadline=LONG)
    health.add(Check("slow", gate.wait))
    health.add(Check("database", lambda: None))
    health.add(Check("pages", gate.set, depends_on=("database",)))
    assert health.run_sync().status is Status.PASS
    assert asyncio.run(health.run()).status is Status.PASS


def test_check_behind_one_that_hangs_is_not_run(make_checker: Callable[..., HealthChecker], gate: Event) -> None:
    """Within the deadline, what waits for a hanging check is not known; once that has failed, it is skipped."""
    health = make_checker(timeout=0.05, deadline=LONG)
    ran: list[int] = []
    health.add(Check("hangs", gate.wait))
    health.add(Check("behind", lambda: ran.append(1), depends_on=("hangs",)))
    report = health.run_sync()
    assert [check.status for check in report.checks] == ["fail", "unknown"]
    health._deadline = 0.01
    slow = HealthChecker("slow", registry=None, timeout=LONG, deadline=0.05)
    slow.add(Check("hangs", gate.wait))
    slow.add(Check("behind", lambda: ran.append(2), depends_on=("hangs",)))
    assert [check.message for check in slow.run_sync().checks] == ["no result yet"] * 2
    assert ran == []


def test_many_callers_share_the_whole_chain(make_checker: Callable[..., HealthChecker]) -> None:
    """Callers at once run each check of a chain once, on a loop and on threads."""
    house = House(make_checker, ttl=LONG)

    async def storm() -> list[Report]:
        return await asyncio.gather(*(house.health.run() for _ in range(50)))

    assert {report.status for report in asyncio.run(storm())} == {Status.PASS}
    assert house.ran == ["database", "cache", "pages"]


def test_skip_is_counted_and_leaves_no_stale_status(house: House, registry: CollectorRegistry) -> None:
    """A skipped check has no status in Prometheus, rather than the last one; that it is skipped is counted."""
    labels = {"service": "shop", "check": "pages"}
    house.look()
    assert registry.get_sample_value("service_health_check_status", labels) == 1.0
    house.is_up = False
    house.look()
    house.look()
    assert registry.get_sample_value("service_health_check_status", labels) is None
    assert registry.get_sample_value("service_dependency_status", {"service": "shop", "dependency": "pages"}) is None
    assert registry.get_sample_value("service_health_check_skipped_total", labels) == 2.0
    house.is_up = True
    house.look()
    assert registry.get_sample_value("service_health_check_status", labels) == 1.0


def test_unknown_dependency_is_an_error_at_first_use(health: HealthChecker) -> None:
    """A name that no check has is told with those that there are, once somebody asks; others can still be asked."""
    health.add(Check("alive", lambda: None, groups=("liveness",)))
    health.add(Check("pages", lambda: None, depends_on=("databse",)))
    assert health.run_sync("liveness").status is Status.PASS
    with pytest.raises(HealthDependencyError) as caught:
        health.run_sync()
    assert str(caught.value) == (
        "Check 'pages' depends on 'databse', which is no check. There are: alive, pages. "
        "Add it, or correct depends_on=."
    )
    assert caught.value.checks == ("pages", "databse")
    assert isinstance(caught.value, HealthCheckError)
    health.add(Check("databse", lambda: None))
    assert health.run_sync().status is Status.PASS


def test_circle_of_dependencies_is_an_error_that_names_it(health: HealthChecker) -> None:
    """Checks that wait for each other are an error at first use, with the way round."""
    for name, behind in (("start", "a"), ("a", "b"), ("b", "c"), ("c", "a")):
        health.check(name, depends_on=behind)(lambda: None)
    with pytest.raises(HealthDependencyError, match=r"none of them would ever run: a -> b -> c -> a\. Take") as caught:
        asyncio.run(health.run())
    assert caught.value.checks == ("a", "b", "c")


def test_check_that_depends_on_itself_is_refused() -> None:
    """The shortest circle is found when the check is made."""
    with pytest.raises(HealthDependencyError, match="depends on itself"):
        Check("a", lambda: None, depends_on=("a",))


def test_dependencies_are_names(health: HealthChecker) -> None:
    """One name or several, each once; what is no name of a check is refused."""
    assert Check("a", lambda: None, depends_on="b").depends_on == ("b",)  # type: ignore[arg-type]
    assert health.add(Check("a", lambda: None), depends_on=["b", "c", "b"]).depends_on == ("b", "c")
    with pytest.raises(HealthCheckError, match="cannot name a check that 'a' depends on"):
        Check("a", lambda: None, depends_on=("no such name",))


def test_group_asked_while_checks_are_added_is_complete_afterwards(health: HealthChecker) -> None:
    """Adding checks from several threads while others ask loses none of them."""
    barrier = threading.Barrier(4)

    def add(prefix: str) -> None:
        barrier.wait(LONG)
        for number in range(20):
            health.add(Check(f"{prefix}{number}", lambda: None))
            health.run_sync()

    threads = [threading.Thread(target=add, args=(prefix,)) for prefix in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert len(health.run_sync().checks) == 80
