"""What `vitalsign demo` reads and writes: lengths of time, the greeting, progress and the summary."""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitalsign.cli._parser import parse_duration, parse_integer, parse_number
from vitalsign.cli.demo import _greeting, _progress, _summary
from vitalsign.demo import Figures

FIGURES = Figures(
    elapsed=72.4, requests=1510, failed=12, jobs=280, queue_depth=3, rate=20.85, error_ratio=0.0123, p95=0.0841
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("2m", 120), ("1.5m", 90), ("1h", 3600), ("500ms", 0.5), (" 3S ", 3)],
)
def test_length_of_time_is_read(text, seconds):
    """A number is seconds; ms, s, m and h say otherwise."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1", "s", "1 m", "1d", "inf", "nan", "1e3", "9" * 400])
def test_what_is_no_length_of_time_is_refused(text):
    """Nothing, no time at all, negative or endless time, and other units are refused with an example."""
    with pytest.raises(ArgumentTypeError, match=r"is no length of time\. Give one above 0, such as 30s, 2m or 1h\."):
        parse_duration(text)


@given(st.one_of(st.text(), st.floats().map(str), st.integers().map(str)))
def test_numbers_are_in_their_range_or_refused(text):
    """Whatever is typed, a number within its bounds comes back, or a complaint that names them."""
    for parse in (parse_integer, parse_number):
        complaint = ""
        try:
            number = parse(text, lowest=1, highest=9)
        except ArgumentTypeError as refused:
            complaint = str(refused)
        assert complaint.endswith("from 1 to 9.") if complaint else 1 <= number <= 9


def test_greeting_lists_the_urls():
    """The greeting has a URL for each thing to look at, the traffic, and how it ends."""
    text = "\n".join(_greeting("http://127.0.0.1:8008", 20.0, None))
    for path in ("/", "/metrics", "/health", "/ready", "/health/full"):
        assert f" http://127.0.0.1:8008{path} " in text
    assert "20 requests per second" in text
    assert "Ctrl-C ends it." in text


def test_greeting_tells_what_was_chosen():
    """The greeting says when there is no traffic, and when it will end by itself."""
    text = "\n".join(_greeting("http://[::1]:80", 0, 90.0))
    assert "no traffic of its own" in text
    assert "It ends after 90 s, or at Ctrl-C." in text


def test_progress_is_one_line():
    """The progress fits in one line of 80 characters, with all that there is to tell."""
    line = _progress(FIGURES)
    assert line == "01:12   1,510 requests   20.9/s   errors 1.2 %   p95 84 ms   280 jobs   queue 3"
    assert len(line) < 80


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"error_ratio": None, "p95": None}, "errors -   p95 -"),
        ({"p95": inf}, "p95 over 10 s"),
        ({"p95": 2.34}, "p95 2.3 s"),
        ({"elapsed": 6000.0}, "100:00"),
    ],
)
def test_progress_tells_the_unusual(changes, shown):
    """No requests yet, very slow ones, and long runs have their own words."""
    assert shown in _progress(replace(FIGURES, **changes))


def test_summary_adds_up():
    """The summary has the length, the requests, their errors, their 95th percentile and the jobs."""
    assert _summary(FIGURES) == (
        "Ended after 72.4 s: 1,510 requests, 12 of them errors (5xx), 95 % within 84 ms; 280 jobs done, 3 waiting."
    )
