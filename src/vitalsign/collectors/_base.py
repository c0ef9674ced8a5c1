"""What every collector is: bound to a registry, and unbound."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from threading import RLock
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY

from vitalsign.exceptions import CollectorBoundError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from prometheus_client import CollectorRegistry, Metric

__all__ = ["Collector"]

_binding = RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_binding.acquire, after_in_parent=_binding.release, after_in_child=_binding.release)


class Collector(ABC):
    """
    Base of all collectors: constructing one registers nothing, `bind` does, `unbind` takes it back.

    As a context manager it is unbound at the end, and bound to the default registry at the start unless it is bound
    already.
    """

    _registry: CollectorRegistry | None = None

    def bind(self, registry: CollectorRegistry = REGISTRY) -> Self:
        """
        Show this collector's metrics on *registry*. Binding it there again does nothing.

        Collectors of one family share its metrics, told apart by their labels.

        Raises:
            CollectorBoundError: It is bound to another registry.
            DuplicateMetricError: One of the names is taken by a metric of another shape, or by another library.
        """
        with _binding:
            if self._registry is registry:
                return self
            if self._registry is not None:
                raise CollectorBoundError(
                    f"{self!r} is bound to another registry, and shows its metrics on one at a time. "
                    "Call unbind() first, or make a second collector."
                )
            self._attach(registry)
            self._registry = registry
        self._after_bind()
        return self

    def unbind(self) -> None:
        """Take this collector's series off the registry; those of other collectors stay. Not bound: do nothing."""
        with _binding:
            registry, self._registry = self._registry, None
            if registry is not None:
                self._detach(registry)

    def __enter__(self) -> Self:
        return self if self._registry is not None else self.bind()

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.unbind()

    @abstractmethod
    def describe(self) -> Iterable[Metric]:
        """Return the metrics of this collector without samples, bound or not, and without measuring anything."""

    @abstractmethod
    def _attach(self, registry: CollectorRegistry) -> None:
        """Register; leave nothing behind if it fails."""

    @abstractmethod
    def _detach(self, registry: CollectorRegistry) -> None:
        """Undo `_attach`."""

    def _after_bind(self) -> None:  # noqa: B027  # most have nothing to do
        """Do what may take time, without a lock."""
