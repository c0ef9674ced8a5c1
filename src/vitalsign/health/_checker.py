"""HealthChecker: what the host talks to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from vitalsign.exceptions import HealthCheckError, HealthGroupError, UnknownCheckError
from vitalsign.health._carriers import ask, ask_blocking
from vitalsign.health._check import FULL, LIVENESS, READINESS, STARTUP, Check, positive
from vitalsign.health._edge import Edge
from vitalsign.health._metrics import HealthMetrics
from vitalsign.health._report import CheckResult, Report
from vitalsign.health._runner import Runner, Slot
from vitalsign.metrics.registry import REGISTRY, CollectorRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["HealthChecker"]

_F = TypeVar("_F", bound="Callable[[], object]")
_BUILT_IN = (LIVENESS, READINESS, STARTUP, FULL)


class HealthChecker(Edge):
    """
    Run the health checks of one service, and report.

    ```python
    health = HealthChecker("shop", version="1.4.0")

    @health.check("database", timeout=0.5)
    async def database():
        await pool.execute("select 1")

    app.routes.extend(health.routes())
    ```

    Each check runs once at a time, whoever asks, and its result is served to all who ask within its lifetime. May be
    used by several event loops and threads at once. Making one starts nothing.

    Attributes:
        service: Name of the service, the label `service` of its metrics.
        version: Its version, or empty.
    """

    def __init__(
        self,
        service: str,
        *,
        version: str = "",
        timeout: float = 0.5,
        deadline: float = 0.8,
        ttl: float = 1.0,
        failure_ttl: float | None = None,
        registry: CollectorRegistry | None = REGISTRY,
    ) -> None:
        """
        Make a checker without checks, and register its metrics.

        Args:
            service: Name of the service.
            version: Its version, shown to those who may see details.
            timeout: Seconds for one run of a check that has no timeout of its own.
            deadline: Seconds after which a report is given with what is known by then. Keep it below the timeout of
                whoever asks: the kubelet gives up after 1 s.
            ttl: Seconds that a passing result is served before the check runs again; 0 runs it for every caller
                who finds it not running.
            failure_ttl: The same for any other result; None takes the ttl.
            registry: Where the metrics go; None for nowhere.

        Raises:
            HealthCheckError: A number of seconds makes no sense.
            DuplicateMetricError: The registry has metrics of these names from another library.
        """
        if not service or not isinstance(service, str):
            raise HealthCheckError(f"{service!r} cannot name a service. Give a text, such as 'shop'.")
        positive("timeout", timeout)
        positive("deadline", deadline)
        positive("ttl", ttl, zero=True)
        positive("failure_ttl", failure_ttl, zero=True)
        super().__init__(service, version)
        self._timeout = timeout
        self._deadline = deadline
        self._ttl = ttl
        self._failure_ttl = failure_ttl
        self._runner = Runner(service, HealthMetrics(service, registry))

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

        Raises:
            HealthCheckError: A value makes no sense, or the name is taken.
        """

        def decorate(func: _F) -> _F:
            groups = (group,) if isinstance(group, str) else tuple(group)
            self.add(Check(name, func, groups, critical, timeout, ttl, failure_ttl, external))
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

        Returns:
            The check as it was added.

        Raises:
            HealthCheckError: A value makes no sense, or the name is taken.
        """
        changes: dict[str, Any] = {
            "name": name,
            "groups": (group,) if isinstance(group, str) else group,
            "critical": critical,
            "timeout": timeout,
            "ttl": ttl,
            "failure_ttl": failure_ttl,
            "external": external,
        }
        check = replace(check, **{key: value for key, value in changes.items() if value is not None})
        ttl = self._ttl if check.ttl is None else check.ttl
        failure_ttl = self._failure_ttl if check.failure_ttl is None else check.failure_ttl
        slot = Slot(
            check,
            timeout=self._timeout if check.timeout is None else check.timeout,
            ttl=ttl,
            failure_ttl=ttl if failure_ttl is None else failure_ttl,
        )
        if self._runner.slots.setdefault(check.name, slot) is not slot:
            raise HealthCheckError(
                f"{self.service!r} already has a check {check.name!r}, and their results would mix. "
                "Give one of the two another name=."
            )
        return check

    async def run(self, group: str = READINESS) -> Report:
        """
        Ask the checks of *group*, all at once, and report.

        Checks whose last result is fresh enough are not run again; what does not answer by the deadline is reported
        with its last known result. Coroutine checks run on this event loop.

        Args:
            group: `liveness`, `readiness`, `startup`, `full` (every check), or a group of your own.

        Raises:
            HealthGroupError: No check is in a group of this name.
            HealthLoopError: What runs here is not asyncio.
        """
        slots = self._slots_of(group)
        if slots:
            await ask(self._runner, slots, self._deadline)
        return self._report(group, slots)

    def run_sync(self, group: str = READINESS) -> Report:
        """
        Do what `run` does, from a thread without an event loop: Flask, Django, scripts.

        A coroutine check runs on an event loop of its own, on a thread of its own, which ends with the run: it must
        not use what belongs to another loop, such as a connection pool.

        Args:
            group: As for `run`.

        Raises:
            HealthGroupError: No check is in a group of this name.
            HealthLoopError: An event loop runs on this thread, and would stand still.
        """
        slots = self._slots_of(group)
        if slots:
            ask_blocking(self._runner, slots, self._deadline)
        return self._report(group, slots)

    async def run_check(self, name: str) -> CheckResult:
        """
        Ask one check, as `run` asks those of a group, and return its result.

        Raises:
            UnknownCheckError: There is no check of this name.
            HealthLoopError: What runs here is not asyncio.
        """
        slot = self._slot_of(name)
        await ask(self._runner, [slot], self._deadline)
        return slot.report(self._runner.clock())

    def run_check_sync(self, name: str) -> CheckResult:
        """
        Do what `run_check` does, from a thread without an event loop.

        Raises:
            UnknownCheckError: There is no check of this name.
            HealthLoopError: An event loop runs on this thread, and would stand still.
        """
        slot = self._slot_of(name)
        ask_blocking(self._runner, [slot], self._deadline)
        return slot.report(self._runner.clock())

    def has_check(self, name: str) -> bool:
        """Tell whether there is a check of this name."""
        return name in self._runner.slots

    def _slot_of(self, name: str) -> Slot:
        slot = self._runner.slots.get(name)
        if slot is None:
            known = tuple(self._runner.slots)
            raise UnknownCheckError(
                f"{self.service!r} has no check {name!r}. There are: {', '.join(known) or 'none'}.",
                name=name,
                known=known,
            )
        return slot

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

    def _report(self, group: str, slots: Iterable[Slot]) -> Report:
        now = self._runner.clock()
        checks = [slot.report(now) for slot in slots]
        return Report(self.service, self.version, group, (*self._lifecycle.results(group), *checks))
