"""What the tests of the access log share with those of the lines."""

from __future__ import annotations

from tests.unit.logs.conftest import log, pytest_runtest_call

__all__ = ["log", "pytest_runtest_call"]
