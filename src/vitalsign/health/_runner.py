"""
Decide which checks run now, who waits for them, and what is known: single flight, deadlines, lifetimes. No I/O.

Three things move (`_slots.py`). A slot is what is known of one check: its last outcome, the state that follows from it
and those before, and the one flight that is under way. A flight is one run of a check; whoever started it reports its
end. A round is one caller's question about several checks: it starts flights, joins those of others, and ends when all
have landed or its deadline has passed; a lasting round renews what grows old, until it is told to end.
Who carries a flight (a task, a thread) and how a round waits is the business of `_carriers.py`.
"""

from __future__ import annotations

import os
import random
import weakref
from collections import deque
from contextlib import contextmanager
from functools import partial
from math import inf
from threading import RLock
from typing import TYPE_CHECKING

from vitalsign import _clock
from vitalsign.health._changes import Change
from vitalsign.health._check import Result, Status, judge
from vitalsign.health._journal import log_run, log_skip
from vitalsign.health._slots import EXPIRES, RENEWS, STALE, Flight, Outcome, Round, Skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vitalsign.health._changes import Changes
    from vitalsign.health._metrics import HealthMetrics
    from vitalsign.health._report import CheckResult
    from vitalsign.health._slots import Slot

__all__ = ["Runner"]

_SOONEST = 0.8  # of the time after which a result is renewed in the background, so that instances do not keep step
_LONGEST_WAIT = 3_600.0  # seconds


class Runner:
    """
    Keep flights and rounds in order.

    The lock is held for moments, never while a check runs, and is re-entrant, for a signal handler may come in between.

    Attributes:
        slots: What is known of each check, by name. Only ever added to.
        changes: Where changes of state go.
        lasting: The rounds that renew results in the background.
    """

    def __init__(
        self, service: str, metrics: HealthMetrics, changes: Changes, *, clock: Callable[[], float] = _clock.monotonic
    ) -> None:
        """
        Make a runner without slots.

        Args:
            service: Whose checks it runs, for the log.
            metrics: Where outcomes are counted.
            changes: Told of each change of state.
            clock: Monotonic seconds.
        """
        self.slots: dict[str, Slot] = {}
        self.changes = changes
        self.lasting: set[Round] = set()
        self.clock = clock
        self._service = service
        self._metrics = metrics
        self._lock = RLock()
        self._after_unlock: deque[Callable[[], object]] = deque()
        if hasattr(os, "register_at_fork"):
            forget = weakref.WeakMethod(self._forget_flights)
            os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def add(self, slot: Slot) -> bool:
        """Take a slot, unless its name is taken."""
        if self.slots.setdefault(slot.check.name, slot) is not slot:
            return False
        self._metrics.expect(slot.check)
        return True

    def question(self, slots: Sequence[Slot], seconds: float) -> Round:
        """Return a round that asks about *slots*, and is answered with what is known after *seconds*."""
        now = self.clock()
        return Round(slots, started=now, deadline=now + seconds, good_until=STALE if self.lasting else EXPIRES)

    def renewal(self, slots: Sequence[Slot]) -> Round:
        """Return a round that keeps *slots* fresh until it is told to end."""
        return Round(slots, started=inf, deadline=inf, good_until=RENEWS, is_lasting=True)

    @contextmanager
    def renewing(self, round_: Round) -> Iterator[None]:
        """Let callers rely on *round_*: they do not have renewed what it is about to renew."""
        self.lasting.add(round_)
        try:
            yield
        finally:
            self.lasting.discard(round_)

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
                    to_start += self._pursue(round_, slot, now)
            wakes_at = None if is_over else round_.wakes_at(now)
        self._run_after_unlock()
        return to_start, None if wakes_at is None else min(max(0.0, wakes_at - now), _LONGEST_WAIT)

    def results(self, slots: Iterable[Slot]) -> tuple[CheckResult, ...]:
        """Return what is known of each of *slots*, all at the same moment."""
        now = self.clock()
        with self._lock:
            return tuple(slot.report(now) for slot in slots)

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

    def _pursue(self, round_: Round, slot: Slot, now: float) -> list[Flight]:
        """Join the flight of *slot*, and start it if there is none, unless what it depends on speaks against that."""
        if not all(dependency.answers(round_, now) for dependency in slot.dependencies):
            return []  # they ring when they have landed
        failed = slot.failed_dependency()
        if failed is not None:
            self._pass_over(slot, failed, now)
            return []
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
        elif now >= flight.due:
            # While it hangs, it fails as often as it would if it could be run again: that is what `fall` counts.
            self._settle(flight, _no_answer(flight), now if flight.is_settled else flight.due)
            flight.due = now + max(slot.timeout, slot.failure_ttl)
            self._release(flight)

    def _settle(self, flight: Flight, result: Result, at: float, error: BaseException | None = None) -> None:
        slot, previous = flight.slot, flight.slot.last
        before, was_skipped = slot.state, slot.skip is not None
        name = type(error).__name__ if error is not None else ""
        outcome = Outcome(result, at, self._wall(at), at - flight.started, name)
        slot.take(outcome, random.uniform(_SOONEST, 1.0))  # noqa: S311
        self._metrics.record(slot, None if flight.is_settled else outcome.duration)
        flight.is_settled = True
        is_first_pass = previous is None and not was_skipped and slot.state is Status.PASS
        is_change = slot.state is not before and not is_first_pass
        if is_change:
            self._note(slot, before, result.message, outcome.time)
        self._after_unlock.append(
            partial(log_run, self._service, slot, slot.state, outcome, (before, previous), error, is_change=is_change)
        )

    def _pass_over(self, slot: Slot, failed: Slot, now: float) -> None:
        before, was_skipped = slot.state, slot.skip is not None
        behind = failed.check.name if failed.skip is None else failed.skip.behind
        skip = Skip(behind, not failed.is_grave(), now, self._wall(now))
        slot.pass_over(skip)
        self._metrics.record_skip(slot)
        if not was_skipped:
            if before is not Status.UNKNOWN:
                self._note(slot, before, skip.message, skip.time)
            self._after_unlock.append(partial(log_skip, self._service, slot.check, skip))

    def _note(self, slot: Slot, before: Status, message: str, time: float) -> None:
        check = slot.check
        self.changes.add(Change(self._service, check.name, check.critical, before, slot.state, message, time))
        self._metrics.record_change(check, slot.state)
        self._after_unlock.append(self.changes.deliver)

    def _wall(self, at: float) -> float:
        return _clock.wall() - (self.clock() - at)

    def _release(self, flight: Flight) -> None:
        rounds, flight.rounds = flight.rounds, set()
        for round_ in rounds:
            round_.waits_for.discard(flight)
            if not round_.waits_for or round_.is_lasting or flight.slot.has_dependents:
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
        self.lasting.clear()
        for slot in self.slots.values():
            slot.flight = None


def _no_answer(flight: Flight) -> Result:
    return Result(Status.FAIL, f"no answer within {flight.slot.timeout:g} s")
