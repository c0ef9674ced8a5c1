"""A real Pushgateway takes what jobs push, whatever becomes of the jobs."""

from __future__ import annotations

import base64
import signal
import socket
import threading

import pytest
from prometheus_client import Counter as PlainCounter
from prometheus_client.core import GaugeMetricFamily

from tests.servers import free_port, wait_until
from vitalsign import Counter, Gauge, Histogram, Info
from vitalsign.exceptions import PushError, PushRefusedError
from vitalsign.push import delete, push, push_on_exit
from vitalsign.testing import fresh_registry

pytestmark = pytest.mark.integration

HASH = "$2b$04$GPUJ9PJ2T7DTF/qDjOsVNueseMEGHQSO6IdBWkGGK98ImZgM8YBN6"  # bcrypt of the password below
PASSWORD = "right-horse"

JOB = """
    import os, signal, sqlite3, sys, threading, time
    from vitalsign import Counter
    from vitalsign.push import push_on_exit

    rows = Counter("report_rows", "Rows of the report.")
    kind, url, deadline = sys.argv[1:]
    if kind == "handled":
        signal.signal(signal.SIGTERM, lambda *_: (print("handled"), sys.exit(7)))
    if kind == "flag":
        stop = []
        signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    if kind == "interrupted":  # a background job of a shell is started without this handler
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with push_on_exit(url, job="report", deadline=float(deadline)):
        rows.inc(3)
        if kind == "raises":
            raise LookupError("no rows")
        if kind == "exits":
            sys.exit(5)
        if kind == "interrupted":
            os.kill(os.getpid(), signal.SIGINT)
        print("ready")
        if kind == "flag":
            while not stop:
                time.sleep(0.01)
            rows.inc(4)
        elif kind == "in C":
            query = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
            thread = threading.Thread(target=lambda: sqlite3.connect(":memory:").execute(query), daemon=True)
            thread.start()
            thread.join()
        elif kind in ("terminated", "handled"):
            time.sleep(60)
    print("after the block")
"""


def test_every_kind_of_metric_is_taken(gateway, registry):
    """Counters, gauges, histograms and infos of both libraries arrive under the labels of their group."""
    Counter("rows", "Rows.", ["table"], registry=registry).labels("a/b\n").inc(3)
    Gauge("size_bytes", "Size.", registry=registry).set(1.5)
    Histogram("step_seconds", "Steps.", buckets=(1.0, 2.0), registry=registry).observe(1.5)
    Info("build", "Build.", registry=registry).info({"version": "1"})
    PlainCounter("plain", "Of prometheus_client.", registry=registry).inc()
    push(gateway.url, job="report", grouping={"instance": "a"}, registry=registry)
    assert gateway.lines("rows_total") == ['rows_total{instance="a",job="report",table="a/b\\n"} 3']
    assert gateway.lines("size_bytes") == ['size_bytes{instance="a",job="report"} 1.5']
    assert gateway.lines("step_seconds_bucket") == [
        'step_seconds_bucket{instance="a",job="report",le="1"} 0',
        'step_seconds_bucket{instance="a",job="report",le="2"} 1',
        'step_seconds_bucket{instance="a",job="report",le="+Inf"} 1',
    ]
    assert gateway.lines("build_info") == ['build_info{instance="a",job="report",version="1"} 1']
    assert gateway.lines("plain_total") == ['plain_total{instance="a",job="report"} 1']


@pytest.mark.parametrize("value", ["", "/", "a/b", "é", "..", ".", "a b", "%2F", "=", "+", "日本", "a.b-c_~"])
def test_any_value_can_be_a_grouping_key(gateway, registry, value):
    """A grouping key may be empty, or have slashes, dots, blanks and letters of any script; so may a job's name."""
    Gauge("g", "G.", registry=registry).set(1)
    job = value or "job"
    push(gateway.url, job=job, grouping={"shop": value}, registry=registry)
    (group,) = gateway.groups()
    assert group["labels"] == {"job": job, "shop": value}
    delete(gateway.url, job=job, grouping={"shop": value})
    wait_until(lambda: not gateway.groups(), "end of the group")


