"""A real Prometheus and a real VictoriaMetrics take what jobs write to them."""

from __future__ import annotations

import signal
import time

import pytest

from tests.servers import free_port, wait_until
from vitalsign import Counter, Gauge, Histogram
from vitalsign.exceptions import PushRefusedError
from vitalsign.push import remote_write, remote_write_on_exit

pytestmark = pytest.mark.integration


@pytest.fixture
def prometheus(start_prometheus):
    """Return a Prometheus that takes remote writes and scrapes nothing."""
    return start_prometheus({}, "--web.enable-remote-write-receiver")


def test_prometheus_takes_every_kind(prometheus, registry):
    """Counters, gauges and classic histograms are series with the labels of their target, and can be computed with."""
    Counter("rows", "Rows.", ["table", "job"], registry=registry).labels("a\nb", "own").inc(3)
    Gauge("size_bytes", "Size.", ["empty"], registry=registry).labels("").set(-1.5)
    steps = Histogram("step_seconds", "Steps.", buckets=(1.0, 2.0), registry=registry)
    for seconds in (0.5, 1.5, 1.5, 1.5):
        steps.observe(seconds)
    remote_write(f"{prometheus.url}/api/v1/write", job="report", labels={"instance": "a"}, registry=registry)
    target = {"job": "report", "instance": "a"}
    assert prometheus.query("rows_total") == [
        ({"__name__": "rows_total", "exported_job": "own", "table": "a\nb", **target}, 3.0)
    ]
    assert prometheus.query("size_bytes") == [({"__name__": "size_bytes", **target}, -1.5)]
    assert prometheus.value("histogram_quantile(0.5, step_seconds_bucket)") == pytest.approx(4 / 3)
    assert prometheus.value("step_seconds_sum") == 5.0


def test_thousands_of_series_go_in_several_requests(prometheus, registry):
    """A page of more series than a request may have arrives whole."""
    gauge = Gauge("part", "Part.", ["number"], registry=registry)
    for number in range(4500):
        gauge.labels(number).set(number)
    remote_write(f"{prometheus.url}/api/v1/write", job="report", registry=registry, deadline=60.0)
    assert prometheus.value("count(part)") == 4500
    assert prometheus.value("sum(part)") == sum(range(4500))
    page = prometheus.get("/metrics").text
    assert 'prometheus_http_requests_total{code="204",handler="/api/v1/write"} 3\n' in page


def test_times_that_go_back_are_refused_clearly(prometheus, registry):
    """A request with a sample older than its series is refused once, in Prometheus's words; the others arrive."""
    Gauge("first", "First.", registry=registry).set(1)
    now = time.time()
    url = f"{prometheus.url}/api/v1/write"
    remote_write(url, job="report", registry=registry, timestamp=now)
    part = Gauge("part", "Part.", ["number"], registry=registry)
    for number in range(2500):
        part.labels(number).set(number)
    with pytest.raises(PushRefusedError, match="status 400: out of order sample") as caught:
        remote_write(url, job="report", registry=registry, timestamp=now - 60, deadline=20.0)
    assert caught.value.status == 400
    assert prometheus.value("count(last_over_time(part[5m]))") == 501


def test_ended_series_leave_the_present(prometheus, registry):
    """Written as stale, series are gone from queries for the present, and stay in the past."""
    Gauge("progress", "Progress.", registry=registry).set(0.5)
    url = f"{prometheus.url}/api/v1/write"
    now = time.time()
    remote_write(url, job="report", registry=registry, timestamp=now - 2)
    assert prometheus.value("progress") == 0.5
    remote_write(url, job="report", registry=registry, timestamp=now - 1, stale=True)
    assert prometheus.value("progress") is None
    assert prometheus.value("last_over_time(progress[5m])") == 0.5


def test_prometheus_without_a_receiver_is_named(start_prometheus, registry):
    """A Prometheus that is not told to take writes refuses them, and the error says what to check."""
    plain = start_prometheus({})
    Gauge("g", "G.", registry=registry).set(1)
    with pytest.raises(PushRefusedError, match=r"(?s)status 404: remote write receiver.*told to take pushes"):
        remote_write(f"{plain.url}/api/v1/write", job="report", registry=registry, deadline=20.0)


def test_victoria_metrics_takes_the_same(start_victoria_metrics, registry):
    """VictoriaMetrics takes the same messages, with more labels from the query of its address."""
    victoria_metrics = start_victoria_metrics()
    Gauge("größe_bytes", "Names past ASCII.", registry=registry).set(1.5)
    Histogram("step_seconds", "Steps.", buckets=(1.0,), registry=registry).observe(0.5)
    now = int(time.time())
    url = f"{victoria_metrics.url}/api/v1/write?extra_label=team=shop"
    remote_write(url, job="report", registry=registry, timestamp=now - 0.75)
    (series,) = wait_until(lambda: victoria_metrics.series('{__name__=~"gr.*bytes"}'), "the series")
    assert series["metric"] == {"__name__": "gr__e_bytes", "job": "report", "team": "shop"}
    assert series["values"] == [1.5]
    assert series["timestamps"] == [now * 1000 - 750]
    assert len(victoria_metrics.series("step_seconds_bucket")) == 2


@pytest.mark.parametrize(("fails", "success"), [(False, 1), (True, 0)])
def test_job_writes_when_it_ends(prometheus, registry, fails, success):
    """A job's end is written with its metrics, and with the time of its success if it had one."""
    with remote_write_on_exit(f"{prometheus.url}/api/v1/write", job="report", registry=registry) as job:
        Counter("rows", "Rows.", registry=registry).inc(3)
        if fails:
            job.failed()
    assert prometheus.value("rows_total") == 3
    assert prometheus.value("job_success") == success
    assert prometheus.value("time() - job_last_run_timestamp_seconds < 60") is not None
    assert (prometheus.value("job_last_success_timestamp_seconds") is not None) == (not fails)


def test_server_that_comes_late_gets_all(start_victoria_metrics, start_job):
    """A terminated job waits for a server that is being restarted."""
    port = free_port()
    job = start_job(
        """
        import sys, time
        from vitalsign import Counter
        from vitalsign.push import remote_write_on_exit
        with remote_write_on_exit(sys.argv[1], job="report", deadline=60.0):
            Counter("report_rows", "Rows.").inc(3)
            print("ready")
            time.sleep(60)
        """,
        f"http://127.0.0.1:{port}/api/v1/write",
    )
    assert job.stdout.readline() == "ready\n"
    job.send_signal(signal.SIGTERM)
    late = start_victoria_metrics(port=port)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == -signal.SIGTERM, errors
    (series,) = wait_until(lambda: late.series("report_rows_total"), "the series")
    assert series["values"] == [3]
