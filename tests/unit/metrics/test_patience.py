"""Asking what may hang: waited for as long as there is time, and not asked again while it hangs."""

from __future__ import annotations

import threading
import time

import pytest

from tests.processes import forked
from vitalsign.metrics import patience
from vitalsign.metrics.patience import ask


class Slow:
    """Somebody who answers when let."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked = 0
        self.threads: list[threading.Thread] = []

    def work(self) -> int:
        """Count how often this was asked, and wait."""
        self.asked += 1
        self.threads.append(threading.current_thread())
        self.may_answer.wait()
        return self.asked

    def answer(self) -> None:
        """Let the calls so far end, and wait for them."""
        self.may_answer.set()
        for thread in self.threads:
            thread.join(20)


def in_time() -> float:
    """Return a deadline that is far away."""
    return time.monotonic() + 60


def test_without_a_deadline_the_caller_asks_itself() -> None:
    """No thread is started where nobody is in a hurry."""
    assert ask("x", threading.current_thread, None) is threading.current_thread()


def test_answer_in_time_is_returned() -> None:
    """Who answers in time is asked on another thread, and again the next time."""
    assert ask("x", threading.current_thread, in_time()) is not threading.current_thread()
    assert ask("x", lambda: 7, in_time()) == 7


def test_error_in_time_is_raised() -> None:
    """What goes wrong is raised where the answer is waited for."""
    with pytest.raises(ZeroDivisionError):
        ask("x", lambda: 1 / 0, in_time())
    assert ask("x", lambda: 7, in_time()) == 7


def test_who_hangs_is_left_out_and_asked_again_after_its_answer() -> None:
    """While a call hangs there is no second one; once it has ended, the next scrape asks again."""
    slow = Slow()
    with pytest.raises(TimeoutError, match="has not answered in time and is left out"):
        ask(slow, slow.work, time.monotonic())
    for _ in range(3):
        with pytest.raises(TimeoutError, match="has not answered since an earlier scrape"):
            ask(slow, slow.work, in_time())
    assert slow.asked == 1
    assert ask("another", lambda: 7, in_time()) == 7
    slow.answer()
    assert ask(slow, slow.work, in_time()) == 2
    assert slow not in patience._hanging


def test_forked_child_asks_anew() -> None:
    """What hangs in the parent does not hang in a child, where nobody was asked."""
    slow = Slow()
    with pytest.raises(TimeoutError):
        ask(slow, slow.work, time.monotonic())
    slow.may_answer.set()
    assert forked(lambda: ask(slow, lambda: 7, in_time())) == 7
    slow.answer()
