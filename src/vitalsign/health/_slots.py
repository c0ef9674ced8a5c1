"""What moves in the runner: slots, flights and rounds, as `_runner.py` has them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING

from vitalsign.health._check import Result, Status
from vitalsign.health._report import CheckResult
from vitalsign.health._stability import Rules, Stability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vitalsign.health._check import Check

__all__ = ["EXPIRES", "RENEWS", "STALE", "Flight", "Outcome", "Round", "Skip", "Slot"]

EXPIRES = attrgetter("expires_at")
"""How long a result is good, to callers who have it renewed."""
STALE = attrgetter("stale_at")
"""How long it is good to callers while it is renewed in the background; longer, so that they need not wait for that."""
RENEWS = attrgetter("renews_at")
"""How long it is good to what renews it in the background."""


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


@dataclass(frozen=True, slots=True)
class Skip:
    """
    Why a check is not run.

    Attributes:
        behind: The check that has failed.
        excused: Whether that one is not critical.
        at: Since when, by the monotonic clock; it is looked at again as results are.
        time: The same in seconds since 1970.
    """

    behind: str
    excused: bool
    at: float
    time: float

    @property
    def message(self) -> str:
        """The reason as a sentence."""
        return f"not run, since {self.behind!r} fails"


class Slot:
    """
    Hold what is known of one check. Changed by the runner only, under its lock.

    Attributes:
        check: The check.
        timeout: Seconds for one run.
        ttl: Lifetime of a passing result, seconds.
        failure_ttl: Lifetime of any other result, seconds.
        renewal: After how many seconds a passing result, and any other, is renewed in the background.
        dependencies: The slots of the checks that it depends on.
        has_dependents: Whether others depend on it.
        last: How the last flight ended.
        skip: Why it is not run, if it is not.
        flight: The one that is under way.
        expires_at: By the monotonic clock, as are the next two.
    """

    __slots__ = (
        "check", "dependencies", "expires_at", "failure_ttl", "flight", "has_dependents", "is_coroutine", "last",
        "renewal", "renews_at", "skip", "stability", "stale_at", "timeout", "ttl",
    )  # fmt: skip

    def __init__(
        self,
        check: Check,
        *,
        timeout: float,
        ttl: float,
        failure_ttl: float,
        renewal: tuple[float, float] = (10.0, 10.0),
        rules: Rules = Rules(),  # noqa: B008  # frozen
    ) -> None:
        self.check: Check = check
        self.is_coroutine: bool = check.is_coroutine
        self.timeout: float = timeout
        self.ttl: float = ttl
        self.failure_ttl: float = failure_ttl
        self.renewal: tuple[float, float] = renewal
        self.stability: Stability = Stability(rules)
        self.dependencies: tuple[Slot, ...] = ()
        self.has_dependents: bool = False
        self.last: Outcome | None = None
        self.skip: Skip | None = None
        self.flight: Flight | None = None
        self.expires_at: float = -inf
        self.renews_at: float = -inf
        self.stale_at: float = -inf

    @property
    def state(self) -> Status:
        """What the check counts as; unknown while it is not run."""
        return self.stability.state

    def report(self, now: float) -> CheckResult:
        """Return what is known, with its age at *now*."""
        check, last, skip = self.check, self.last, self.skip
        if skip is not None:
            return CheckResult(
                check.name, Status.UNKNOWN, check.critical, skip.message,
                time=skip.time, age=max(0.0, now - skip.at), behind=skip.behind, excused=skip.excused,
            )  # fmt: skip
        if last is None:
            return CheckResult(check.name, Status.UNKNOWN, check.critical, "no result yet")
        found = last.result
        return CheckResult(
            check.name, self.state, check.critical, found.message, found.value, found.unit,
            time=last.time, age=max(0.0, now - last.at), duration=last.duration,
            last_status=found.status, consecutive_failures=self.stability.failures,
        )  # fmt: skip

    def answers(self, round_: Round, now: float) -> bool:
        """Tell whether what is known will do for *round_*, or nothing better can be had."""
        if self.flight is not None and self.flight.is_settled:
            return True  # it hangs: a second run would only hang beside it
        known = self.skip or self.last
        if known is None or (self.skip is not None and self.failed_dependency() is None):
            return False
        return known.at >= round_.started or now < round_.good_until(self)

    def failed_dependency(self) -> Slot | None:
        """Return what it depends on and cannot be had, a check that fails or is not run itself: the gravest one."""
        failed = [slot for slot in self.dependencies if slot.state is Status.FAIL or slot.skip is not None]
        return max(failed, key=Slot.is_grave, default=None)

    def is_grave(self) -> bool:
        """Tell whether what it is, or is not run for, is critical."""
        return self.check.critical if self.skip is None else not self.skip.excused

    def take(self, outcome: Outcome, jitter: float) -> None:
        """Know *outcome*, which is renewed in the background after *jitter* times the usual time."""
        self.last, self.skip = outcome, None
        state = self.stability.observe(outcome.result.status, outcome.at)
        # On its way up or down, a state is not settled, however the last result was.
        is_good = state is Status.PASS and outcome.result.status is Status.PASS
        self._live(outcome.at, is_good=is_good, jitter=jitter)

    def pass_over(self, skip: Skip) -> None:
        """Know that the check is not run, and nothing else: the first result after that counts at once."""
        self.last, self.skip = None, skip
        self.stability.forget()
        self._live(skip.at, is_good=False, jitter=1.0)

    def _live(self, since: float, *, is_good: bool, jitter: float) -> None:
        self.expires_at = since + (self.ttl if is_good else self.failure_ttl)
        renewal = self.renewal[0 if is_good else 1]
        self.renews_at = since + renewal * jitter
        self.stale_at = max(self.expires_at, self.renews_at + self.renewal[0] + self.timeout)

    def wakes_at(self) -> float:
        """Return when to look at it again, to renew it in the background."""
        return self.renews_at if self.flight is None else self.flight.due


class Flight:
    """
    One run of one check.

    Attributes:
        slot: Whose run it is.
        started: By the monotonic clock.
        due: When it counts as failed if it has not ended; after that, when it counts as failed once more.
        is_settled: Whether an outcome was recorded; it may still be under way, unheard.
        is_lost: Tells whether nobody can report its end any more; set by a carrier that can vanish.
        carrier: The task that runs it, kept from the garbage collector.
        rounds: Who waits for it.
    """

    __slots__ = ("carrier", "due", "is_lost", "is_settled", "rounds", "slot", "started")

    def __init__(self, slot: Slot, started: float) -> None:
        self.slot: Slot = slot
        self.started: float = started
        self.due: float = started + slot.timeout
        self.is_settled: bool = False
        self.is_lost: Callable[[], bool] = lambda: False
        self.carrier: object = None
        self.rounds: set[Round] = set()

    @property
    def name(self) -> str:
        """What its task or thread is called."""
        return f"vitalsign-health-{self.slot.check.name}"

    def call(self) -> object:
        """Call the check's function."""
        return self.slot.check.call(self.slot.timeout)


