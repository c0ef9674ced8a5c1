"""Where the demo gets its chance from: a seed, so that a run can be repeated."""

from __future__ import annotations

from random import Random

__all__ = ["luck"]


def luck(seed: int, part: str) -> Random:
    """Return what decides for one *part* of the demo; parts do not disturb each other's luck."""
    return Random(f"{seed} {part}")  # noqa: S311  # nothing here is secret
