"""structlog, on its own and on the standard logging."""

from __future__ import annotations

import io
import json

import pytest

from vitalsign.logs import log_context, structlog_processor

structlog = pytest.importorskip("structlog")


@pytest.fixture
def stream():
    """Return what structlog writes to."""
    return io.StringIO()


@pytest.fixture
def logger(stream, registry):
    """Return a logger of structlog's that writes by our processor."""
    processors = [structlog_processor("shop", redact=["iban"], registry=registry), structlog.processors.JSONRenderer()]
    return structlog.wrap_logger(structlog.PrintLogger(stream), processors=processors)


def test_lines_have_the_same_fields(stream, logger, registry):
    """A line of structlog's has the fields, the order and the hidden secrets of the standard logging's."""
    with log_context(request_id="r"):
        logger.warning("placed", amount=3, iban="DE00", password="hunter2", level_of_care="high")
    line = json.loads(stream.getvalue())
    assert list(line)[:6] == ["timestamp", "level", "logger", "message", "service", "request_id"]
    assert (line["level"], line["message"], line["amount"]) == ("WARNING", "placed", 3)
    assert (line["iban"], line["password"]) == ("***", "***")
    assert registry.get_sample_value("log_messages_total", {"level": "WARNING", "logger": "structlog"}) == 1


def test_exceptions_are_fields(stream, logger):
    """`exception()`, `exc_info=True` and an exception that is given all become fields."""
    try:
        raise LookupError("sku")
    except LookupError as error:
        logger.exception("one")
        logger.error("two", exc_info=True)  # noqa: G201
        kept = error
    logger.error("three", exc_info=kept)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["level"], line["exception"]["type"]) for line in lines] == [("ERROR", "LookupError")] * 3


def test_what_earlier_processors_added_is_kept(stream, registry):
    """A time, level or logger that another processor has set is taken over."""
    process = structlog_processor("shop", registry=registry)
    line = process(None, "info", {"event": "x", "timestamp": "then", "level": "warning", "logger": "mine"})
    assert (line["timestamp"], line["level"], line["logger"]) == ("then", "WARNING", "mine")


def test_a_failure_leaves_the_event(registry, monkeypatch):
    """If the processor fails, the event goes on, cleaned."""
    monkeypatch.setattr("vitalsign.logs._structlog.line_fields", None)
    line = structlog_processor("shop", registry=registry)(None, "info", {"event": "x", "token": "t"})
    assert line == {"event": "x", "token": "***"}


@pytest.mark.parametrize("renderer", ["render_to_log_kwargs", "wrap_for_formatter"])
def test_structlog_on_the_standard_logging(log, renderer):
    """Structlog's lines that go through the standard logging come out as its other lines, without a processor."""
    render = {
        "render_to_log_kwargs": structlog.stdlib.render_to_log_kwargs,
        "wrap_for_formatter": structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    }[renderer]
    logger = structlog.wrap_logger(
        structlog.stdlib.LoggerFactory()("tests.structlog"),
        processors=[render],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    with log_context(request_id="r"):
        try:
            raise LookupError("sku")
        except LookupError:
            logger.exception("placed", amount=3, password="hunter2")
    assert log.line["message"] == "placed"
    assert (log.line["request_id"], log.line["amount"], log.line["password"]) == ("r", 3, "***")
    assert (log.line["logger"], log.line["level"]) == ("tests.structlog", "ERROR")
    assert log.line["exception"]["type"] == "LookupError"
