"""Logging that a test configures and leaves as it found it, and the lines that it wrote."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from vitalsign.logs import LoggingSetup, configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry


class Log:
    """A stream, and the standard logging configured to write to it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.stream = io.StringIO()
        self.registry = registry

    def configure(self, service: str = "shop", **options: Any) -> LoggingSetup:
        """Configure logging anew."""
        return configure_logging(service, **{"stream": self.stream, "registry": self.registry, **options})

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Each line that was written, read by a strict parser; without vitalsign's own complaints."""
        lines = [json.loads(line, parse_constant=refuse) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if line["logger"] != "vitalsign"]

    @property
    def line(self) -> dict[str, Any]:
        """The one line that was written."""
        (line,) = self.lines
        return line

    def counted(self, level: str, logger: str) -> float | None:
        """Return how often something was counted."""
        return self.registry.get_sample_value("log_messages_total", {"level": level, "logger": logger})


def refuse(constant: str) -> None:
    """Refuse what Python reads and JSON does not know: NaN, Infinity."""
    raise ValueError(f"{constant} is no JSON")


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call() -> Iterator[None]:
    """Take pytest's own handlers away: they raise where others complain, and colour what others read."""
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if type(handler).__module__ != "_pytest.logging"]
    return (yield)


@pytest.fixture
def log(registry: CollectorRegistry) -> Iterator[Log]:
    """Configure logging for the test."""
    log = Log(registry)
    log.configure()
    yield log
    log.configure().close()


@pytest.fixture
def logger(request: pytest.FixtureRequest) -> logging.Logger:
    """Return a logger of the test's own."""
    return logging.getLogger(f"tests.{request.node.originalname}")
