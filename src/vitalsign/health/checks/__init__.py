"""
Ready-made checks, each loaded when it is asked for.

Each function here returns a `Check` for `HealthChecker.add`. Those that look at what is this process's own (disk,
memory, descriptors, a worker) are critical; those that look at another service (a database, a broker, an API) are not,
for a dependency that all instances share must not take all of them out of service at once, and those that find a
process busy (processor, event loop, threads) are not either, for busy is not dead. `add(..., critical=True)` says
otherwise.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitalsign.health.checks._alembic import alembic
    from vitalsign.health.checks._disk import disk
    from vitalsign.health.checks._django_migrations import django_migrations
    from vitalsign.health.checks._dns import dns
    from vitalsign.health.checks._event_loop import event_loop
    from vitalsign.health.checks._heartbeat import Heartbeat, heartbeat
    from vitalsign.health.checks._http import http
    from vitalsign.health.checks._memory import memory
    from vitalsign.health.checks._open_files import open_files
    from vitalsign.health.checks._postgres import postgres
    from vitalsign.health.checks._process_cpu import process_cpu
    from vitalsign.health.checks._queue import queue
    from vitalsign.health.checks._rabbitmq import rabbitmq
    from vitalsign.health.checks._rabbitmq_queue import rabbitmq_queue
    from vitalsign.health.checks._redis import redis
    from vitalsign.health.checks._redis_memory import redis_memory
    from vitalsign.health.checks._redis_replication import redis_replication
    from vitalsign.health.checks._remote_api import remote_api
    from vitalsign.health.checks._service import service
    from vitalsign.health.checks._sqlalchemy import sqlalchemy
    from vitalsign.health.checks._sqlite import sqlite
    from vitalsign.health.checks._tcp import tcp
    from vitalsign.health.checks._thread_pool import thread_pool
    from vitalsign.health.checks._tls import tls

__all__ = [
    "Heartbeat",
    "alembic",
    "disk",
    "django_migrations",
    "dns",
    "event_loop",
    "heartbeat",
    "http",
    "memory",
    "open_files",
    "postgres",
    "process_cpu",
    "queue",
    "rabbitmq",
    "rabbitmq_queue",
    "redis",
    "redis_memory",
    "redis_replication",
    "remote_api",
    "service",
    "sqlalchemy",
    "sqlite",
    "tcp",
    "thread_pool",
    "tls",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; there are: {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}._{name.lower()}"), name)  # a class stands beside its function


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
