"""The runner alone: no threads, no loops, and a clock that moves when told to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vitalsign.health import Check, Result, Status
from vitalsign.health._changes import Changes
from vitalsign.health._dependencies import in_order
from vitalsign.health._metrics import HealthMetrics
from vitalsign.health._runner import Runner
from vitalsign.health._slots import Flight, Round, Slot
from vitalsign.health._stability import Rules

if TYPE_CHECKING:
    import pytest


class Desk:
    """A runner with slots, a clock to turn, and a note of each ring."""

    def __init__(self, *names: str, timeout: float = 10.0, ttl: float = 0.0, **settings: Any) -> None:
        self.now = 1_000.0
        self.rings: list[Round] = []
        self.runner = Runner("shop", HealthMetrics("shop", None), Changes(10), clock=lambda: self.now)
        settings = {"timeout": timeout, "ttl": ttl, "failure_ttl": 0.0, **settings}
        for name in names:
            self.runner.add(Slot(Check(name, lambda: None), **settings))

    def depend(self, name: str, *others: str) -> None:
        """Let a check depend on others."""
        slot = self.runner.slots[name]
        slot.check = replace(slot.check, depends_on=others)
        in_order(self.runner.slots, self.runner.slots.values())

    def last(self) -> Round:
        """Return a lasting round on all checks."""
        round_ = self.runner.renewal(in_order(self.runner.slots, self.runner.slots.values()))
        round_.ring = lambda: self.rings.append(round_)
        return round_

    def open(self, *names: str, deadline: float = 5.0) -> Round:
        """Open a round on the slots of these names, or all."""
        slots = in_order(self.runner.slots, [self.runner.slots[name] for name in names or self.runner.slots])
        round_ = self.runner.question(slots, deadline)
        round_.ring = lambda: self.rings.append(round_)
        return round_

    def status(self, name: str) -> Status | None:
        """Return the status that is known of a check."""
        last = self.runner.slots[name].last
        return last.result.status if last else None


def test_round_starts_what_is_not_known_and_waits_for_it() -> None:
    """The first round starts one flight for each check, and is to come again at its deadline at the latest."""
    desk = Desk("a", "b")
    flights, seconds = desk.runner.step(desk.open())
    assert [flight.slot.check.name for flight in flights] == ["a", "b"]
    assert seconds == 5.0


def test_second_round_joins_the_flights_of_the_first() -> None:
    """Nobody starts a check that runs; both rounds ring once, when all that they wait for has landed."""
    desk = Desk("a", "b")
    one, two = desk.open(), desk.open("a")
    (a, b), _ = desk.runner.step(one)
    assert desk.runner.step(two) == ([], 5.0)
    desk.runner.land(a, None)
    assert desk.rings == [two]
    desk.runner.land(b, None)
    assert desk.rings == [two, one]
    assert desk.runner.step(one) == desk.runner.step(two) == ([], None)


def test_round_over_at_its_deadline_starts_nothing_more() -> None:
    """At its deadline a round ends, though its flight goes on and is what the next round joins."""
    desk = Desk("a", ttl=60)
    one = desk.open(deadline=1.0)
    (flight,), _ = desk.runner.step(one)
    desk.now += 1.0
    assert desk.runner.step(one) == ([], None)
    two = desk.open()
    assert desk.runner.step(two)[0] == []
    desk.runner.land(flight, None)
    assert desk.runner.step(two) == ([], None)


def test_lifetimes_of_good_and_bad_results_are_separate() -> None:
    """A passing result is served for the ttl, any other for the failure_ttl."""
    desk = Desk("a", ttl=10.0, failure_ttl=2.0)
    for returned, fresh, stale in ((None, 9.9, 0.2), (False, 1.9, 0.2), (Result(Status.WARN), 1.9, 0.2)):
        (flight,), _ = desk.runner.step(desk.open())
        desk.runner.land(flight, returned)
        desk.now += fresh
        assert desk.runner.step(desk.open()) == ([], None)
        desk.now += stale
        (flight,), _ = desk.runner.step(desk.open())
        desk.runner.abandon(flight)


def test_result_of_a_flight_that_was_joined_will_do_without_a_lifetime() -> None:
    """With a ttl of zero, a round is answered by the flight that it joined, though it had begun before."""
    desk = Desk("a")
    (flight,), _ = desk.runner.step(desk.open())
    desk.now += 1.0
    late = desk.open()
    desk.runner.step(late)
    desk.now += 0.5
    desk.runner.land(flight, None)
    assert desk.runner.step(late) == ([], None)


def test_flight_that_is_overdue_has_failed_and_is_not_run_again() -> None:
    """A check that does not answer fails at its timeout; while it hangs, others get that and start no second run."""
    desk = Desk("a", timeout=2.0)
    one = desk.open()
    (flight,), seconds = desk.runner.step(one)
    assert seconds == 2.0
    desk.now += 2.0
    assert desk.runner.step(one) == ([], None)
    slot = desk.runner.slots["a"]
    assert slot.last is not None
    assert (slot.last.result.message, slot.last.duration) == ("no answer within 2 s", 2.0)
    desk.now += 3_600.0
    assert desk.runner.step(desk.open()) == ([], None)
    assert slot.flight is flight


def test_check_that_comes_back_late_is_run_again_but_its_late_answer_is_not_believed() -> None:
    """The answer of an overdue run is dropped; the next round starts a new run."""
    desk = Desk("a", timeout=2.0)
    (flight,), _ = desk.runner.step(desk.open())
    desk.now += 9.0
    desk.runner.step(desk.open())
    desk.runner.land(flight, None)
    assert desk.status("a") is Status.FAIL
    (again,), _ = desk.runner.step(desk.open())
    desk.runner.land(again, None)
    assert desk.status("a") is Status.PASS


def test_late_answer_that_nobody_waited_for_is_late_too() -> None:
    """Whether a check was in time does not depend on somebody looking at its timeout."""
    desk = Desk("a", timeout=2.0)
    (flight,), _ = desk.runner.step(desk.open())
    desk.now += 2.0
    desk.runner.land(flight, None)
    assert desk.status("a") is Status.FAIL


def test_one_overdue_check_does_not_keep_the_others_waiting() -> None:
    """A round comes again at the next timeout, and ends when the rest has landed."""
    desk = Desk("a", "b", timeout=2.0)
    round_ = desk.open()
    (_, b), _ = desk.runner.step(round_)
    desk.now += 1.0
    desk.runner.land(b, None)
    desk.now += 1.0
    assert desk.runner.step(round_) == ([], None)
    assert (desk.status("a"), desk.status("b")) == (Status.FAIL, Status.PASS)


def test_abandoned_flight_says_nothing_and_is_flown_again() -> None:
    """A run that was broken off from outside is no failure; who waits for it starts another."""
    desk = Desk("a")
    round_ = desk.open()
    (flight,), _ = desk.runner.step(round_)
    desk.runner.abandon(flight)
    assert desk.status("a") is None
    assert desk.rings == [round_]
    (again,), _ = desk.runner.step(round_)
    assert again is not flight
    desk.runner.land(flight, False)
    assert desk.status("a") is None


def test_flight_on_a_loop_that_was_closed_is_flown_again() -> None:
    """A run whose end nobody can report any more does not block its check."""
    desk = Desk("a")
    (flight,), _ = desk.runner.step(desk.open())
    flight.is_lost = lambda: True
    (again,), _ = desk.runner.step(desk.open())
    assert again is not flight


def test_nothing_is_left_of_rounds_that_waited_for_a_hanging_check() -> None:
    """A check that hangs for a day collects no callers."""
    desk = Desk("a", timeout=2.0)
    (flight,), _ = desk.runner.step(desk.open())
    for _ in range(100):
        desk.now += 10.0
        desk.runner.step(desk.open())
    assert flight.rounds == set()


def test_check_that_hangs_fails_as_often_as_if_it_could_be_run_again() -> None:
    """With fall=3, a check that hangs falls as one does that fails each time: it need not return for that."""
    desk = Desk("a", timeout=2.0, failure_ttl=5.0, rules=Rules(fall=3))
    slot = desk.runner.slots["a"]
    (flight,), _ = desk.runner.step(desk.open())
    desk.runner.land(flight, None)
    desk.now += 5.1
    (flight,), _ = desk.runner.step(desk.open())
    seen = []
    for seconds in (2.0, 4.9, 0.1, 4.9, 0.1, 5.0):
        desk.now += seconds
        assert desk.runner.step(desk.open()) == ([], None)
        seen.append((slot.state, slot.stability.failures))
    assert seen == [("pass", 1), ("pass", 1), ("pass", 2), ("pass", 2), ("fail", 3), ("fail", 4)]
    assert slot.report(desk.now).age == 0.0


def test_jittered_background_refresh_renews_a_little_early() -> None:
    """In the background a check is renewed after 80 to 100 % of its time, by chance, and again after that."""
    desk = Desk("a", "b", renewal=(10.0, 2.0))
    round_ = desk.last()
    flights, _ = desk.runner.step(round_)
    for flight in flights:
        desk.runner.land(flight, None)
    assert desk.rings == [round_, round_]
    times = {slot.renews_at - desk.now for slot in desk.runner.slots.values()}
    assert len(times) == 2
    assert all(8.0 <= seconds <= 10.0 for seconds in times)
    assert desk.runner.step(round_) == ([], min(times))
    desk.now += 10.0
    flights, _ = desk.runner.step(round_)
    assert len(flights) == 2
    desk.runner.land(flights[0], False)
    assert 1.6 <= flights[0].slot.renews_at - desk.now <= 2.0


def test_lasting_round_goes_on_until_it_is_told_to_end() -> None:
    """It waits when there is nothing to do, an hour at most; told to end, it rings and starts nothing more."""
    desk = Desk("a")
    empty = Desk().last()
    assert desk.runner.step(empty) == ([], 3_600.0)
    round_ = desk.last()
    round_.end()
    assert desk.rings == [round_]
    assert desk.runner.step(round_) == ([], None)


def test_lasting_round_starts_what_waited_when_its_dependency_lands() -> None:
    """A check behind another is started as soon as that has landed; meanwhile the round does not spin."""
    desk = Desk("a", "b", "slow", timeout=7.0)
    desk.depend("a", "b")
    round_ = desk.last()
    flights, seconds = desk.runner.step(round_)
    assert ([flight.slot.check.name for flight in flights], seconds) == (["b", "slow"], 7.0)
    desk.runner.land(flights[0], None)
    assert desk.rings == [round_]
    ((behind,), _) = desk.runner.step(round_)
    assert behind.slot.check.name == "a"


def test_lasting_round_looks_at_a_check_that_hangs_only_when_it_fails_again() -> None:
    """While a check hangs there is nothing to renew, and no reason to spin."""
    desk = Desk("a", timeout=2.0, failure_ttl=5.0)
    round_ = desk.last()
    desk.runner.step(round_)
    desk.now += 2.0
    assert desk.runner.step(round_) == ([], 5.0)
    desk.now += 5.0
    assert desk.runner.step(round_) == ([], 5.0)


def test_caller_has_what_is_being_renewed() -> None:
    """While results are renewed in the background, a caller has the last one, though it has expired, up to a limit."""
    desk = Desk("a", timeout=3.0, renewal=(10.0, 10.0))
    round_ = desk.last()
    with desk.runner.renewing(round_):
        (flight,), _ = desk.runner.step(round_)
        desk.runner.land(flight, None)
        desk.now += 20.0
        assert desk.runner.step(desk.open()) == ([], None)
        desk.now += 3.1
        ((late,), _) = desk.runner.step(desk.open())
        desk.runner.land(late, None)
    assert len(desk.runner.step(desk.open())[0]) == 0  # of this very moment
    desk.now += 0.1
    assert len(desk.runner.step(desk.open())[0]) == 1


def test_broken_metrics_do_not_lose_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result stands although it cannot be counted."""

    class Broken:
        def labels(self, *_: object) -> None:
            raise OSError("disk full")

    desk = Desk("a")
    monkeypatch.setattr(desk.runner._metrics, "_status", Broken())
    (flight,), _ = desk.runner.step(desk.open())
    desk.runner.land(flight, None)
    assert desk.status("a") is Status.PASS


