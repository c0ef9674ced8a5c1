"""
Ready-made checks, each loaded when it is asked for.

Each function here returns a `Check` for `HealthChecker.add`. Those that look at this machine (disk, memory) are
critical; those that look at another service (tcp, http, databases, brokers) are not, for a dependency that all
instances share must not take all of them out of service at once. `add(..., critical=True)` says otherwise.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitalsign.health.checks._alembic import alembic
    from vitalsign.health.checks._disk import disk
    from vitalsign.health.checks._django_migrations import django_migrations
    from vitalsign.health.checks._http import http
    from vitalsign.health.checks._memory import memory
    from vitalsign.health.checks._postgres import postgres
    from vitalsign.health.checks._rabbitmq import rabbitmq
    from vitalsign.health.checks._rabbitmq_queue import rabbitmq_queue
    from vitalsign.health.checks._redis import redis
    from vitalsign.health.checks._redis_memory import redis_memory
    from vitalsign.health.checks._redis_replication import redis_replication
    from vitalsign.health.checks._sqlalchemy import sqlalchemy
    from vitalsign.health.checks._sqlite import sqlite
    from vitalsign.health.checks._tcp import tcp

__all__ = [
    "alembic",
    "disk",
    "django_migrations",
    "http",
    "memory",
    "postgres",
    "rabbitmq",
    "rabbitmq_queue",
    "redis",
    "redis_memory",
    "redis_replication",
    "sqlalchemy",
    "sqlite",
    "tcp",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; there are: {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}._{name}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