class Round:
    """
    One question about several checks: a caller's, or that of what renews results in the background.

    Args:
        slots: What is asked about, each after those that it depends on.
        started: By the monotonic clock: a result since then will do in any case.
        deadline: When it is answered with what is known.
        good_until: How long an earlier result is good: `EXPIRES`, `STALE` or `RENEWS`.
        is_lasting: Whether it goes on when all is known, until its deadline.

    Attributes:
        ring: Called, from any thread, when there may be something to do. Must not raise.
        waits_for: The flights that it waits for.
    """

    __slots__ = ("deadline", "good_until", "is_lasting", "ring", "slots", "started", "waits_for")

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        started: float,
        deadline: float,
        good_until: Callable[[Slot], float] = EXPIRES,
        is_lasting: bool = False,
    ) -> None:
        self.slots: Sequence[Slot] = slots
        self.started: float = started
        self.deadline: float = deadline
        self.good_until: Callable[[Slot], float] = good_until
        self.is_lasting: bool = is_lasting
        self.ring: Callable[[], object] = lambda: None
        self.waits_for: set[Flight] = set()

    def end(self) -> None:
        """End a lasting round."""
        self.deadline = -inf
        self.ring()

    def wakes_at(self, now: float) -> float | None:
        """Return when the next step is due unless it rings before; None if there is none."""
        if self.is_lasting:
            # What waits for its dependencies is past its time; they ring.
            times = [at for slot in self.slots if (at := slot.wakes_at()) > now]
        elif self.waits_for:
            times = [flight.due for flight in self.waits_for]
        else:
            return None
        return min([self.deadline, *times])
