"""Turn the standard logging into one stream of JSON lines, and back."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from prometheus_client import REGISTRY

from vitalsign.exceptions import LogOptionError
from vitalsign.logs._clean import MAX_LENGTH
from vitalsign.logs._context import RECORD_FIELDS, snapshot
from vitalsign.logs._counter import MessageCounter
from vitalsign.metrics.internal import internal_error_later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from prometheus_client import CollectorRegistry

    from vitalsign.logs.formatter import JsonFormatter

__all__ = ["SERVER_LOGGERS", "LoggingSetup", "configure_logging"]

SERVER_LOGGERS = (
    "uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "gunicorn.error", "gunicorn.access",
    "hypercorn.error", "hypercorn.access", "_granian", "granian.access",
)  # fmt: skip
"""Loggers of application servers, which write past the root logger unless they are told not to."""

_SHORTEST = 100
_lock = threading.Lock()
_current: LoggingSetup | None = None


def configure_logging(
    service: str,
    *,
    level: int | str = logging.INFO,
    stream: TextIO | None = None,
    redact: Iterable[str] = (),
    max_length: int = MAX_LENGTH,
    rename_fields: Mapping[str, str] | None = None,
    static_fields: Mapping[str, object] | None = None,
    take_over: Iterable[str] = SERVER_LOGGERS,
    capture_warnings: bool = True,
    registry: CollectorRegistry | None = REGISTRY,
) -> LoggingSetup:
    """
    Write everything that is logged as JSON lines on stderr, with the ids of request, job and trace; and count it.

    Handlers of the root logger that write to the terminal are replaced; its other handlers, all filters, and the
    levels and handlers of other loggers stay as they are. Called again, it replaces what it did before.

    Args:
        service: What is logging.
        level: Level of the root logger, by name or number.
        stream: Where lines are written; None for what `sys.stderr` is at the time.
        redact: Names of fields that hold secrets, besides those that are known to (`password`, `token`, …).
        max_length: Characters of one text, before its middle is left out; a line has eight times as many.
        rename_fields: Other names for fields: `{"level": "severity"}`.
        static_fields: Fields that every line has: `{"version": "1.4.0"}`.
        take_over: Loggers whose own handlers are taken away, so that what they log comes here too; of those that
            they are given later, the ones that write to the terminal. One that was silenced, by
            `uvicorn --no-access-log` for example, stays silent.
        capture_warnings: Log what the `warnings` module shows.
        registry: Where `log_messages_total` is registered; None to count nothing.

    Returns:
        What puts everything back as it was, by `close()` or as a context manager.

    Raises:
        MissingExtraError: python-json-logger is not installed.
        LogOptionError: An option makes no sense.
    """
    global _current  # logging itself is one for the process
    from vitalsign.logs.formatter import JsonFormatter  # python-json-logger, for those who ask for it

    number = _level(level)
    if isinstance(redact, str) or isinstance(take_over, str):
        raise LogOptionError("redact= and take_over= take several names, but one of them is a string. Give a list.")
    if max_length < _SHORTEST:
        raise LogOptionError(f"max_length={max_length} would cut nearly every text. Give {_SHORTEST} or more.")
    formatter = JsonFormatter(
        service, redact=redact, max_length=max_length, rename_fields=rename_fields, static_fields=static_fields
    )
    handlers = [_LineHandler(formatter, stream), *([] if registry is None else [MessageCounter(registry)])]
    with _lock:
        if _current is not None:
            _current._undo.close()
        _current = LoggingSetup(handlers, number, tuple(take_over), capture_warnings=capture_warnings)
        return _current


class LoggingSetup:
    """What `configure_logging` did; `close()` puts it back."""

    def __init__(
        self, handlers: Iterable[logging.Handler], level: int, take_over: Iterable[str], *, capture_warnings: bool
    ) -> None:
        self._undo = ExitStack()
        root = logging.getLogger()
        self._servers = {name: logging.getLogger(name) for name in take_over}
        for logger in self._servers.values():
            # One with neither was told not to log: uvicorn looks for handlers, those of the root logger too.
            if logger.handlers or logger.propagate:
                self._take_over(logger, logger.handlers[:])
        for handler in filter(_is_terminal, root.handlers[:]):
            root.removeHandler(handler)
            self._undo.callback(root.addHandler, handler)
        for handler in handlers:
            root.addHandler(handler)
            self._undo.callback(root.removeHandler, handler)
        self._undo.callback(root.setLevel, root.level)
        root.setLevel(level)
        if capture_warnings and not _warnings_are_captured():
            logging.captureWarnings(True)
            self._undo.callback(logging.captureWarnings, False)
        self._replace_factory()
        self._replace_make_record()
        self._undo.callback(self._servers.clear)  # whoever has wrapped our factory keeps it

    def close(self) -> None:
        """Put everything back as it was before; once."""
        global _current
        with _lock:
            self._undo.close()
            if _current is self:
                _current = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_over(self, logger: logging.Logger, handlers: Iterable[logging.Handler]) -> None:
        self._undo.callback(setattr, logger, "propagate", logger.propagate)
        logger.propagate = True
        for handler in handlers:
            logger.removeHandler(handler)
            self._undo.callback(logger.addHandler, handler)

    def _take_over_late(self) -> None:
        """Take away what servers write to the terminal by since then: some configure logging after the application."""
        try:
            for logger in self._servers.values():
                if late := [*filter(_is_terminal, logger.handlers)]:
                    self._take_over(logger, late)
        except Exception as error:  # noqa: BLE001  # a handler of an unknown kind
            internal_error_later("logs.take_over", error)

    def _replace_factory(self) -> None:
        """Let each record know where it was logged: its line may be written by another thread."""
        before = logging.getLogRecordFactory()

        def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = before(*args, **kwargs)
            record.__dict__[RECORD_FIELDS] = snapshot()
            if record.name in self._servers:
                self._take_over_late()
            return record

        logging.setLogRecordFactory(make)
        self._undo.callback(_put_back, logging.getLogRecordFactory, logging.setLogRecordFactory, make, before)

    def _replace_make_record(self) -> None:
        """Let `extra=` have any keys: logging raises where one is an attribute of records, such as `name`."""
        before = logging.Logger.makeRecord

        def make(
            logger: logging.Logger, name: str, level: int, fn: str, lno: int, msg: object, args: Any, exc_info: Any,
            func: str | None = None, extra: Mapping[str, object] | None = None, sinfo: str | None = None,
        ) -> logging.LogRecord:  # fmt: skip
            plain = partial(before, logger, name, level, fn, lno, msg, args, exc_info, func)
            try:
                return plain(extra, sinfo)
            except (KeyError, TypeError, ValueError, AttributeError):
                return plain(_apart(extra), sinfo)

        logging.Logger.makeRecord = make  # type: ignore[assignment, method-assign]
        put = partial(setattr, logging.Logger, "makeRecord")
        self._undo.callback(_put_back, lambda: logging.Logger.makeRecord, put, make, before)


def _put_back(current: Callable[[], object], put: Callable[[Any], object], ours: object, before: object) -> None:
    if current() is ours:  # whoever has wrapped it since then keeps it
        put(before)


def _apart(extra: object) -> dict[str, object]:
    """Rename the keys of *extra* that are attributes of records."""
    taken = {*logging.makeLogRecord({}).__dict__, "message", "asctime"}
    given = dict(extra) if hasattr(extra, "keys") else {"extra": extra}  # type: ignore[call-overload]
    return {f"{name}_" if name in taken else str(name): value for name, value in given.items()}


class _LineHandler(logging.Handler):
    """Write lines to a stream, and never fail for it."""

    def __init__(self, formatter: JsonFormatter, stream: TextIO | None) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, in one piece."""
        try:
            stream = self._stream or sys.stderr
            if stream is not None:
                stream.write(self.format(record) + "\n")
                stream.flush()
        except Exception as error:  # noqa: BLE001  # a closed or full stream, which the host cannot help here
            internal_error_later("logs.write", error)


def _is_terminal(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    terminals = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    return stream is not None and any(stream is one for one in terminals)


def _warnings_are_captured() -> bool:
    return getattr(logging, "_warnings_showwarning", None) is not None


def _level(level: int | str) -> int:
    number = logging.getLevelNamesMapping().get(level.upper()) if isinstance(level, str) else level
    if isinstance(number, bool) or not isinstance(number, int):
        raise LogOptionError(f"{level!r} is no level. Give one as 'INFO' or logging.INFO.")
    return number
