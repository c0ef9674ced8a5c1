"""Changes of state: remembered, shown, and told to listeners who cannot get in the way."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from tests.processes import run_script
from vitalsign.exceptions import HealthCheckError
from vitalsign.health import Change, Check, HealthChecker, Result, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

LONG = 60.0
"""Seconds that no test waits for."""


class Shop:
    """A checker with a database whose outcomes are given one by one."""

    def __init__(self, make_checker: Callable[..., HealthChecker], **settings: Any) -> None:
        self.health = make_checker(timeout=LONG, deadline=LONG, ttl=0.0, **settings)
        self.outcome: Any = None
        self.health.add(Check("database", lambda: self.outcome))

    def find(self, *outcomes: Any) -> None:
        """Let the check find each of *outcomes*."""
        for self.outcome in outcomes:
            self.health.run_sync()

    def told(self) -> None:
        """Wait until all listeners have been told."""
        self.health.stop(timeout=LONG)


@pytest.fixture
def shop(make_checker: Callable[..., HealthChecker]) -> Shop:
    """Return a shop with all settings as they are."""
    return Shop(make_checker)


def brief(changes: Any) -> list[tuple[str, str]]:
    """Return from what to what each of *changes* went."""
    return [(str(change.previous), str(change.status)) for change in changes]


def notices(registry: CollectorRegistry, listener: str) -> dict[str, float]:
    """Return what became of the changes for one listener."""
    counted = {
        outcome: registry.get_sample_value(
            "service_health_notifications_total", {"service": "shop", "listener": listener, "outcome": outcome}
        )
        for outcome in ("delivered", "failed", "dropped")
    }
    return {outcome: value for outcome, value in counted.items() if value}


def test_history_keeps_changes_the_newest_first(shop: Shop) -> None:
    """Each change of state is remembered with time and message; results that change nothing are not."""
    before = time.time()
    shop.find(True, True, Result("fail", "slow"), False, Result("warn", "odd"), True)
    history = shop.health.history()
    assert brief(history) == [("warn", "pass"), ("fail", "warn"), ("pass", "fail")]
    assert [change.message for change in history] == ["", "odd", "slow"]
    assert (history[0].service, history[0].check, history[0].critical) == ("shop", "database", True)
    assert before - 1 <= history[-1].time <= history[0].time <= time.time()


def test_first_result_that_passes_is_no_change(shop: Shop) -> None:
    """A service that starts well has nothing to tell; one that starts badly has."""
    shop.find(True)
    assert shop.health.history() == ()
    shop.health.add(Check("cache", lambda: False))
    shop.find(True)
    (change,) = shop.health.history()
    assert (change.check, change.previous, change.status) == ("cache", "unknown", "fail")


def test_history_is_bounded(make_checker: Callable[..., HealthChecker]) -> None:
    """The oldest changes go; with history=0 there are none."""
    short, none = Shop(make_checker, history=3), Shop(make_checker, history=0)
    for shop in (short, none):
        shop.find(*[False, True] * 5)
    assert brief(short.health.history()) == [("fail", "pass"), ("pass", "fail"), ("fail", "pass")]
    assert none.health.history() == ()


@pytest.mark.parametrize("history", [-1, 1.5, True, "10"])
def test_history_is_a_number(history: Any, registry: CollectorRegistry) -> None:
    """A length of history that makes no sense is refused."""
    with pytest.raises(HealthCheckError, match="history is"):
        HealthChecker("shop", history=history, registry=registry)


def test_history_is_shown_in_full_detail_only(shop: Shop) -> None:
    """The report of the group full has the history; others, and those without details, do not."""
    shop.find(True, Result("fail", "slow"))
    full = shop.health.run_sync("full")
    (shown,) = full.to_dict()["history"]  # type: ignore[misc]
    time_ = shown.pop("time")
    assert shown == {
        "service": "shop", "check": "database", "critical": True, "previous": "pass", "status": "fail",
        "message": "slow",
    }  # fmt: skip
    assert time_.endswith("Z")
    assert "history" not in full.to_dict(details=False)
    assert "history" not in shop.health.run_sync("readiness").to_dict()


def test_skipped_check_is_a_change(make_checker: Callable[..., HealthChecker]) -> None:
    """That a check is not run any more, and that it is again, are changes."""
    shop = Shop(make_checker)
    shop.health.check("pages", depends_on="database")(lambda: None)
    shop.find(True, False, True)
    pages = [change for change in shop.health.history() if change.check == "pages"]
    assert brief(pages) == [("unknown", "pass"), ("pass", "unknown")]
    assert pages[1].message == "not run, since 'database' fails"


def test_state_changes_are_counted_from_zero(shop: Shop, registry: CollectorRegistry) -> None:
    """The counter is there before the first change, and counts each one under the state that came."""
    name, labels = "service_health_check_state_changes_total", {"service": "shop", "check": "database"}
    statuses = ("pass", "warn", "fail")
    assert [registry.get_sample_value(name, {**labels, "status": status}) for status in statuses] == [0.0] * 3
    shop.find(True, False, True, False, Result("warn"))
    assert [registry.get_sample_value(name, {**labels, "status": status}) for status in statuses] == [1.0, 1.0, 2.0]


def test_listeners_are_told_in_order(shop: Shop, registry: CollectorRegistry) -> None:
    """Functions and coroutine functions get each change, in order, off the caller's thread; on_change decorates."""
    plain: list[Change] = []
    coroutine: list[Change] = []
    threads: set[threading.Thread] = set()

    @shop.health.on_change
    def tell(change: Change) -> None:
        threads.add(threading.current_thread())
        plain.append(change)

    @shop.health.on_change
    async def tell_async(change: Change) -> None:
        await asyncio.sleep(0)
        coroutine.append(change)

    shop.find(True, *[False, True] * 10)
    shop.told()
    assert brief(plain) == [("pass", "fail"), ("fail", "pass")] * 10
    assert coroutine == plain == list(reversed(shop.health.history()))
    assert threading.current_thread() not in threads
    assert tell.__name__ == "tell"
    assert notices(registry, "tell") == notices(registry, "tell_async") == {"delivered": 20.0}


