"""Replication of a Redis server: who it is, and how far behind."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from vitalsign.exceptions import HealthCheckError
from vitalsign.health._check import Check, Result, Status, positive
from vitalsign.health.checks._redis_client import redis_check

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["redis_replication"]

_ROLES = ("master", "replica")


def redis_replication(
    client: object,
    *,
    role: Literal["master", "replica"] | None = None,
    min_replicas: int = 0,
    max_lag: float = 15.0,
    timeout: float | None = None,
    name: str = "redis-replication",
) -> Check:
    """
    Check that a Redis server replicates. Not critical unless told otherwise, for it is shared.

    A replica fails while its link to the master is down or silent. A master fails while it has too few replicas that
    keep up. The measured value is the lag in seconds: the replica's own, or that of the master's slowest replica.

    Args:
        client: `redis.Redis`, `redis.asyncio.Redis`, or a URL (needs `vitalsign[redis]`).
        role: What the server must be, `master` or `replica`; None for either. After a failover, a client that writes
            may be left with what has become a replica.
        min_replicas: Replicas that a master must have within *max_lag*.
        max_lag: Seconds since a replica was last heard of by its master, or the master by a replica. A master that has
            nothing to tell pings every `repl-ping-replica-period`, 10 s unless changed.
        timeout: Seconds for one run; None takes the checker's.
        name: Of the check.

    Raises:
        HealthCheckError: The client is none of these, or a setting makes no sense.
        MissingExtraError: A URL was given, and redis-py is not installed.
    """
    if role is not None and role not in _ROLES:
        raise HealthCheckError(f"{role!r} is no role for check {name!r}. Give 'master', 'replica' or None.")
    if not isinstance(min_replicas, int) or min_replicas < 0:
        raise HealthCheckError(f"min_replicas={min_replicas!r} of check {name!r} must be a whole number of 0 or more.")
    positive(f"max_lag of check {name!r}", max_lag)
    return redis_check(name, client, ("INFO", "replication"), partial(_judge, role, min_replicas, max_lag), timeout)


def _judge(role: str | None, min_replicas: int, max_lag: float, info: Mapping[str, Any]) -> Result:
    is_master = info["role"] == "master"
    if role is not None and is_master != (role == "master"):
        return Result(Status.FAIL, f"is a {_ROLES[not is_master]}, not a {role}")
    return _judge_master(min_replicas, max_lag, info) if is_master else _judge_replica(max_lag, info)


def _judge_replica(max_lag: float, info: Mapping[str, Any]) -> Result:
    if info["master_link_status"] != "up":
        return Result(Status.FAIL, "the link to the master is down")
    lag = int(info["master_last_io_seconds_ago"])
    if lag > max_lag:
        return Result(Status.FAIL, f"the master was last heard of {lag} s ago", lag, "seconds")
    return Result(Status.PASS, "the link to the master is up", lag, "seconds")


def _judge_master(min_replicas: int, max_lag: float, info: Mapping[str, Any]) -> Result:
    lags = [int(entry["lag"]) for entry in _replicas(info) if entry["state"] == "online"]
    in_time = sum(lag <= max_lag for lag in lags)
    message = f"{in_time} of {info['connected_slaves']} replicas keep up"
    slowest = max(lags, default=None)
    if in_time < min_replicas:
        return Result(Status.FAIL, f"{message}, fewer than {min_replicas}", slowest, "seconds")
    status = Status.PASS if in_time == int(info["connected_slaves"]) else Status.WARN
    return Result(status, message, slowest, "seconds")


def _replicas(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [info[f"slave{number}"] for number in range(int(info["connected_slaves"]))]
