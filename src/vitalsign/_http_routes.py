"""
Route templates of ASGI requests, read from what the framework left in the scope; here, Starlette and FastAPI.

The framework has matched the path already, so the template is looked up by the identity of what it chose: the
endpoint (every release leaves it), the route (Starlette since 1.4, FastAPI always) and the context of an included
router (newer FastAPI). A tree of all routes, made once for each router, says which template leads to each; paths are
matched again only where that is ambiguous, or where the framework left nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitalsign._http_frameworks import Framework

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Scope = Mapping[str, Any]

__all__ = ["UNMATCHED", "Templates"]

UNMATCHED = "__unmatched__"
"""Endpoint label of every request that no route answered."""

_MAX_DEPTH = 8  # mounts inside mounts; more is an application that mounts itself
_MAX_TREES = 16  # routers behind one middleware
_REST = "/{path}"  # Starlette's own name for what follows a mount
_FULL, _PARTIAL = 2, 1  # values of starlette.routing.Match; partial is the right path with another method


@dataclass(frozen=True, slots=True, eq=False)
class _Node:
    """
    One place in a tree of routes.

    Attributes:
        matcher: What matches the path here: a route, or FastAPI's context of a route in an included router.
        route: The route that the framework names in the scope.
        template: What leads here from the root, the route's own path included.
        trail: The matchers from the root to here.
        is_mount: Whether more of the path follows.
        children: What a mount leads to; None for a route, and for a mounted application without routes to look at.
    """

    matcher: Any
    route: Any
    template: str
    trail: tuple[Any, ...]
    is_mount: bool
    children: tuple[_Node, ...] | None


class Templates:
    """Tell the route template of each finished request, for any number of routers behind one application."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._framework = Framework(app)
        self._trees: dict[int, _Tree] = {}

    def stated(self, scope: Scope) -> str | None:
        """Return the template that was left in *scope* as such; None if nothing was."""
        return self._framework.stated(scope)

    def resolve(self, scope: Scope, chosen: object, status: int) -> tuple[str, bool]:
        """
        Return the template of a request that has been handled.

        Args:
            scope: As the framework left it.
            chosen: What the framework left of its choice: the context, route or endpoint.
            status: Status code of the response.

        Returns:
            The template, and whether it holds for every request to this router for which *chosen* is left; or, if
            nothing was chosen, for every one that states the same.
        """
        stated = self.stated(scope)
        if stated is not None:
            return stated, chosen is None
        again = self._framework.again(scope, status)
        if again is not None:
            return again, False
        root = scope.get("router") or _routed(scope.get("app")) or _routed(self._app)
        if root is None:
            return UNMATCHED, False
        tree = self._tree(root)
        nodes = tree.find(scope)
        node = tree.decide(nodes, scope) if len(nodes) > 1 else next(iter(nodes), None)
        if node is None or node.is_mount:
            return _name_beyond(tree, node, scope, status), False
        return node.template, len(nodes) == 1 and _tells(chosen, node, scope)

    def _tree(self, root: Any) -> _Tree:
        tree = self._trees.get(id(root))
        if tree is None or tree.is_outgrown():
            if len(self._trees) >= _MAX_TREES:
                self._trees.clear()
            tree = self._trees[id(root)] = _Tree(root)
        return tree


def _tells(chosen: object, node: _Node, scope: Scope) -> bool:
    # By identity: routes compare by value, and one of an outer router can have been left behind by a mount.
    return chosen is node.matcher or chosen is node.route or chosen is scope.get("endpoint")


def _name_beyond(tree: _Tree, mount: _Node | None, scope: Scope, status: int) -> str:
    """Name what no route of *tree* answered; *mount* is the last one that the framework entered, if any."""
    frontend = _frontend(mount, scope)
    if frontend is not None:
        return frontend
    if mount is not None and mount.children is None:
        return tree.name_inside(mount, scope)
    ran_out_of_routes = "router" in scope and (mount is not None or scope.get("endpoint") is None)
    if ran_out_of_routes and status == 404:
        return UNMATCHED  # the scanner's case: not worth matching again
    return tree.search(scope, redirected=300 <= status < 400)


def _frontend(mount: _Node | None, scope: Scope) -> str | None:
    """Name a page of FastAPI's `app.frontend()`, which leaves no route, only the path below its literal prefix."""
    rest = scope.get("fastapi", {}).get("frontend_path")
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "")
    if not isinstance(rest, str) or not path.startswith(root_path) or not path.endswith(rest):
        return None
    prefix = path[len(root_path) : len(path) - len(rest)].rstrip("/")
    return (mount.template if mount is not None else "") + prefix + _REST