def test_put_replaces_and_post_merges(gateway):
    """PUT leaves only what was pushed last in a group, POST keeps metrics of other names."""

    def metric(name):
        registry = fresh_registry()
        Gauge(name, "G.", registry=registry).set(1)
        return registry

    push(gateway.url, job="j", registry=metric("first"))
    push(gateway.url, job="j", registry=metric("second"), method="POST")
    assert len(gateway.lines("first{") + gateway.lines("second{")) == 2
    push(gateway.url, job="j", registry=metric("third"))
    assert gateway.lines("first{") + gateway.lines("second{") == []
    assert len(gateway.lines("third{")) == 1


def test_what_the_gateway_would_refuse_is_mended(gateway, registry):
    """Timestamps, a series that is there twice and a metric that is there twice do not make the gateway refuse all."""

    class Rough:
        def describe(self):
            return []

        def collect(self):
            dated = GaugeMetricFamily("dated", "Has a time.", labels=["a"])
            dated.add_metric(["1"], 1, timestamp=1_700_000_000)
            dated.add_metric(["1"], 2)
            return [dated, GaugeMetricFamily("twice", "One.", value=1), GaugeMetricFamily("twice", "Two.", value=2)]

    registry.register(Rough())
    push(gateway.url, job="j", registry=registry)
    assert gateway.lines("dated") == ['dated{a="1",instance="",job="j"} 1']
    assert gateway.lines("twice") == ['twice{instance="",job="j"} 1']


def test_refused_metrics_are_an_error_at_once(gateway, registry):
    """What contradicts another group's metrics is refused once, with the gateway's words, and not tried again."""
    Counter("rows", "Rows.", registry=registry).inc()
    push(gateway.url, job="first", registry=registry)
    other = fresh_registry()
    Gauge("rows_total", "Not a counter.", registry=other).set(1)
    with pytest.raises(PushRefusedError, match=r"(?s)status 400: .*rows_total.*not sent again") as caught:
        push(gateway.url, job="second", registry=other, deadline=20.0)
    assert caught.value.status == 400
    assert caught.value.destination == gateway.url


def test_refusal_is_one_line_in_the_log_of_the_job(gateway, registry, caplog):
    """A job whose metrics are refused ends as if nothing was, and its log has the gateway's reason."""
    Counter("rows", "Rows.", registry=registry).inc()
    push(gateway.url, job="first", registry=registry)
    other = fresh_registry()
    Gauge("rows_total", "Not a counter.", registry=other).set(1)
    with push_on_exit(gateway.url, job="second", registry=other):
        pass
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        f"The metrics of job 'second' are lost: {gateway.url} refuses the request with status 400: "
    )
    assert "rows_total" in message


def test_gateway_that_comes_late_gets_all(start_pushgateway, start_job):
    """A gateway that is down when the job ends, and back within the deadline, has lost nothing."""
    port = free_port()
    job = start_job(
        """
        import sys
        from vitalsign import Counter
        from vitalsign.push import push_on_exit
        with push_on_exit(sys.argv[1], job="report", deadline=60.0):
            Counter("report_rows", "Rows.").inc(3)
        """,
        f"http://127.0.0.1:{port}",
    )
    refused_before = threading.Event()
    with socket.socket() as listener:  # turned away once before the gateway is started
        listener.bind(("127.0.0.1", port))
        listener.listen()
        listener.settimeout(60)
        listener.accept()[0].close()
        refused_before.set()
    gateway = start_pushgateway(port=port)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 0, errors
    assert refused_before.is_set()
    assert gateway.lines("report_rows_total") == ['report_rows_total{instance="",job="report"} 3']
    assert gateway.lines("job_success") == ['job_success{instance="",job="report"} 1']


