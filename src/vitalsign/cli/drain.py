"""
Take a service out of traffic, and wait while load balancers notice: the preStop hook of a container without curl.

Ends with 0 once the time is over, with 2 if the service cannot be told.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vitalsign.cli._parser import parse_duration
from vitalsign.cli._probe import Probe, Unanswered, add_connection_options, parse_url

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

__all__ = ["configure", "run"]

_PATH = "/health/drain"
_MARGIN = 5.0  # seconds that the service has to answer, past the time to drain


def configure(parser: ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("url", metavar="URL", type=parse_url, help=f"its drain endpoint; {_PATH}, if URL has no path")
    parser.add_argument(
        "--for", dest="seconds", type=parse_duration, metavar="TIME", default=10.0, help="how long (default: 10s)"
    )
    add_connection_options(parser)


def run(arguments: Namespace) -> int:
    """Tell the service, wait, and return the exit code."""
    url = arguments.url if arguments.url.path.rstrip("/") else arguments.url._replace(path=_PATH)
    asked = url._replace(query=f"seconds={arguments.seconds:g}")
    try:
        answer = Probe(asked, arguments.token, arguments.cafile, "POST").ask(arguments.seconds + _MARGIN)
    except Unanswered as error:
        print(f"vitalsign drain: {url.geturl()}: {error}.", file=sys.stderr)
        return 2
    if answer.status != 200:
        print(f"vitalsign drain: {url.geturl()}: it answered {answer.status}{_reason(answer.status)}.", file=sys.stderr)
        return 2
    print(f"drained  {url.geturl()}  {answer.seconds:.1f} s")
    return 0


def _reason(status: int) -> str:
    if status in (401, 403):
        return ": it wants another token, or another network"
    return ": there is no drain endpoint; health.routes(drain=...) makes one" if status in (404, 405) else ""
