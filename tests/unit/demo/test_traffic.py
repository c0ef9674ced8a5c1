"""The demo's visitors: the same for the same seed, and of every kind."""

from __future__ import annotations

import asyncio
from itertools import islice

from vitalsign.demo.traffic import send_traffic, visits


def first_visits(seed, number=5_000):
    """Return what the first visitors ask for."""
    return list(islice(visits(seed), number))


def test_same_seed_makes_the_same_visitors():
    """A seed decides about all visits, and another one makes others."""
    assert first_visits(1) == first_visits(1)
    assert first_visits(1) != first_visits(2)


def test_every_kind_of_visitor_comes():
    """Among many visits are orders, senseless ones too, scanners, bursts, made-up methods, and people who leave."""
    seen = first_visits(1)
    paths = {visit.path for visit in seen}
    assert {"/", "/api/products", "/api/products/14", "/api/export", "/api/reports/margins", "/.env"} <= paths
    assert {visit.method for visit in seen} == {"GET", "POST", "BREW", "WHEN"}
    assert {visit.json["quantity"] for visit in seen if visit.json} == {0, 1, 2, 3, 4, 5}
    assert any(visit.times > 10 for visit in seen)
    assert any(visit.leaves_early for visit in seen)
    assert len([path for path in paths if path.endswith(".php")]) > 50


def test_no_rate_means_no_traffic():
    """At rate 0 nobody comes, and nothing is left to wait for."""
    asyncio.run(send_traffic("http://127.0.0.1:1", rate=0, seed=1))
