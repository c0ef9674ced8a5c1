"""Signal handlers at every place, without signals: what comes in the middle of something else, on the same thread."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["at_once", "interrupted"]


def interrupted(work: Callable[[], object], handler: Callable[[], object], at: int, *, within: str = "") -> bool:
    """
    Run *work*, and *handler* once in the middle of it, where Python runs signal handlers: at calls and after them.

    Args:
        work: What is interrupted.
        handler: What comes in between.
        at: How many such places are passed by before.
        within: How the paths of source files end whose places are meant; of all, unless it is given.

    Returns:
        Whether *work* has so many places.
    """
    seen = -1

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal seen
        if event in ("call", "c_return") and frame.f_code.co_filename.endswith(within):
            seen += 1
            if seen == at:
                sys.setprofile(None)
                handler()

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return seen >= at


def at_once(number: int, work: Callable[[], object]) -> None:
    """Let *work* be done by so many threads that live at the same time."""
    met = threading.Barrier(number + 1)

    def run() -> None:
        work()
        met.wait(60)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    met.wait(60)
    for thread in threads:
        thread.join()
