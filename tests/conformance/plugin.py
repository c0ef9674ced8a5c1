"""
A pytest plugin that puts vitalsign's names in place of prometheus_client's, before the tests import them.

Tests that are listed as differences must fail, as listed; a listed test that passes, fails otherwise or is not there
any more makes the run red, as does any other test that fails.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.metadata
import sys
from typing import TYPE_CHECKING, Any

import pytest

import vitalsign
from tests.conformance.differences import DIFFERENCES, LEFT_OUT, Difference
from vitalsign.metrics.exposition import generate_latest, generate_openmetrics

if TYPE_CHECKING:
    from collections.abc import Generator

INSTRUMENTS = {name: getattr(vitalsign, name) for name in ("Counter", "Gauge", "Histogram", "Summary", "Info", "Enum")}
REPLACED: dict[str, dict[str, Any]] = {
    "prometheus_client": {**INSTRUMENTS, "generate_latest": generate_latest},
    "prometheus_client.core": INSTRUMENTS,
    "prometheus_client.metrics": INSTRUMENTS,
    "prometheus_client.exposition": {"generate_latest": generate_latest},
    "prometheus_client.openmetrics.exposition": {"generate_latest": generate_openmetrics},
}
"""
What stands in for what. prometheus_client's servers and gateway client stay its own: they find these pages.

Its registry, its `Metric` classes and its samples are those that vitalsign uses too.
"""


def pytest_configure(config: pytest.Config) -> None:
    """Replace the names, once for the whole process."""
    for module, names in REPLACED.items():
        for name, ours in names.items():
            setattr(importlib.import_module(module), name, ours)
    config.pluginmanager.register(_Verdict(), "vitalsign-conformance")


class _Verdict:
    """Expect the listed differences, and count which tests declare an instrument of ours, and how they end."""

    def __init__(self) -> None:
        self._test = ""
        self._declaring: set[str] = set()
        self._outcomes: dict[str, str] = {}
        for instrument in INSTRUMENTS.values():
            self._watch(instrument)

    def _watch(self, instrument: Any) -> None:
        declare = instrument.__new__

        def watched(*args: Any, **kwargs: Any) -> Any:
            if not sys._getframe(1).f_globals["__name__"].startswith("vitalsign."):  # its own are not the test's
                self._declaring.add(self._test)
            return declare(*args, **kwargs)

        instrument.__new__ = watched

    @pytest.hookimpl(tryfirst=True)  # before a selection by -k takes tests away
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark what must fail, and take away what is left out."""
        expected = {test: difference for difference in DIFFERENCES for test in difference.tests}
        _check_all_there([*expected, *LEFT_OUT], {_name_of(item) for item in items})
        for item in items:
            difference = expected.get(_name_of(item))
            if difference is not None:
                item.add_marker(_must_fail(difference))
        items[:] = [item for item in items if _name_of(item) not in LEFT_OUT]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note which test runs."""
        self._test = item.nodeid
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended."""
        if report.when == "call" or report.outcome != "passed":
            self._outcomes[report.nodeid] = "differs" if hasattr(report, "wasxfail") else report.outcome

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the figures."""
        version = importlib.metadata.version("prometheus-client")
        declaring = [outcome for test, outcome in self._outcomes.items() if test in self._declaring]
        terminalreporter.write_line(f"conformance with prometheus_client {version}:")
        terminalreporter.write_line(f"  tests run: {_figures(list(self._outcomes.values()))}")
        terminalreporter.write_line(f"  of them declare an instrument: {_figures(declaring)}")


def _name_of(item: pytest.Item) -> str:
    """Name a test from its file on, without parameters."""
    return item.nodeid.rpartition("/")[2].partition("[")[0]


def _check_all_there(listed: list[str], found: set[str]) -> None:
    files = {name.partition("::")[0] for name in found}
    missing = sorted(name for name in listed if name.partition("::")[0] in files and name not in found)
    if missing:
        raise pytest.UsageError(f"listed in differences.toml, but not there any more: {', '.join(missing)}")


def _must_fail(difference: Difference) -> pytest.MarkDecorator:
    return pytest.mark.xfail(reason=difference.reason, raises=getattr(builtins, difference.raises), strict=True)


def _figures(outcomes: list[str]) -> str:
    judged = [outcome for outcome in outcomes if outcome != "skipped"]
    passed, differs = judged.count("passed"), judged.count("differs")
    share = 100 * passed / len(judged) if judged else 100.0
    failed = len(judged) - passed - differs
    return f"{len(judged)}, {passed} pass ({share:.1f} %), {differs} differ by design, {failed} fail"