class _Tree:
    """All routes below one router."""

    def __init__(self, root: Any) -> None:
        self._root = root  # kept alive: the tree is known by its id
        self._walked: list[tuple[Any, Any, int]] = []
        self._by_endpoint: dict[int, list[_Node]] = {}
        self._routes: set[int] = set()
        self._nodes = self._grow(root, "", ())

    def find(self, scope: Scope) -> list[_Node]:
        """Return the places that what the framework left in *scope* can mean: none, one, or several."""
        nodes = self._by_endpoint.get(id(scope.get("endpoint")), [])
        route = scope.get("route")
        if route is not None and id(route) not in self._routes:
            return []
        if len(nodes) > 1:
            nodes = [node for node in nodes if node.route is route] or nodes
        if len(nodes) > 1:
            context = scope.get("fastapi", {}).get("effective_route_context")
            nodes = [node for node in nodes if node.matcher is context] or nodes
        return nodes

    def decide(self, nodes: list[_Node], scope: Scope) -> _Node | None:
        """Choose among *nodes*, in the framework's order, the one that the path leads to."""
        origin = _as_at_root(scope)
        fits = [(_fit(node.trail, dict(origin)), node) for node in nodes]
        best = max(fit for fit, _ in fits)
        return next((node for fit, node in fits if fit == best), None) if best else None

    def search(self, scope: Scope, *, redirected: bool) -> str:
        """Match the path from the root; if it leads nowhere and was *redirected*, also with its last slash toggled."""
        origin = _as_at_root(scope)
        template = self._match(dict(origin), scope)
        if template == UNMATCHED and redirected:
            path = origin["path"]
            toggled = path.rstrip("/") if path.endswith("/") else path + "/"
            template = self._match({**origin, "path": toggled}, scope)
        return template

    def name_inside(self, mount: _Node, scope: Scope) -> str:
        """Name what an application without routes to look at answered: by its own route, if it left one."""
        route = scope.get("route")
        own = None if id(route) in self._routes else getattr(route, "path_format", None)
        return mount.template + (own if isinstance(own, str) else _REST)

    def is_outgrown(self) -> bool:
        """Whether routes were added or removed since the tree was made."""
        return any(owner.routes is not routes or len(routes) != count for owner, routes, count in self._walked)

    def _match(self, trial: dict[str, Any], scope: Scope) -> str:
        nodes: tuple[_Node, ...] | None = self._nodes
        node = None
        while nodes is not None:
            node = _first_match(nodes, trial)
            if node is None:
                return UNMATCHED
            nodes = node.children
        if node is None:
            return UNMATCHED
        return self.name_inside(node, scope) if node.is_mount else node.template

    def _grow(self, owner: Any, prefix: str, trail: tuple[Any, ...]) -> tuple[_Node, ...]:
        return tuple(self._node(matcher, prefix, trail) for matcher in self._matchers(owner))

    def _matchers(self, owner: Any) -> Iterator[Any]:
        self._watch(owner)
        for route in owner.routes:
            contexts = getattr(route, "effective_route_contexts", None)
            if contexts is not None:
                self._watch_included(route)
                yield from contexts()
            elif hasattr(route, "matches"):
                yield route

    def _watch(self, owner: Any) -> None:
        self._walked.append((owner, owner.routes, len(owner.routes)))

    def _watch_included(self, route: Any) -> None:
        router = getattr(route, "original_router", None)
        if router is not None:
            self._watch(router)
            for inner in router.routes:
                self._watch_included(inner)

    def _node(self, matcher: Any, prefix: str, trail: tuple[Any, ...]) -> _Node:
        original = getattr(matcher, "original_route", matcher)
        placed = getattr(matcher, "starlette_route", None) or original
        is_mount = hasattr(placed, "routes") and hasattr(placed, "app")
        trail = (*trail, matcher)
        template = prefix + _own_path(placed if placed is not original else matcher)
        inner = _routed(placed.app) if is_mount and len(trail) < _MAX_DEPTH else None
        children = None if inner is None else self._grow(inner, template, trail)
        node = _Node(matcher, original, template if is_mount else template or "/", trail, is_mount, children)
        endpoint = placed.app if is_mount else getattr(placed, "endpoint", placed)
        self._by_endpoint.setdefault(id(endpoint), []).append(node)
        self._routes.update((id(original), id(placed)))
        return node


def _routed(app: Any) -> Any:
    """Unwrap *app* from its middleware down to what has routes; None if there is nothing like that."""
    for _ in range(_MAX_DEPTH):
        if app is None or hasattr(app, "routes"):
            return app
        app = getattr(app, "app", None)
    return None


def _own_path(route: Any) -> str:
    """Return a route's own part of the template: empty for a host, without the rest of the path for a mount."""
    path = getattr(route, "path_format", None) or getattr(route, "path", "")
    return str(path).removesuffix(_REST) if hasattr(route, "routes") else str(path)


def _as_at_root(scope: Scope) -> dict[str, Any]:
    """Return *scope* with the path that the first router saw."""
    return {**scope, "root_path": scope.get("app_root_path", scope.get("root_path", ""))}


def _fit(trail: tuple[Any, ...], trial: dict[str, Any]) -> int:
    fit = _FULL
    for matcher in trail:
        match, child_scope = matcher.matches(trial)
        fit = min(fit, match.value)
        trial.update(child_scope)
    return fit


def _first_match(nodes: tuple[_Node, ...], trial: dict[str, Any]) -> _Node | None:
    partial = None
    for node in nodes:
        match, child_scope = node.matcher.matches(trial)
        if match.value == _FULL:
            trial.update(child_scope)
            return node
        if match.value == _PARTIAL and partial is None:
            partial = node
    return partial
