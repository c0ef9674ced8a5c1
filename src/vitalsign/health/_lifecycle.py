"""When a service has started, and when it drains: what its checks cannot know. No server and no signal in it."""

from __future__ import annotations

import _thread
from contextlib import contextmanager, suppress
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING

from vitalsign import _clock
from vitalsign.exceptions import HealthLoopError
from vitalsign.health._carriers import required_loop, running_loop
from vitalsign.health._check import FULL, READINESS, STARTUP, Status
from vitalsign.health._report import CheckResult

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ["Drain", "Lifecycle"]


class Lifecycle:
    """
    Where a service stands between its start and its end.

    A signal handler may call any of this at any moment, so that no lock is ever waited for.

    Attributes:
        has_started: Whether the host has said so.
        is_cut_short: Whether the server stops now, however long the service was to drain.
        born: When the checker was made, in seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = _clock.monotonic) -> None:
        self.has_started: bool = False
        self.is_cut_short: bool = False
        self.born: float = _clock.wall()
        self.clock = clock
        self._born = clock()
        self._draining_since: float | None = None
        self._bells: set[Callable[[], object]] = set()

    @property
    def uptime(self) -> float:
        """Seconds since the checker was made."""
        return self.clock() - self._born

    @property
    def is_draining(self) -> bool:
        """Whether readiness fails, whatever the checks find."""
        return self._draining_since is not None

    def drain(self, seconds: float) -> Drain:
        """Begin to drain, unless that has begun already: what has passed since then counts."""
        if self._draining_since is None:
            self._draining_since = self.clock()
        return Drain(self, self._draining_since + seconds)

    def cut_short(self) -> None:
        """End all waiting: the server stops, and must not wait for those who wait for it."""
        self.is_cut_short = True
        for ring in list(self._bells):
            ring()

    @contextmanager
    def ringing(self, ring: Callable[[], object]) -> Iterator[None]:
        """Have *ring* called when waiting is cut short, for the length of the block."""
        self._bells.add(ring)
        try:
            if self.is_cut_short:
                ring()
            yield
        finally:
            self._bells.discard(ring)

    def results(self, group: str) -> list[CheckResult]:
        """Return what a report on *group* has to say before all checks."""
        found = []
        if group == STARTUP and not self.has_started:
            found.append(CheckResult("started", Status.FAIL, message="health.started() has not been called yet"))
        if group in (READINESS, FULL) and self.is_draining:
            found.append(CheckResult("draining", Status.FAIL, message="the service drains, it will stop"))
        return found


class Drain:
    """
    The time for which a service drains: `await` it, or `wait()` for it on a thread.

    Made by `HealthChecker.drain()`. Readiness fails already, and will to the end of the process.
    """

    def __init__(self, lifecycle: Lifecycle, until: float) -> None:
        self._lifecycle = lifecycle
        self._until = until

    @property
    def seconds_left(self) -> float:
        """Seconds until it is over; 0 once it is, or once the server stops."""
        return 0.0 if self._lifecycle.is_cut_short else max(0.0, self._until - self._lifecycle.clock())

    def wait(self) -> None:
        """
        Wait until it is over.

        Raises:
            HealthLoopError: An event loop runs on this thread, and would stand still.
        """
        if running_loop() is not None:
            raise HealthLoopError(
                "health.drain(...).wait() was called on a thread that runs an event loop: the loop would stand still, "
                "and no request be served. Write 'await health.drain(...)'."
            )
        bell = _thread.allocate_lock()
        bell.acquire()

        def ring() -> None:
            with suppress(RuntimeError):  # it has rung already
                bell.release()

        with self._lifecycle.ringing(ring):
            bell.acquire(timeout=min(self.seconds_left, TIMEOUT_MAX))

    def __await__(self) -> Generator[object, None, None]:
        """Wait until it is over, while the event loop goes on."""
        return self._wait().__await__()

    async def _wait(self) -> None:
        loop = required_loop()
        with self._lifecycle.ringing(loop.ring):
            await loop.wait(self.seconds_left)
