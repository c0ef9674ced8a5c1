"""
Route templates of frameworks that choose routes without Starlette: Django, Flask, Quart, Litestar.

Litestar leaves its template in the scope. Django, Flask and Quart tell nobody, or take it back before the body is
read, so their application objects are made to leave a note. What is turned away, by a redirect, a 405 or middleware,
has no route in any of them, but a path that one answers: it is looked up once more, by their own means.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vitalsign.metrics.internal import internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

    Scope = Mapping[str, Any]

__all__ = ["REQUEST", "Framework"]

REQUEST = "vitalsign.request"
"""Where Flask's or Quart's request is noted in an environ or scope, which it refers to itself."""

_NOTE = "vitalsign.route"  # where Django's route is noted
_MAX_DEPTH = 8  # of middleware round an application
_NOT_FOUND, _METHOD_NOT_ALLOWED = 404, 405

_PARAMETER = re.compile(r"<(?:[^<>]*:)?(\w+)>")  # <id>, <int:id>, <any(a,b):kind>
_GROUP = re.compile(r"\(\?P<(\w+)>|(?<!\\)\((?!\?)")


class Framework:
    """
    Tell what the framework behind an application chose.

    Args:
        app: Any ASGI or WSGI application. An application object of Django, Flask or Quart that is found in it is
            changed to leave a note of each route.
    """

    def __init__(self, app: Any) -> None:
        self._look_again: Callable[[Scope, int], str | None] | None = None
        for layer in _layers(app):
            if self._prepare(layer):
                return

    def stated(self, scope: Scope) -> str | None:
        """Return the template that was left in *scope*; None if nothing was."""
        stated = scope.get("path_template")  # Litestar, and applications that name it themselves
        if isinstance(stated, str):
            return stated
        route = scope.get(_NOTE)
        if route is not None:
            return _from_django(route)
        rule = getattr(scope.get(REQUEST), "url_rule", None)
        return None if rule is None else _from_werkzeug(rule.rule)

    def again(self, scope: Scope, status: int) -> str | None:
        """Return the template of a path that was answered before a route was chosen for it; None if it has none."""
        if self._look_again is None or status == _NOT_FOUND:  # the scanner's case: not worth matching again
            return None
        try:
            return self._look_again(scope, status)
        except Exception:  # noqa: BLE001  # how they say that there is no such path
            return None

    def _prepare(self, layer: Any) -> bool:
        try:
            if hasattr(layer, "resolve_request") and hasattr(layer, "load_middleware"):
                _take_notes_of_django(layer)
                self._look_again = _again_in_django
            elif hasattr(layer, "url_map") and hasattr(layer, "create_url_adapter"):
                _take_notes_of_flask(layer)
                self._look_again = lambda scope, status: _again_by_werkzeug(layer, scope)  # noqa: ARG005
            elif hasattr(layer, "asgi_router"):
                self._look_again = lambda scope, status: _again_in_litestar(layer, scope, status)
            else:
                return False
        except Exception as error:  # noqa: BLE001  # a release that keeps things elsewhere
            internal_error("http.framework", error)
        return True


def _layers(app: Any) -> Iterator[Any]:
    """Yield *app* and what it is wrapped round, as far as wrappers show it."""
    for _ in range(_MAX_DEPTH):
        if app is None:
            return
        yield getattr(app, "__self__", app)  # `app.wsgi_app = MetricsMiddleware(app.wsgi_app)`
        inner = getattr(app, "app", None)
        app = getattr(app, "application", None) if inner is None else inner


# -- Django


def _take_notes_of_django(handler: Any) -> None:
    resolve = handler.resolve_request
    if hasattr(resolve, "is_of_vitalsign"):
        return

    def resolve_request(request: Any) -> Any:
        match = resolve(request)
        scope: MutableMapping[str, Any] | None = getattr(request, "scope", None) or getattr(request, "environ", None)
        if scope is not None:
            scope[_NOTE] = match.route
        return match

    resolve_request.is_of_vitalsign = True  # type: ignore[attr-defined]
    handler.resolve_request = resolve_request


def _again_in_django(scope: Scope, status: int) -> str | None:
    resolve, missing = sys.modules["django.urls"].resolve, sys.modules["django.urls"].Resolver404
    path = scope.get("PATH_INFO") or scope["path"].removeprefix(scope.get("root_path", ""))
    try:
        return _from_django(resolve(path).route)
    except missing:
        return _from_django(resolve(path + "/").route) if 300 <= status < 400 else None


@lru_cache(1024)
def _from_django(route: str) -> str:
    """Turn `users/<int:id>/`, or the expression of a re_path, into `/users/{id}/`."""
    if "(" in route or route.startswith("^") or route.endswith("$"):
        route = _without_groups(route.replace("^", "").removesuffix("$").removesuffix("\\Z"))
        route = re.sub(r"\\(.)", r"\1", route)
    return "/" + _PARAMETER.sub(r"{\1}", route).removeprefix("/")


def _without_groups(route: str) -> str:
    """Replace each group of an expression, with what is nested in it, by its name in braces."""
    found = _GROUP.search(route)
    if found is None:
        return route
    depth, end = 1, found.end()
    while depth and end < len(route):
        if route[end] in "()" and route[end - 1] != "\\":
            depth += 1 if route[end] == "(" else -1
        end += 1
    return f"{route[: found.start()]}{{{found[1] or 'group'}}}{_without_groups(route[end:])}"


# -- Flask and Quart


def _take_notes_of_flask(app: Any) -> None:
    create = app.create_url_adapter
    if hasattr(create, "is_of_vitalsign"):
        return

    def create_url_adapter(request: Any) -> Any:
        if request is not None:
            scope = getattr(request, "scope", None)
            (request.environ if scope is None else scope)[REQUEST] = request
        return create(request)

    create_url_adapter.is_of_vitalsign = True  # type: ignore[attr-defined]
    app.create_url_adapter = create_url_adapter


def _again_by_werkzeug(app: Any, scope: Scope) -> str | None:
    request = scope[REQUEST]
    refusal = request.routing_exception
    adapter = app.url_map.bind("", path_info=request.path, default_method=request.method)
    if getattr(refusal, "valid_methods", None):
        rule, _ = adapter.match(method=next(iter(refusal.valid_methods)), return_rule=True)
    else:
        path = urlsplit(refusal.new_url).path.removeprefix(request.root_path.rstrip("/"))
        rule, _ = adapter.match(path, return_rule=True)
    return _from_werkzeug(rule.rule)


@lru_cache(1024)
def _from_werkzeug(rule: str) -> str:
    """Turn `/users/<int:id>` into `/users/{id}`."""
    return _PARAMETER.sub(r"{\1}", rule)


# -- Litestar


def _again_in_litestar(app: Any, scope: Scope, status: int) -> str | None:
    if status != _METHOD_NOT_ALLOWED:
        return None
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    template: str = app.asgi_router.handle_routing(path=path.rstrip("/") or "/", method="OPTIONS")[-1]
    return template
