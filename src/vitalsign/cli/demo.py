"""Serve an instrumented shop with visitors of its own: metrics, health checks, a worker, a dependency that fails."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from vitalsign.cli._parser import parse_duration, parse_integer, parse_number
from vitalsign.cli._terminal import Terminal

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator

    from vitalsign.demo import Demo, Figures

__all__ = ["configure", "run"]

_HIGHEST_RATE = 500.0  # about what one core can both send and answer
_LIVE_INTERVAL, _PLAIN_INTERVAL = 1.0, 10.0  # seconds
_URLS = (
    ("page", "/", "start here"),
    ("metrics", "/metrics", "what Prometheus scrapes"),
    ("health", "/health", "is it alive?"),
    ("ready", "/ready", "should it get traffic?"),
    ("full", "/health/full", "every check, with details"),
)


def configure(parser: ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--host", default="127.0.0.1", help="name or address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=partial(parse_integer, lowest=0, highest=65535),
        default=8008,
        help="port to listen on, 0 for any free one (default: %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=partial(parse_number, lowest=0, highest=_HIGHEST_RATE),
        default=20.0,
        help="requests per second that it sends to itself, 0 for none (default: %(default)g)",
    )
    parser.add_argument(
        "--duration",
        type=parse_duration,
        metavar="TIME",
        help="end after this time: 90 or 90s, 2m, 1h (default: at Ctrl-C)",
    )
    parser.add_argument(
        "--seed",
        type=partial(parse_integer, lowest=0, highest=2**32 - 1),
        default=1,
        help="another seed makes other visitors (default: %(default)s)",
    )


def run(arguments: Namespace) -> int:
    """
    Serve the demo until Ctrl-C, SIGTERM, or its time is up.

    Raises:
        MissingExtraError: A library that the demo needs is not installed.
        AddressError: It cannot listen where it is told to.
    """
    terminal = Terminal(sys.stdout)
    with terminal.showing_logs():
        asyncio.run(_perform(arguments, terminal))
    return 0


async def _perform(arguments: Namespace, terminal: Terminal) -> None:
    end = asyncio.Event()
    with _signals_calling(partial(asyncio.get_running_loop().call_soon_threadsafe, end.set)):
        from vitalsign.demo import listen, serving  # here, since no other command needs a server

        listener = listen(arguments.host, arguments.port)
        async with serving(listener, rate=arguments.rate, seed=arguments.seed) as demo:
            for line in _greeting(demo.url, arguments.rate, arguments.duration):
                terminal.line(line)
            await _report(demo, arguments.duration, end, terminal)
            terminal.status("")
            totals = demo.meter.total()
        terminal.line(_summary(totals))


async def _report(demo: Demo, duration: float | None, end: asyncio.Event, terminal: Terminal) -> None:
    """Show how *demo* is doing until *end*, or *duration* seconds have passed."""
    interval = _LIVE_INTERVAL if terminal.is_live else _PLAIN_INTERVAL
    loop = asyncio.get_running_loop()
    last = inf if duration is None else loop.time() + duration
    while terminal.has_reader and not end.is_set() and loop.time() < last:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(loop.time() + interval, last)):
                await end.wait()
        if not end.is_set() and loop.time() < last:
            terminal.status(_progress(demo.meter.now()))


@contextmanager
def _signals_calling(callback: Callable[[], object]) -> Iterator[None]:
    """Have Ctrl-C and SIGTERM call *callback* and nothing else."""
    before = {number: signal.signal(number, lambda *_: callback()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _greeting(url: str, rate: float, duration: float | None) -> Iterator[str]:
    traffic = f"{rate:g} requests per second of its own" if rate else "no traffic of its own"
    yield f"vitalsign demo: an instrumented shop, with {traffic}"
    yield ""
    for name, path, meaning in _URLS:
        yield f"  {name:8} {url + path:40} {meaning}"
    yield ""
    yield "Ctrl-C ends it." if duration is None else f"It ends after {duration:g} s, or at Ctrl-C."
    yield ""


def _progress(figures: Figures) -> str:
    minutes, seconds = divmod(round(figures.elapsed), 60)
    return "   ".join(
        [
            f"{minutes:02}:{seconds:02}",
            f"{figures.requests:,} requests",
            f"{figures.rate:.1f}/s",
            f"errors {_percentage(figures.error_ratio)}",
            f"p95 {_time(figures.p95)}",
            f"{figures.jobs:,} jobs",
            f"queue {figures.queue_depth}",
        ]
    )


def _summary(figures: Figures) -> str:
    return (
        f"Ended after {figures.elapsed:.1f} s: {figures.requests:,} requests, {figures.failed:,} of them errors (5xx), "
        f"95 % within {_time(figures.p95)}; {figures.jobs:,} jobs done, {figures.queue_depth} waiting."
    )


def _percentage(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100 * ratio:.1f} %"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds == inf:
        return "over 10 s"
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
