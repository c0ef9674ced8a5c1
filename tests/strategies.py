"""Hypothesis strategies that several test modules share."""

from __future__ import annotations

from collections import UserDict, defaultdict
from enum import StrEnum
from http import HTTPStatus
from math import inf, nan
from typing import Any, NamedTuple

from hypothesis import strategies as st

__all__ = ["asgi_messages", "declarations", "label_values", "numbers", "positive_numbers", "utf8_names"]

NASTY = [
    "",
    " ",
    '"',
    "\\",
    "\n",
    '\\"',
    "%",
    "%s",
    "%%d.0\n",
    "} %d.0\n",
    "{}",
    "é",
    "☃",
    "\0",
    "\1",
    "\2",
    'a,b="c"',
    "le",
]

label_values = st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
numbers = st.one_of(
    st.floats(),
    st.integers(-(10**9), 10**18).map(float),
    st.sampled_from([0.0, -0.0, inf, -inf, nan, 999_999.5, 1e6, -1e6, 1234567.0, 1e15, 1e16, 1e22, 5e-324]),
)
positive_numbers = numbers.filter(lambda value: not value < 0)
utf8_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: not name.startswith("__")
)
"""Names with whatever UTF-8 can carry, for metrics and labels."""
_label_names = st.sampled_from(["a", "endpoint", "leaf", "method", "z_9", "_x", "Le", "_", "l", "m"])


class _Values(NamedTuple):
    """What is recorded."""

    counted: st.SearchStrategy[float]
    observed: st.SearchStrategy[float]
    bounds: st.SearchStrategy[float]
    exemplars: st.SearchStrategy[str]


_WILD = _Values(positive_numbers, numbers, st.floats(-1e7, 1e9, allow_nan=False), label_values)
_SANE = _Values(
    st.floats(0, 1e12),
    st.floats(0, 1e12),
    st.floats(0, 1e9),
    label_values.filter(lambda text: not {'"', "\\"} & {*text}),  # the parser stumbles over these in exemplars
)


@st.composite
def declarations(draw: st.DrawFn, *, sane: bool = False, exemplars: bool = False) -> list[dict[str, Any]]:
    """
    Draw what is needed to build the same registry twice: metrics of all kinds, and what was recorded in each.

    Args:
        draw: Of Hypothesis.
        sane: Whether to draw only what a strict parser of OpenMetrics takes: nothing that counts is NaN or negative.
        exemplars: Whether some of what is counted and observed brings an exemplar.
    """
    values = _SANE if sane else _WILD
    return [_metric(draw, f"m{number}", values, exemplars) for number in range(draw(st.integers(1, 4)))]


def _metric(draw: st.DrawFn, name: str, values: _Values, exemplars: bool) -> dict[str, Any]:
    kind = draw(st.sampled_from(["Counter", "Gauge", "Summary", "Histogram", "Info", "Enum"]))
    labels = draw(st.lists(_label_names, max_size=3, unique=True))
    extra: dict[str, Any] = {}
    if kind == "Histogram":
        extra["buckets"] = draw(st.lists(values.bounds, min_size=1, max_size=6, unique=True).map(sorted))
    if kind == "Enum":
        extra["states"] = draw(st.lists(label_values, min_size=1, max_size=3, unique=True))
    if kind in ("Counter", "Gauge", "Summary", "Histogram") and draw(st.booleans()):
        extra["unit"] = "seconds"
    series = st.tuples(st.tuples(*[label_values] * len(labels)), _writes(kind, extra, values, exemplars))
    return {
        "kind": kind,
        "name": draw(st.sampled_from([name, f"{name}_total", f"ns:{name}"])),
        "help": draw(label_values),
        "labels": labels,
        "extra": extra,
        "series": draw(st.lists(series, max_size=3)),
    }


def _writes(
    kind: str, extra: dict[str, Any], values: _Values, exemplars: bool
) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Draw names of methods, each with its arguments."""
    one: st.SearchStrategy[Any]
    exemplar = [_exemplars(values.exemplars)] if exemplars and kind in ("Counter", "Histogram") else []
    match kind:
        case "Counter":
            one = st.tuples(st.just("inc"), values.counted, *exemplar)
        case "Gauge":
            one = st.tuples(st.sampled_from(["inc", "dec", "set"]), numbers)
        case "Summary" | "Histogram":
            one = st.tuples(st.just("observe"), values.observed, *exemplar)
        case "Info":
            one = st.tuples(st.just("info"), st.dictionaries(st.sampled_from(["version", "host"]), label_values))
        case _:
            one = st.tuples(st.just("state"), st.sampled_from(extra["states"]))
    return st.lists(one, max_size=4)


def _exemplars(texts: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str] | None]:
    return st.none() | st.dictionaries(st.sampled_from(["trace_id", "span_id", "Z", "_"]), texts)


class Kind(StrEnum):
    """Types of messages, by an application that has them as constants."""

    START = "http.response.start"
    BODY = "http.response.body"


asgi_messages = st.one_of(
    st.builds(
        lambda status, more: {"type": "http.response.start", "status": status, **more},
        st.sampled_from([200, 204, 404, 500, HTTPStatus.OK, 0, None, "200"]),
        st.sampled_from([{}, {"headers": []}, {"trailers": True}, {"trailers": False}]),
    ),
    st.builds(
        lambda body, more: {"type": "http.response.body", **body, **more},
        st.sampled_from([{}, {"body": b""}, {"body": b"four"}, {"body": bytearray(300)}, {"body": None}]),
        st.sampled_from([{}, {"more_body": True}, {"more_body": False}, {"more_body": 1}]),
    ),
    st.sampled_from(
        [
            {"type": "http.response.trailers"},
            {"type": "http.response.trailers", "more_trailers": True},
            {"type": "http.response.pathsend", "path": "a"},
            {"type": "http.response.zerocopysend", "count": 5},
            {"type": "http.response.zerocopysend"},
            {"type": "http.response.start"},
            {"type": 5},
            {},
            UserDict({"type": "http.response.body", "body": b"as another mapping"}),
            defaultdict(int, type="http.response.body"),
            {"type": Kind.START, "status": 201},
            {"type": Kind.BODY, "body": b"of a kind"},
            7,
        ]
    ),
)
"""What applications send by ASGI, sound and unsound."""
