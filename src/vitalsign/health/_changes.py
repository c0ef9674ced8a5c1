"""Changes of state: what they are, the last of them, and to whom they are told. No I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitalsign.health._report import rfc3339, without_blanks

if TYPE_CHECKING:
    from vitalsign.health._check import Status
    from vitalsign.health._mailbox import Mailbox

__all__ = ["Change", "Changes"]


@dataclass(frozen=True, slots=True)
class Change:
    """
    A check that is in another state than before.

    A first result that passes is none.

    Attributes:
        service: Whose check it is.
        check: Its name.
        critical: Whether its failing makes the service fail.
        previous: The state before: pass, warn, fail or unknown.
        status: The state now.
        message: What its last result says. Never the text of an exception.
        time: When, in seconds since 1970.
    """

    service: str
    check: str
    critical: bool
    previous: Status
    status: Status
    message: str
    time: float

    def to_dict(self) -> dict[str, object]:
        """Return the change as JSON takes it, with the time as RFC 3339 in UTC."""
        return {
            "time": rfc3339(self.time),
            "service": self.service,
            "check": self.check,
            "critical": self.critical,
            "previous": self.previous.value,
            "status": self.status.value,
            **without_blanks(message=self.message),
        }


class Changes:
    """
    Remember the last changes, and hand each one to those who listen.

    Args:
        limit: How many are remembered.
    """

    def __init__(self, limit: int) -> None:
        self._last: deque[Change] = deque(maxlen=limit)
        self._mailboxes: tuple[Mailbox, ...] = ()

    def last(self) -> tuple[Change, ...]:
        """Return the changes that are remembered, the newest first."""
        return tuple(reversed(self._last.copy()))

    def subscribe(self, mailbox: Mailbox) -> None:
        """Hand each change to *mailbox* from now on."""
        self._mailboxes = (*self._mailboxes, mailbox)

    def add(self, change: Change) -> None:
        """Remember *change* and put it into all mailboxes, in the order of the calls; nothing is delivered yet."""
        self._last.append(change)
        for mailbox in self._mailboxes:
            mailbox.put(change)

    def deliver(self) -> None:
        """Let what is in the mailboxes be delivered, on their threads."""
        for mailbox in self._mailboxes:
            mailbox.deliver()

    def flush(self, until: float) -> None:
        """Wait until all that is in the mailboxes now is delivered, or the monotonic clock shows *until*."""
        for mailbox in self._mailboxes:
            mailbox.flush(until)
