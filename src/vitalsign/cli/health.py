"""
Ask a service how it is, for scripts and for Docker's HEALTHCHECK.

Ends with 0 if the service passes or is degraded (warn), with 1 if it fails, with 2 if it cannot be asked.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from vitalsign.cli._parser import parse_duration
from vitalsign.cli._probe import Answer, Probe, Unanswered, add_connection_options, parse_url, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator
    from urllib.parse import SplitResult

__all__ = ["configure", "run"]

_PATHS = {"liveness": "/health", "readiness": "/ready", "startup": "/startup", "full": "/health/full"}
_WORDS = {"warn": "warn", "fail": "fail", "error": "fail", "down": "fail"}
"""Those of draft-inadarei-api-health-check-06, with the aliases that it accepts; all others pass."""

_PASSES, _FAILS, _CANNOT_BE_ASKED = 0, 1, 2
_INTERVAL = 0.5  # seconds between attempts


class Verdict(NamedTuple):
    """
    What came of one attempt.

    Attributes:
        code: Exit code.
        line: What to say.
        details: Lines below that.
        is_final: Whether to ask again makes no sense.
    """

    code: int
    line: str
    details: tuple[str, ...] = ()
    is_final: bool = False


def configure(parser: ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("url", metavar="URL", type=parse_url, help="the service, or one of its health endpoints")
    parser.add_argument(
        "--group",
        choices=_PATHS,
        help="ask for this group, at its default path below URL (default: readiness, if URL has no path)",
    )
    parser.add_argument(
        "--wait", type=parse_duration, metavar="TIME", default=0.0, help="ask again, for so long, until it passes: 30s"
    )
    parser.add_argument(
        "--timeout", type=parse_duration, metavar="TIME", default=3.0, help="for one answer (default: 3s)"
    )
    add_connection_options(parser)


def run(arguments: Namespace) -> int:
    """Ask, print a line and what is told of the checks, and return the exit code."""
    url = _with_path(arguments.url, arguments.group)
    verdict = _ask_until(Probe(url, arguments.token, arguments.cafile), arguments.timeout, arguments.wait)
    stream = sys.stderr if verdict.code == _CANNOT_BE_ASKED else sys.stdout
    print(verdict.line, *verdict.details, sep="\n", file=stream)
    return verdict.code


def _with_path(url: SplitResult, group: str | None) -> SplitResult:
    above = url.path.rstrip("/")
    return url if above and group is None else url._replace(path=above + _PATHS[group or "readiness"])


def _ask_until(probe: Probe, timeout: float, wait: float) -> Verdict:
    """Ask once, or until *wait* seconds have passed."""
    last = time.monotonic() + wait
    seconds = timeout
    while True:
        verdict = _ask(probe, seconds)
        left = last - time.monotonic() - _INTERVAL
        if verdict.code == _PASSES or verdict.is_final or left <= 0:
            return verdict
        time.sleep(_INTERVAL)
        seconds = min(timeout, left)


def _ask(probe: Probe, seconds: float) -> Verdict:
    shown = probe.url.geturl()
    try:
        answer = probe.ask(seconds)
    except Unanswered as error:
        return Verdict(_CANNOT_BE_ASKED, f"vitalsign health: {shown}: {error}.", is_final=error.is_final)
    data = _data(answer)
    status = _status(answer, data)
    if not status:
        return Verdict(_CANNOT_BE_ASKED, f"vitalsign health: {shown}: {_strange(answer)}.")
    line = f"{status}  {shown}  {answer.status} in {1000 * answer.seconds:.0f} ms"
    return Verdict(_FAILS if status == "fail" else _PASSES, line, tuple(_details(data)))


def _data(answer: Answer) -> dict[str, object]:
    try:
        data = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _status(answer: Answer, data: dict[str, object]) -> str:
    """Return what the answer says about health; nothing, if it is about something else."""
    if answer.status >= 500:
        return "fail"
    if not 200 <= answer.status < 300:
        return ""
    return _WORDS.get(str(data.get("status")).lower(), "pass")


def _strange(answer: Answer) -> str:
    if answer.status in (401, 403):
        return f"it answered {answer.status}: it wants another token, or another network"
    if answer.status == 404:
        return "it answered 404: there is no health endpoint"
    if answer.location:
        return f"it answered {answer.status}, and points to {printable(answer.location)}"
    return f"it answered {answer.status}, which says nothing about health"


def _details(data: dict[str, object]) -> Iterator[str]:
    checks = data.get("checks")
    if not isinstance(checks, dict):
        return
    width = max((len(printable(name)) for name in checks), default=0)
    for name, check in checks.items():
        told = check if isinstance(check, dict) else {}
        parts = (told.get("status"), "critical" if told.get("critical") is True else None, told.get("message"))
        yield f"  {printable(name):{width}}  " + "  ".join(printable(part) for part in parts if part)
