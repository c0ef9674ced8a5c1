"""
Take the alerts that Alertmanager sends to a webhook.

```python
from vitalsign.webhook import Alert, AlertWebhook

async def on_alert(alert: Alert) -> None:
    await chat.post(f"{alert.name} is {alert.status}: {alert.annotations.get('summary', '')}")

app.add_route("/alerts", AlertWebhook(on_alert, token=os.environ["ALERT_TOKEN"]))
```
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, overload

from prometheus_client import REGISTRY

from vitalsign._access import Access, Networks, Token
from vitalsign._http_alert_desk import AlertDesk, AlertMemory, OnAlert, Reply, said
from vitalsign._http_alerts import Alert, AlertGroup
from vitalsign._http_bodies import BodyError, length_of, read_asgi, read_wsgi
from vitalsign.exceptions import EndpointOptionError
from vitalsign.metrics.instruments import OWN_MAX_SERIES
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from prometheus_client import CollectorRegistry

__all__ = ["Alert", "AlertGroup", "AlertWebhook", "OnAlert"]


class AlertWebhook:
    """
    Hand each alert to a function of yours once, as an endpoint for Alertmanager.

    The object itself is an ASGI application, which answers on whatever path leads to it; `wsgi` is the same for WSGI.
    A plain function runs on a thread of its own, so that it never keeps the event loop; a coroutine function is
    awaited on it.

    An alert is handed over once for each time that it starts to fire, and once when that is resolved, however often
    Alertmanager repeats it. If the function raises, that is logged and counted, the answer is 500, and the alert is
    handed over again when Alertmanager tries again; others of the same notification are not. What has been handed over
    is known to this process alone, and until it ends: after a restart, and by another worker, a repeated alert is
    taken for a new one.
    """

    def __init__(
        self,
        on_alert: OnAlert,
        *,
        token: Token | None = None,
        allow: Networks | None = None,
        trusted_proxies: Networks = (),
        max_bytes: int = 1_048_576,
        remember: int = 10_000,
        remember_for: float = 86_400.0,
        registry: CollectorRegistry | None = REGISTRY,
        max_series: int = OWN_MAX_SERIES,
    ) -> None:
        """
        Make the endpoint.

        Args:
            on_alert: Takes one alert.
            token: What Alertmanager has to send, by `http_config.authorization.credentials`; None to ask for none.
            allow: Networks that it has to send from; None for all.
            trusted_proxies: Networks of proxies whose X-Forwarded-For is believed.
            max_bytes: Size of the largest notification.
            remember: Alerts that are recognised when they are repeated.
            remember_for: Seconds for which they are; an alert that still fires then is handed over again.
            registry: Where the metrics are registered; None for nowhere.
            max_series: Label sets of `alerts_received_total` before further ones are counted together.

        Raises:
            EndpointOptionError: An option makes no sense.
        """
        if not callable(on_alert):
            raise EndpointOptionError(f"on_alert is {on_alert!r}, which cannot be called. Give a function.")
        for option, value in (("max_bytes", max_bytes), ("remember", remember), ("remember_for", remember_for)):
            if not isinstance(value, int | float) or not value > 0:
                raise EndpointOptionError(f"{option} is {value!r}, but has to be a number above 0.")
        self._is_async = inspect.iscoroutinefunction(on_alert) or inspect.iscoroutinefunction(
            getattr(on_alert, "__call__", None)  # noqa: B004  # an object's, which tells of what kind it is
        )
        access = Access(token=token, allow=allow, trusted_proxies=trusted_proxies)
        memory = AlertMemory(remember, remember_for)
        self._desk = AlertDesk(on_alert, access, memory, registry=registry, max_series=max_series)
        self._max_bytes = max_bytes

    @overload
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...
    @overload  # what Starlette's add_route() says that it takes; it calls what is no function as an application
    async def __call__(self, scope: Any, /) -> Any: ...
    async def __call__(self, scope: Any, receive: Any = None, send: Any = None) -> Any:
        """Answer a request, as an ASGI application."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        try:
            reply = await self._answer(scope, receive)
        except BodyError as error:
            reply = said(error.status, str(error))
        self._desk.count(reply)
        headers = [(name.encode(), value.encode()) for name, value in reply.all_headers()]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as a WSGI application; a coroutine function runs on an event loop of its own."""
        try:
            refusal = self._desk.refuse(environ["REQUEST_METHOD"], _headers(environ), environ.get("REMOTE_ADDR"))
            reply = refusal or self._desk.take(read_wsgi(environ, self._max_bytes))
        except BodyError as error:
            reply = said(error.status, str(error))
        self._desk.count(reply)
        start_response(f"{reply.status} {HTTPStatus(reply.status).phrase}", reply.all_headers())
        return [reply.body]

    async def _answer(self, scope: Any, receive: Any) -> Reply:
        headers, client = list(scope["headers"]), scope.get("client")
        refusal = self._desk.refuse(scope["method"], headers, client[0] if client else None)
        if refusal is not None:
            return refusal
        length = length_of(dict(headers).get(b"content-length", b"").decode("latin-1"))
        body = await read_asgi(receive, length, self._max_bytes)
        if self._is_async:
            return await self._desk.take_async(body)
        return await _on_thread(partial(self._desk.take, body))


def _headers(environ: WSGIEnvironment) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request as ASGI has them."""
    return [
        (name.removeprefix("HTTP_").lower().replace("_", "-").encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]


async def _on_thread(work: Callable[[], Reply]) -> Reply:
    """
    Run *work* on a daemon thread and wait for it; if the waiting is cancelled, it goes on.

    The loop's own threads are joined at its end, so that a function that hangs would keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Reply] = loop.create_future()

    def tell(reply: Reply) -> None:
        if not answer.done():  # cancelled: the client has left
            answer.set_result(reply)

    def run() -> None:
        reply = said(500, "The alerts could not be handled.")
        try:
            reply = context.run(work)
        except BaseException as error:  # noqa: BLE001  # SystemExit, say, which would end this thread in silence
            internal_error("webhook", error)
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(tell, reply)

    context = copy_context()
    threading.Thread(target=run, name="vitalsign-alerts", daemon=True).start()
    return await answer


async def _live(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
