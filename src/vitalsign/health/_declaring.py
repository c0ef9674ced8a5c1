"""The part of a health checker that takes checks, and knows which ones a group asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from vitalsign.exceptions import HealthCheckError, HealthGroupError, UnknownCheckError
from vitalsign.health._check import FULL, LIVENESS, READINESS, STARTUP, Check, count, positive
from vitalsign.health._dependencies import in_order
from vitalsign.health._slots import Slot
from vitalsign.health._stability import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vitalsign.health._runner import Runner

__all__ = ["Declaring", "Defaults"]

_F = TypeVar("_F", bound="Callable[[], object]")
_BUILT_IN = (LIVENESS, READINESS, STARTUP, FULL)
_SHORTEST_RENEWAL = 1.0  # seconds; a result without a lifetime is not renewed without a pause


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for checks that do not say otherwise, as `HealthChecker` takes it."""

    timeout: float
    ttl: float
    failure_ttl: float | None
    refresh: float
    fall: int
    rise: int
    min_down: float

    def __post_init__(self) -> None:
        for name in ("timeout", "refresh"):
            positive(name, getattr(self, name))
        for name in ("ttl", "failure_ttl", "min_down"):
            positive(name, getattr(self, name), zero=True)
        count("fall", self.fall)
        count("rise", self.rise)

    def slot(self, check: Check) -> Slot:
        """Return the place for what will be known of *check*."""
        timeout, ttl = _given(check.timeout, self.timeout), _given(check.ttl, self.ttl)
        failure_ttl = self.failure_ttl if check.failure_ttl is None else check.failure_ttl
        renewal = max(self.refresh, ttl)
        shortest = min(self.refresh, _SHORTEST_RENEWAL)
        return Slot(
            check,
            timeout=timeout,
            ttl=ttl,
            failure_ttl=_given(failure_ttl, ttl),
            renewal=(renewal, renewal if failure_ttl is None else max(failure_ttl, shortest)),
            rules=Rules(
                _given(check.fall, self.fall), _given(check.rise, self.rise), _given(check.min_down, self.min_down)
            ),
        )


_N = TypeVar("_N", int, float)


def _given(value: _N | None, default: _N) -> _N:
    return default if value is None else value


class _Plan(NamedTuple):
    """Whom a group asks: all of these, each after those that it depends on; and whom it shows."""

    asked: Sequence[Slot]
    shown: Sequence[Slot]


