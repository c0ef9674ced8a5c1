"""The demo's front page: where to look, what to look for, and switches that break things."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

__all__ = ["Switch", "page_routes"]


@dataclass(frozen=True, slots=True)
class Switch:
    """
    Something that visitors of the page can change.

    Attributes:
        name: Its name in the URL: `POST /switches/<name>/<position>`.
        title: Its name for people.
        positions: What it can be set to.
        read: Returns its position.
        write: Sets its position.
    """

    name: str
    title: str
    positions: Sequence[str]
    read: Callable[[], str]
    write: Callable[[str], None]


def page_routes(switches: Sequence[Switch]) -> list[Route]:
    """Return the page at `/`, and what its buttons post to."""
    page = Template(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    by_name = {switch.name: switch for switch in switches}
    return [
        Route("/", partial(_show, page, switches)),
        Route("/switches/{name}/{position}", partial(_turn, by_name), methods=["POST"]),
    ]


async def _show(page: Template, switches: Sequence[Switch], request: Request) -> HTMLResponse:
    forms = "\n".join(map(_form, switches))
    return HTMLResponse(page.substitute(switches=forms, address=escape(request.url.netloc)))


async def _turn(switches: Mapping[str, Switch], request: Request) -> RedirectResponse:
    switch, position = switches.get(request.path_params["name"]), request.path_params["position"]
    if switch is None or position not in switch.positions:
        raise HTTPException(404, "there is no such switch, or it has no such position")
    switch.write(position)
    return RedirectResponse("/", 303)


def _form(switch: Switch) -> str:
    now = switch.read()
    buttons = (
        f'<button formaction="/switches/{switch.name}/{position}" aria-pressed="{str(position == now).lower()}">'
        f"{position}</button>"
        for position in switch.positions
    )
    return f'<form method="post"><span>{switch.title}</span>{"".join(buttons)}</form>'
