"""The metrics page as a WSGI application."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY

from vitalsign._http_endpoint import Asked, Endpoint
from vitalsign._http_page import Page, failure

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from prometheus_client import CollectorRegistry

    from vitalsign._access import Networks, Token

__all__ = ["MetricsWSGIApp", "metrics_wsgi_app"]

_HEADERS = {
    "HTTP_ACCEPT": b"accept",
    "HTTP_ACCEPT_ENCODING": b"accept-encoding",
    "HTTP_AUTHORIZATION": b"authorization",
    "HTTP_X_FORWARDED_FOR": b"x-forwarded-for",
    "HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS": b"x-prometheus-scrape-timeout-seconds",
}


def metrics_wsgi_app(
    *,
    registry: CollectorRegistry = REGISTRY,
    token: Token | None = None,
    allow: Networks | None = None,
    trusted_proxies: Networks = (),
    deadline: float | None = None,
) -> MetricsWSGIApp:
    """
    Make a WSGI application that serves the metrics of a registry, as `vitalsign.asgi.metrics_app` does for ASGI.

    ```python
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/metrics": metrics_wsgi_app()})
    ```

    Args:
        registry: Whose metrics are served.
        token: Secret that clients have to send as `Authorization: Bearer …`, or a function that returns it, called for
            each request; None asks for none.
        allow: Networks that clients have to come from, such as `10.0.0.0/8` and `::1`; `unix` stands for clients
            without an address, those of a Unix domain socket. None lets all in.
        trusted_proxies: Networks of the proxies whose X-Forwarded-For is believed; from all others it is ignored.
        deadline: Seconds after which a collector that has not answered is left out; None goes by what the scraper says
            that it waits, in X-Prometheus-Scrape-Timeout-Seconds.

    Raises:
        EndpointOptionError: The token is empty, a network is none, or the deadline is no time.
    """
    return MetricsWSGIApp(
        Endpoint(registry, token=token, allow=allow, trusted_proxies=trusted_proxies, deadline=deadline)
    )


class MetricsWSGIApp:
    """
    Serve the metrics of a registry; made by `metrics_wsgi_app()`.

    The thread that the server gives to a request renders its page; others that ask for the same one meanwhile wait for
    that.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        page = self._answer(_asked(environ))
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in page.headers]
        start_response(f"{page.status} {HTTPStatus(page.status).phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [page.body]

    def _answer(self, asked: Asked) -> Page:
        wanted = self._endpoint.admit(asked)
        if isinstance(wanted, Page):
            return wanted
        waiter = _ThreadWaiter()
        if self._endpoint.wait(wanted, waiter):
            self._endpoint.render(wanted, self._endpoint.seconds(asked))
        waiter.is_there.wait()
        return waiter.page


class _ThreadWaiter:
    """A thread that waits for a page."""

    def __init__(self) -> None:
        self.page = failure()
        self.is_there = threading.Event()

    def has_left(self) -> bool:
        return False  # a WSGI application does not hear of it

    def take(self, page: Page) -> None:
        self.page = page
        self.is_there.set()


def _asked(environ: WSGIEnvironment) -> Asked:
    headers = [(name, _raw(environ[key])) for key, name in _HEADERS.items() if key in environ]
    return Asked(environ["REQUEST_METHOD"], headers, _raw(environ.get("QUERY_STRING", "")), environ.get("REMOTE_ADDR"))


def _raw(text: str) -> bytes:
    return text.encode("latin-1", "replace")
