"""What the tests of stores ask of a checker."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from typing import TYPE_CHECKING, cast

from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.servers import PATIENCE
from vitalsign.health import HealthChecker

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from vitalsign.health import Check, CheckResult

__all__ = ["ask", "ask_until", "shown_secrets", "until"]


async def ask(health: HealthChecker, check: Check | None = None) -> CheckResult:
    """Run the one check of *health*, which is *check* if it has none yet."""
    if check is not None:
        health.add(check)
    (result,) = (await health.run()).checks
    return result


async def ask_until(health: HealthChecker, status: str) -> CheckResult:
    """Run the one check of *health* until it has *status*: what a failed run has begun may take some time to end."""

    async def result_of_status() -> CheckResult | None:
        result = await ask(health)
        return result if result.status == status else None

    found = await until(result_of_status, f"a result with status {status!r}")
    return cast("CheckResult", found)


async def until(condition: Callable[[], object], what: str) -> object:
    """
    Call *condition* until it returns something true, or a coroutine that does, and return that.

    Raises:
        TimeoutError: It did not; the text says *what* was waited for.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        met = condition()
        if inspect.isawaitable(met):
            met = await met
        if met:
            return met
        await asyncio.sleep(0.02)
    raise TimeoutError(f"not within {PATIENCE} s: {what}")


def shown_secrets(check: Check, caplog: pytest.LogCaptureFixture, *secrets: str) -> set[str]:
    """
    Run *check*, which fails, and return where one of *secrets* is shown: report, page of metrics, endpoints, log.

    Raises:
        AssertionError: The check did not fail, or the log does not tell why.
    """
    registry = CollectorRegistry()
    health = HealthChecker("shop", timeout=30.0, deadline=20.0, registry=registry)
    health.add(check)
    report = health.run_sync()
    assert report.checks[0].status == "fail"
    assert f"Health check '{check.name}' of shop: fail" in caplog.text
    client = TestClient(Starlette(routes=list(health.routes(token="sesame"))))
    pages = [
        client.get(path, headers={"Authorization": "Bearer sesame", "Accept": accept}).text
        for path in ("/ready", "/health/full")
        for accept in ("application/json", "application/health+json")
    ]
    shown = {
        "report": repr(report) + json.dumps(report.to_dict()) + json.dumps(report.to_health_json()),
        "metrics": generate_latest(registry).decode(),
        "endpoint": "".join(pages),
        "repr of the check": repr(check),
        "log": caplog.text,
    }
    return {where for where, text in shown.items() if any(secret in text for secret in secrets)}
