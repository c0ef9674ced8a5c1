"""
Shards: each thread's right to write cells of its own.

A shard outlives its thread: when a thread ends, its shard goes to a pool and the next new thread adopts it, with what
was counted under it. So there are as many shards as threads ever ran at once.
"""

from __future__ import annotations

import _thread
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading

    from vitalsign.metrics.storage import Storage

__all__ = ["LOCK", "Shard", "ThreadLocal"]


def _unpatched(name: str) -> Any:
    """Return the interpreter's own *name* of `_thread`, also where gevent has put a greenlet's in its place."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original("_thread", name) if monkey else getattr(_thread, name)


LOCK = _unpatched("RLock")()
"""
Guards what is rare: new children, first writes, gauges.

Re-entrant, because a signal handler may count while the main thread holds it. Nothing that blocks runs under it.
"""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)


class Shard:
    """A right to write cells, in one storage (None: in this process alone); otherwise an identity and no more."""

    __slots__ = ("storage",)

    def __init__(self, storage: Storage | None) -> None:
        self.storage: Storage | None = storage


class _Holder:
    """Hold a shard for one thread, and give it back when the thread's locals go."""

    __slots__ = ("pool", "shard")

    def __init__(self, pool: list[Shard], storage: Storage | None) -> None:
        self.pool: list[Shard] = pool
        try:
            self.shard: Shard = pool.pop()
        except IndexError:
            self.shard = Shard(storage)

    def __del__(self) -> None:
        self.pool.append(self.shard)


if TYPE_CHECKING:
    _Local = threading.local
else:
    _Local = _unpatched("_local")


class ThreadLocal(_Local):
    """Give each operating-system thread its shard at its first use."""

    shard: Shard

    def __init__(self, pool: list[Shard], storage: Storage | None) -> None:
        self.holder: _Holder = _Holder(pool, storage)
        self.shard = self.holder.shard
