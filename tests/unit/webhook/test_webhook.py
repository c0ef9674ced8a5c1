"""The alert webhook: what is taken, once, and what is refused."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import threading
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.unit.webhook.conftest import Hook, an_alert, notification, resolved
from vitalsign._http_alert_desk import AlertMemory
from vitalsign._http_alerts import parse_alerts
from vitalsign.exceptions import AlertPayloadError, EndpointOptionError
from vitalsign.webhook import AlertWebhook


def received(hook, alertname="Down", severity="page", status="firing"):
    """Return how many alerts were counted."""
    labels = {"alertname": alertname, "severity": severity, "status": status}
    return hook.registry.get_sample_value("alerts_received_total", labels)


def requests(hook, status):
    """Return how many requests were answered with a status."""
    return hook.registry.get_sample_value("alert_webhook_requests_total", {"status": str(status)})


# -- what is taken


def test_an_alert_is_data(hook):
    """An alert comes with its labels, times and texts, and with what it has in common with its group."""
    answer = hook.send(resolved(), commonAnnotations={"runbook": "x"}, truncatedAlerts=3)
    assert (answer.status, answer.text) == (200, '{"handled": 1, "repeated": 0}')
    (alert,) = hook.taken
    assert (alert.name, alert.severity, alert.status, alert.is_firing) == ("Down", "page", "resolved", False)
    assert alert.annotations["summary"] == "Down it is"
    assert alert.starts_at == datetime(2026, 11, 21, 12, 0, 0, 123456, UTC)
    assert alert.ends_at == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert (alert.fingerprint, alert.generator_url) == ("fp-Down", "http://prometheus/graph")
    assert (alert.group.receiver, alert.group.truncated) == ("hook", 3)
    assert alert.group.common_annotations == {"runbook": "x"}
    with pytest.raises(TypeError):
        alert.labels["severity"] = "none"


def test_a_firing_alert_has_no_end(hook):
    """While an alert fires it has no end, whatever Alertmanager foresees."""
    hook.send(an_alert(endsAt="2026-11-21T12:05:00Z"))
    assert hook.taken[0].ends_at is None
    assert hook.taken[0].is_firing


def test_alerts_are_counted(hook):
    """Alerts are counted by name, severity and state, repeated ones not; what has neither has empty labels."""
    hook.send(an_alert(), an_alert("Slow", labels={}))
    hook.send(an_alert(), resolved())
    assert received(hook) == 1
    assert received(hook, status="resolved") == 1
    assert received(hook, "", "") == 1
    assert requests(hook, 200) == 2


def test_counted_series_are_bounded(hook):
    """However many names alerts have, the series stay few."""
    hook.configure(max_series=5, registry=(registry := CollectorRegistry()))
    hook.send(*(an_alert(f"Alert{number}") for number in range(50)))
    series = [sample for metric in registry.collect() for sample in metric.samples
              if sample.name == "alerts_received_total"]  # fmt: skip
    assert len(series) <= 6
    assert sum(sample.value for sample in series) == 50


# -- once


def test_a_repeated_alert_is_handed_over_once(hook):
    """What Alertmanager sends again, alone or in another group, is not handed over again."""
    hook.send(an_alert("A"), an_alert("B"))
    answer = hook.send(an_alert("A"), an_alert("B"), an_alert("C"), receiver="other")
    assert [alert.name for alert in hook.taken] == ["A", "B", "C"]
    assert answer.text == '{"handled": 1, "repeated": 2}'


def test_an_alert_twice_in_a_notification_is_one(hook):
    """An alert that a notification has twice is handed over once, and the request succeeds."""
    assert hook.send(an_alert(), an_alert()).status == 200
    assert len(hook.taken) == 1


def test_states_and_firings_are_told_apart(hook):
    """Firing, resolved, and firing again since another time are three alerts; late repetitions are none."""
    later = "2026-11-21T15:00:00Z"
    for alert in (an_alert(), resolved(), an_alert(), an_alert(startsAt=later), resolved(startsAt=later), resolved()):
        hook.send(alert)
    assert [(alert.status, alert.starts_at.hour) for alert in hook.taken] == [
        ("firing", 12), ("resolved", 12), ("firing", 15), ("resolved", 15),
    ]  # fmt: skip


def test_the_same_time_in_another_zone_is_the_same(hook):
    """A start that is written in another zone is no new firing."""
    hook.send(an_alert(startsAt="2026-11-21T12:00:00Z"))
    hook.send(an_alert(startsAt="2026-11-21T14:00:00+02:00"))
    assert len(hook.taken) == 1


def test_a_failed_alert_is_handed_over_again(hook, caplog):
    """If the function raises, the answer is 500, the others are handed over, and a retry brings the failed one only."""
    hook.failures = [LookupError("no such channel")]
    answer = hook.send(an_alert("A"), an_alert("B"))
    assert (answer.status, [alert.name for alert in hook.taken]) == (500, ["B"])
    assert "no such channel" not in answer.text
    assert "on_alert failed for alert A" in caplog.text
    assert hook.registry.get_sample_value("alert_webhook_errors_total", {"error": "LookupError"}) == 1
    assert hook.send(an_alert("A"), an_alert("B")).status == 200
    assert [alert.name for alert in hook.taken] == ["B", "A"]
    assert received(hook, "A") == 1


def test_the_memory_is_bounded(hook):
    """Past its size, what was not seen for longest is forgotten, and handed over again."""
    hook.configure(remember=2)
    for name in ("A", "B", "A", "C", "A", "B"):
        hook.send(an_alert(name))
    assert [alert.name for alert in hook.taken] == ["A", "B", "C", "B"]


def test_what_is_old_is_handed_over_again(hook, monkeypatch):
    """After `remember_for` seconds an alert that still fires is handed over again."""
    now = [1000.0]
    monkeypatch.setattr("vitalsign._http_alert_desk.monotonic", lambda: now[0])
    hook.configure(remember_for=60.0)
    for passed in (0.0, 59.0, 2.0):
        now[0] += passed
        hook.send(an_alert())
    assert len(hook.taken) == 2
    assert received(hook) == 2


def test_an_alert_in_hand_is_not_handed_over_twice(hook):
    """While one request has an alert in hand, another one is told to come back, and then finds it done."""
    started, go_on = threading.Event(), threading.Event()

    def on_alert(alert):
        started.set()
        assert go_on.wait(60)
        hook.taken.append(alert)

    hook.configure(on_alert)
    answers = []
    first = threading.Thread(target=lambda: answers.append(hook.send()))
    first.start()
    assert started.wait(60)
    busy = hook.send()
    go_on.set()
    first.join()
    assert (busy.status, busy.headers["retry-after"]) == (503, "1")
    assert [answers[0].status, hook.send().status] == [200, 200]
    assert len(hook.taken) == 1


# -- the function


class AsyncObject:
    """An object that is called like a coroutine function."""

    def __init__(self, taken):
        self.taken = taken

    async def __call__(self, alert):
        """Take an alert."""
        await asyncio.sleep(0)
        self.taken.append(alert)


async def take(taken, alert):
    """Take an alert."""
    await asyncio.sleep(0)
    taken.append(alert)


@pytest.mark.parametrize("kind", ["coroutine function", "partial", "object", "lambda", "plain"])
def test_functions_of_every_kind(hook, kind):
    """Functions, coroutine functions, partials, objects and lambdas are finished when the webhook answers."""
    taken = []
    hook.configure(
        {
            "coroutine function": lambda: _bound(taken),
            "partial": lambda: functools.partial(take, taken),
            "object": lambda: AsyncObject(taken),
            "lambda": lambda: lambda alert: take(taken, alert),
            "plain": lambda: taken.append,
        }[kind]()
    )
    assert hook.send().status == 200
    assert len(taken) == 1


def _bound(taken):
    async def on_alert(alert):
        await take(taken, alert)

    return on_alert


def test_a_coroutine_function_that_raises(hook):
    """What a coroutine function raises is a failure like another."""

    async def fail(alert):
        raise LookupError

    hook.configure(fail)
    assert hook.send().status == 500


def test_a_plain_function_does_not_keep_the_event_loop(registry):
    """While a plain function waits, the event loop goes on: here the loop itself lets it go on."""
    go_on = threading.Event()

    async def main():
        loop, waiting, sent = asyncio.get_running_loop(), asyncio.Event(), []

        def on_alert(alert):
            loop.call_soon_threadsafe(waiting.set)
            assert go_on.wait(60)

        app = AlertWebhook(on_alert, registry=registry)
        body = [{"type": "http.request", "body": _body()}]

        async def receive():
            return body.pop()

        async def send(message):
            sent.append(message)

        task = asyncio.create_task(
            app({"type": "http", "method": "POST", "path": "/", "headers": [], "client": None}, receive, send)
        )
        await waiting.wait()
        go_on.set()
        await task
        return sent[0]["status"]

    assert asyncio.run(main()) == 200


def test_a_cancelled_request_can_be_sent_again(registry):
    """A request that is cancelled while a coroutine function has its alert leaves nothing in hand."""

    async def main():
        started = asyncio.Event()

        async def wait(alert):
            started.set()
            await asyncio.Event().wait()

        app = AlertWebhook(wait, registry=registry)
        task = asyncio.create_task(app._desk.take_async(_body(an_alert("A"), an_alert("B"))))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return app._desk._memory.claim(parse_alerts(_body(an_alert("A")))[0].identity), app._desk._memory._busy

    claim, busy = asyncio.run(main())
    assert claim == "again"
    assert len(busy) == 1


def test_a_function_that_exits_does_not_lose_the_alert(registry):
    """A plain function that raises SystemExit on its thread has not handled the alert."""
    hook = Hook("asgi", registry)
    hook.failures = [SystemExit()]
    assert [hook.send().status, hook.send().status] == [500, 200]
    assert len(hook.taken) == 1


# -- what is refused


def test_only_post_is_taken(hook):
    """Other methods are answered with 405 and what is allowed."""
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        answer = hook.post(method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("given", [None, "Bearer", "Bearer ", "Bearer wrong", "Basic sesame", "sesame", "Bearer é"])
def test_without_the_token_nothing_is_taken(hook, given):
    """Without the right token the answer is 401, whatever else is sent, and nothing is handed over."""
    hook.configure(token="sesame")
    headers = {} if given is None else {"authorization": given}
    for method in ("POST", "GET"):
        answer = hook.post(_body(), method=method, headers=headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert hook.taken == []
    assert requests(hook, 401) == 2
    assert hook.post(_body(), headers={"authorization": "Bearer sesame"}).status == 200


def test_networks_can_be_allowed(hook):
    """From other networks than those that are allowed nothing is taken, also with a forged X-Forwarded-For."""
    hook.configure(allow="10.0.0.0/8")
    assert hook.post(_body(), peer="192.0.2.1", headers={"x-forwarded-for": "10.0.0.1"}).status == 403
    assert hook.post(_body(), peer="10.0.0.1").status == 200


@pytest.mark.parametrize("length", ["right", None, "5"])
def test_hard_case_oversized_bodies_are_refused(hook, length):
    """A body over the bound is answered with 413: by its length, without one as when chunked, and with a lie."""
    hook.configure(max_bytes=1000)
    body = _body() + b" " * 2000
    answer = hook.post([body[:500], body[500:1500], body[1500:]], length=length)
    if (hook.interface, length) == ("wsgi", "5"):
        assert answer.status == 400  # no more than the length is read, and that is no JSON
    else:
        assert answer.status == 413
    assert hook.taken == []


def test_a_body_of_just_the_size_is_taken(hook):
    """A body with exactly the allowed number of bytes is taken, in however many pieces."""
    body = _body()
    hook.configure(max_bytes=len(body))
    assert hook.post([body[:10], body[10:]], length=None).status == 200


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "abc", "²"])
def test_a_malformed_length_is_refused(hook, length):
    """A Content-Length that is none is answered with 400."""
    assert hook.post(_body(), length=length).status == 400


def test_a_body_that_ends_early_is_refused(hook):
    """A body that is shorter than its length, as its sender has gone, is answered with 400."""
    if hook.interface == "asgi":
        answer = asyncio.run(_left(hook.hook))
    else:
        answer = hook.post(_body(), length=str(len(_body()) + 1)).status
    assert answer == 400
    assert hook.taken == []


async def _left(app):
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    await app({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)
    return sent[0]["status"]


def test_wsgi_without_a_length_or_an_end(registry):
    """Where a WSGI server neither tells the length nor where the body ends, the answer is 411."""
    hook = Hook("wsgi", registry)
    started = []
    hook.hook.wsgi({"REQUEST_METHOD": "POST", "REMOTE_ADDR": ""}, lambda *given: started.extend(given))
    assert started[0] == "411 Length Required"


BROKEN = [
    (b"", "The body is no JSON"),
    (b"\xff", "The body is no JSON"),
    (b"[" * 100_000, "The body is no JSON"),
    (b"[]", "no JSON object"),
    ({"version": "3"}, "version is '3'; only '4'"),
    ({"version": None}, "version is None"),
    ({"status": "maybe"}, "status is 'maybe'; it must be 'firing' or 'resolved'"),
    ({"groupLabels": [1]}, "groupLabels is of type list; it must be an object of texts"),
    ({"commonLabels": {"a": 1}}, "commonLabels is of type dict"),
    ({"receiver": 7}, "receiver is 7; it must be a text"),
    ({"truncatedAlerts": -1}, "truncatedAlerts is -1"),
    ({"truncatedAlerts": True}, "truncatedAlerts is True"),
    ({"alerts": []}, "alerts is of type list; it must be a list of one or more"),
    ({"alerts": {}}, "alerts is of type dict"),
    ({"alerts": ["x" * 500]}, "alerts[0] is 'xxx"),
    ({"alerts": [an_alert(), an_alert(status="")]}, "alerts[1].status is ''"),
    ({"alerts": [an_alert(labels={"a": None})]}, "alerts[0].labels"),
    ({"alerts": [an_alert(fingerprint="")]}, "alerts[0].fingerprint is ''"),
    ({"alerts": [an_alert(startsAt="soon")]}, "alerts[0].startsAt is 'soon'; it must be a time as"),
    ({"alerts": [an_alert(startsAt="2026-11-21")]}, "a time with its zone"),
    ({"alerts": [an_alert(startsAt="0001-01-01T00:00:00Z")]}, "alerts[0].startsAt"),
    ({"alerts": [resolved(endsAt=5)]}, "alerts[0].endsAt"),
]


@pytest.mark.parametrize(("payload", "complaint"), BROKEN, ids=lambda one: str(one)[:40])
def test_what_is_no_notification_is_refused(hook, payload, complaint):
    """A body that is no notification is answered with 400 and with what is wrong where; nothing is handed over."""
    answer = hook.post(payload) if isinstance(payload, bytes) else hook.send(**payload)
    assert answer.status == 400
    assert complaint in answer.text
    assert hook.taken == []


def test_the_longest_complaint_is_short(hook):
    """A complaint repeats no more than a part of what was sent."""
    assert len(hook.send(version="x" * 10_000).text) < 300


def test_what_go_leaves_out_is_empty(hook):
    """Empty maps, which Go writes as null, and members that old releases do not have are no errors."""
    payload = {"groupLabels": None, "commonLabels": None, "commonAnnotations": None, "truncatedAlerts": 0}
    assert hook.send(an_alert(annotations=None, generatorURL=""), **payload).status == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    where=st.sampled_from(["group", "alert"]),
    name=st.sampled_from([*notification(), *an_alert()]),
    value=json_values,
)
def test_any_member_may_be_anything(where, name, value):
    """Whatever stands in place of a member, parsing returns alerts or says what is wrong."""
    payload = notification(an_alert(**{name: value})) if where == "alert" else notification(**{name: value})
    with suppress(AlertPayloadError):
        for alert in parse_alerts(_encode(payload)):
            assert alert.starts_at.tzinfo is not None
            hash(alert.identity)


# -- options and servers


@pytest.mark.parametrize(
    ("on_alert", "options", "complaint"),
    [
        ("nothing", {}, "on_alert is 'nothing'"),
        (print, {"max_bytes": 0}, "max_bytes is 0"),
        (print, {"max_bytes": "1MiB"}, "max_bytes is '1MiB', but has to be a number"),
        (print, {"remember": 0}, "remember is 0"),
        (print, {"remember_for": 0.0}, "remember_for is 0.0"),
        (print, {"remember_for": float("nan")}, "remember_for is nan"),
        (print, {"remember_for": None}, "remember_for is None"),
        (print, {"token": " "}, "token is empty"),
        (print, {"allow": "everywhere"}, "'everywhere', which is no network"),
    ],
)
def test_options_that_make_no_sense_are_refused(on_alert, options, complaint, registry):
    """A wrong option is an error that says what is wrong."""
    with pytest.raises(EndpointOptionError, match=complaint):
        AlertWebhook(on_alert, registry=registry, **options)


def test_as_a_route_and_as_an_application(registry):
    """The object is a route of Starlette's and an application of its own, with lifespan, and refuses websockets."""
    taken = []
    hook = AlertWebhook(taken.append, registry=registry)
    app = Starlette()
    app.add_route("/alerts", hook)
    for one, path in ((app, "/alerts"), (hook, "/")):
        with TestClient(one) as client:
            answer = client.post(path, content=_body())
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
            assert client.get(path).status_code == 405
    with TestClient(hook) as client, pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):
        pass
    assert len(taken) == 1


def test_metrics_that_fail_break_nothing(hook, monkeypatch, caplog):
    """If counting fails, alerts are handed over and requests answered all the same."""
    caplog.set_level(logging.CRITICAL, "vitalsign")
    for name in ("_received", "_requests", "_errors"):
        monkeypatch.setattr(hook.hook._desk, name, None)
    assert hook.send().status == 200
    hook.failures = [LookupError()]
    assert hook.send(an_alert("Other")).status == 500


def test_a_claim_belongs_to_one_of_many_threads():
    """Of threads that ask for an alert at the same time, one gets it."""
    memory = AlertMemory(10, 60.0)
    together, claims = threading.Barrier(8), []

    def ask():
        together.wait()
        claims.append(memory.claim("identity"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claims) == ["busy"] * 7 + ["new"]


def _body(*alerts):
    return _encode(notification(*alerts))


def _encode(payload):
    return json.dumps(payload).encode()
