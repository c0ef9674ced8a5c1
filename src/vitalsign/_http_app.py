"""The metrics page as an ASGI application, rendered off the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, overload

from prometheus_client import REGISTRY

from vitalsign._http_page import Page, PageRequest, failure, negotiate, render, seconds_left
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry
    from starlette.types import Receive, Scope, Send

__all__ = ["MetricsApp", "metrics_app"]


def metrics_app(*, registry: CollectorRegistry = REGISTRY) -> MetricsApp:
    """
    Make an ASGI application that serves the metrics of a registry.

    ```python
    app.add_route("/metrics", metrics_app())
    ```

    It answers GET and HEAD on whatever path leads to it: as Prometheus text, or OpenMetrics if the Accept header
    prefers that; compressed if the client takes gzip; limited to some series by `?name[]=`. Add it as a route: a mount
    redirects `/metrics` to `/metrics/` before the application is asked.

    Args:
        registry: Whose metrics are served.
    """
    return MetricsApp(registry)


class MetricsApp:
    """
    Serve the metrics of a registry; made by `metrics_app()`.

    A thread of its own renders, one page after the other, so that neither the event loop nor the threads of the
    application wait for it. It ends when nothing is left to do. Needs an asyncio event loop.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._worker = _Worker()
        self._lock = threading.Lock()
        self._waiting: dict[PageRequest, list[tuple[asyncio.AbstractEventLoop, asyncio.Future[Page]]]] = {}
        if hasattr(os, "register_at_fork"):
            forget = weakref.WeakMethod(self._forget)
            os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def _forget(self) -> None:
        # In a forked child nobody renders what its parent was asked for.
        self._lock = threading.Lock()
        self._worker = _Worker()
        self._waiting.clear()

    @overload
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...
    @overload  # what Starlette's add_route() says that it takes; it calls what is no function as an application
    async def __call__(self, scope: Any, /) -> Any: ...
    async def __call__(self, scope: Any, receive: Any = None, send: Any = None) -> Any:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            page = await self._answer(scope)
            await send({"type": "http.response.start", "status": page.status, "headers": page.headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else page.body})

    async def _answer(self, scope: Scope) -> Page:
        asked = negotiate(scope["method"], scope["headers"], scope.get("query_string", b""))
        if isinstance(asked, Page):
            return asked
        loop = asyncio.get_running_loop()
        rendered: asyncio.Future[Page] = loop.create_future()
        deadline = seconds_left(scope["headers"])
        with self._lock:
            waiting = self._waiting.get(asked)
            if waiting is not None:  # the same page is on its way: one rendering serves all who ask at once
                waiting.append((loop, rendered))
            else:
                self._waiting[asked] = [(loop, rendered)]
        if waiting is None:
            self._worker.submit(lambda: self._render(asked, deadline))
        return await rendered

    def _render(self, asked: PageRequest, deadline: float) -> None:
        with self._lock:
            waiting = self._waiting[asked]
            if all(rendered.done() for _, rendered in waiting):  # everybody has left
                del self._waiting[asked]
                return
        try:
            page = render(self._registry, asked, deadline)
        except Exception as error:  # noqa: BLE001  # a collector can raise anything
            internal_error("asgi.metrics_app", error)
            page = failure()
        with self._lock:
            waiting = self._waiting.pop(asked)
        for loop, rendered in waiting:
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                loop.call_soon_threadsafe(_settle, rendered, page)


class _Worker:
    """
    Run jobs one after the other in a daemon thread, which lives as long as there are any.

    No pool of the standard library's: those are joined when the interpreter ends, so a collector that hangs would keep
    the process from ending.
    """

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._jobs.append(job)
            # A thread that is not alive belongs to the process that this one was forked from.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="vitalsign-metrics-page", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs.popleft()
            job()


def _settle(rendered: asyncio.Future[Page], page: Page) -> None:
    if not rendered.done():  # cancelled: the client has left
        rendered.set_result(page)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message: Any = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
