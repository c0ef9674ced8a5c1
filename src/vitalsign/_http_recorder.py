"""From a request that has been answered to the series that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from vitalsign._http_metrics import KNOWN_METHODS
from vitalsign._http_routes import UNMATCHED
from vitalsign.metrics.caching import ChildCache
from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vitalsign._http_labels import RequestInfo
    from vitalsign._http_metrics import HttpMetrics, Recording

    Scope = Mapping[str, Any]

__all__ = ["Recorder", "Resolver"]

_MAX_RECORDINGS = 10_000


class Described(Protocol):
    """A request and its response."""

    def describe(self) -> RequestInfo:
        """Tell label functions of the request."""


class Resolver(Protocol):
    """Tell the route template of finished requests."""

    def stated(self, scope: Scope, /) -> str | None:
        """Return the template that was left in *scope*; None if nothing was."""

    def resolve(self, scope: Scope, chosen: object, status: int, /) -> tuple[str, bool]:
        """Return the template, and whether it holds for every request with the same *chosen* or stated one."""


class Recorder:
    """Find the series that a finished request belongs to, however its framework tells the route."""

    def __init__(self, metrics: HttpMetrics, templates: Resolver) -> None:
        self.in_progress = metrics.in_progress
        self.is_by_scheme = metrics.is_by_scheme
        self.extra = metrics.extra
        self._metrics = metrics
        self._templates = templates
        # By kind of request; and by route, of whatever kind the latest request to it was: mostly the next is like it.
        # What the framework chose is told by identity, since routes cannot be hashed.
        self.known = ChildCache(metrics.families())

    def find(self, scope: Scope, method: str, status: int, outcome: int, exchange: Described) -> Recording:
        """
        Return what writes the figures of a request: by one look-up for all but the first of its kind.

        Args:
            scope: As the framework left it; of WSGI, the environ.
            method: As the client sent it.
            status: Of the response.
            outcome: Status to count: another one if the client did not get the response.
            exchange: The request and its response, for label functions.
        """
        chosen = scope["route"] if "route" in scope else scope.get("endpoint")
        if "fastapi" in scope:
            context = scope["fastapi"].get("effective_route_context")
            if context is not None:
                chosen = context
        latest = self.known.get(id(chosen))
        if (
            latest is not None
            and latest.outcome == outcome
            and latest.method == method
            and latest.router is scope.get("router")
        ):
            return latest  # type: ignore[no-any-return]
        return self._look_up(scope, chosen, method, status, outcome, exchange)

    def _look_up(
        self, scope: Scope, chosen: Any, method: str, status: int, outcome: int, exchange: Described
    ) -> Recording:
        """Find a recording among all that are known, or make it."""
        age = self.known.age
        router = scope.get("router")
        key: tuple[Any, ...] = (id(router), id(chosen), method, outcome)
        if chosen is None:
            stated = self._templates.stated(scope)
            if stated is not None:
                key = (stated, method, outcome)
        extra: tuple[str, ...] = ()
        if self.extra is not None:
            extra = self.extra.values(exchange.describe())
            key += extra
        recording: Recording | None = self.known.get(key)
        if recording is None:
            endpoint, is_settled = self._endpoint(scope, chosen, status)
            recording = self._metrics.recording(method, endpoint, outcome, extra)
            if not is_settled or method not in KNOWN_METHODS:
                return recording
            recording.router, recording.chosen, recording.method, recording.outcome = router, chosen, method, outcome
            if len(self.known) + 1 >= _MAX_RECORDINGS:
                self.known.forget()
                age = self.known.age
            self.known.keep(key, recording, age)
        if chosen is not None and self.extra is None:
            self.known.keep(id(chosen), recording, age)
        return recording

    def count_exception(self, scope: Scope, method: str, status: int, error: Exception) -> None:
        """Count *error*, which left the application."""
        self._metrics.count_exception(method, self.endpoint(scope, status), error)

    def endpoint(self, scope: Scope, status: int) -> str:
        """Return the route's template, by however long a way."""
        return self._endpoint(scope, None, status)[0]

    def _endpoint(self, scope: Scope, chosen: object, status: int) -> tuple[str, bool]:
        try:
            return self._templates.resolve(scope, chosen, status)
        except Exception as error:  # noqa: BLE001  # a router of an unknown kind must not lose the request
            internal_error("asgi.route", error)
            return UNMATCHED, False
