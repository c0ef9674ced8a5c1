"""What a line of the standard logging says."""

from __future__ import annotations

import logging
import re
import warnings

import pytest

from vitalsign.logs import log_context


def test_a_line_says_when_what_and_who(log, logger):
    """A line has the time in UTC with milliseconds, level, logger, message and service, and what `extra` adds."""
    logger.warning("order %d placed", 7, extra={"channel": "web"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", log.line["timestamp"])
    assert list(log.line) == ["timestamp", "level", "logger", "message", "service", "channel"]
    assert {name: log.line[name] for name in list(log.line)[1:]} == {
        "level": "WARNING",
        "logger": logger.name,
        "message": "order 7 placed",
        "service": "shop",
        "channel": "web",
    }


def test_time_is_that_of_the_call(log, logger):
    """The time is the record's, whatever zone the machine is in."""
    record = logging.makeLogRecord({"levelno": 20, "msg": "hello", "created": 1_700_000_000.9996})
    logger.handle(record)
    assert log.line["timestamp"] == "2023-11-14T22:13:20.999Z"


def test_an_exception_is_part_of_its_line(log, logger):
    """An exception is on the line of its message, with class, text and traceback, its cause included."""
    try:
        try:
            raise KeyError("sku")
        except KeyError as error:
            raise RuntimeError("no such\nproduct") from error
    except RuntimeError:
        logger.exception("failed")
    exception = log.line["exception"]
    assert (exception["type"], exception["message"]) == ("RuntimeError", "no such\nproduct")
    assert "KeyError: 'sku'" in exception["stack"]
    assert "test_lines.py" in exception["stack"]


def test_an_exception_of_a_library_is_named_with_its_module(log, logger):
    """The class of an exception that is no builtin is given with its module."""
    logger.error("failed", exc_info=re.error("bad"))
    assert log.line["exception"]["type"] == f"{re.error.__module__}.{re.error.__qualname__}"


def test_no_exception_leaves_no_field(log, logger):
    """`exc_info=True` outside of any `except` block adds nothing."""
    logger.error("fine", exc_info=True)  # noqa: LOG014
    assert "exception" not in log.line


def test_stack_is_a_field(log, logger):
    """`stack_info=True` adds the stack as one field."""
    logger.info("here", stack_info=True)
    assert "test_stack_is_a_field" in log.line["stack"]


def test_exception_group_keeps_its_members(log, logger):
    """An exception group's traceback has those of its members."""
    logger.error("failed", exc_info=ExceptionGroup("both", [ValueError("one"), KeyError("two")]))
    assert "ValueError: one" in log.line["exception"]["stack"]
    assert "KeyError: 'two'" in log.line["exception"]["stack"]


def test_a_dict_as_message_is_a_set_of_fields(log, logger):
    """A dict that is logged becomes fields, of which `message` or `event` is the message; it is left as it was."""
    event = {"event": "placed", "amount": 3}
    try:
        raise LookupError("x")
    except LookupError:
        logger.info(event, exc_info=True)
    assert (log.line["message"], log.line["amount"]) == ("placed", 3)
    assert log.line["exception"]["type"] == "LookupError"
    assert event == {"event": "placed", "amount": 3}


def test_fields_can_be_renamed_and_added(log, logger):
    """Fields get the names that a log store wants, and every line has those that are always the same."""
    log.configure(rename_fields={"level": "severity", "channel": "via"}, static_fields={"version": "1.4.0"})
    logger.info("hello", extra={"channel": "web"})
    assert log.line["severity"] == "INFO"
    assert log.line["via"] == "web"
    assert log.line["version"] == "1.4.0"
    assert {"level", "channel"}.isdisjoint(log.line)


def test_a_renamed_field_covers_no_other(log, logger):
    """A field that already has the new name of another one is written under a name of its own."""
    log.configure(rename_fields={"level": "severity"})
    logger.info("hello", extra={"severity": "high"})
    assert (log.line["severity"], log.line["severity_"]) == ("INFO", "high")


@pytest.mark.parametrize("name", ["timestamp", "level", "logger", "service", "exception", "stack"])
def test_a_fields_name_that_the_line_has_gets_an_underscore(log, logger, name):
    """A field of the host's with the name of one of ours is kept, under that name with a `_`."""
    logger.error("hello", extra={name: "mine"}, exc_info=ValueError(), stack_info=True)
    assert log.line[f"{name}_"] == "mine"
    assert log.line[name] != "mine"


@pytest.mark.parametrize("name", ["name", "message", "args", "levelname", "asctime", "msg", "module", "process"])
def test_hard_case_reserved_keys_in_extra(log, logger, name):
    """Keys of `extra` for which plain logging raises KeyError are kept, under their name with a `_`."""
    logger.info("hello", extra={name: "mine", "other": 1})
    assert (log.line["message"], log.line[f"{name}_"], log.line["other"]) == ("hello", "mine", 1)


def test_ids_stand_first_and_the_lines_own_go_before_the_blocks(log, logger):
    """The ids come right after the head, in their order, and a line's own value covers that of its block."""
    with log_context(job_id="j", customer="acme", request_id="outer"):
        logger.info("hello", extra={"request_id": "own", "customer": "other"})
    assert list(log.line)[5:7] == ["request_id", "job_id"]
    assert (log.line["request_id"], log.line["job_id"], log.line["customer"]) == ("own", "j", "other")


def test_warnings_are_lines(log):
    """What the warnings module shows is logged."""
    with warnings.catch_warnings():  # pytest has put its own in the place of logging's
        warnings.simplefilter("always")
        log.configure()
        warnings.warn("this is old", stacklevel=1)
    assert log.line["logger"] == "py.warnings"
    assert "this is old" in log.line["message"]


def test_messages_are_counted(log, logger):
    """What reaches the root logger is counted by level and logger, what a level refuses is not."""
    logger.info("one")
    logger.error("two")
    logger.error("three")
    logger.debug("too low")
    assert log.counted("INFO", logger.name) == 1
    assert log.counted("ERROR", logger.name) == 2
    assert log.counted("DEBUG", logger.name) is None
