"""Reports as plain text, for people who ask with a terminal. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vitalsign.health._report import CheckResult, Report

__all__ = ["check_text", "info_text", "report_text"]

_TITLES = ("check", "status", "critical", "age", "took", "value", "message")


def report_text(report: Report) -> str:
    """Return *report* as a heading and a table."""
    service = " ".join(filter(None, (report.service, report.version)))
    heading = _one_line(f"{service}: {report.group} {report.status.value}")
    return "\n".join([heading, *([""] if report.checks else []), *_table(report.checks)])


def check_text(check: CheckResult) -> str:
    """Return one check as a line without titles."""
    return "  ".join(filter(None, _row(check)))


def info_text(info: Mapping[str, object]) -> str:
    """Return facts about a service, one a line."""
    width = max(map(len, info), default=0)
    return "\n".join(f"{name:{width}}  {_one_line(_flat(value))}" for name, value in info.items())


def _table(checks: Iterable[CheckResult]) -> list[str]:
    rows = [_TITLES, *map(_row, checks)]
    if len(rows) == 1:
        return []
    used = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in used]
    return [_aligned(row, widths) for row in zip(*used, strict=True)]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _row(check: CheckResult) -> tuple[str, ...]:
    value = "" if check.value is None else _one_line(f"{check.value} {check.unit}")
    return (
        check.name,
        check.status.value,
        "critical" if check.critical else "",
        _seconds(check.age),
        _seconds(check.duration),
        value,
        _one_line(check.message),
    )


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _flat(value: object) -> str:
    return ", ".join(f"{key} {part}" for key, part in value.items()) if isinstance(value, dict) else str(value)


def _one_line(text: str) -> str:
    # What a check says may hold what a terminal would obey.
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))