def test_listener_that_hangs_keeps_nobody_waiting(shop: Shop, gate: Event) -> None:
    """A listener that never returns delays no check, no report and no other listener, and is told one at a time."""
    entered: list[Change] = []
    others: list[Change] = []

    @shop.health.on_change
    def hangs(change: Change) -> None:
        entered.append(change)
        gate.wait()

    enough = Event()

    @shop.health.on_change
    def other(change: Change) -> None:
        others.append(change)
        if len(others) == 20:
            enough.set()

    shop.find(True, *[False, True] * 10)
    assert enough.wait(LONG)
    assert len(entered) <= 1
    shop.health.stop(timeout=0.01)  # gives up on it


def test_queue_of_a_listener_is_bounded_and_what_is_dropped_is_counted(
    shop: Shop, gate: Event, registry: CollectorRegistry
) -> None:
    """Of what a slow listener cannot take, the oldest is dropped and counted; the newest reaches it."""
    seen: list[Change] = []
    entered = Event()

    @shop.health.on_change
    def slow(change: Change) -> None:
        entered.set()
        gate.wait()
        seen.append(change)

    shop.find(True, False)
    assert entered.wait(LONG)
    shop.find(*[True, False] * 60)
    gate.set()
    shop.told()
    assert notices(registry, "slow") == {"delivered": 101.0, "dropped": 20.0}
    assert seen[1:] == list(reversed(shop.health.history()))


