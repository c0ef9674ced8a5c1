"""Tell the log when a check changes: not at every probe, and never with a password in it."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from vitalsign._redact import redact
from vitalsign.health._check import Status
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from vitalsign.health._check import Check, Result
    from vitalsign.health._runner import Outcome

__all__ = ["log_change"]

_log = logging.getLogger("vitalsign.health")
_LIMIT = 8_000


def log_change(
    service: str, check: Check, previous: Outcome | None, outcome: Outcome, error: BaseException | None
) -> None:
    """
    Log *outcome* if it is news. Never raises.

    Args:
        service: Whose check it is.
        check: What ran.
        previous: What was known before.
        outcome: What is known now.
        error: What the check raised.
    """
    try:
        if _kind(previous) == _kind(outcome):
            return
        if outcome.result.status is not Status.PASS:
            _log.warning(
                "Health check %r of %s: %s.%s",
                check.name,
                service,
                _summary(outcome.result),
                _redacted_traceback(error),
            )
        elif previous is not None:
            _log.info("Health check %r of %s passes again.", check.name, service)
    except Exception as failure:  # noqa: BLE001  # a log that cannot be written must not fail the check
        internal_error("health.log", failure)


def _kind(outcome: Outcome | None) -> tuple[Status, str] | None:
    return None if outcome is None else (outcome.result.status, outcome.error)


def _summary(result: Result) -> str:
    return f"{result.status.value} ({redact(result.message)})" if result.message else result.status.value


def _redacted_traceback(error: BaseException | None) -> str:
    if error is None:
        return ""
    return "\n" + redact("".join(traceback.format_exception(error))[-_LIMIT:].rstrip())
