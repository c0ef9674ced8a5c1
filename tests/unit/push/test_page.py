"""What leaves the process."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.samples import Sample

from vitalsign import Counter, Gauge, generate_latest
from vitalsign.push._page import Page, labelled


class Collector:
    """Collect what it was given."""

    def __init__(self, *metrics):
        self.metrics = metrics

    def describe(self):
        """Tell nothing, so that names may clash."""
        return []

    def collect(self):
        """Return it."""
        return self.metrics


def text(registry, **options):
    """Render a page."""
    return Page(registry, deadline=10.0).text(**options).decode()


def test_page_is_the_registry_s(registry):
    """What needs no mending is rendered as by generate_latest."""
    Counter("rows", "Rows.", ["table"], registry=registry).labels("a").inc()
    Gauge("größe", "Any letters.", registry=registry).set(1)
    assert text(registry) == generate_latest(registry).decode()


def test_process_is_left_out():
    """The default registry's metrics of process and interpreter, which is at its end, are left out."""
    page = text(REGISTRY)
    assert "process_start_time_seconds" not in page
    assert "python_info" not in page
    assert "process_start_time_seconds" in generate_latest().decode()


def test_times_and_repetitions_are_left_out(registry):
    """Samples lose their timestamps, and only the first of two samples of one series stays."""
    dated = GaugeMetricFamily("dated", "Dated.", labels=["a"])
    dated.add_metric(["1"], 1, timestamp=1_700_000_000)
    dated.add_metric(["1"], 2)
    dated.add_metric(["2"], 3)
    registry.register(Collector(dated))
    assert [line for line in text(registry).splitlines() if line[0] != "#"] == ['dated{a="1"} 1.0', 'dated{a="2"} 3.0']


def test_metric_that_is_there_twice_is_warned_of(registry, caplog):
    """Of two metrics of one name on the page the first is shown, and a warning names it; also across types."""
    registry.register(
        Collector(
            CounterMetricFamily("rows", "A counter.", value=1),
            GaugeMetricFamily("rows_total", "The same on the page.", value=2),
            InfoMetricFamily("rows", "Another name on the page.", value={"a": "b"}),
        )
    )
    with caplog.at_level(logging.WARNING, "vitalsign"):
        page = text(registry)
    assert "rows_total 1.0\n" in page
    assert "rows_total 2.0\n" not in page
    assert 'rows_info{a="b"} 1.0\n' in page
    assert [record.getMessage() for record in caplog.records] == [
        "Metric rows_total is collected twice; only the first is pushed. Rename one."
    ]


@pytest.mark.parametrize("sample", [None, Sample("broken", {}, "many"), Sample("broken", None, 1.0)])
def test_broken_metric_is_left_out(registry, sample):
    """A metric with a sample that cannot be read does not take the others with it."""
    broken = GaugeMetricFamily("broken", "Broken.")
    broken.samples = [sample]
    registry.register(Collector(broken, GaugeMetricFamily("whole", "Whole.", value=1)))
    page = text(registry)
    assert "whole 1.0\n" in page
    assert "\nbroken" not in page


def test_labels_are_added_to_every_series(registry):
    """Labels are added to metrics of both libraries; a series' own label of that name is kept as exported."""
    Counter("rows", "Rows.", ["job", "table"], registry=registry).labels("own", "a").inc()
    registry.register(Collector(GaugeMetricFamily("plain", "Plain.", value=1)))
    page = text(registry, labels={"job": "report"})
    assert 'rows_total{exported_job="own",job="report",table="a"} 1.0\n' in page
    assert 'plain{job="report"} 1.0\n' in page


@pytest.mark.parametrize(
    ("own", "target", "both"),
    [
        ({}, {"job": "j"}, {"job": "j"}),
        ({"a": "1"}, {}, {"a": "1"}),
        ({"job": "own"}, {"job": "j"}, {"exported_job": "own", "job": "j"}),
        (
            {"job": "own", "exported_job": "older"},
            {"job": "j"},
            {"exported_exported_job": "own", "exported_job": "older", "job": "j"},
        ),
        (
            {"job": "own"},
            {"job": "j", "exported_job": "k"},
            {"exported_exported_job": "own", "exported_job": "k", "job": "j"},
        ),
    ],
)
def test_labels_of_a_target_go_before(own, target, both):
    """No label is lost where a target and a series have the same names."""
    assert labelled(own, target) == both
