"""Take metrics off a registry, so that they can be declared anew in another shape."""

from __future__ import annotations

from typing import Any

from vitalsign.exceptions import UnknownMetricError
from vitalsign.metrics.base import Instrument
from vitalsign.metrics.catalogue import class_name
from vitalsign.metrics.registry import REGISTRY, CollectorRegistry, holder_of
from vitalsign.metrics.scope import Scope

__all__ = ["unregister"]


def unregister(metric: Instrument | str, registry: CollectorRegistry = REGISTRY) -> None:
    """
    Take a metric with all its series off the page; its names are free again.

    Whoever holds it, or a child of it, may go on writing; nothing shows it, also if the metric is declared anew. Where
    many processes share metrics, this one's part leaves the pages of all of them; the others take theirs off
    themselves, and what ended processes have counted stays until the next boot.

    Args:
        metric: The metric, or one of the names that it has on the page.
        registry: Where it stands.

    Raises:
        UnknownMetricError: It does not stand there, or it is another library's: give that to `registry.unregister()`.
    """
    held = _named(metric, registry) if isinstance(metric, str) else metric
    if not isinstance(held, Instrument):
        raise UnknownMetricError(_why(metric, held), name=str(metric))
    try:
        registry.unregister(held)
    except KeyError:
        raise UnknownMetricError(_why(metric, None), name=held.spec.name) from None
    if not isinstance(registry, Scope):  # which does it itself
        held._family.retire(held._children())


def _named(name: str, registry: CollectorRegistry) -> Any:
    return (isinstance(registry, Scope) and registry.narrowed_of(name)) or holder_of(registry, name)


def _why(metric: object, holder: Any) -> str:
    if holder is None:
        return f"{metric} cannot be unregistered: it is not on this registry. Give the registry it was declared on."
    return (
        f"{metric} cannot be unregistered by name: it belongs to {class_name(holder)}, which is no metric of "
        "vitalsign's. Take that off by its own unbind(), or by registry.unregister(collector)."
    )
