"""Publishing changes to a webhook: a real server that is up, slow, refusing, or not there."""

from __future__ import annotations

import json
import logging
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from vitalsign.exceptions import HealthCheckError
from vitalsign.health import Check, HealthChecker, _webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import CollectorRegistry

LONG = 60.0
"""Seconds that no test waits for."""


class Server:
    """A chat that takes messages, as it is told to."""

    def __init__(self) -> None:
        self.answers: list[int | Event] = []
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.url = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Take a message; answer with the next status, once the next event is set, or 204."""
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.posts.append((request.path, headers, body))
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, Event):
            answer.wait(LONG)
            answer = 204
        request.send_response(answer)
        if 300 <= answer < 400:
            request.send_header("Location", "/elsewhere")
        request.send_header("Content-Length", "0")
        request.end_headers()

    @contextmanager
    def running(self) -> Iterator[Server]:
        """Listen on a free port."""
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                mine.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            self.url = f"http://127.0.0.1:{server.server_port}/hooks/secret-path"
            try:
                yield self
            finally:
                server.shutdown()


@pytest.fixture
def server() -> Iterator[Server]:
    """Run a chat."""
    with Server().running() as running:
        yield running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(_webhook, "_FIRST_PAUSE", 0.001)


class Shop:
    """A checker whose database can be taken down."""

    def __init__(self, make_checker: Callable[..., HealthChecker]) -> None:
        self.health = make_checker(timeout=LONG, deadline=LONG, ttl=0.0)
        self.is_up = True
        self.health.add(Check("database", lambda: self.is_up))
        self.health.run_sync()

    def change(self) -> None:
        """Take the database down, or up again."""
        self.is_up = not self.is_up
        self.health.run_sync()

    def told(self) -> None:
        """Wait until the webhook has been told."""
        self.health.stop(timeout=LONG)


@pytest.fixture
def shop(make_checker: Callable[..., HealthChecker]) -> Shop:
    """Return a shop that is up."""
    return Shop(make_checker)


def notices(registry: CollectorRegistry, outcome: str, listener: str = "webhook") -> float | None:
    """Return how many changes had this outcome."""
    return registry.get_sample_value(
        "service_health_notifications_total", {"service": "shop", "listener": listener, "outcome": outcome}
    )


def test_webhook_gets_each_change_as_json(shop: Shop, server: Server, registry: CollectorRegistry) -> None:
    """A server that is up gets one POST for each change, with token and headers."""
    shop.health.publish_to(server.url, token="sesame", headers={"X-Team": "shop"})
    shop.change()
    shop.change()
    shop.told()
    assert [(body["check"], body["previous"], body["status"]) for _, _, body in server.posts] == [
        ("database", "pass", "fail"), ("database", "fail", "pass"),
    ]  # fmt: skip
    path, headers, body = server.posts[0]
    assert (path, headers["authorization"], headers["x-team"]) == ("/hooks/secret-path", "Bearer sesame", "shop")
    assert (headers["content-type"], body["service"]) == ("application/json", "shop")
    assert notices(registry, "delivered") == 2.0


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_webhook_tries_again_what_the_server_cannot_take(
    shop: Shop, server: Server, registry: CollectorRegistry, status: int
) -> None:
    """A server in trouble is asked again, and takes it then."""
    server.answers = [status, status]
    shop.health.publish_to(server.url)
    shop.change()
    shop.told()
    assert len(server.posts) == 3
    assert notices(registry, "delivered") == 1.0


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (401, 1), (302, 1), (503, 4)])
def test_webhook_gives_up_and_says_so_without_secrets(
    shop: Shop, server: Server, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture, status: int, tries: int
) -> None:
    """What the server refuses is not sent again, nor to where it points; the log has neither path nor token."""
    server.answers = [status] * 4
    shop.health.publish_to(server.url, token="sesame", attempts=4)
    with caplog.at_level(logging.WARNING, "vitalsign.health"):
        shop.change()
        shop.told()
    assert len(server.posts) == tries
    assert notices(registry, "failed") == 1.0
    assert f"has not taken a change of health; tries: {tries}, the last: status {status}" in caplog.text
    assert "secret-path" not in caplog.text
    assert "sesame" not in caplog.text


def test_webhook_that_is_slow_keeps_no_check_waiting(shop: Shop, server: Server, gate: Event) -> None:
    """While the server takes its time, checks run and reports are made; the changes arrive later, in order."""
    server.answers = [gate]
    shop.health.publish_to(server.url, timeout=LONG)
    for _ in range(6):
        shop.change()
    assert len(shop.health.history()) == 6
    assert len(server.posts) <= 1
    gate.set()
    shop.told()
    assert [body["status"] for _, _, body in server.posts] == ["fail", "pass"] * 3


def test_webhook_that_hangs_is_given_up(
    shop: Shop, server: Server, gate: Event, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that does not answer within the timeout is asked again, as often as told, and then left."""
    server.answers = [gate, gate]
    shop.health.publish_to(server.url, timeout=0.1, attempts=2)
    shop.change()
    shop.told()
    assert notices(registry, "failed") == 1.0
    assert "tries: 2, the last: TimeoutError" in caplog.text


def test_webhook_that_is_down_loses_no_check(
    shop: Shop, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nobody listens, the change is logged as not told and counted; everything else goes on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    shop.health.publish_to(url, name="chat")
    shop.change()
    shop.told()
    assert notices(registry, "failed", "chat") == 1.0
    assert "tries: 3, the last: ConnectionRefusedError" in caplog.text
    assert shop.health.run_sync().status == "fail"


def test_two_webhooks_do_not_wait_for_each_other(shop: Shop, server: Server, gate: Event) -> None:
    """One that hangs does not delay the other."""
    with Server().running() as stuck:
        stuck.answers = [gate]
        shop.health.publish_to(stuck.url, name="stuck", timeout=LONG)
        shop.health.publish_to(server.url, name="chat")
        arrived = Event()
        shop.health.on_change(lambda _: arrived.set())
        shop.change()
        assert arrived.wait(LONG)
        for _ in range(6_000):
            if server.posts:
                break
            Event().wait(0.01)
        assert len(server.posts) == 1
        gate.set()
        shop.told()


@pytest.mark.parametrize(
    ("url", "setting", "text"),
    [
        ("chat.example.com/hook", {}, "none that can be posted to"),
        ("ftp://chat.example.com", {}, "none that can be posted to"),
        ("http://chat.example.com:port", {}, "none that can be posted to"),
        ("http://chat.example.com/a\nb", {}, "none that can be posted to"),
        ("https://user:hunter2@chat.example.com", {}, "carries credentials"),
        ("https://chat.example.com", {"token": " "}, "token for the webhook is empty"),
        ("https://chat.example.com", {"timeout": 0}, "timeout of the webhook is 0"),
        ("https://chat.example.com", {"attempts": 0}, "attempts of the webhook is 0"),
    ],
)
def test_webhook_that_makes_no_sense_is_refused(
    health: HealthChecker, url: str, setting: dict[str, Any], text: str
) -> None:
    """An address that cannot be posted to, and settings out of range, are errors at once, without the secret."""
    with pytest.raises(HealthCheckError, match=text) as caught:
        health.publish_to(url, **setting)
    assert "hunter2" not in str(caught.value)
