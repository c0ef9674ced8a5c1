"""
Decide which checks run now, who waits for them, and what is known: single flight, deadlines, lifetimes. No I/O.

Three things move. A slot is what is known of one check: its last outcome, and the one flight that is under way.
A flight is one run of a check; whoever started it reports its end. A round is one caller's question about several
checks: it starts flights, joins those of others, and ends when all have landed or its deadline has passed.
Who carries a flight (a task, a thread) and how a round waits is the business of `_carriers.py`.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from dataclasses import dataclass
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING

from vitalsign import _clock
from vitalsign.health._check import Result, Status, judge
from vitalsign.health._journal import log_change
from vitalsign.health._report import CheckResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vitalsign.health._check import Check
    from vitalsign.health._metrics import HealthMetrics

__all__ = ["Flight", "Outcome", "Round", "Runner", "Slot"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How one flight ended.

    Attributes:
        result: What the check found.
        at: When, by the monotonic clock.
        time: When, in seconds since 1970.
        duration: Seconds.
        error: What it raised, by class, or empty.
    """

    result: Result
    at: float
    time: float
    duration: float
    error: str = ""


class Slot:
    """Hold what is known of one check. Changed by the runner only, under its lock."""

    __slots__ = ("check", "failure_ttl", "flight", "is_coroutine", "last", "timeout", "ttl")

    def __init__(self, check: Check, *, timeout: float, ttl: float, failure_ttl: float) -> None:
        self.check = check
        self.is_coroutine = check.is_coroutine
        self.timeout = timeout
        self.ttl = ttl
        self.failure_ttl = failure_ttl
        self.last: Outcome | None = None
        self.flight: Flight | None = None

    def report(self, now: float) -> CheckResult:
        """Return the last outcome, with its age at *now*."""
        check, last = self.check, self.last
        if last is None:
            return CheckResult(check.name, Status.UNKNOWN, check.critical, "no result yet")
        found = last.result
        return CheckResult(
            check.name, found.status, check.critical, found.message, found.value, found.unit,
            time=last.time, age=max(0.0, now - last.at), duration=last.duration,
        )  # fmt: skip

    def answers(self, round_: Round, now: float) -> bool:
        """Tell whether the last outcome will do for *round_*, or nothing better can be had."""
        if self.last is None:
            return False
        if self.flight is not None and self.flight.is_settled:
            return True  # it hangs: a second run would only hang beside it
        lifetime = self.ttl if self.last.result.status is Status.PASS else self.failure_ttl
        return self.last.at >= round_.started or now - self.last.at < lifetime


class Flight:
    """
    One run of one check.

    Attributes:
        slot: Whose run it is.
        started: By the monotonic clock.
        due: When it counts as failed if it has not ended.
        is_settled: Whether an outcome was recorded; it may still be under way, unheard.
        is_lost: Tells whether nobody can report its end any more; set by a carrier that can vanish.
        carrier: The task that runs it, kept from the garbage collector.
        rounds: Who waits for it.
    """

    __slots__ = ("carrier", "due", "is_lost", "is_settled", "rounds", "slot", "started")

    def __init__(self, slot: Slot, started: float) -> None:
        self.slot = slot
        self.started = started
        self.due = started + slot.timeout
        self.is_settled = False
        self.is_lost: Callable[[], bool] = lambda: False
        self.carrier: object = None
        self.rounds: set[Round] = set()

    def call(self) -> object:
        """Call the check's function."""
        return self.slot.check.call(self.slot.timeout)


class Round:
    """
    One caller's question.

    Args:
        slots: What it asks about.
        started: By the monotonic clock.
        deadline: When it is answered with what is known.
        ring: Called, from any thread, once all that it waits for has landed. Must not raise.
    """

    __slots__ = ("deadline", "ring", "slots", "started", "waits_for")

    def __init__(self, slots: Sequence[Slot], *, started: float, deadline: float, ring: Callable[[], object]) -> None:
        self.slots = slots
        self.started = started
        self.deadline = deadline
        self.ring = ring
        self.waits_for: set[Flight] = set()


