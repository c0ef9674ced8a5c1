"""What a checker is to the world around it: endpoints, and the beginning and end of its service."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vitalsign.health._check import READINESS, positive
from vitalsign.health._lifecycle import Drain, Lifecycle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Unpack
    from wsgiref.types import WSGIApplication

    from starlette.routing import Route

    from vitalsign.health._asgi import HealthApp
    from vitalsign.health._layout import EndpointOptions
    from vitalsign.health._report import CheckResult, Report
    from vitalsign.health._wsgi import HealthWSGIApp

__all__ = ["Edge"]

_log = logging.getLogger("vitalsign.health")


class Edge(ABC):
    """
    The outer half of `HealthChecker`: it needs the other half for reports alone.

    Attributes:
        service: Name of the service.
        version: Its version, or empty.
    """

    def __init__(self, service: str, version: str) -> None:
        self.service = service
        self.version = version
        self._lifecycle = Lifecycle()

    @abstractmethod
    async def run(self, group: str = READINESS) -> Report:
        """Report on a group of checks."""

    @abstractmethod
    def run_sync(self, group: str = READINESS) -> Report:
        """Do so without an event loop."""

    @abstractmethod
    async def run_check(self, name: str) -> CheckResult:
        """Report on one check."""

    @abstractmethod
    def run_check_sync(self, name: str) -> CheckResult:
        """Do so without an event loop."""

    @abstractmethod
    def has_check(self, name: str) -> bool:
        """Tell whether there is a check of this name."""

    @property
    def is_draining(self) -> bool:
        """Whether the service drains, so that readiness fails whatever the checks find."""
        return self._lifecycle.is_draining

    def info(self) -> dict[str, object]:
        """Return name, version, start (RFC 3339) and uptime (seconds) of the service, and whether it drains."""
        started = datetime.fromtimestamp(self._lifecycle.born, UTC).isoformat(timespec="seconds")
        return {
            "service": self.service,
            **({"version": self.version} if self.version else {}),
            "started": started.replace("+00:00", "Z"),
            "uptime_seconds": round(self._lifecycle.uptime, 3),
            "draining": self.is_draining,
        }

    def started(self) -> None:
        """Say that the service has started: until then `/startup` answers 503, whatever its checks find."""
        self._lifecycle.has_started = True

    def drain(self, seconds: float = 0.0) -> Drain:
        """
        Take the service out of traffic: from now on readiness answers 503, whatever its checks find; liveness does not.

        ```python
        await health.drain(10)        # the load balancer has 10 s to notice, while requests are served
        health.drain(10).wait()       # the same on a thread without an event loop
        health.drain()                # no waiting
        ```

        A service that drains is not called back. What has passed since the first call counts for later ones. Every
        worker process drains for itself.

        Args:
            seconds: How long what is returned waits.

        Raises:
            HealthCheckError: That is no number of seconds.
        """
        positive("seconds to drain", seconds, zero=True)
        if not self.is_draining:
            _log.info("%s drains: not ready any more, still serving.", self.service)
        return self._lifecycle.drain(seconds)

    def install_signal_handlers(self, *, drain: float = 10.0) -> bool:
        """
        Drain on SIGTERM: readiness fails at once, requests are served for some more time, then the server stops.

        The handler of the server stays, and gets the signal when the time is over. A second SIGTERM reaches it at once.
        So call this when that handler is there: in the application's lifespan under uvicorn, also with `--workers` or
        as gunicorn's worker, and in `post_worker_init` of gunicorn. Where it cannot work, that is logged: off the main
        thread, and under servers whose event loop takes the signal, such as hypercorn and granian. There, let a
        preStop hook ask the drain endpoint.

        Args:
            drain: Seconds from the signal, or from an earlier call of `drain()`, until the server gets it.

        Returns:
            Whether SIGTERM will be held back.

        Raises:
            HealthCheckError: That is no number of seconds.
        """
        from vitalsign.health._signals import hold_back

        positive("drain", drain, zero=True)
        return hold_back(self.service, self._lifecycle, drain)

    def routes(self, **options: Unpack[EndpointOptions]) -> list[Route]:
        """
        Return routes for a Starlette or FastAPI application: `app.routes.extend(health.routes())`.

        Args:
            options: See `EndpointOptions`.

        Raises:
            HealthCheckError: A path makes no sense.
            EndpointOptionError: A network or the token makes no sense, or nobody could use the drain endpoint.
        """
        from vitalsign.health._asgi import HealthApp
        from vitalsign.health._layout import Endpoints

        return HealthApp(Endpoints.of(self, **options)).routes()

    def asgi(
        self, app: Callable[[Any, Any, Any], Awaitable[object]] | None = None, **options: Unpack[EndpointOptions]
    ) -> HealthApp:
        """
        Return an ASGI application that answers these paths; it needs no framework.

        Args:
            app: Another application, which gets everything else; None to answer that with 404.
            options: As for `routes`.

        Raises:
            HealthCheckError: A path makes no sense.
            EndpointOptionError: A network or the token makes no sense, or nobody could use the drain endpoint.
        """
        from vitalsign.health._asgi import HealthApp
        from vitalsign.health._layout import Endpoints

        return HealthApp(Endpoints.of(self, **_with_root(app, options)), app)

    def wsgi(self, app: WSGIApplication | None = None, **options: Unpack[EndpointOptions]) -> HealthWSGIApp:
        """
        Return a WSGI application that answers these paths: alone, mounted, or before the application of a framework.

        ```python
        app.wsgi_app = health.wsgi(app.wsgi_app)               # Flask
        application = health.wsgi(get_wsgi_application())      # Django
        ```

        Args:
            app: As for `asgi`.
            options: As for `routes`.

        Raises:
            HealthCheckError: A path makes no sense.
            EndpointOptionError: A network or the token makes no sense, or nobody could use the drain endpoint.
        """
        from vitalsign.health._layout import Endpoints
        from vitalsign.health._wsgi import HealthWSGIApp

        return HealthWSGIApp(Endpoints.of(self, **_with_root(app, options)), app)


def _with_root(app: object, options: EndpointOptions) -> EndpointOptions:
    """Let an application of its own tell at `/` what runs there, unless something else stands there."""
    taken = app is not None or "info" in options or "/" in (options.get("paths") or {}).values()
    return options if taken else {**options, "info": "/"}
