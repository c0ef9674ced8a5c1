"""prometheus_client's tests run on vitalsign: that run can fail, and the documentation tells what differs."""

from __future__ import annotations

import builtins
import importlib.metadata
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from tests.conformance.__main__ import upstream_tests
from tests.conformance.differences import DIFFERENCES, LEFT_OUT, table
from tests.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]

NEWER = Version(importlib.metadata.version("prometheus-client")) >= Version("0.26")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where prometheus_client's tests are; without them there is nothing to test, unless this is CI."""
    if not NEWER:
        pytest.skip("what differs is listed for the tests of prometheus_client 0.26")
    made = tmp_path_factory.mktemp("upstream")
    try:
        upstream_tests(made)
    except subprocess.CalledProcessError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("the sdist of prometheus_client cannot be had here")
    return made


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    """Return what runs prometheus_client's tests, after a line of sabotage."""

    def run(sabotage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "sabotage.py").write_text(f"import vitalsign\n{sabotage}\n", encoding="utf-8")
        paths = [str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        return subprocess.run(
            [sys.executable, "-m", "tests.conformance", str(folder), "-p", "sabotage", *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    return run


def test_is_green_without_sabotage(run: Run) -> None:
    """The run passes, and says how many tests it ran, and how many of them declare an instrument of ours."""
    done = run("", "test_wsgi.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests run: 7, 7 pass (100.0 %), 0 differ by design, 0 fail" in done.stdout
    assert "declare an instrument: 6, 6 pass (100.0 %), 0 differ by design, 0 fail" in done.stdout


@pytest.mark.parametrize(
    "sabotage",
    [
        pytest.param("vitalsign.Counter.inc = lambda self, amount=1: None", id="instrument"),
        pytest.param("from vitalsign.metrics import text; text.write = lambda *_: []", id="page"),
    ],
)
def test_sabotage_is_red(run: Run, sabotage: str) -> None:
    """A counter that does not count, or a page that shows nothing, fails prometheus_client's tests."""
    done = run(sabotage, "test_wsgi.py")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED" in done.stdout
    assert "test_report_metrics_1" in done.stdout


def test_listed_difference_that_is_gone_is_red(run: Run) -> None:
    """A test that is listed as different, and passes, fails the run: the list must not outlive its reasons."""
    mend = "vitalsign.Counter.__repr__ = lambda self: f'prometheus_client.metrics.Counter({self._name})'"
    done = run(mend, "test_core.py", "-k", "test_repr")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "[XPASS(strict)]" in done.stdout
    assert "4 differ by design, 1 fail" in done.stdout


def test_listed_test_that_is_gone_is_red(run: Run) -> None:
    """A listed test that prometheus_client does not have any more fails the run."""
    forget = "from tests.conformance.differences import LEFT_OUT; LEFT_OUT['test_wsgi.py::test_gone'] = ''"
    done = run(forget, "test_wsgi.py")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "not there any more: test_wsgi.py::test_gone" in done.stderr


def test_documentation_tells_what_differs() -> None:
    """The page on conformance holds the list, as the run takes it, with what is left out."""
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert table() in page
    assert all(f"`{test}`: {reason}" in " ".join(page.split()) for test, reason in LEFT_OUT.items())


def test_differences_end_with_builtin_exceptions() -> None:
    """Each difference names the exception by which it is known."""
    assert all(issubclass(getattr(builtins, each.raises), Exception) for each in DIFFERENCES)
