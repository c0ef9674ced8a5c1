"""A database whose migrations by Alembic are those of the code."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitalsign.health._check import Check, Result, Status
from vitalsign.health.checks._clients import is_a, load
from vitalsign.health.checks._sqlalchemy import asker

if TYPE_CHECKING:
    import os

__all__ = ["alembic"]

_TTL = 30.0


def alembic(
    engine: object,
    scripts: str | os.PathLike[str] | object,
    *,
    version_table: str = "alembic_version",
    version_table_schema: str | None = None,
    timeout: float | None = None,
    ttl: float | None = _TTL,
    name: str = "migrations",
) -> Check:
    """
    Check that a database is at the head of its migrations by Alembic. Not critical unless told otherwise.

    It fails while the database is behind, and warns while it is ahead, as it is for what still runs of the old release
    in the middle of a deployment. The scripts are read once, when the check is made. Needs `vitalsign[alembic]`.

    Args:
        engine: `Engine` or `AsyncEngine` of SQLAlchemy.
        scripts: `alembic.config.Config`, the path of an `alembic.ini`, or the directory with `env.py` and `versions`.
        version_table: As `env.py` gives it to `context.configure`.
        version_table_schema: As `env.py` gives it to `context.configure`.
        timeout: Seconds for one run; None takes the checker's.
        ttl: Seconds that a passing result is served before the check runs again.
        name: Of the check.

    Raises:
        HealthCheckError: The engine is none.
        MissingExtraError: Alembic is not installed.
    """
    directory = _script_directory(scripts)
    heads = frozenset(directory.get_heads())
    known = frozenset(script.revision for script in directory.walk_revisions())
    options = {"version_table": version_table, "version_table_schema": version_table_schema}
    ask = asker(name, engine, partial(_look, heads, known, options))
    return Check(name, ask, critical=False, timeout=timeout, ttl=ttl, external=True, takes_timeout=True)


def _script_directory(scripts: Any) -> Any:
    configuration = load("alembic.config", "alembic", check="checks.alembic")
    library = load("alembic.script", "alembic", check="checks.alembic")
    if is_a(scripts, "alembic.config.Config"):
        return library.ScriptDirectory.from_config(scripts)
    if Path(scripts).is_dir():
        return library.ScriptDirectory(str(scripts))
    return library.ScriptDirectory.from_config(configuration.Config(str(scripts)))


def _look(heads: frozenset[str], known: frozenset[str], options: dict[str, Any], connection: Any) -> Result:
    from alembic.migration import MigrationContext

    current = set(MigrationContext.configure(connection, opts=options).get_current_heads())
    if current == heads:
        return Result(Status.PASS, "at head")
    if current - known:
        return Result(Status.WARN, f"ahead of this release, at {_listed(current)}")
    where = f"at {_listed(current)}" if current else "without any migration"
    return Result(Status.FAIL, f"{where}, not at head {_listed(heads)}")


def _listed(revisions: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(revisions))
