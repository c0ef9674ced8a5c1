"""A processor for structlog, which is not needed for it: a processor is a function."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY

from vitalsign.logs._clean import MAX_LENGTH, Cleaner
from vitalsign.logs._context import snapshot
from vitalsign.logs._counter import MessageCounter
from vitalsign.logs._line import exception_fields, line_fields, timestamp
from vitalsign.metrics.internal import internal_error_later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

    from prometheus_client import CollectorRegistry

__all__ = ["structlog_processor"]

_LEVELS = {"warn": "WARNING", "exception": "ERROR", "err": "ERROR", "failure": "ERROR", "msg": "INFO", "log": "INFO"}
_HEAD = ("event", "message", "level", "logger", "timestamp", "exc_info", "exception", "stack_info", "stack")


def structlog_processor(
    service: str,
    *,
    redact: Iterable[str] = (),
    max_length: int = MAX_LENGTH,
    registry: CollectorRegistry | None = REGISTRY,
) -> Callable[[Any, str, MutableMapping[str, Any]], dict[str, Any]]:
    """
    Make a processor that gives structlog's lines the fields, the bounds and the hidden secrets of `configure_logging`.

    ```python
    structlog.configure(processors=[structlog_processor("shop"), structlog.processors.JSONRenderer()])
    ```

    It takes the place of processors that add a time, a level or a traceback, and is followed by the renderer. For
    structlog's lines on the standard logging it is not needed.

    Args:
        service: What is logging.
        redact: Names of fields that hold secrets, besides those that are known to.
        max_length: Characters of one text; a line has eight times as many.
        registry: Where `log_messages_total` is registered; None to count nothing.
    """
    clean = Cleaner(redact, max_length)
    counter = None if registry is None else MessageCounter(registry)

    def process(logger: Any, method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        try:
            fields = _fields(service, logger, method, dict(event))
            if counter is not None:
                counter.count(str(fields["level"]), str(fields["logger"]))
        except Exception as error:  # noqa: BLE001  # a line that says less is better than none
            internal_error_later("logs.structlog", error)
            fields = dict(event)
        return dict(clean(fields))

    return process


def _fields(service: str, logger: Any, method: str, event: dict[str, Any]) -> dict[str, object]:
    given = {name: event.pop(name, None) for name in _HEAD}
    head = {
        "timestamp": given["timestamp"] if isinstance(given["timestamp"], str) else timestamp(time.time()),
        "level": str(given["level"] or _LEVELS.get(method, method)).upper(),
        "logger": given["logger"] or _name_of(logger),
        "message": given["event"] if given["event"] is not None else given["message"],
        "service": service,
    }
    exception = exception_fields(given["exc_info"] or method == "exception") or exception_fields(given["exception"])
    return line_fields(head, snapshot(), event, exception=exception, stack=given["stack_info"] or given["stack"])


def _name_of(logger: Any) -> str:
    name = getattr(logger, "name", None)
    return name if isinstance(name, str) else "structlog"