@pytest.mark.parametrize("error", [ValueError("password=hunter2 refused"), SystemExit(3), KeyboardInterrupt()])
def test_listener_that_raises_is_logged_and_counted(
    shop: Shop, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """Whatever a listener raises goes to the log, without credentials, and it is told the next change all the same."""
    seen: list[Change] = []

    @shop.health.on_change
    def raises(change: Change) -> None:
        seen.append(change)
        raise error

    with caplog.at_level(logging.WARNING, "vitalsign.health"):
        shop.find(True, False, True)
        shop.told()
    assert len(seen) == 2
    assert notices(registry, "raises") == {"failed": 2.0}
    messages = [record.getMessage() for record in caplog.records if "Listener" in record.getMessage()]
    assert messages[0].startswith("Listener 'raises' was not told that health check 'database' of shop: fail.\nTrace")
    assert "hunter2" not in caplog.text


def test_log_that_cannot_be_written_does_not_end_the_telling(
    shop: Shop, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that fails while the log does, too, is told the next change all the same."""

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(logging.getLogger("vitalsign.health"), "warning", broken)
    shop.health.on_change(lambda _: 1 / 0)
    shop.find(True, False, True)
    shop.told()
    assert notices(registry, "<lambda>") == {"failed": 2.0}


def test_broken_metrics_lose_no_change(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is remembered and told although it cannot be counted, skips included."""

    class Broken:
        def labels(self, *_: object) -> None:
            raise OSError("disk full")

    seen: list[Change] = []
    shop.health.on_change(seen.append)
    shop.health.check("pages", depends_on="database")(lambda: None)
    for family in ("_changes", "_skips", "_notices"):
        monkeypatch.setattr(shop.health._metrics, family, Broken())
    shop.find(True, False)
    shop.told()
    assert brief(seen) == [("pass", "fail"), ("pass", "unknown")]


def test_listener_may_ask_for_a_report(shop: Shop) -> None:
    """A listener is outside of all locks: it may run checks, and see the state that it is told about."""
    seen: list[Status] = []

    @shop.health.on_change
    def ask(change: Change) -> None:
        seen.append(shop.health.run_sync().status)

    shop.find(True, False)
    shop.told()
    assert seen == [Status.FAIL]


def test_listener_must_be_callable(health: HealthChecker) -> None:
    """What cannot be called is refused when it is given, not when the first change comes."""
    with pytest.raises(HealthCheckError, match="must be callable, not 5"):
        health.on_change(5)  # type: ignore[type-var]


def test_object_that_is_callable_listens_under_its_class(shop: Shop, registry: CollectorRegistry) -> None:
    """An object with an async call is a listener, too, known by its class."""

    class Pager:
        async def __call__(self, change: Change) -> None:
            await asyncio.sleep(0)

    shop.health.on_change(Pager())
    shop.find(True, False)
    shop.told()
    assert notices(registry, "Pager") == {"delivered": 1.0}


def test_no_more_threads_loses_no_change(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives out no thread for a listener, the change waits for the next one."""
    seen: list[Change] = []
    shop.health.on_change(seen.append)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("vitalsign-health-append"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        shop.find(True, False)
    shop.find(True)
    shop.told()
    assert brief(seen) == [("pass", "fail"), ("fail", "pass")]


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_forked_child_tells_its_own_changes_only() -> None:
    """A fork while a listener is at work leaves the parent's changes to the parent; the child tells its own."""
    run_script("""
        import os, threading
        from vitalsign.health import HealthChecker

        health = HealthChecker("shop", timeout=30, deadline=30, ttl=0)
        parent, outcome = os.getpid(), True
        entered, gate, seen = threading.Event(), threading.Event(), []
        health.check("database")(lambda: outcome)

        @health.on_change
        def tell(change):
            entered.set()
            if os.getpid() == parent:
                gate.wait()
            seen.append(change.status)

        def find(*outcomes):
            global outcome
            for outcome in outcomes:
                health.run_sync()

        find(True, False)
        assert entered.wait(30)
        find(True)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                find(False)
                health.stop(timeout=30)
                status = 0 if seen == ["fail"] else 2
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        gate.set()
        health.stop(timeout=30)
        assert (status, seen) == (0, ["fail", "pass"]), (status, seen)
    """)