class Traffic(RuleBasedStateMachine):
    """Rounds, landings, crashes and time in any order; c depends on b, and that on a."""

    NAMES = ("a", "b", "c", "d")

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(*self.NAMES, timeout=3.0, ttl=2.0, failure_ttl=1.0, renewal=(5.0, 4.0), rules=Rules(2, 2, 1.0))
        self.desk.depend("b", "a")
        self.desk.depend("c", "b")
        self.rounds: list[Round] = []
        self.flying: list[Flight] = []

    @precondition(lambda self: not self.desk.runner.lasting)
    @rule()
    def refresh_begins(self) -> None:
        """Open a lasting round."""
        round_ = self.desk.last()
        self.desk.runner.lasting.add(round_)
        self.rounds.append(round_)
        self._step(round_)

    @precondition(lambda self: self.desk.runner.lasting)
    @rule()
    def refresh_ends(self) -> None:
        """End the lasting round."""
        round_ = self.desk.runner.lasting.pop()
        round_.end()
        self._step(round_)

    @rule(names=st.sets(st.sampled_from(NAMES), min_size=1))
    def somebody_asks(self, names: set[str]) -> None:
        """Open a round and take its first step."""
        round_ = self.desk.open(*sorted(names))
        self.rounds.append(round_)
        self._step(round_)

    @rule(seconds=st.floats(0.1, 4.0))
    def time_passes(self, seconds: float) -> None:
        """Turn the clock, and let each round look at it."""
        self.desk.now += seconds
        for round_ in self.rounds[:]:
            self._step(round_)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), how=st.sampled_from(["pass", "fail", "crash", "abandon"]))
    def a_flight_ends(self, data: st.DataObject, how: str) -> None:
        """End any flight in any way, then let those who were rung for look."""
        flight = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        known = flight.slot.last
        runner = self.desk.runner
        end = {
            "pass": lambda: runner.land(flight, True),
            "fail": lambda: runner.land(flight, False),
            "crash": lambda: runner.crash(flight, OSError("down")),
            "abandon": lambda: runner.abandon(flight),
        }
        was_settled = flight.is_settled
        end[how]()
        if was_settled or how == "abandon":
            assert flight.slot.last is known
        for round_ in self.desk.rings:
            if round_ in self.rounds:
                self._step(round_)
        self.desk.rings.clear()

    def _step(self, round_: Round) -> None:
        flights, seconds = self.desk.runner.step(round_)
        self.flying += flights
        for flight in flights:
            assert flight.slot.failed_dependency() is None
        if seconds is None:
            self.rounds.remove(round_)
            in_time = self.desk.now < round_.deadline
            assert not in_time or all(slot.last is not None or slot.skip is not None for slot in round_.slots)
        else:
            assert seconds > 0

    @invariant()
    def each_check_flies_once(self) -> None:
        """There is never a second flight of a check under way."""
        names = [flight.slot.check.name for flight in self.flying]
        assert len(names) == len(set(names))

    @invariant()
    def who_waits_will_be_rung_for(self) -> None:
        """Each open round waits for a flight that knows of it, or for its time."""
        for round_ in self.rounds:
            assert round_.waits_for or round_.is_lasting
            assert all(round_ in flight.rounds for flight in round_.waits_for)

    @invariant()
    def what_is_skipped_is_unknown(self) -> None:
        """Hold that a check has a state exactly if it has a result, and is not skipped."""
        for slot in self.desk.runner.slots.values():
            assert (slot.state is Status.UNKNOWN) == (slot.last is None)
            assert slot.skip is None or slot.last is None


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
