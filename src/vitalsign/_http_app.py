"""The metrics page as an ASGI application, rendered off the event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from prometheus_client import REGISTRY

from vitalsign._http_async import AsyncEndpoint
from vitalsign._http_endpoint import Asked, Endpoint

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from starlette.types import Receive, Scope, Send

    from vitalsign._access import Networks, Token

__all__ = ["MetricsApp", "metrics_app"]


def metrics_app(
    *,
    registry: CollectorRegistry = REGISTRY,
    token: Token | None = None,
    allow: Networks | None = None,
    trusted_proxies: Networks = (),
    deadline: float | None = None,
) -> MetricsApp:
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
    return MetricsApp(Endpoint(registry, token=token, allow=allow, trusted_proxies=trusted_proxies, deadline=deadline))


class MetricsApp:
    """
    Serve the metrics of a registry; made by `metrics_app()`.

    A thread of its own renders, one page after the other, so that neither the event loop nor the threads of the
    application wait for it. It ends when nothing is left to do. Needs an asyncio event loop.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._pages = AsyncEndpoint(endpoint)

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
            page = await self._pages.answer(_asked(scope))
            await send({"type": "http.response.start", "status": page.status, "headers": page.headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else page.body})


def _asked(scope: Scope) -> Asked:
    client = scope.get("client")
    return Asked(scope["method"], list(scope["headers"]), scope.get("query_string", b""), client[0] if client else None)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message: Any = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
