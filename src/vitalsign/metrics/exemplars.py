"""Exemplars: which labels a page can show, and which trace the present moment belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from prometheus_client.validation import get_legacy_validation

from vitalsign._trace import current_trace, may_be_known
from vitalsign.metrics.catalogue import is_classic_label
from vitalsign.metrics.internal import internal_error

__all__ = ["Lookout", "Refusal", "allow_traces", "refusal", "trace_labels", "traces_may_come"]

Refusal = Literal["not_text", "label_name", "too_long"]

_CHARACTERS = 128  # OpenMetrics 1.0, "Exemplars": of names and values together, in code points
_WRITES_UNTRACED = 5
_WRITES = 20

_is_allowed = True
_is_reporting = False
_writes = _WRITES_UNTRACED


def refusal(labels: Any) -> Refusal | None:
    """Say why no page can show an exemplar with these labels; None if one can."""
    if not isinstance(labels, Mapping) or not all(isinstance(text, str) for pair in labels.items() for text in pair):
        return "not_text"
    is_legacy = get_legacy_validation()
    if any(not name or name.startswith("__") or (is_legacy and not is_classic_label(name)) for name in labels):
        return "label_name"
    if sum(len(name) + len(text) for name, text in labels.items()) > _CHARACTERS:
        return "too_long"
    return None


def allow_traces(is_allowed: bool) -> None:
    """Say whether what is counted within a sampled trace may bear its ids."""
    global _is_allowed  # one for the process
    _is_allowed = is_allowed


def traces_may_come() -> bool:
    """Tell whether there is anything in this process from which a trace can be known."""
    return _is_allowed and may_be_known()


def trace_labels() -> dict[str, str] | None:
    """
    Return the ids of the trace to which what happens now belongs, as labels of an exemplar.

    None outside of any trace, and in one that is not sampled: nobody has stored it, so its ids would lead nowhere.
    """
    global _writes  # as above
    if not _is_allowed:
        return None
    try:
        trace = current_trace()
    except Exception as error:  # noqa: BLE001  # OpenTelemetry's context can be any that the host has plugged in
        _report(error)
        return None
    if trace is None or not trace.is_sampled:
        return None
    _writes = _WRITES
    return {"trace_id": trace.trace_id, "span_id": trace.span_id}


def _report(error: Exception) -> None:
    global _is_reporting  # as above: reporting counts, and what counts looks for a trace
    if not _is_reporting:
        _is_reporting = True
        try:
            internal_error("exemplars", error)
        finally:
            _is_reporting = False


class Lookout:
    """
    Stands where a child keeps whose cells are whose, while the child is on the lookout for a trace.

    No thread finds itself in it, so every write takes the slow way, on which there is time to look for a trace. After
    a few writes it goes, and what it has kept comes back to its place; so what is usual is as fast as if there were no
    exemplars. A process that has never seen a sampled trace looks at fewer writes than one that has.

    Attributes:
        owner: What the child had as its owner.
        others: What it had as its others.
    """

    __slots__ = ("_left", "_taken", "others", "owner")

    owner: Any
    others: Any

    def __init__(self) -> None:
        self.begin()

    @property
    def storage(self) -> Any:
        """The storage of the owner, in whose place this stands."""
        return self.owner.storage

    def begin(self) -> None:
        """Look for a trace in the next writes, whatever has been found before."""
        self._left = _writes
        self._taken = 0  # a bit for each place that has its exemplar

    def wants(self, place: int) -> bool:
        """Tell whether no exemplar has been found yet for this place."""
        return not self._taken >> place & 1

    def note(self, place: int, *, is_found: bool, places: int) -> bool:
        """
        Note a write.

        Args:
            place: Of the exemplar that it can have: a bucket.
            is_found: Whether it has one.
            places: How many places there are.

        Returns:
            Whether to go on looking.
        """
        self._left -= 1
        if is_found:
            self._taken |= 1 << place
        return self._left > 0 and self._taken + 1 < 1 << places