class Runner:
    """
    Keep flights and rounds in order.

    The lock is held for moments, never while a check runs, and is re-entrant, for a signal handler may come in between.

    Attributes:
        slots: What is known of each check, by name. Only ever added to.
    """

    def __init__(self, service: str, metrics: HealthMetrics, *, clock: Callable[[], float] = _clock.monotonic) -> None:
        """
        Make a runner without slots.

        Args:
            service: Whose checks it runs, for the log.
            metrics: Where outcomes are counted.
            clock: Monotonic seconds.
        """
        self.slots: dict[str, Slot] = {}
        self.clock = clock
        self._service = service
        self._metrics = metrics
        self._lock = RLock()
        self._after_unlock: deque[Callable[[], object]] = deque()
        if hasattr(os, "register_at_fork"):
            forget = weakref.WeakMethod(self._forget_flights)
            os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def step(self, round_: Round) -> tuple[list[Flight], float | None]:
        """
        Take *round_* as far as it goes now.

        Returns:
            Flights that the caller must start, and the seconds after which it must come again unless the round rings
            before; None if the round is over.
        """
        now = self.clock()
        is_over = now >= round_.deadline
        to_start: list[Flight] = []
        with self._lock:
            for slot in round_.slots:
                self._settle_overdue(slot, now)
                if not is_over and not slot.answers(round_, now):
                    to_start += self._join(round_, slot, now)
            dues = [flight.due for flight in round_.waits_for]
        self._run_after_unlock()
        if is_over or not dues:
            return to_start, None
        return to_start, max(0.0, min(round_.deadline, *dues) - now)

    def land(self, flight: Flight, returned: object) -> None:
        """Report that the check returned."""
        try:
            result = judge(returned)
        except Exception as error:  # noqa: BLE001  # a check that returns nonsense is a failed check
            self.crash(flight, error)
        else:
            self._end(flight, result)

    def crash(self, flight: Flight, error: BaseException) -> None:
        """Report that the check raised. The text of *error* goes to the log only."""
        self._end(flight, Result(Status.FAIL, f"raised {type(error).__name__}"), error)

    def expire(self, flight: Flight) -> None:
        """Report that the check was ended because it was due."""
        self._end(flight, _no_answer(flight))

    def abandon(self, flight: Flight) -> None:
        """Report that the flight was broken off from outside, which says nothing about the check; safe to repeat."""
        self._end(flight, None)

    def _join(self, round_: Round, slot: Slot, now: float) -> list[Flight]:
        started: list[Flight] = []
        if slot.flight is None:
            slot.flight = Flight(slot, now)
            started.append(slot.flight)
        slot.flight.rounds.add(round_)
        round_.waits_for.add(slot.flight)
        return started

    def _end(self, flight: Flight, result: Result | None, error: BaseException | None = None) -> None:
        now = self.clock()
        with self._lock:
            if flight.slot.flight is flight:
                flight.slot.flight = None
                if result is not None and not flight.is_settled:
                    if now >= flight.due:
                        self._settle(flight, _no_answer(flight), flight.due, error)
                    else:
                        self._settle(flight, result, now, error)
                self._release(flight)
        self._run_after_unlock()

    def _settle_overdue(self, slot: Slot, now: float) -> None:
        flight = slot.flight
        if flight is None:
            return
        if flight.is_lost():
            slot.flight = None
            self._release(flight)
        elif now >= flight.due and not flight.is_settled:
            self._settle(flight, _no_answer(flight), flight.due, None)
            self._release(flight)

    def _settle(self, flight: Flight, result: Result, at: float, error: BaseException | None) -> None:
        slot = flight.slot
        flight.is_settled = True
        time = _clock.wall() - (self.clock() - at)
        name = type(error).__name__ if error is not None else ""
        previous, slot.last = slot.last, Outcome(result, at, time, at - flight.started, name)
        self._metrics.record(slot.check, result.status, at - flight.started)
        self._after_unlock.append(partial(log_change, self._service, slot.check, previous, slot.last, error))

    def _release(self, flight: Flight) -> None:
        rounds, flight.rounds = flight.rounds, set()
        for round_ in rounds:
            round_.waits_for.discard(flight)
            if not round_.waits_for:
                self._after_unlock.append(round_.ring)

    def _run_after_unlock(self) -> None:
        while True:
            try:
                action = self._after_unlock.popleft()
            except IndexError:
                return
            action()

    def _forget_flights(self) -> None:
        # A forked child has neither the threads that carry them nor the one that holds the lock.
        self._lock = RLock()
        self._after_unlock.clear()
        for slot in self.slots.values():
            slot.flight = None


def _no_answer(flight: Flight) -> Result:
    return Result(Status.FAIL, f"no answer within {flight.slot.timeout:g} s")
