"""The demo as a process."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.servers import Server, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DEMO = [sys.executable, "-m", "vitalsign", "demo"]


class StartDemo(Protocol):
    """The fixture `start_demo`."""

    def __call__(self, *options: str, env: Mapping[str, str] | None = None) -> Server:
        """Start `vitalsign demo` with *options* on a free port, and wait until it is up."""


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[StartDemo]:
    """Start demos that end with the test."""
    with contextlib.ExitStack() as stack:

        def start(*options: str, env: Mapping[str, str] | None = None) -> Server:
            port = free_port()
            log = tmp_path / f"demo-{port}.log"
            command = [*DEMO, "--port", str(port), *options]
            return stack.enter_context(running(command, port=port, ready="/startup", log=log, env=env))

        yield start
