"""Paths that are left out of the measurement."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING, Any

from vitalsign.exceptions import EndpointOptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["path_filter"]


def path_filter(patterns: str | Iterable[str]) -> Callable[[Mapping[str, Any]], bool] | None:
    """
    Return a function that tells whether the path of a scope is one of *patterns*; None if there are none.

    Args:
        patterns: Paths without the prefix that a proxy adds, exact or with `*`, `?` and `[…]` as in a shell.

    Raises:
        EndpointOptionError: One of them fits no path.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in patterns:
        if not isinstance(pattern, str) or (pattern and pattern[0] not in "/*?["):
            raise EndpointOptionError(f"exclude has {pattern!r}, which fits no path: these begin with '/'.")
    if not patterns:
        return None
    wild = [pattern for pattern in patterns if any(sign in pattern for sign in "*?[")]
    exact = frozenset(patterns).difference(wild)
    matches = re.compile("|".join(map(translate, wild)) or r"\Z.").match

    def is_among(scope: Mapping[str, Any]) -> bool:
        path: str = scope["path"]
        root_path: str = scope.get("root_path", "")
        if root_path and path.startswith(root_path):
            path = path[len(root_path) :]
        return path in exact or matches(path) is not None

    return is_among
