"""Code that tests run in processes of its own."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import textwrap
import traceback
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["forked", "run_script"]

PATIENCE = 60.0  # seconds

Result = TypeVar("Result")


def forked(work: Callable[[], Result]) -> Result:
    """Run *work* in a forked child, which ends without the parent's exit hooks, and return its result."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(work(), pipe)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    has_answered = bool(select.select([reading], [], [], PATIENCE)[0])
    if not has_answered:
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert has_answered, "the forked child hangs"
    assert status == 0, f"the child ended with status {status}; its traceback is on stderr"
    result: Result = pickle.loads(answer)
    return result


def run_script(script: str, *arguments: str, timeout: float = PATIENCE) -> str:
    """
    Run *script* in a Python of its own, and return what it printed, errors too.

    Coverage is not measured there: its locks do not survive a fork while other threads run.
    """
    done = subprocess.run(
        # Python 3.12 and later warn of forks among threads, which is what some scripts are about.
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", textwrap.dedent(script), *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
