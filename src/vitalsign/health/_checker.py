"""HealthChecker: what the host talks to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitalsign.exceptions import HealthCheckError
from vitalsign.health._carriers import attend, attend_blocking
from vitalsign.health._changes import Changes
from vitalsign.health._check import FULL, READINESS, count, positive
from vitalsign.health._declaring import Declaring, Defaults
from vitalsign.health._edge import Edge
from vitalsign.health._metrics import HealthMetrics
from vitalsign.health._refresh import Refresher
from vitalsign.health._report import Report
from vitalsign.health._runner import Runner
from vitalsign.health._watching import Watching
from vitalsign.metrics.registry import REGISTRY, CollectorRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vitalsign.health._report import CheckResult
    from vitalsign.health._slots import Slot

__all__ = ["HealthChecker"]


class HealthChecker(Declaring, Watching, Edge):
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
        fall: int = 1,
        rise: int = 1,
        min_down: float = 0.0,
        refresh: float = 10.0,
        history: int = 100,
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
            fall: Failures in a row until a check counts as failed.
            rise: Results in a row that are no failures, until a failed check has recovered.
            min_down: Seconds that a check counts as failed at least.
            refresh: Seconds after which results are renewed in the background, where that is switched on by `start`
                or `refreshing`; each a little earlier, by chance.
            history: How many changes of state are remembered; 0 for none.
            registry: Where the metrics go; None for nowhere.

        Raises:
            HealthCheckError: A number of seconds makes no sense.
            DuplicateMetricError: The registry has metrics of these names from another library.
        """
        if not service or not isinstance(service, str):
            raise HealthCheckError(f"{service!r} cannot name a service. Give a text, such as 'shop'.")
        positive("deadline", deadline)
        count("history", history or None)
        defaults = Defaults(timeout, ttl, failure_ttl, refresh, fall, rise, min_down)
        metrics = HealthMetrics(service, registry)
        runner = Runner(service, metrics, Changes(history))
        refresher = Refresher(runner, lambda: self._plan(FULL).asked)
        Declaring.__init__(self, service, runner, defaults, refresher.replan)
        Watching.__init__(self, runner, metrics, refresher)
        Edge.__init__(self, service, version)
        self._deadline = deadline

    async def run(self, group: str = READINESS) -> Report:
        """
        Ask the checks of *group*, all at once, and report.

        Checks whose last result is fresh enough are not run again; what does not answer by the deadline is reported
        with its last known result. Coroutine checks run on this event loop.

        Args:
            group: `liveness`, `readiness`, `startup`, `full` (every check), or a group of your own.

        Raises:
            HealthGroupError: No check is in a group of this name.
            HealthDependencyError: Its checks depend on each other in a circle, or on one that there is not.
            HealthLoopError: What runs here is neither asyncio nor trio.
        """
        plan = self._plan(group)
        self._refresher.ensure()
        if plan.asked:
            await attend(self._runner, self._runner.question(plan.asked, self._deadline))
        return self._report(group, plan.shown)

    def run_sync(self, group: str = READINESS) -> Report:
        """
        Do what `run` does, from a thread without an event loop: Flask, Django, scripts.

        A coroutine check runs on an event loop of its own, on a thread of its own, which ends with the run: it must
        not use what belongs to another loop, such as a connection pool.

        Args:
            group: As for `run`.

        Raises:
            HealthGroupError: No check is in a group of this name.
            HealthDependencyError: Its checks depend on each other in a circle, or on one that there is not.
            HealthLoopError: An event loop runs on this thread, and would stand still.
        """
        plan = self._plan(group)
        self._refresher.ensure()
        if plan.asked:
            attend_blocking(self._runner, self._runner.question(plan.asked, self._deadline))
        return self._report(group, plan.shown)

    async def run_check(self, name: str) -> CheckResult:
        """
        Ask one check, and those that it depends on, as `run` asks those of a group, and return its result.

        Raises:
            UnknownCheckError: There is no check of this name.
            HealthDependencyError: It depends on itself, by whatever way, or on a check that there is not.
            HealthLoopError: What runs here is neither asyncio nor trio.
        """
        plan = self._plan_of(name)
        self._refresher.ensure()
        await attend(self._runner, self._runner.question(plan.asked, self._deadline))
        return self._runner.results(plan.shown)[0]

    def run_check_sync(self, name: str) -> CheckResult:
        """
        Do what `run_check` does, from a thread without an event loop.

        Raises:
            UnknownCheckError: There is no check of this name.
            HealthDependencyError: It depends on itself, by whatever way, or on a check that there is not.
            HealthLoopError: An event loop runs on this thread, and would stand still.
        """
        plan = self._plan_of(name)
        self._refresher.ensure()
        attend_blocking(self._runner, self._runner.question(plan.asked, self._deadline))
        return self._runner.results(plan.shown)[0]

    def _report(self, group: str, slots: Iterable[Slot]) -> Report:
        checks = (*self._lifecycle.results(group), *self._runner.results(slots))
        return Report(self.service, self.version, group, checks, self.history() if group == FULL else ())
