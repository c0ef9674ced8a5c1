"""In which order checks are looked at: each after those that it depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitalsign.exceptions import HealthDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vitalsign.health._slots import Slot

__all__ = ["in_order"]


def in_order(slots: Mapping[str, Slot], wanted: Iterable[Slot]) -> list[Slot]:
    """
    Return *wanted* and what they depend on, each after its dependencies, and link the slots to those.

    Args:
        slots: All that there are, by name.
        wanted: Some of them.

    Raises:
        HealthDependencyError: They depend on each other in a circle, or on one that there is not.
    """
    ordered: dict[str, Slot] = {}
    for slot in wanted:
        _visit(slot, slots, ordered, ())
    return list(ordered.values())


def _visit(slot: Slot, slots: Mapping[str, Slot], ordered: dict[str, Slot], path: tuple[str, ...]) -> None:
    name = slot.check.name
    if name in ordered:
        return
    if name in path:
        raise _circle((*path[path.index(name) :], name))
    path = (*path, name)
    slot.dependencies = tuple(_find(needed, slots, path) for needed in slot.check.depends_on)
    for dependency in slot.dependencies:
        dependency.has_dependents = True
        _visit(dependency, slots, ordered, path)
    ordered[name] = slot


def _find(needed: str, slots: Mapping[str, Slot], path: tuple[str, ...]) -> Slot:
    slot = slots.get(needed)
    if slot is None:
        raise HealthDependencyError(
            f"Check {path[-1]!r} depends on {needed!r}, which is no check. There are: {', '.join(slots)}. "
            "Add it, or correct depends_on=.",
            checks=(*path, needed),
        )
    return slot


def _circle(names: tuple[str, ...]) -> HealthDependencyError:
    return HealthDependencyError(
        f"Health checks depend on each other in a circle, so none of them would ever run: {' -> '.join(names)}. "
        "Take one of these names out of depends_on=.",
        checks=names[:-1],
    )
