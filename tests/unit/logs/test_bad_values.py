"""Values that cannot be written as they are: no log call fails for them, and every line is JSON."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitalsign.logs._clean import Cleaner


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: int


class Unprintable:
    """An object whose texts raise."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Colour(Enum):
    """An enum."""

    RED = "red"


@dataclass
class Order:
    """A dataclass."""

    amount: int
    token: str


class Loud(str):
    """A string that claims to be another."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError


RECURSIVE: dict[str, object] = {"name": "loop"}
RECURSIVE["self"] = [RECURSIVE]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**63, str(2**63)),
        (10**5000, "<integer of 16610 bits>"),
        ("\ud800x", "?x"),
        (b"\xffa", "\\xffa"),
        (bytearray(b"ab"), "ab"),
        (Colour.RED, "red"),
        (Loud("text"), "text"),
        (Order(3, "hunter2"), {"amount": 3, "token": "***"}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (deque([1]), [1]),
        ({1}, [1]),
        ({1: {None: 2}}, {"1": {"None": 2}}),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("a/b"), "a/b"),
        (ValueError("bad"), "ValueError: bad"),
        (Unprintable(), "<unprintable Unprintable>"),
        ({Unprintable(): 1}, {"<unprintable Unprintable>": 1}),
        ([Unprintable()], ["<unprintable Unprintable>"]),
        (RECURSIVE, {"name": "loop", "self": ["<recursive>"]}),
        (Order, str(Order)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_become_plain(log, logger, value, expected):
    """Whatever is given as a field is written as JSON that says as much of it as can be said."""
    logger.info("hello", extra={"field": value})
    assert log.line["field"] == expected


def test_long_texts_lose_their_middle(log, logger):
    """A text past the bound keeps its beginning, and its end unless it is huge, and says how much is missing."""
    log.configure(max_length=100)
    for length in (150, 500):
        text = "a" * length + "z" * length
        logger.info(text)
    assert [line["message"] for line in log.lines] == [
        "a" * 50 + "… 200 characters left out …" + "z" * 50,
        "a" * 100 + "… 900 characters left out",
    ]


def test_hard_case_huge_values_are_bounded(log, logger):
    """A line stays short, whatever is put into it, and is whole at its beginning."""
    log.configure(max_length=200)
    wide = {str(key): ["x" * 300] * 1000 for key in range(1000)}
    extra = {f"field{number}": wide for number in range(50)}
    logger.info("hello", extra={"text": "y" * 10_000_000, **extra})
    assert len(log.stream.getvalue()) < 200_000
    assert log.line["message"] == "hello"
    assert log.line["text"].startswith("yyy")


def test_deep_values_are_bounded(log, logger):
    """Collections inside collections are followed for some levels only."""
    nested: list[object] = []
    for _ in range(5_000):
        nested = [nested]
    logger.info("hello", extra={"nested": nested})
    assert "<list of 1>" in log.stream.getvalue()


def test_hard_case_format_mistakes_keep_message_and_arguments(log, logger):
    """Arguments that do not fit the message are written beside it, with what is wrong."""
    logger.info("%d orders", "seven")
    logger.info("%s and %s", 1)
    logger.info("plain", 1)
    assert [(line["message"], line["format_args"]) for line in log.lines] == [
        ("%d orders", ["seven"]),
        ("%s and %s", [1]),
        ("plain", [1]),
    ]
    assert all(line["format_error"].startswith("TypeError: ") for line in log.lines)


def test_a_message_that_cannot_be_printed_is_named(log, logger):
    """A message or argument whose text raises is replaced by its class."""
    logger.info(Unprintable())
    logger.info("at %s", Unprintable())
    assert log.lines[0]["message"] == "<unprintable Unprintable>"
    assert (log.lines[1]["message"], log.lines[1]["format_args"]) == ("at %s", ["<unprintable Unprintable>"])


def test_an_exception_that_cannot_be_printed_keeps_its_traceback(log, logger):
    """An exception whose text raises is named by its class, and shows where it came from."""

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    try:
        raise BrokenError
    except BrokenError:
        logger.exception("failed")
    assert log.line["exception"]["message"] == "<unprintable>"
    assert "test_bad_values.py" in log.line["exception"]["stack"]


def test_extra_that_is_no_mapping_is_kept(log, logger):
    """What is given as `extra` and has no keys is written as a field."""
    logger.info("hello", extra=["a"])
    assert (log.line["message"], log.line["extra"]) == ("hello", ["a"])


def test_a_dict_with_odd_keys_as_message(log, logger):
    """A dict as message may have keys that are no strings."""
    logger.info({1: "a", None: "b", "message": 3})
    assert (log.line["message"], log.line["1"], log.line["None"]) == (3, "a", "b")


def test_newlines_and_terminal_codes_stay_on_the_line(log, logger):
    """A forged line in a message is text of the one line, and no control character is written as it is."""
    logger.info('x\n{"level":"INFO"}\r\x1b[31m\u2028é')
    text = log.stream.getvalue()
    assert text.count("\n") == 1
    assert text.isascii()
    assert text[:-1].isprintable()
    assert log.line["message"] == 'x\n{"level":"INFO"}\r\x1b[31m\u2028é'


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def write(self, _text: str) -> int:
        """Fail."""
        raise OSError("disk full")


@pytest.mark.parametrize("stream", [Broken(), io.TextIOWrapper(io.BytesIO(), encoding="ascii")])
def test_hard_case_a_stream_that_fails_breaks_nothing(log, logger, stream, capsys):
    """A full disk or a closed stream is no error of the log call's, and is not complained about on stderr."""
    if isinstance(stream, io.TextIOWrapper):
        stream.close()
    log.configure(stream=stream)
    logger.info("hello")
    assert "Logging error" not in capsys.readouterr().err


def test_a_process_without_stderr_logs_nowhere(log, logger, monkeypatch):
    """Where there is no stderr, as under pythonw, lines are dropped."""
    log.configure(stream=None)
    monkeypatch.setattr(sys, "stderr", None)
    logger.info("hello")


def test_a_time_that_is_none_is_replaced(log):
    """A record with an impossible time is written with the present."""
    logging.getLogger().handle(logging.makeLogRecord({"levelno": 20, "msg": "x", "created": float("nan")}))
    assert log.line["timestamp"].startswith("20")


def test_a_failure_of_ours_leaves_a_shorter_line(log, logger, monkeypatch):
    """If the formatter itself fails, what is left of the line is written."""
    monkeypatch.setattr("vitalsign.logs.formatter.line_fields", None)
    logger.info("hello %s", "you")
    assert log.line["message"] == "hello %s"


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text() | st.integers(), inner, max_size=5),
    max_leaves=10,
)  # fmt: skip


@given(fields=st.dictionaries(st.text(), values, max_size=5))
def test_every_value_is_strict_json(fields):
    """Whatever the fields are, they can be written by the strictest encoder and read back as they were written."""
    cleaned = Cleaner()(fields)
    written = json.dumps(cleaned, allow_nan=False, check_circular=True)
    assert json.loads(written) == cleaned
    written.encode("utf-8")
    assert "\\ud8" not in written or "\\ud83" in written or json.loads(written.encode()) == cleaned