@pytest.mark.parametrize(
    ("kind", "signals", "status", "rows", "success"),
    [
        ("ends", (), 0, 3, 1),
        ("raises", (), 1, 3, 0),
        ("exits", (), 5, 3, 0),
        ("interrupted", (), -signal.SIGINT, 3, 0),
        ("terminated", (signal.SIGTERM,), -signal.SIGTERM, 3, 0),
        ("in C", (signal.SIGTERM,), -signal.SIGTERM, 3, 0),
        ("handled", (signal.SIGTERM,), 7, 3, 0),
        ("flag", (signal.SIGTERM,), 0, 7, 1),
    ],
)
def test_job_pushes_however_it_ends(gateway, start_job, kind, signals, status, rows, success):
    """A job that ends, raises, exits, is interrupted or terminated has pushed, and ends as it would have without."""
    job = start_job(JOB, kind, gateway.url, "60")
    if signals:
        assert job.stdout.readline() == "ready\n"
        for number in signals:
            job.send_signal(number)
    output, errors = job.communicate(timeout=60)
    assert job.returncode == status, errors
    assert ("after the block" in output) == (status == 0)
    assert ("LookupError: no rows" in errors) == (kind == "raises")
    assert ("handled" in output) == (kind == "handled")
    assert gateway.lines("report_rows_total") == [f'report_rows_total{{instance="",job="report"}} {rows}']
    assert gateway.lines("job_success") == [f'job_success{{instance="",job="report"}} {success}']
    assert len(gateway.lines("job_last_success_timestamp_seconds")) == success
    assert len(gateway.lines("job_last_run_timestamp_seconds")) == 1


@pytest.mark.parametrize(("kind", "status"), [("ends", 0), ("raises", 1), ("exits", 5)])
def test_gateway_that_is_down_for_good_leaves_the_job_alone(start_job, kind, status):
    """Without a gateway the job ends with its own status, and one log line says that the metrics are lost."""
    job = start_job(JOB, kind, f"http://user:pass-phrase@127.0.0.1:{free_port()}", "2")
    _, errors = job.communicate(timeout=60)
    assert job.returncode == status
    assert errors.count("The metrics of job 'report' are lost") == 1
    assert "Connection refused" in errors
    assert "pass-phrase" not in errors


def test_signal_during_the_push_waits_for_it(gateway, start_job):
    """SIGTERM that comes while a finished job pushes is obeyed as soon as the push is done."""
    job = start_job(
        """
        import os, signal, sys
        from prometheus_client.core import GaugeMetricFamily
        from prometheus_client import REGISTRY
        from vitalsign.push import push_on_exit

        class Late:
            def describe(self):
                return []
            def collect(self):
                os.kill(os.getpid(), signal.SIGTERM)
                return [GaugeMetricFamily("late", "Late.", value=1)]

        REGISTRY.register(Late())
        with push_on_exit(sys.argv[1], job="report"):
            pass
        print("went on")
        """,
        gateway.url,
    )
    output, errors = job.communicate(timeout=60)
    assert (job.returncode, output) == (-signal.SIGTERM, ""), errors
    assert gateway.lines("late") == ['late{instance="",job="report"} 1']
    assert gateway.lines("job_success") == ['job_success{instance="",job="report"} 1']


def test_time_of_the_last_success_outlives_a_failure(gateway, registry):
    """A failed run tells of itself and leaves the time of the last success in the group."""

    def run(*, fails):
        with push_on_exit(gateway.url, job="report", registry=registry) as job:
            if fails:
                job.failed()

    run(fails=False)
    before = gateway.lines("job_last_success_timestamp_seconds")
    run(fails=True)
    assert gateway.lines("job_success") == ['job_success{instance="",job="report"} 0']
    assert before == gateway.lines("job_last_success_timestamp_seconds") != []


