"""States that do not flap, beside a model that looks at the whole past each time."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from vitalsign.health import Status
from vitalsign.health._stability import Rules, Stability

RULES = st.builds(Rules, fall=st.integers(1, 4), rise=st.integers(1, 4), min_down=st.sampled_from([0.0, 1.0, 5.0]))
RESULTS = st.lists(
    st.tuples(st.sampled_from([Status.PASS, Status.WARN, Status.FAIL]), st.floats(0.0, 3.0)), max_size=40
)
"""What was found, and how many seconds after the one before."""


@dataclass(frozen=True)
class Moment:
    """One result, with the state that followed."""

    found: Status
    at: float
    state: Status


def model(rules: Rules, past: list[Moment], found: Status, at: float) -> Status:
    """Say from all earlier moments which state follows."""
    if not past:
        return found
    state = past[-1].state
    latest = [*(moment.found for moment in past), found]
    if found is Status.FAIL:
        run = latest[-rules.fall :]
        return found if len(run) == rules.fall and set(run) == {Status.FAIL} else state
    if state is not Status.FAIL:
        return found
    fell = next(place for place in reversed(range(len(past))) if place == 0 or past[place - 1].state is not state)
    run = latest[-rules.rise :]
    recovered = len(run) == rules.rise and Status.FAIL not in run
    return found if recovered and at - past[fell].at >= rules.min_down else state


@given(RULES, RESULTS)
def test_state_is_that_of_the_model(rules: Rules, results: list[tuple[Status, float]]) -> None:
    """Whatever is found and when, the state and the count of failures are those that the whole past gives."""
    stability, past, at = Stability(rules), list[Moment](), 0.0
    for found, pause in results:
        at += pause
        expected = model(rules, past, found, at)
        assert stability.observe(found, at) is expected
        past.append(Moment(found, at, expected))
        in_a_row = 0
        while in_a_row < len(past) and past[-1 - in_a_row].found is Status.FAIL:
            in_a_row += 1
        assert stability.failures == in_a_row


@given(RULES, RESULTS)
def test_forgotten_past_is_no_past(rules: Rules, results: list[tuple[Status, float]]) -> None:
    """After forgetting, everything is as for a check that was never run."""
    used, fresh, at = Stability(rules), Stability(rules), 0.0
    for found, pause in results:
        used.observe(found, at := at + pause)
    used.forget()
    for found, pause in results:
        at += pause
        assert used.observe(found, at) is fresh.observe(found, at)


@given(RESULTS)
def test_plain_rules_believe_each_result(results: list[tuple[Status, float]]) -> None:
    """Without any rules, the state is what was found last."""
    stability = Stability(Rules())
    for at, (found, _) in enumerate(results):
        assert stability.observe(found, at) is found


@given(st.integers(2, 5), st.integers(1, 5), st.lists(st.booleans(), min_size=2, max_size=40))
def test_flapping_check_does_not_move_the_state(fall: int, rise: int, order: list[bool]) -> None:
    """A check that passed, and never fails as often in a row as it takes, is never in error."""
    stability = Stability(Rules(fall, rise))
    stability.observe(Status.PASS, 0)
    for at, fails in enumerate(order):
        fails = fails and stability.failures < fall - 1
        assert stability.observe(Status.FAIL if fails else Status.PASS, at) is Status.PASS
