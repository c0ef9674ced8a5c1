"""Event loops for collectors that measure by awaiting."""

from __future__ import annotations

import asyncio
import os
import selectors
import sys
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from vitalsign.typing import AsyncCollector

__all__ = ["PrivateLoop"]

_inherited: list[asyncio.Runner] = []


class PrivateLoop:
    """
    Run one collector's `sample()` on an event loop of its own, in whatever thread asks for a sample.

    The loop is the same each time, so connections that the collector keeps stay usable. It stands still in between.
    """

    def __init__(self, collector: AsyncCollector, deadline: float) -> None:
        self._collector = collector
        self._deadline = deadline
        self._runner = asyncio.Runner(loop_factory=_make_loop)
        self._pid = os.getpid()

    def sample(self) -> Iterable[Metric]:
        """
        Take one sample.

        Raises:
            TimeoutError: It took longer than the deadline, and was cancelled.
        """
        if self._pid != os.getpid():
            # It may be in the middle of its parent's sample, and can then neither be used nor closed.
            _inherited.append(self._runner)
            self._runner = asyncio.Runner(loop_factory=_make_loop)
            self._pid = os.getpid()
        return self._runner.run(self._sample())

    def close(self) -> None:
        """Close the loop; no sample may be in progress."""
        if self._pid == os.getpid():
            self._runner.close()

    async def _sample(self) -> Iterable[Metric]:
        async with asyncio.timeout(self._deadline):
            measuring = self._collector.sample()
            if isinstance(measuring, AsyncIterable):
                return [metric async for metric in measuring]
            return await measuring


def _make_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    # The descriptors that epoll and kqueue watch are kept in the kernel, shared with forked children: one that closed
    # the loop, or only ended, would make its parent's deaf. Those of poll are kept here.
    return asyncio.SelectorEventLoop(selectors.PollSelector())
