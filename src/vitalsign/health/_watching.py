"""The part of a health checker that works unasked: background refresh, history, listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from vitalsign._clock import monotonic
from vitalsign.exceptions import HealthCheckError
from vitalsign.health._mailbox import Mailbox
from vitalsign.health._webhook import Webhook

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from vitalsign.health._changes import Change
    from vitalsign.health._metrics import HealthMetrics
    from vitalsign.health._refresh import Refresher
    from vitalsign.health._runner import Runner

__all__ = ["Watching"]

_F = TypeVar("_F", bound="Callable[[Change], object]")


class Watching:
    """Refresh in the background, and tell of changes."""

    def __init__(self, runner: Runner, metrics: HealthMetrics, refresher: Refresher) -> None:
        self._runner = runner
        self._metrics = metrics
        self._refresher = refresher

    def start(self) -> None:
        """
        Refresh results in the background from now on, on a daemon thread, so that callers need not wait for checks.

        Each result is renewed once it is as old as `refresh`, or its own lifetime if that is longer; one that did not
        pass after its `failure_ttl`, if it has one. A forked child goes on when it is first asked. Coroutine checks
        run on event loops of their own: if they use what belongs to your application's loop, take `refreshing()`.

        Raises:
            HealthDependencyError: The checks depend on each other in a circle, or on one that there is not.
        """
        self._refresher.start()

    def stop(self, *, timeout: float = 2.0) -> None:
        """
        End what `start` began, and wait until listeners have been told what has changed until now.

        Args:
            timeout: Seconds to wait for listeners at most.
        """
        self._refresher.stop()
        self._runner.changes.flush(monotonic() + timeout)

    def refreshing(self, _app: object = None) -> AbstractAsyncContextManager[None]:
        """
        Refresh results in the background on the event loop that runs here, as `start` does on a thread.

        ```python
        app = Starlette(lifespan=health.refreshing)
        ```

        Or, within a lifespan of your own, `async with health.refreshing(): ...`. Coroutine checks run on this loop, and
        those under way are cancelled at the end: put what they use around it. For asyncio and trio.

        Raises:
            HealthLoopError: No such event loop runs here.
            HealthDependencyError: The checks depend on each other in a circle, or on one that there is not.
        """
        return self._refresher.on_this_loop()

    def history(self) -> tuple[Change, ...]:
        """Return the last changes of state, the newest first: as many as `HealthChecker(history=...)` says."""
        return self._runner.changes.last()

    def on_change(self, listener: _F) -> _F:
        """
        Call *listener* with each `Change` of a check's state; as a decorator, too.

        It is called on a daemon thread of its own, one change after the other; a coroutine function runs there on an
        event loop of its own. No check and no endpoint ever waits for it. What it raises is logged and counted in
        `service_health_notifications_total`, as is what it misses: 100 changes wait for it at most, then the oldest
        is dropped.

        Args:
            listener: A function of one argument.

        Returns:
            The listener itself.
        """
        self._listen(_name_of(listener), listener)
        return listener

    def publish_to(
        self,
        url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
        attempts: int = 3,
        context: ssl.SSLContext | None = None,
        name: str = "webhook",
    ) -> None:
        """
        Post each `Change` of a check's state to *url*, as JSON (`Change.to_dict`), on a daemon thread.

        It goes through the proxies of the environment, and follows no redirect. A server that does not answer, or
        answers 408, 429 or 5xx, is asked again; what it has not taken then is logged and counted as for `on_change`.

        Args:
            url: With http or https, without credentials. Only its scheme and host are ever logged.
            token: Sent as `Authorization: Bearer ...`.
            headers: Further headers.
            timeout: Seconds that each wait for the network may take.
            attempts: How often a change is sent at most.
            context: For TLS; None verifies as a browser would.
            name: Of the listener, in the log and as label `listener`.

        Raises:
            HealthCheckError: The URL is none, or another value makes no sense.
        """
        webhook = Webhook(url, token=token, headers=headers, timeout=timeout, attempts=attempts, context=context)
        self._listen(name, webhook)

    def _listen(self, name: str, listener: Callable[[Change], object]) -> None:
        if not callable(listener):
            raise HealthCheckError(f"A listener to changes of health must be callable, not {listener!r}.")
        self._runner.changes.subscribe(Mailbox(name, listener, self._metrics.count_notice))


def _name_of(listener: object) -> str:
    return str(getattr(listener, "__name__", type(listener).__name__))
