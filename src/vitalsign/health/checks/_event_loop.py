"""An event loop that does not get round to what is due, seen from another thread."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import traceback
from collections import deque
from threading import Event, Lock, Thread, get_ident
from time import sleep
from typing import TYPE_CHECKING

from vitalsign._clock import monotonic
from vitalsign._redact import redact
from vitalsign.exceptions import HealthCheckError, HealthLoopError
from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._bounds import Bounds, in_seconds, positive_number
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["event_loop"]

_log = logging.getLogger("vitalsign.health")
_QUIET_SECONDS = 60.0
_LONGEST_STACK = 8_000  # characters


def event_loop(
    loop: asyncio.AbstractEventLoop | None = None,
    *,
    warn: float | None = 0.5,
    fail: float | None = 30.0,
    window: float = 10.0,
    interval: float = 0.5,
    log_stack: bool = True,
    name: str = "event_loop",
) -> Check:
    """
    Check how late an asyncio event loop runs what is due. Not critical unless told otherwise: busy is not dead.

    From the first run on, a daemon thread hands the loop a callback at each interval and notes how long it waits. It
    ends when the loop is closed. What blocks the loop for longer than *warn* is logged while it does, once a minute at
    most: the stack of the loop's thread, passwords redacted.

    An endpoint on the same loop answers no probe while that is stuck, so a failure is seen from elsewhere only: from
    `run_sync` on a thread, or an endpoint on another loop.

    Args:
        loop: The loop to watch; the running one if none is given.
        warn: Seconds that a callback has waited within the window, from which on it warns.
        fail: Seconds that the loop has not moved, up to now, from which on it fails. For liveness take far more than
            the longest pause that you know of: 30 or 60.
        window: Seconds that a late callback is remembered.
        interval: Seconds from one callback to the next.
        log_stack: Whether to log where the loop is stuck.
        name: Of the check.

    Raises:
        HealthLoopError: No loop is given and none is running.
        HealthCheckError: A value makes no sense.
    """
    bounds = Bounds.of(name, warn=warn, fail=fail)
    watch = _Watch(
        name,
        _running_loop(name) if loop is None else _event_loop(name, loop),
        bounds,
        window=positive_number(name, "window", window),
        interval=positive_number(name, "interval", interval),
        log_stack=log_stack,
    )
    return Check(name, watch, critical=False, external=False, takes_timeout=True)


class _Ping:
    """A callback on its way through the loop."""

    def __init__(self) -> None:
        self.sent = monotonic()
        self.lag = 0.0
        self.thread = 0
        self.answered = Event()

    def answer(self) -> None:
        self.lag = monotonic() - self.sent
        self.thread = get_ident()
        self.answered.set()

    def stuck(self) -> float:
        """Return for how long it has waited; 0 if it waits no more."""
        return 0.0 if self.answered.is_set() else monotonic() - self.sent


class _Watch:
    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        bounds: Bounds,
        *,
        window: float,
        interval: float,
        log_stack: bool,
    ) -> None:
        self._name = name
        self._loop = loop
        self._bounds = bounds
        self._window = window
        self._interval = interval
        self._stack_after = next((bound for bound in (bounds.warn, bounds.fail) if bound is not None), None)
        if not log_stack:
            self._stack_after = None
        self._thread_of_loop = getattr(loop, "_thread_id", None)  # until a callback tells for certain
        self._logged_at: float | None = None
        self._begin()

    def __call__(self, timeout: float) -> Result:
        if self._loop.is_closed():
            return Result(Status.FAIL, "the event loop is closed")
        self._ensure_watched()
        self._first.answered.wait(timeout / 2)
        stuck = self._latest.stuck()
        if self._bounds.status(stuck) is Status.FAIL:
            return Result(Status.FAIL, f"the event loop has not moved for {in_seconds(stuck)}", stuck, "seconds")
        peak = max([stuck, *self._remembered()])
        if self._bounds.status(peak) is not Status.PASS:
            told = f"a callback waited {in_seconds(peak)} within the last {self._window:g} s"
            return Result(Status.WARN, told, peak, "seconds")
        return Result(Status.PASS, "", peak, "seconds")

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._is_watched = False
        self._first = self._latest = _Ping()
        self._lags: deque[tuple[float, float]] = deque()

    def _ensure_watched(self) -> None:
        if self._pid != os.getpid():
            self._begin()  # a forked child does not have the thread, and perhaps not the one that held the lock
        with self._lock:
            if not self._is_watched:
                self._is_watched = True
                self._first = self._latest = _Ping()
                Thread(target=self._watch, name=f"vitalsign-{self._name}-watch", daemon=True).start()

    def _watch(self) -> None:
        ping = self._first
        try:
            while self._send(ping):
                self._follow(ping)
                sleep(self._interval)
                self._latest = ping = _Ping()
        except Exception as error:  # noqa: BLE001  # nobody is above this thread
            internal_error("health.event_loop", error)
        finally:
            self._is_watched = False

    def _send(self, ping: _Ping) -> bool:
        try:
            self._loop.call_soon_threadsafe(ping.answer)
        except RuntimeError:  # it is closed
            return False
        return True

    def _follow(self, ping: _Ping) -> None:
        """Wait until *ping* is answered, or the loop is closed, and note what there is to note."""
        if self._stack_after is not None and not ping.answered.wait(self._stack_after):
            self._log_stack(ping)
        while not ping.answered.wait(self._interval):
            if self._loop.is_closed():
                return
        now = monotonic()
        self._thread_of_loop = ping.thread
        self._lags.append((now, ping.lag))
        while now - self._lags[0][0] > self._window:
            self._lags.popleft()

    def _remembered(self) -> Iterable[float]:
        oldest = monotonic() - self._window
        return [lag for at, lag in list(self._lags) if at >= oldest]

    def _log_stack(self, ping: _Ping) -> None:
        if self._logged_at is not None and monotonic() - self._logged_at < _QUIET_SECONDS:
            return
        self._logged_at = monotonic()
        frame = sys._current_frames().get(self._thread_of_loop or 0)
        stack = "".join(traceback.format_stack(frame)) if frame else "a thread that is not known"
        _log.warning(
            "The event loop of health check %r has not moved for %s. It is in:\n%s",
            self._name,
            in_seconds(monotonic() - ping.sent),
            redact(stack[-_LONGEST_STACK:].rstrip()),
        )


def _event_loop(name: str, loop: object) -> asyncio.AbstractEventLoop:
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop
    raise HealthCheckError(f"Check {name!r} cannot watch {loop!r}, which is no event loop of asyncio.")


def _running_loop(name: str) -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise HealthLoopError(
            f"Check {name!r} has no event loop to watch, for none is running here. Make it inside a coroutine, such as "
            "the application's lifespan, or give it loop=."
        ) from None
