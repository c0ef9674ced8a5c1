"""The terminal: a line that is rewritten, lines that stay, and readers that leave."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import struct
import termios

import pytest

from vitalsign.cli._terminal import Terminal


class Screen(io.StringIO):
    """A terminal of 20 columns that remembers what was written to it."""

    def __init__(self, device):
        super().__init__()
        self._device = device

    def isatty(self):
        """Say that it is one."""
        return True

    def fileno(self):
        """Return the descriptor that knows the width."""
        return self._device


@pytest.fixture
def screen(monkeypatch):
    """Return a screen."""
    monkeypatch.setenv("TERM", "xterm")
    controller, device = pty.openpty()
    fcntl.ioctl(device, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
    yield Screen(device)
    os.close(device)
    os.close(controller)


def test_status_is_rewritten_in_place(screen):
    """Each status erases the one before, and an empty one leaves nothing."""
    terminal = Terminal(screen)
    terminal.status("one")
    terminal.status("two")
    terminal.status("")
    assert screen.getvalue() == "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[K"


def test_lines_stay_above_the_status(screen):
    """A line takes the status's place, and the status comes again below it."""
    terminal = Terminal(screen)
    terminal.line("hello")
    terminal.status("busy")
    terminal.line("news")
    assert screen.getvalue() == "hello\n\r\x1b[Kbusy\r\x1b[Knews\nbusy"


def test_status_is_cut_to_the_width(screen):
    """A status that would wrap, so that it could not be erased, is cut to one column less than there are."""
    Terminal(screen).status("x" * 50)
    assert screen.getvalue() == "\r\x1b[K" + "x" * 19


def test_file_gets_plain_lines():
    """Where nothing can be rewritten, each status is a line of its own, and none is cut."""
    stream = io.StringIO()
    terminal = Terminal(stream)
    assert not terminal.is_live
    terminal.status("x" * 100)
    terminal.line("news")
    terminal.status("")
    assert stream.getvalue() == "x" * 100 + "\nnews\n"


def test_dumb_terminal_gets_plain_lines(screen, monkeypatch):
    """A terminal that calls itself dumb is not sent control sequences."""
    monkeypatch.setenv("TERM", "dumb")
    assert not Terminal(screen).is_live


def test_reader_that_leaves_is_noticed_and_no_error():
    """A pipe that nobody reads any more raises nothing, now or when the stream is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:  # noqa: PTH123
        terminal = Terminal(stream)
        terminal.line("hello")
        terminal.line("anybody?")
        assert not terminal.has_reader


def test_logs_are_shown_as_lines():
    """Our own news and others' warnings are shown while the block lasts, others' news never."""
    stream = io.StringIO()
    own, other = logging.getLogger("vitalsign.health"), logging.getLogger("uvicorn.error")
    with Terminal(stream).showing_logs():
        own.info("passes again")
        other.info("started")
        other.warning("trouble %d", 1)
    own.warning("afterwards")
    shown = stream.getvalue().splitlines()
    assert [line.split(" ", 1)[1] for line in shown] == ["INFO passes again", "WARNING trouble 1"]
