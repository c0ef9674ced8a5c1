"""Output that suits both a terminal and a file: lines that stay, and one that is rewritten."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Terminal"]

_ERASE = "\r\x1b[K"


class Terminal:
    """
    Write to *stream*; usable from several threads.

    Attributes:
        is_live: Whether a line can be rewritten there.
        has_reader: Whether somebody still reads: a pipe's reader may have left.
    """

    def __init__(self, stream: TextIO) -> None:
        self.is_live = stream.isatty() and os.environ.get("TERM") != "dumb"
        self.has_reader = True
        self._stream = stream
        self._status = ""
        self._lock = RLock()  # re-entrant: what is logged while it is held comes here too

    def line(self, text: str = "") -> None:
        """Write a line that stays, above the status."""
        with self._lock:
            self._write(f"{_ERASE}{text}\n{self._fitting(self._status)}" if self._status else f"{text}\n")

    def status(self, text: str) -> None:
        """Write the line that is rewritten each time; where that cannot be done, one that stays. "" takes it away."""
        with self._lock:
            if self.is_live:
                self._status = text
                self._write(_ERASE + self._fitting(text))
            elif text:
                self.line(text)

    @contextmanager
    def showing_logs(self) -> Iterator[None]:
        """Show what is logged as lines, for the length of the block: our own from level INFO, others' from WARNING."""
        handler, own = _LinesOf(self), logging.getLogger("vitalsign")
        level = own.level
        own.setLevel(logging.INFO)
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)
            own.setLevel(level)

    def _fitting(self, text: str) -> str:
        """Cut *text* to the terminal's present width: a line that wraps could not be rewritten."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except OSError:
            columns = 0
        return text[: (columns or 80) - 1]

    def _write(self, text: str) -> None:
        if not self.has_reader:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            self.has_reader = False
            # What could not be written is tried again when the stream is closed: now it goes nowhere, without error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class _LinesOf(logging.Handler):
    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        self._terminal.line(self.format(record))
