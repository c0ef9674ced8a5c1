"""Counting what is logged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY

from vitalsign.metrics.instruments import OWN_MAX_SERIES, Counter
from vitalsign.metrics.internal import internal_error_later

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["MessageCounter"]


class MessageCounter(logging.Handler):
    """
    Count what is logged in `log_messages_total`, by level and logger: a handler that writes nothing.

    `configure_logging` puts one on the root logger. There it counts each record that reaches the root, whichever
    other handlers take it; not what a logger's level refuses, nor what a logger keeps to itself (`propagate`).
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, max_series: int = OWN_MAX_SERIES) -> None:
        """
        Declare the metric.

        Args:
            registry: Where it is registered.
            max_series: Pairs of level and logger before further ones are counted together.
        """
        super().__init__()
        self._messages = Counter(
            "log_messages",
            "Log records that reached the root logger.",
            ["level", "logger"],
            registry=registry,
            max_series=max_series,
        )

    def handle(self, record: logging.LogRecord) -> bool:
        """Count *record*, without the lock that handlers take: counting needs none."""
        if self.filter(record):
            self.count(record.levelname, record.name)
        return True

    def count(self, level: str, logger: str) -> None:
        """Count one message that did not come as a record."""
        try:
            self._messages.labels(level, logger).inc()
        except Exception as error:  # noqa: BLE001  # whatever it is, the host's line is written
            internal_error_later("logs.count", error)
