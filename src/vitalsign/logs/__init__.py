"""JSON lines on the standard logging, with the ids of request, job and trace, and without secrets."""

from __future__ import annotations

from vitalsign.logs._context import current_context, log_context
from vitalsign.logs._counter import MessageCounter
from vitalsign.logs._setup import SERVER_LOGGERS, LoggingSetup, configure_logging
from vitalsign.logs._structlog import structlog_processor

__all__ = [
    "SERVER_LOGGERS",
    "LoggingSetup",
    "MessageCounter",
    "configure_logging",
    "current_context",
    "log_context",
    "structlog_processor",
]
