"""What a Pushgateway is sent."""

from __future__ import annotations

import pytest

from vitalsign import Counter, Gauge
from vitalsign.exceptions import PushOptionError
from vitalsign.push import delete, push, push_on_exit


@pytest.fixture
def one(registry):
    """Return a registry with one gauge."""
    Gauge("rows", "Rows.", registry=registry).set(3)
    return registry


def lines(server):
    """Return the first lines of the requests that *server* has got."""
    return [request.partition(b" HTTP/")[0].decode() for request in server.requests]


def test_page_is_pushed_as_text(serve, one):
    """The page is the body, in the Prometheus text format, and says so."""
    server = serve()
    push(server.url, job="report", registry=one)
    (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /metrics/job/report HTTP/1.1\r\n")
    assert b"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert body == b"# HELP rows Rows.\n# TYPE rows gauge\nrows 3.0\n"


@pytest.mark.parametrize(
    ("grouping", "path"),
    [
        ({}, ""),
        ({"instance": "a", "shop": "b.c-d_e~1"}, "/instance/a/shop/b.c-d_e~1"),
        ({"shop": ""}, "/shop@base64/="),
        ({"shop": "a/b"}, "/shop@base64/YS9i"),
        ({"shop": ".."}, "/shop@base64/Li4"),
        ({"shop": "日"}, "/shop@base64/5pel"),
        ({"shop": "\ud800"}, "/shop@base64/Pw"),
        ({"number": 7}, "/number/7"),
    ],
)
def test_key_of_the_group_is_a_path(serve, one, grouping, path):
    """What a path cannot carry is written in base64, whatever its type was; POST and DELETE have the same path."""
    server = serve()
    push(server.url, job="report", grouping=grouping, registry=one, method="POST")
    delete(server.url, job="report", grouping=grouping)
    assert lines(server) == [f"POST /metrics/job/report{path}", f"DELETE /metrics/job/report{path}"]


@pytest.mark.parametrize(
    ("method", "success", "failure"), [(None, "PUT", "POST"), ("PUT", "PUT", "PUT"), ("POST", "POST", "POST")]
)
def test_method_follows_from_the_end(serve, one, method, success, failure):
    """A success replaces the group and a failure merges into it, unless the method is given."""
    server = serve()
    for fails in (False, True):
        with push_on_exit(server.url, job="j", registry=one, method=method) as job:
            if fails:
                job.failed()
    assert lines(server) == [f"{success} /metrics/job/j", f"{failure} /metrics/job/j"]


def test_success_can_delete(serve, one):
    """With delete_on_success only a failure is pushed."""
    server = serve()
    for fails in (True, False):
        with push_on_exit(server.url, job="j", registry=one, delete_on_success=True) as job:
            if fails:
                job.failed()
    assert lines(server) == ["POST /metrics/job/j", "DELETE /metrics/job/j"]


def test_metrics_are_those_of_the_end(serve, registry):
    """What is pushed is what the registry holds when the job ends."""
    rows = Counter("rows", "Rows.", registry=registry)
    server = serve()
    with push_on_exit(server.url, job="j", registry=registry):
        rows.inc(3)
    assert b"\nrows_total 3.0\n" in server.requests[0]


@pytest.mark.parametrize("function", [push, delete])
def test_deadline_must_be_a_time(function):
    """A deadline that is no time is refused."""
    with pytest.raises(PushOptionError, match="above 0"):
        function("http://gateway", job="j", deadline=0)