class Declaring:
    """
    Take checks.

    Args:
        service: Name of the service.
        runner: Runs them.
        defaults: Of those that do not say otherwise.
        on_new: Called when a check was added.
    """

    def __init__(self, service: str, runner: Runner, defaults: Defaults, on_new: Callable[[], object]) -> None:
        self.service = service
        self._runner = runner
        self._defaults = defaults
        self._on_new = on_new
        self._plans: dict[str, _Plan] = {}

    def check(
        self,
        name: str,
        *,
        group: str | Iterable[str] = READINESS,
        critical: bool = True,
        timeout: float | None = None,
        ttl: float | None = None,
        failure_ttl: float | None = None,
        external: bool | None = None,
        fall: int | None = None,
        rise: int | None = None,
        min_down: float | None = None,
        depends_on: str | Iterable[str] = (),
    ) -> Callable[[_F], _F]:
        """
        Add the decorated function as a check; the function itself stays as it is.

        It returns None or True (pass), False (fail) or a `Result`, or raises (fail). A coroutine function runs on the
        caller's event loop, any other on a daemon thread of its own.

        Args:
            name: 1 to 64 letters, digits and `_ . : -`: it becomes a label of metrics.
            group: `liveness`, `readiness`, `startup`, a name of your own, or several of these.
            critical: Whether its failing makes the service fail (503) or only degrades it (200, `warn`).
            timeout: Seconds for one run.
            ttl: Seconds that a passing result is served before the check runs again.
            failure_ttl: The same for any other result.
            external: Whether it looks at something outside of this process, which gives it a
                `service_dependency_status` and bars it from liveness; None: it does, unless it is in `liveness`.
            fall: Failures in a row until it counts as failed.
            rise: Results in a row that are no failures, until a failed check has recovered.
            min_down: Seconds that it counts as failed at least.
            depends_on: Names of checks without which it cannot pass: while one of them fails, it is not run, and
                unknown. They may be declared later.

        Raises:
            HealthCheckError: A value makes no sense, or the name is taken.
        """

        def decorate(func: _F) -> _F:
            self.add(
                Check(
                    name,
                    func,
                    groups=(group,) if isinstance(group, str) else tuple(group),
                    critical=critical,
                    timeout=timeout,
                    ttl=ttl,
                    failure_ttl=failure_ttl,
                    external=external,
                    fall=fall,
                    rise=rise,
                    min_down=min_down,
                    depends_on=(depends_on,) if isinstance(depends_on, str) else tuple(depends_on),
                )
            )
            return func

        return decorate

    def add(
        self,
        check: Check,
        *,
        name: str | None = None,
        group: str | Iterable[str] | None = None,
        critical: bool | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
        failure_ttl: float | None = None,
        external: bool | None = None,
        fall: int | None = None,
        rise: int | None = None,
        min_down: float | None = None,
        depends_on: str | Iterable[str] | None = None,
    ) -> Check:
        """
        Add a check that was made elsewhere, such as those of `vitalsign.health.checks`.

        Args:
            check: The check.
            name: As for `check`, as are the others: what is given replaces what the check says.
            group: Its group or groups.
            critical: Whether its failing makes the service fail.
            timeout: Seconds for one run.
            ttl: Lifetime of a passing result, seconds.
            failure_ttl: Lifetime of any other result, seconds.
            external: Whether it looks outside of this process.
            fall: Failures in a row until it counts as failed.
            rise: Results in a row that are no failures, until it has recovered.
            min_down: Seconds that it counts as failed at least.
            depends_on: Names of the checks without which it cannot pass.

        Returns:
            The check as it was added.

        Raises:
            HealthCheckError: A value makes no sense, or the name is taken.
        """
        changes: dict[str, Any] = {
            "name": name,
            "groups": group,
            "critical": critical,
            "timeout": timeout,
            "ttl": ttl,
            "failure_ttl": failure_ttl,
            "external": external,
            "fall": fall,
            "rise": rise,
            "min_down": min_down,
            "depends_on": depends_on,
        }
        check = replace(check, **{key: value for key, value in changes.items() if value is not None})
        self._take(self._defaults.slot(check))
        return check

    def has_check(self, name: str) -> bool:
        """Tell whether there is a check of this name."""
        return name in self._runner.slots

    def _take(self, slot: Slot) -> None:
        if not self._runner.add(slot):
            name = slot.check.name
            raise HealthCheckError(
                f"{self.service!r} already has a check {name!r}, and their results would mix. "
                "Give one of the two another name=."
            )
        self._plans = {}  # a new one: who is at work on a plan keeps it in the old one
        self._on_new()

    def _plan(self, group: str) -> _Plan:
        """
        Return whom *group* asks.

        Raises:
            HealthGroupError: No check is in a group of this name.
            HealthDependencyError: They depend on each other in a circle, or on a check that there is not.
        """
        plans = self._plans
        plan = plans.get(group)
        if plan is None:
            shown = self._slots_of(group)
            plan = plans[group] = _Plan(in_order(self._runner.slots, shown), shown)
        return plan

    def _plan_of(self, name: str) -> _Plan:
        """
        Return whom a question about one check asks.

        Raises:
            UnknownCheckError: There is no check of this name.
            HealthDependencyError: As for `_plan`.
        """
        slot = self._runner.slots.get(name)
        if slot is None:
            known = tuple(self._runner.slots)
            raise UnknownCheckError(
                f"{self.service!r} has no check {name!r}. There are: {', '.join(known) or 'none'}.",
                name=name,
                known=known,
            )
        return _Plan(in_order(self._runner.slots, [slot]), [slot])

    def _slots_of(self, group: str) -> list[Slot]:
        slots = list(self._runner.slots.values())
        if group == FULL:
            return slots
        chosen = [slot for slot in slots if group in slot.check.groups]
        if not chosen and group not in _BUILT_IN:
            known = tuple(dict.fromkeys([*_BUILT_IN, *(name for slot in slots for name in slot.check.groups)]))
            raise HealthGroupError(
                f"No check of {self.service!r} is in a group {group!r}. There are: {', '.join(known)}.",
                group=group,
                known=known,
            )
        return chosen
