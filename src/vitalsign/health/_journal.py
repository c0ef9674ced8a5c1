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
    from vitalsign.health._slots import Outcome, Skip, Slot

__all__ = ["log_run", "log_skip", "redacted_traceback"]

_log = logging.getLogger("vitalsign.health")
_LIMIT = 8_000


def log_run(
    service: str,
    slot: Slot,
    state: Status,
    outcome: Outcome,
    previous: tuple[Status, Outcome | None],
    error: BaseException | None,
    *,
    is_change: bool,
) -> None:
    """
    Log a run if it is news. Never raises.

    Args:
        service: Whose check it is.
        slot: What ran.
        state: What the check counts as now.
        outcome: How the run ended.
        previous: State and outcome before.
        error: What the check raised.
        is_change: Whether the state is another than before.
    """
    try:
        name, found = slot.check.name, outcome.result
        if (state, *_kind(outcome)) == (previous[0], *_kind(previous[1])):
            return
        if found.status is Status.PASS:
            if state is Status.PASS and (is_change or previous[1] is not None):
                _log.info("Health check %r of %s passes again.", name, service)
        elif found.status is state:
            _log.warning("Health check %r of %s: %s.%s", name, service, _summary(found), redacted_traceback(error))
        else:
            _log.info(
                "Health check %r of %s: %s, which does not count yet: its state is %s.%s",
                name, service, _summary(found), state.value, redacted_traceback(error),
            )  # fmt: skip
    except Exception as failure:  # noqa: BLE001  # a log that cannot be written must not fail the check
        internal_error("health.log", failure)


def log_skip(service: str, check: Check, skip: Skip) -> None:
    """Log that *check* is not run any more. Never raises."""
    try:
        _log.info("Health check %r of %s is %s.", check.name, service, skip.message)
    except Exception as failure:  # noqa: BLE001  # as above
        internal_error("health.log", failure)


def redacted_traceback(error: BaseException | None) -> str:
    """Return the traceback on lines of its own, without credentials and of bounded length; nothing without an error."""
    if error is None:
        return ""
    return "\n" + redact("".join(traceback.format_exception(error))[-_LIMIT:].rstrip())


def _kind(outcome: Outcome | None) -> tuple[Status | None, str]:
    return (None, "") if outcome is None else (outcome.result.status, outcome.error)


def _summary(result: Result) -> str:
    return f"{result.status.value} ({redact(result.message)})" if result.message else result.status.value
