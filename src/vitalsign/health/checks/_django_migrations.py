"""A database to which all migrations of a Django project have been applied."""

from __future__ import annotations

from functools import partial
from importlib import import_module

from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._breaking import breaking_off

__all__ = ["django_migrations"]

_TTL = 30.0


def django_migrations(
    database: str = "default", *, timeout: float | None = None, ttl: float | None = _TTL, name: str = "migrations"
) -> Check:
    """
    Check that no migration of a Django project waits to be applied. Not critical unless told otherwise.

    Django's connections belong to threads, so each run opens one for its own, and closes it; with Django's pool
    (`OPTIONS={"pool": True}`), that takes one from the pool. A database that is ahead of the code passes.

    Args:
        database: Its alias in `DATABASES`.
        timeout: Seconds for one run; None takes the checker's.
        ttl: Seconds that a passing result is served before the check runs again.
        name: Of the check.
    """
    look = partial(_look, database)
    return Check(name, look, critical=False, timeout=timeout, ttl=ttl, external=True, takes_timeout=True)


def _look(database: str, seconds: float) -> Result:
    connection = import_module("django.db").connections[database]
    try:
        connection.ensure_connection()
        with breaking_off(connection.connection, seconds):
            executor = import_module("django.db.migrations.executor").MigrationExecutor(connection)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    finally:
        connection.close()
    if plan:
        first = plan[0][0]
        noun = "migration is" if len(plan) == 1 else "migrations are"
        message = f"{len(plan)} {noun} not applied, from {first.app_label}.{first.name} on"
        return Result(Status.FAIL, message, len(plan), "migrations")
    return Result(Status.PASS, "all migrations are applied")
