"""The message of remote write, and how it is sent."""

from __future__ import annotations

import struct
import sys
from datetime import UTC, datetime

import cramjam
import pytest
from prometheus_client.core import GaugeMetricFamily

from tests.unit.push.conftest import OK
from tests.unit.push.messages import decode
from vitalsign import Counter, Gauge
from vitalsign.exceptions import MissingExtraError, PushOptionError, PushRefusedError
from vitalsign.push import remote_write, remote_write_on_exit
from vitalsign.push._write_request import STALE, Series, encode

REFUSED = b"HTTP/1.1 400 No\r\nContent-Length: 7\r\n\r\nno good"


def written(server):
    """Return the series of all requests that *server* has got."""
    bodies = [request.partition(b"\r\n\r\n")[2] for request in server.requests]
    return [series for body in bodies for series in decode(bytes(cramjam.snappy.decompress_raw(body)))]


def test_message_has_the_bytes_of_the_protocol():
    """A series is written byte for byte as protocol buffers prescribe."""
    message = encode([Series({"__name__": "up", "a": "é"}, 1.5, 300)])
    assert message.hex(" ") == (
        "0a 27 "  # timeseries, 39 bytes
        "0a 0e 0a 08 5f 5f 6e 61 6d 65 5f 5f 12 02 75 70 "  # label: __name__, up
        "0a 07 0a 01 61 12 02 c3 a9 "  # label: a, é
        "12 0c 09 00 00 00 00 00 00 f8 3f 10 ac 02"  # sample: 1.5 at 300
    )


def test_stale_marker_is_prometheus_s():
    """The stale marker is the NaN whose bits Prometheus compares with."""
    assert struct.pack(">d", STALE).hex() == "7ff0000000000002"
    assert encode([Series({}, STALE, 0)]).hex() == "0a0d" + "120b" + "09" + "020000000000f07f" + "1000"


def test_labels_are_sorted_and_complete(serve, registry):
    """Series have the labels of their target, sorted, none empty, with names that every server takes."""
    server = serve(OK)
    odd = Gauge("9.größe", "Odd.", ["Z", "ü.x", "job", "empty"], registry=registry)
    odd.labels("z", "u\ud800", "own", "").set(1)
    url = f"{server.url}/api/v1/write"
    remote_write(url, job="report", labels={"instance": "i"}, registry=registry, timestamp=1_700_000_000.5)
    (series,) = written(server)
    assert series == (
        [
            ("Z", "z"),
            ("__name__", "_9_gr__e"),
            ("_x", "u?"),
            ("exported_job", "own"),
            ("instance", "i"),
            ("job", "report"),
        ],
        1.0,
        1_700_000_000_500,
    )
    head = server.requests[0].partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"post /api/v1/write http/1.1\r\n")
    assert b"content-encoding: snappy" in head
    assert b"content-type: application/x-protobuf" in head
    assert b"x-prometheus-remote-write-version: 0.1.0" in head


def test_values_of_every_kind_are_kept(serve, registry):
    """Infinite, negative, tiny and missing numbers arrive as they are."""
    values = [float("inf"), float("-inf"), -0.0, 5e-324, 1e308]
    gauge = Gauge("g", "G.", ["n"], registry=registry)
    for number, value in enumerate(values):
        gauge.labels(number).set(value)
    gauge.labels("nan").set(float("nan"))
    server = serve(OK)
    remote_write(server.url, job="report", registry=registry)
    *rest, last = [value for _, value, _ in written(server)]
    assert [struct.pack(">d", value) for value in rest] == [struct.pack(">d", value) for value in values]
    assert last != last
    assert struct.pack(">d", last) != struct.pack(">d", STALE)


def test_requests_have_a_bounded_size(serve, registry):
    """A page of many series is sent in requests of at most 2,000; one that is refused does not keep the others back."""
    gauge = Gauge("g", "G.", ["n"], registry=registry)
    for number in range(4001):
        gauge.labels(number).set(number)
    server = serve(REFUSED, OK)
    with pytest.raises(PushRefusedError, match="no good"):
        remote_write(server.url, job="report", registry=registry)
    assert len(server.requests) == 3
    assert sorted(value for _, value, _ in written(server)) == list(range(4001))


def test_refused_credentials_end_it(serve, registry):
    """Where nobody is let in, the rest is not sent."""
    gauge = Gauge("g", "G.", ["n"], registry=registry)
    for number in range(2001):
        gauge.labels(number).set(number)
    server = serve(REFUSED.replace(b"400", b"401"))
    with pytest.raises(PushRefusedError, match="status 401"):
        remote_write(server.url, job="report", registry=registry)
    assert len(server.requests) == 1


def test_empty_registry_sends_nothing(serve, registry):
    """There is no request without series."""
    server = serve(OK)
    remote_write(server.url, job="report", registry=registry)
    assert server.requests == []


def test_times_of_the_metrics_own_are_left_out(serve, registry):
    """All samples have one time: a series of the past would have the whole request refused."""

    class Dated:
        def describe(self):
            return []

        def collect(self):
            dated = GaugeMetricFamily("dated", "Dated.", labels=[])
            dated.add_metric([], 1, timestamp=1_000_000_000)
            return [dated]

    registry.register(Dated())
    Counter("rows", "Rows.", registry=registry).inc()
    server = serve(OK)
    remote_write(server.url, job="report", registry=registry, timestamp=datetime(2026, 1, 1, tzinfo=UTC))
    assert {timestamp for _, _, timestamp in written(server)} == {1_767_225_600_000}


@pytest.mark.parametrize("timestamp", [-1, float("nan"), float("inf"), 1e18, datetime(2026, 1, 1)])
def test_time_that_is_none_is_refused(timestamp):
    """A time before 1970, none at all, and one of an unknown timezone are refused."""
    with pytest.raises(PushOptionError, match="timestamp="):
        remote_write("http://prometheus/api/v1/write", job="report", timestamp=timestamp)


@pytest.mark.parametrize("options", [{"job": ""}, {"labels": {"a b": "c"}}, {"labels": {"__name__": "c"}}])
def test_target_that_makes_no_sense_is_refused(options):
    """A target without a job, and labels that are none, are refused before the job runs."""
    with pytest.raises(PushOptionError):
        remote_write_on_exit("http://prometheus/api/v1/write", **{"job": "report", **options})


def test_missing_library_is_named_before_the_job(monkeypatch):
    """Without cramjam, declaring the job fails with the pip command; the other ways do not need it."""
    monkeypatch.setitem(sys.modules, "cramjam", None)
    monkeypatch.delitem(sys.modules, "vitalsign.push._snappy", raising=False)
    with pytest.raises(MissingExtraError, match=r'pip install "vitalsign\[remote-write\]"'):
        remote_write_on_exit("http://prometheus/api/v1/write", job="report")
