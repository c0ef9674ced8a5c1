"""Health endpoints as Starlette routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vitalsign.health._asgi import AsgiEndpoint

__all__ = ["routes"]


def routes(endpoints: Mapping[str, AsgiEndpoint]) -> list[Route]:
    """
    Return a route for each endpoint, hidden from OpenAPI.

    They take every method: the endpoints themselves refuse what they do not answer, uncacheable too.
    """
    return [
        Route(path, endpoint, name=f"health:{endpoint.name}", methods=None, include_in_schema=False)
        for path, endpoint in endpoints.items()
    ]
