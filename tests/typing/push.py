"""Types of what delivers a job's metrics; never run."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

from prometheus_client import CollectorRegistry

from vitalsign.push import (
    BatchJob,
    delete,
    push,
    push_on_exit,
    remote_write,
    remote_write_on_exit,
    textfile_on_exit,
    write_textfile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

GATEWAY = "http://pushgateway:9091"

with push_on_exit(GATEWAY, job="report", grouping={"shop": "north"}, token="t", headers={"A": "b"}) as run:
    assert_type(run, BatchJob)
    run.failed()


@push_on_exit(GATEWAY, job="report", method="POST", tls=ssl.create_default_context())
def report(rows: int, *, scale: float = 1.0) -> float:
    """Be a job."""
    return rows * scale


@textfile_on_exit(Path("report.prom"), job="report", registry=CollectorRegistry())
async def report_async(rows: int) -> str:
    """Be a job on an event loop."""
    return str(rows)


assert_type(report(3, scale=2.0), float)
wanted: Callable[[int], Coroutine[Any, Any, str]] = report_async


async def main() -> None:
    """Run a block on an event loop."""
    assert_type(await report_async(3), str)
    async with remote_write_on_exit(GATEWAY, job="report", labels={"shop": "north"}, basic_auth=("a", "b")):
        pass


push(GATEWAY, job="report", method="PUT", deadline=5.0)
push(GATEWAY, job="report", method="PATCH")  # type: ignore[arg-type]
push(GATEWAY, job="report", pasword="x")  # type: ignore[call-arg]
delete(GATEWAY, job="report", basic_auth=("user", "password"))
write_textfile("report.prom", labels={"shop": "north"})
remote_write(GATEWAY, job="report", timestamp=datetime.now(UTC), stale=True)
