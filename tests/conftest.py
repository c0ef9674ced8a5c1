"""What all tests share: fixtures, Hypothesis profiles, and a first line that says which package is tested."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import coverage
import hypothesis
import pytest
from prometheus_client import CollectorRegistry

import vitalsign
from vitalsign.metrics.compiled import native

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["tests.certificates", "tests.servers"]

# A deadline would judge the machine, not the code. CI repeats the same examples, so its verdict depends on
# nothing but the commit; elsewhere every run looks for new ones.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")


def pytest_report_header() -> str:
    """Say what is tested: a checkout and an installed wheel look alike otherwise, and so with and without its C."""
    return f"vitalsign: {vitalsign.__path__[0]}, {'not ' if native is None else ''}compiled"


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return a registry that no other test has touched."""
    return CollectorRegistry()


@pytest.fixture(scope="module", params=["compiled", "pure"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let each test run with the compiled part, and with the Python code that takes its place elsewhere."""
    if request.param == "compiled" and native is None:
        pytest.skip("the compiled part is not there: no compiler, or an editable installation")
    if native is not None and request.param != os.environ.get("VITALSIGN_TESTED_WAY", request.param):
        pytest.skip("VITALSIGN_TESTED_WAY says that the other way is enough here")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "pure":
            patch.setattr("vitalsign._http_exchange.native", None)
            patch.setattr("vitalsign.metrics.together.native", None)
        yield request.param


@pytest.fixture
def untraced() -> Iterator[None]:
    """Measure no coverage during a test that it would slow down tenfold, or whose forks would inherit its lock."""
    tracing = coverage.Coverage.current()
    if tracing is not None:
        tracing.stop()
    yield
    if tracing is not None:
        tracing.start()
