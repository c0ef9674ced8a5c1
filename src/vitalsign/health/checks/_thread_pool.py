"""Threads that are all busy, and calls that wait for one."""

from __future__ import annotations

import concurrent.futures.thread
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from vitalsign.exceptions import HealthCheckError, HealthLoopError
from vitalsign.health._check import Check, Result
from vitalsign.health.checks._bounds import Bounds, worst

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio import CapacityLimiter

__all__ = ["thread_pool"]


def thread_pool(
    pool: ThreadPoolExecutor | CapacityLimiter | None = None,
    *,
    warn_busy: float | None = None,
    fail_busy: float | None = None,
    warn_waiting: int | None = 1,
    fail_waiting: int | None = None,
    name: str = "thread_pool",
) -> Check:
    """
    Check that a pool has threads to spare. Not critical unless told otherwise: a full pool is busy, not dead.

    Args:
        pool: A ThreadPoolExecutor; or a limiter of anyio, on whose threads Starlette and FastAPI run what is no
            coroutine function. None takes the limiter of the running event loop
            (`anyio.to_thread.current_default_thread_limiter()`).
        warn_busy: Share of the threads that are busy, from which on it warns.
        fail_busy: Share from which on it fails.
        warn_waiting: Calls that wait for a thread, from which on it warns.
        fail_waiting: Calls from which on it fails.
        name: Of the check.

    Raises:
        HealthLoopError: No pool is given and no event loop is running.
        HealthCheckError: It is no such pool, or a bound makes no sense.
    """
    busy = Bounds.of(name, most=1.0, warn_busy=warn_busy, fail_busy=fail_busy)
    waiting = Bounds.of(name, warn_waiting=warn_waiting, fail_waiting=fail_waiting)
    load = _load_of(_default_limiter(name) if pool is None else pool, name)
    return Check(name, partial(_look, load, busy, waiting), critical=False, external=False)


class _Load(NamedTuple):
    busy: int
    limit: float
    waiting: int


def _look(load: Callable[[], _Load], busy: Bounds, waiting: Bounds) -> Result:
    now = load()
    message = f"{now.busy} of {now.limit:g} threads busy, {now.waiting} waiting"
    return worst(
        [
            Result(waiting.status(now.waiting), message, now.waiting, "calls"),
            Result(busy.status(now.busy / now.limit if now.limit else 1.0), message, now.busy, "threads"),
        ]
    )


def _load_of(pool: object, name: str) -> Callable[[], _Load]:
    if isinstance(pool, ThreadPoolExecutor):
        return partial(_load_of_executor, pool)
    if hasattr(pool, "statistics") and hasattr(pool, "total_tokens"):
        return partial(_load_of_limiter, pool)  # type: ignore[arg-type]
    raise HealthCheckError(
        f"Check {name!r} cannot look into {pool!r}. Give a ThreadPoolExecutor, or a CapacityLimiter of anyio."
    )


def _load_of_executor(pool: ThreadPoolExecutor) -> _Load:
    if pool._shutdown:
        raise RuntimeError("the pool was shut down, so that it takes no more calls")
    # The pool tells nothing about itself, so its private attributes must do. Its own count of idle threads is wrong
    # on Python 3.11 once calls have waited; where each thread is right now is not.
    frames = sys._current_frames()
    waits = concurrent.futures.thread._worker.__code__
    threads = [frames.get(thread.ident or 0) for thread in list(pool._threads)]
    busy = sum(frame is not None and frame.f_code is not waits for frame in threads)
    return _Load(busy, pool._max_workers, pool._work_queue.qsize())


def _load_of_limiter(limiter: CapacityLimiter) -> _Load:
    now = limiter.statistics()
    return _Load(now.borrowed_tokens, now.total_tokens, now.tasks_waiting)


def _default_limiter(name: str) -> CapacityLimiter:
    from anyio import to_thread

    try:
        return to_thread.current_default_thread_limiter()
    except RuntimeError:
        raise HealthLoopError(
            f"Check {name!r} has no pool to look at, for no event loop is running here. Make it inside a coroutine, "
            "such as the application's lifespan, or give it pool=."
        ) from None
