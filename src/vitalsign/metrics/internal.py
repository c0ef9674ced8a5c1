"""What goes wrong inside vitalsign: logged once, counted always, never raised into the host."""

from __future__ import annotations

import _thread
import logging
import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from vitalsign.metrics.catalogue import class_name, spec_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import CollectorRegistry

    from vitalsign.metrics.exemplars import Refusal
    from vitalsign.metrics.family import Family
    from vitalsign.metrics.instruments import Counter

__all__ = ["collecting", "count_dropped_exemplar", "count_overflow", "internal_error", "internal_error_later"]

_log = logging.getLogger("vitalsign")
_REFUSALS: Mapping[Refusal, str] = {
    "label_name": "a label name is empty, reserved, or such as prometheus_client's legacy validation refuses",
    "not_text": "it does not map strings to strings",
    "too_long": "its label names and values have more than 128 characters",
}
_reported: set[str] = set()
_MOST_REPORTED = 1_000  # places; more than that are no places but something that varies
_LONGEST_PLACE = 100  # characters
_waiting: deque[tuple[str, BaseException]] = deque()
_reporting = _thread.allocate_lock()


def internal_error(where: str, error: BaseException) -> None:
    """
    Log *error* the first time that something fails at this place, and count it each time.

    Args:
        where: The place, one of few: it becomes the label of `vitalsign_internal_errors_total`.
        error: What went wrong.
    """
    with suppress(Exception):
        _counter().labels(where).inc()
    with suppress(Exception):
        if where not in _reported and len(_reported) < _MOST_REPORTED:
            _reported.add(where)
            _log.error(
                "vitalsign failed in %s; the application goes on. Further failures there are only counted, "
                "in vitalsign_internal_errors_total.", where, exc_info=error,
            )  # fmt: skip


def collecting(collector: object) -> str:
    """Return the place of an error in *collector*: its class, or the metric if it is one of ours."""
    spec = spec_of(collector)
    return f"collect of {spec.name if spec else class_name(collector)}"[:_LONGEST_PLACE]


def internal_error_later(where: str, error: BaseException) -> None:
    """
    Do the same on another thread, for those who hold a lock: log handlers have locks of their own, and metrics too.

    Args:
        where: The place, as above.
        error: What went wrong.
    """
    _waiting.append((where, error))
    if _reporting.acquire(False):
        try:
            _thread.start_new_thread(_report, ())
        except RuntimeError:  # there are no more threads to be had, as at the interpreter's end
            _reporting.release()


def _report() -> None:
    while True:
        with suppress(IndexError):
            while True:
                internal_error(*_waiting.popleft())
        _reporting.release()
        if not _waiting or not _reporting.acquire(False):
            return


def _forget_thread() -> None:
    """Begin anew in a forked child, which does not have the thread."""
    global _reporting  # a lock that another thread has cannot be released
    _waiting.clear()
    _reporting = _thread.allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_thread)


def _counter() -> Counter:
    from vitalsign.metrics.instruments import OWN_MAX_SERIES, Counter  # the instruments report here too

    return Counter(
        "vitalsign_internal_errors",
        "Failures inside vitalsign that were kept from the application.",
        ["where"],
        max_series=OWN_MAX_SERIES,
    )


def count_overflow(family: Family) -> None:
    """Count, on the family's own registry, that a label set past its `max_series` went to the overflow series."""
    from vitalsign.metrics.instruments import Counter  # the instruments report here too

    if family.registry is None:
        return
    try:
        overflows = Counter(
            "vitalsign_series_overflow",
            "Uses of label sets past a metric's max_series, which went to its __overflow__ series.",
            ["metric"],
            registry=family.registry,
        )
        overflows.labels(family.spec.name).inc()
    except Exception as error:  # noqa: BLE001  # the host may hold the name; it only asked for a label set
        internal_error("series overflow", error)


def count_dropped_exemplar(family: Family, labels: object, reason: Refusal) -> None:
    """
    Count, on the family's own registry, an exemplar that no page can show; log the first one for each reason.

    Args:
        family: Of the metric that was counted, which is not undone.
        labels: As they were given.
        reason: Why it is dropped.
    """
    with suppress(Exception):
        if family.registry is not None:
            _exemplars_dropped(family.registry).labels(reason).inc()
    with suppress(Exception):
        if f"exemplar, {reason}" not in _reported:
            _reported.add(f"exemplar, {reason}")
            _log.warning(
                "An exemplar of %s is dropped, since %s: %.200r. What it came with is counted. Further ones are only "
                "counted, in vitalsign_exemplars_dropped_total.", family.spec.name, _REFUSALS[reason], labels,
            )  # fmt: skip


def _exemplars_dropped(registry: CollectorRegistry) -> Counter:
    from vitalsign.metrics.instruments import OWN_MAX_SERIES, Counter  # as above

    return Counter(
        "vitalsign_exemplars_dropped",
        "Exemplars that no page can show; what they came with is counted.",
        ["reason"],
        registry=registry,
        max_series=OWN_MAX_SERIES,
    )