def test_prometheus_knows_the_job_by_the_gateway(gateway, start_prometheus, start_job):
    """A Prometheus that scrapes the gateway as the guide says has a job's metrics, and its failure, under its name."""
    prometheus = start_prometheus({"gateway": gateway.address}, honor_labels=True)
    for kind, success in (("ends", 1), ("raises", 0)):
        start_job(JOB, kind, gateway.url, "60").communicate(timeout=60)
        prometheus.wait_for('job_success{job="report"}', lambda value, wanted=success: value == wanted)
    assert prometheus.value('report_rows_total{job="report"}') == 3
    assert prometheus.value('time() - job_last_success_timestamp_seconds{job="report"} < 600') is not None
    assert prometheus.value('count({__name__=~"job_.+",job="gateway"})') is None


def test_success_can_delete_the_group(gateway, registry):
    """With delete_on_success, what failed is shown until a run succeeds."""

    def run():
        return push_on_exit(gateway.url, job="report", registry=registry, delete_on_success=True)

    with pytest.raises(LookupError), run():
        raise LookupError
    assert gateway.lines("job_success") == ['job_success{instance="",job="report"} 0']
    with run():
        pass
    wait_until(lambda: not gateway.groups(), "end of the group")


def test_worker_processes_are_one_page(gateway, start_job, tmp_path):
    """A job whose processes share their metrics pushes what all of them have counted, those that ended too."""
    job = start_job(
        """
        import multiprocessing, sys
        from vitalsign import Counter
        from vitalsign.push import push_on_exit

        rows = Counter("report_rows", "Rows of the report.")
        with push_on_exit(sys.argv[1], job="report"):
            rows.inc()
            fork = multiprocessing.get_context("fork")
            children = [fork.Process(target=rows.inc, args=(10,)) for _ in range(3)]
            for child in children:
                child.start()
            for child in children:
                child.join()
        """,
        gateway.url,
        VITALSIGN_PROCESSES_DIR=str(tmp_path / "shared"),
    )
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 0, errors
    assert gateway.lines("report_rows_total") == ['report_rows_total{instance="",job="report"} 31']


@pytest.fixture
def guarded_gateway(start_pushgateway, tmp_path):
    """Return a Pushgateway that asks for a password."""
    config = tmp_path / "web.yml"
    config.write_text(f"basic_auth_users:\n  user: {HASH}\n")
    return start_pushgateway(f"--web.config.file={config}")


def test_password_lets_in(guarded_gateway, registry):
    """Basic authentication is taken from the option or from the URL."""
    push(guarded_gateway.url, job="option", registry=registry, basic_auth=("user", PASSWORD))
    push(guarded_gateway.url.replace("//", f"//user:{PASSWORD}@"), job="url", registry=registry)
    header = {"Authorization": "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()}
    assert guarded_gateway.get("/metrics", header).text.count("push_time_seconds{") == 2


def test_refused_credentials_are_an_error_at_once(guarded_gateway, registry):
    """A wrong password is refused once, and the error says what to check without showing it."""
    with pytest.raises(PushRefusedError, match=r"status 401: .*Check token=, basic_auth= or headers=") as caught:
        push(guarded_gateway.url.replace("//", "//user:wrong-horse@"), job="j", registry=registry, deadline=20.0)
    assert "wrong-horse" not in str(caught.value)
    assert caught.value.destination == guarded_gateway.url


def test_server_without_that_path_is_named(gateway, registry):
    """A wrong path is refused with the hint to check it, and a gateway below a prefix needs that in its address."""
    with pytest.raises(PushRefusedError, match="Check the path of the address"):
        push(f"{gateway.url}/elsewhere", job="j", registry=registry)


def test_gateway_below_a_prefix(start_pushgateway, registry):
    """The path of the address comes before the path of the group."""
    gateway = start_pushgateway("--web.route-prefix=/")
    push(f"{gateway.url}/", job="j", registry=registry)
    assert len(gateway.groups()) == 1


def test_unreachable_gateway_is_an_error(registry):
    """A push to where nobody listens is tried until the deadline, and the error says how often."""
    with pytest.raises(PushError, match=r"tries: \d+, the last ended in .*Connection refused") as caught:
        push(f"http://127.0.0.1:{free_port()}", job="j", registry=registry, deadline=1.0)
    assert not isinstance(caught.value, PushRefusedError)
    assert caught.value.status is None
