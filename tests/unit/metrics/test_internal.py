"""What goes wrong inside is logged once for each place, counted each time, and never raised."""

from __future__ import annotations

import logging
import threading

import pytest
from prometheus_client import REGISTRY

from vitalsign.metrics import internal
from vitalsign.metrics.internal import internal_error


@pytest.fixture
def place(request):
    """Return the name of a place where nothing has failed yet."""
    return request.node.nodeid


def counted(place):
    """Return how often something failed at *place*."""
    return REGISTRY.get_sample_value("vitalsign_internal_errors_total", {"where": place})


def test_failure_is_logged_once_and_counted_each_time(place, caplog):
    """The first failure at a place is logged with its traceback; each is counted under that place."""
    with caplog.at_level(logging.ERROR, "vitalsign"):
        for number in range(3):
            try:
                raise ValueError(number)
            except ValueError as error:
                internal_error(place, error)
    assert counted(place) == 3
    (record,) = caplog.records
    assert record.name == "vitalsign"
    assert f"vitalsign failed in {place}; the application goes on." in record.getMessage()
    assert record.exc_info[1].args == (0,)
    assert record.exc_info[2] is not None


def test_places_are_told_apart(place, caplog):
    """Failures at two places are logged and counted apart."""
    with caplog.at_level(logging.ERROR, "vitalsign"):
        internal_error(f"{place} a", ValueError())
        internal_error(f"{place} b", ValueError())
    assert [counted(f"{place} a"), counted(f"{place} b")] == [1, 1]
    assert len(caplog.records) == 2


class _BrokenHandler(logging.Handler):
    def emit(self, record):
        raise RuntimeError("the disk is full")


def test_broken_logging_does_not_raise(place):
    """A log handler of the host's that raises keeps the failure from being logged, not from being counted."""
    logger = logging.getLogger("vitalsign")
    handler = _BrokenHandler()
    logger.addHandler(handler)
    try:
        internal_error(place, ValueError())
    finally:
        logger.removeHandler(handler)
    assert counted(place) == 1


def test_failing_counter_does_not_raise(place, caplog, monkeypatch):
    """If the failure cannot be counted, it is logged all the same."""

    def fail():
        raise RuntimeError("the name is taken")

    monkeypatch.setattr(internal, "_counter", fail)
    with caplog.at_level(logging.ERROR, "vitalsign"):
        internal_error(place, ValueError())
    assert len(caplog.records) == 1
    assert counted(place) is None


def test_failure_while_logging_a_failure_ends(place):
    """A log handler that fails inside vitalsign in its turn is counted, and does not go round in circles."""

    class Handler(logging.Handler):
        def emit(self, record):
            internal_error(place, RuntimeError("again"))

    logger = logging.getLogger("vitalsign")
    handler = Handler()
    logger.addHandler(handler)
    try:
        internal_error(place, ValueError())
    finally:
        logger.removeHandler(handler)
    assert counted(place) == 2


def test_failures_of_many_threads_are_all_counted(place):
    """Failures at one place in eight threads at once are counted exactly."""
    start = threading.Barrier(8)

    def work():
        start.wait()
        for _ in range(100):
            internal_error(place, ValueError())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(place) == 800
