"""`checks.django_migrations` in a Django project on a real PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.health.stores.conftest import SECRET
from tests.processes import run_script

if TYPE_CHECKING:
    from tests.integration.health.stores.conftest import Postgres

pytestmark = pytest.mark.integration

PROJECT = """
import sys
import time
import django
from django.conf import settings
from django.core.management import call_command
from vitalsign.health import HealthChecker, checks

port, password, *targets = sys.argv[1:]
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes"],
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "shop", "PASSWORD": password,
        "HOST": "127.0.0.1", "PORT": port, "OPTIONS": {"application_name": "project"},
    }},
)
django.setup()
from django.db import connection

health = HealthChecker("shop", timeout=30, deadline=20, ttl=0, registry=None)
health.add(checks.django_migrations(ttl=0))
def ask():
    (result,) = health.run_sync().checks
    print(result.status, result.critical, result.message)

ask()
for target in targets:
    call_command("migrate", "contenttypes", target, verbosity=0)
    ask()
if targets:
    sessions = "select count(*) from pg_stat_activity where application_name = 'project'"
    with connection.cursor() as cursor:
        while cursor.execute(sessions).fetchone() != (1,):  # this one; the server notices the end of others in its time
            time.sleep(0.02)
"""


def test_migrations_that_wait_fail(postgres: Postgres) -> None:
    """The check fails while migrations wait, says how many and from which on, and leaves no connection open."""
    printed = run_script(PROJECT, str(postgres.port), SECRET, "0001", "0002", "zero").splitlines()
    assert printed[:4] == [
        "fail False 2 migrations are not applied, from contenttypes.0001_initial on",
        "fail False 1 migration is not applied, from contenttypes.0002_remove_content_type_name on",
        "pass False all migrations are applied",
        "fail False 2 migrations are not applied, from contenttypes.0001_initial on",
    ]


def test_refused_credentials_fail(postgres: Postgres) -> None:
    """A database that refuses the project fails the check, without its password."""
    printed = run_script(PROJECT, str(postgres.port), "swordfish")
    assert "fail False raised OperationalError" in printed
    assert "swordfish" not in printed
