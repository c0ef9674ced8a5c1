"""The demo's shop, and a client for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from vitalsign.demo.app import make_app

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def client(registry) -> Iterator[TestClient]:
    """Run the shop on the test's registry, with a payment provider that never fails."""
    with TestClient(make_app(registry, seed=1), raise_server_exceptions=False) as client:
        client.post("/switches/payments/up")
        yield client
