"""
From results to a state that does not flap: how many it takes to fall and to rise, and how long an error lasts. No I/O.

The first result counts at once, for there is no state yet that it could flap from.
"""

from __future__ import annotations

from dataclasses import dataclass

from vitalsign.health._check import Status

__all__ = ["Rules", "Stability"]


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What a state withstands.

    Attributes:
        fall: Failures in a row that it takes to fail.
        rise: Results in a row that are no failures that it takes to stop failing.
        min_down: Seconds that it fails at least.
    """

    fall: int = 1
    rise: int = 1
    min_down: float = 0.0


class Stability:
    """
    Turn the results of one check into its state.

    Attributes:
        state: Pass, warn or fail; unknown before the first result.
        failures: How many results in a row have been failures by now.
    """

    __slots__ = ("_down_since", "_rules", "_successes", "failures", "state")

    state: Status
    failures: int

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._down_since = 0.0
        self.forget()

    def forget(self) -> None:
        """Know nothing any more: the next result is the first one."""
        self.state = Status.UNKNOWN
        self.failures = 0
        self._successes = 0

    def observe(self, status: Status, at: float) -> Status:
        """
        Take a result into account, and return the state.

        Args:
            status: Pass, warn or fail.
            at: When, in seconds of any clock that only goes forward.
        """
        has_failed = status is Status.FAIL
        self.failures = self.failures + 1 if has_failed else 0
        self._successes = 0 if has_failed else self._successes + 1
        if self.state is Status.UNKNOWN or (self._falls() if has_failed else self._rises(at)):
            if has_failed and self.state is not Status.FAIL:
                self._down_since = at
            self.state = status
        return self.state

    def _falls(self) -> bool:
        return self.failures >= self._rules.fall

    def _rises(self, at: float) -> bool:
        if self.state is not Status.FAIL:  # from pass to warn and back: nobody is cut off by that
            return True
        return self._successes >= self._rules.rise and at - self._down_since >= self._rules.min_down
