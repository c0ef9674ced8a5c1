"""Checks of servers that keep data, as far as no server is needed: what they take, refuse, and do not show."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio

from vitalsign.exceptions import HealthCheckError
from vitalsign.health import checks

if TYPE_CHECKING:
    from collections.abc import Callable

    from vitalsign.health import Check

SECRET = "hunter2"

FACTORIES: dict[str, Callable[..., Check]] = {
    "postgres": checks.postgres,
    "redis": checks.redis,
    "redis_memory": checks.redis_memory,
    "redis_replication": checks.redis_replication,
}


class Client:
    """A client of a library that nobody knows."""

    def __repr__(self) -> str:
        return f"<Client password={SECRET}>"


@pytest.mark.parametrize("name", FACTORIES)
def test_unknown_client_is_refused_in_words_that_say_what_to_give(name: str) -> None:
    """A client of another kind is an error that names its class, what would do, and nothing of its text."""
    with pytest.raises(HealthCheckError, match=rf"cannot use a {re.escape(__name__)}\.Client\. Give a") as caught:
        FACTORIES[name](Client())
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("text", ["", "://", "mysql://{}@host", "{}", "postgresql+asyncpg://u:{}@host/db", "redis:{}"])
def test_text_that_is_no_url_is_refused_without_repeating_it(name: str, text: str) -> None:
    """A text with another scheme, or none, is an error that shows the right one, and not the password in it."""
    with pytest.raises(HealthCheckError, match=r"is no URL that begins with '\w+://'\. Give .* URL such as") as caught:
        FACTORIES[name](text.format(SECRET))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "client", [redis.Redis(), redis.asyncio.Redis(), "redis://h:6379/0", "rediss://h", "unix:///run/redis.sock"]
)
def test_clients_and_urls_are_taken_without_connecting(client: Any) -> None:
    """A check can be made before its server is there; it is external, not critical, and named as it is told."""
    for factory in (checks.redis, checks.redis_memory, checks.redis_replication):
        check = factory(client, name="sessions", timeout=0.25)
        assert (check.name, check.critical, check.is_external, check.timeout) == ("sessions", False, True, 0.25)


def test_subclass_of_a_client_is_taken() -> None:
    """A client class of the host's own, derived from the library's, is known too."""
    own = type("Own", (redis.Redis,), {})
    assert not checks.redis(own()).is_coroutine


def test_no_check_shows_its_client() -> None:
    """A check that is printed shows neither URL nor client."""
    shown = [checks.postgres(f"postgresql://u:{SECRET}@h/d"), checks.redis(f"redis://:{SECRET}@h")]
    assert SECRET not in repr(shown)


def test_missing_library_is_told_with_the_extra_that_brings_it() -> None:
    """A URL needs a library of ours; where it is not installed, the error names the pip command."""
    program = """if True:
        import sys
        from vitalsign.exceptions import MissingExtraError
        from vitalsign.health import checks
        sys.modules.update({"asyncpg": None, "redis": None, "redis.asyncio": None})
        for url, extra in (("postgresql://h/d", "postgres"), ("redis://h", "redis")):
            try:
                getattr(checks, extra)(url)
            except MissingExtraError as error:
                assert f'pip install "vitalsign[{extra}]"' in str(error), error
            else:
                raise AssertionError(extra)
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_client_of_the_hosts_needs_no_import() -> None:
    """Making a check imports no library: while the host has not imported it, no client can be of it."""
    program = """if True:
        import sys
        from vitalsign.health import checks
        for factory in (checks.postgres, checks.redis):
            try:
                factory(object())
            except ValueError:
                pass
        libraries = {"asyncpg", "psycopg", "psycopg_pool", "redis", "sqlalchemy", "aio_pika", "pika"}
        assert libraries.isdisjoint(sys.modules), libraries & sys.modules.keys()
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"role": "slave"}, r"'slave' is no role for check 'redis-replication'\. Give 'master', 'replica' or None"),
        ({"min_replicas": -1}, r"min_replicas=-1 of check 'redis-replication' must be a whole number of 0 or more"),
        ({"min_replicas": 0.5}, "must be a whole number"),
        ({"max_lag": 0}, "max_lag of check 'redis-replication' is 0; it must be a finite number of seconds above 0"),
    ],
)
def test_replication_that_makes_no_sense_is_refused(settings: dict[str, Any], complaint: str) -> None:
    """A setting out of range is an error when the check is made."""
    with pytest.raises(HealthCheckError, match=complaint):
        checks.redis_replication(redis.Redis(), **settings)


def test_memory_bound_that_is_no_size_is_refused() -> None:
    """A bound that is no size is an error that names the setting."""
    with pytest.raises(HealthCheckError, match="warn_used='lots' is no size"):
        checks.redis_memory(redis.Redis(), warn_used="lots")
