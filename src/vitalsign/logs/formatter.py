"""
The formatter behind `configure_logging`, for those who configure the standard logging themselves.

```python
LOGGING = {
    "version": 1,
    "formatters": {"json": {"()": "vitalsign.logs.formatter.JsonFormatter", "service": "shop"}},
    ...
}
```

Needs python-json-logger: `pip install "vitalsign[logs]"`.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from vitalsign.exceptions import MissingExtraError
from vitalsign.logs._clean import MAX_LENGTH, Cleaner
from vitalsign.logs._context import RECORD_FIELDS, snapshot
from vitalsign.logs._line import exception_fields, free_name, line_fields, timestamp
from vitalsign.metrics.internal import internal_error_later

try:
    from pythonjsonlogger.core import RESERVED_ATTRS, BaseJsonFormatter
except ImportError as _error:
    raise MissingExtraError("vitalsign.logs.formatter", library="python-json-logger", extra="logs") from _error

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Mapping

__all__ = ["JsonFormatter"]

_NOT_FIELDS = (*RESERVED_ATTRS, "taskName", "color_message")  # the last is uvicorn's, for terminals
_encode = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode


class JsonFormatter(BaseJsonFormatter):
    """
    Write a record as one line of JSON.

    A record whose message is a dict is a set of fields, of which `message` or `event` becomes the message. A record
    that cannot be formatted as it was meant to is written with what there is of it.
    """

    def __init__(
        self,
        service: str = "",
        *,
        redact: Iterable[str] = (),
        max_length: int = MAX_LENGTH,
        rename_fields: Mapping[str, str] | None = None,
        static_fields: Mapping[str, object] | None = None,
    ) -> None:
        """
        Make a formatter.

        Args:
            service: What is logging; left out if empty.
            redact: Names of fields that hold secrets, besides those that are known to.
            max_length: Characters of one text; a line has eight times as many.
            rename_fields: Other names for fields: `{"level": "severity"}`.
            static_fields: Fields that every line has: `{"version": "1.4.0"}`.
        """
        super().__init__(static_fields=dict(static_fields or {}), reserved_attrs=_NOT_FIELDS)
        self._service = service
        self._renamed = dict(rename_fields or {})  # not left to the base, which does not know the first fields
        self._clean = Cleaner(redact, max_length)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, whatever the record holds."""
        try:
            return super().format(_readable(record))
        except Exception as error:  # noqa: BLE001  # a line that says less is better than none
            internal_error_later("logs.format", error)
            return _encode(self._clean({**self._head(record), "message": record.msg}))

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Fill the line; python-json-logger asks for it."""
        exception = exception_fields(message_dict.pop("exc_info", None))
        stack = message_dict.pop("stack_info", None)
        head = self._head(record)
        if isinstance(record.msg, dict):
            text = message_dict.pop("message", None) or message_dict.pop("event", "")
            head["message"] = text
        own: dict[str, Any] = {}
        super().add_fields(own, record, message_dict)
        own.pop("message", None)  # the first of the fields has it
        context = getattr(record, RECORD_FIELDS, None)
        line = line_fields(head, snapshot() if context is None else context, own, exception=exception, stack=stack)
        for name, value in line.items():
            log_data[free_name(self._renamed.get(name, name), log_data)] = value

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Make plain values of the fields, and hide secrets."""
        return self._clean(log_data)

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Write the line, in ASCII, so that no stream's encoding can spoil it."""
        return _encode(log_data)

    def formatException(self, ei: Any) -> Any:  # noqa: N802  # logging's name
        """Leave an exception as it is: it becomes fields of its own."""
        return ei

    def _head(self, record: logging.LogRecord) -> dict[str, Any]:
        head = {
            "timestamp": timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": getattr(record, "message", ""),
        }
        if self._service:
            head["service"] = self._service
        return head


def _readable(record: logging.LogRecord) -> logging.LogRecord:
    """Return *record*, or a copy that can be formatted where it cannot."""
    message: Any = record.msg
    if isinstance(message, dict):
        return _with_message(record, dict(message))  # older releases of python-json-logger write into it
    try:
        record.getMessage()
    except Exception as error:  # noqa: BLE001  # arguments that do not fit, or that cannot be printed
        return _unformatted(record, error)
    return record


def _unformatted(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    try:
        message = str(record.msg)
    except Exception:  # noqa: BLE001
        message = f"<unprintable {type(record.msg).__name__}>"
    bare = _with_message(record, message)
    bare.__dict__.update(format_args=record.args, format_error=error)
    return bare


def _with_message(record: logging.LogRecord, message: Any) -> logging.LogRecord:
    changed = copy.copy(record)
    changed.msg, changed.args = message, None
    return changed
