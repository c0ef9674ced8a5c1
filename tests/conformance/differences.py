"""The tests of prometheus_client that vitalsign fails by design, with the reasons; docs/conformance.md shows them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

__all__ = ["DIFFERENCES", "LEFT_OUT", "Difference", "table"]


class Difference(NamedTuple):
    """
    Tests that must fail, with all their parameters.

    Attributes:
        tests: Their node ids, from the name of the file on.
        raises: The exception that they must end with, a builtin.
        upstream: What they expect.
        ours: What vitalsign does instead.
        reason: Why.
    """

    tests: list[str]
    raises: str
    upstream: str
    ours: str
    reason: str


_DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

DIFFERENCES = [Difference(**entry) for entry in _DATA["difference"]]
LEFT_OUT: dict[str, str] = {test: entry["reason"] for entry in _DATA["left_out"] for test in entry["tests"]}
"""Tests that say nothing about vitalsign and are not run, with the reasons."""


def table() -> str:
    """Return the differences as the table that the documentation shows."""
    rows = ["| tests | expect | vitalsign | because |", "|---|---|---|---|"]
    for each in DIFFERENCES:
        tests = "<br>".join(f"`{test}`" for test in each.tests)
        rows.append(f"| {tests} | {each.upstream} | {each.ours} | {each.reason} |")
    return "\n".join(rows) + "\n"
