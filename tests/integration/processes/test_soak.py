"""The soak, short; `nox -s soak` runs it for five minutes."""

from __future__ import annotations

import pytest

from tests.integration.processes.load import needs
from tests.soak import Reading, Soak, soak

pytestmark = pytest.mark.integration

SECONDS = 12


@pytest.mark.slow
def test_soak(tmp_path):
    """Under load, with a worker killed every second, no order is lost, and neither files nor memory grow."""
    needs("gunicorn")
    outcome = soak(tmp_path, SECONDS)
    assert outcome.kills >= SECONDS / 2
    assert len(outcome.load.pids) >= SECONDS / 2
    assert outcome.load.lost.total() <= 20 * outcome.kills
    assert outcome.drops == []
    assert outcome.growth() == []


def test_soak_sees_growth():
    """What grows from the first half to the second is named."""
    flat = Reading(orders=1, files=10, bytes=100_000, memory=50_000_000, scrape=0.01)
    grown = Reading(orders=2, files=30, bytes=100_000, memory=90_000_000, scrape=0.01)
    outcome = Soak(load=None, readings=[flat, flat, flat, grown])  # type: ignore[arg-type]
    assert outcome.growth() == ["files: 10 -> 30", "memory: 50000000 -> 90000000"]
    assert len(outcome.table().splitlines()) == 6
