"""Many processes, one truth: the workers of one service count into files that each of them can add up."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

from vitalsign.exceptions import ProcessesError
from vitalsign.metrics import shards
from vitalsign.metrics.exemplars import allow_traces
from vitalsign.metrics.registry import REGISTRY, name_registry, shared_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from vitalsign.metrics.processes.sharing import Sharing

__all__ = ["configure", "from_environment", "sources"]

_DIRECTORY_VARIABLE = "VITALSIGN_PROCESSES_DIR"
_UPSTREAM_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_EXEMPLARS_VARIABLE = "VITALSIGN_EXEMPLARS"
_NO = ("0", "false", "no", "off")
_named: weakref.WeakSet[CollectorRegistry] = weakref.WeakSet([REGISTRY])


_sharing: Sharing | None = None


def configure(
    *,
    processes: str | Path | None = None,
    mode: int | None = None,
    group: str | int | None = None,
    registries: Mapping[str, CollectorRegistry] | None = None,
    exemplars: bool | None = None,
) -> None:
    """
    Let the workers of one service share their metrics, so that whichever is scraped answers for all.

    Call it before the workers are started, or in each of them; what a worker has counted before is taken along. The
    environment variable VITALSIGN_PROCESSES_DIR does the same without a call, and VITALSIGN_EXEMPLARS=off what
    `exemplars=False` does.

    Args:
        processes: A directory that belongs to this service, on a local file system; made if it is not there. Counts
            of a worker that has ended stay in it, until the next boot of the machine or container.
        mode: Permissions of the directory, such as 0o770; None leaves them to the umask.
        group: Its group, for workers that drop privileges after a root master.
        registries: Further registries to share besides the default one, by a name that all workers give them.
        exemplars: Whether what is counted within a sampled trace may bear its ids, as it does unless told otherwise.

    Raises:
        ProcessesError: The directory cannot be used, another one is in use already, or a name of a registry is taken.
    """
    global _sharing  # one for the process
    if exemplars is not None:
        allow_traces(exemplars)
    for name, registry in (registries or {}).items():
        _name(registry, name)
    with shards.LOCK:
        if processes is not None:
            _sharing = _share_in(processes, mode, group)
        if _sharing is not None:
            _sharing.take_along(registries.values() if registries else (), known_too=False)


def _share_in(path: str | Path, mode: int | None, group: str | int | None) -> Sharing:
    # Loaded here: whoever has one process need not pay for it at import.
    from vitalsign.metrics.processes.directory import Directory
    from vitalsign.metrics.processes.sharing import Sharing

    directory = Directory(path, mode=mode, group=group)
    if _sharing is None:
        sharing = Sharing(directory)
        sharing.take_along(_named, known_too=True)
        return sharing
    if directory.path.resolve() != _sharing.directory.path.resolve():
        raise ProcessesError(
            f"This process shares its metrics in {str(_sharing.directory.path)!r} already, and cannot go on in "
            f"{str(directory.path)!r}. Configure one directory for the service, before its first metric."
        )
    return _sharing


def _name(registry: CollectorRegistry, name: str) -> None:
    if not name:
        raise ProcessesError("A shared registry needs a name: the empty one is the default registry's.")
    if shared_name(registry) not in (None, name):
        raise ProcessesError(f"The registry to be shared as {name!r} is shared as {shared_name(registry)!r} already.")
    if any(shared_name(other) == name for other in _named if other is not registry):
        raise ProcessesError(f"Two registries cannot be shared as {name!r}. Give each a name of its own.")
    name_registry(registry, name)
    _named.add(registry)


def from_environment() -> None:
    """
    Configure what the environment says.

    Raises:
        ProcessesError: The directory that it names cannot be used.
    """
    if os.environ.get(_EXEMPLARS_VARIABLE, "").lower() in _NO:
        allow_traces(False)
    path = os.environ.get(_DIRECTORY_VARIABLE)
    if not path and (upstream := os.environ.get(_UPSTREAM_VARIABLE)):
        path = os.path.join(upstream, "vitalsign")  # noqa: PTH118  # beside prometheus_client's own files
    if path:
        configure(processes=path)


def sources(registry: Any, collectors: Iterable[Any], until: float | None) -> list[Callable[[], Iterable[Metric]]]:
    """
    Return what gives the metrics of a page: each collector alone, or first what all processes have together.

    Args:
        registry: The registry.
        collectors: Its collectors.
        until: When the time to ask them is over, by `time.monotonic()`.
    """
    name = shared_name(registry)
    sharing = _sharing
    if sharing is None or name is None:
        return [collector.collect for collector in collectors]
    return sharing.sources(registry, name, collectors, until)
