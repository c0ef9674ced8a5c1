"""The own process: what prometheus_client's own collector does not tell, and all of it where that one is not there."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import prometheus_client
import psutil

from vitalsign.collectors._families import SharedFamily, counter, filled, gauge
from vitalsign.collectors._sampled import SampledCollector, each_of
from vitalsign.metrics import processes
from vitalsign.metrics.registry import collectors_of
from vitalsign.typing import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import CollectorRegistry, Metric

__all__ = ["ProcessCollector"]

_CPU = counter("process_cpu_seconds", "Total user and system CPU time spent in seconds.")
_RESIDENT = gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
_VIRTUAL = gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")
_START = gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.")
_OPEN_FDS = gauge("process_open_fds", "Number of open file descriptors.")
_MAX_FDS = gauge("process_max_fds", "Maximum number of open file descriptors.")
_CPU_MODES = counter("process_cpu_mode_seconds", "CPU time that the process spent, by mode.", "mode")
_THREADS = gauge("process_threads", "Threads of the process.")
_SWITCHES = counter("process_context_switches", "Context switches: voluntary, involuntary.", "kind")
_READ = counter("process_io_read_bytes", "Bytes that the process read from storage.")
_WRITTEN = counter("process_io_written_bytes", "Bytes that the process wrote to storage.")
_FAMILIES = (
    _CPU, _RESIDENT, _VIRTUAL, _START, _OPEN_FDS, _MAX_FDS, _CPU_MODES, _THREADS, _SWITCHES, _READ, _WRITTEN,
)  # fmt: skip


class ProcessCollector(SampledCollector):
    """
    Show the process that it is bound in: processor time, memory, threads, descriptors, input and output.

    The metrics that prometheus_client's own collector, or any other, shows on the same registry are left to it. Where
    prometheus_client's is not there, or tells nothing because the system has no /proc, they are shown by its names.
    Where workers share their metrics, each that lives is shown, told apart by a label `worker`: a small number.

    Args:
        refresh: Seconds from one sample to the next.
        deadline: Seconds that a sample may take.

    Raises:
        CollectorOptionError: A time is not above 0.
    """

    def __init__(self, *, refresh: float = 10.0, deadline: float = 5.0) -> None:
        super().__init__("process", refresh=refresh, deadline=deadline)
        self._shown_on: CollectorRegistry | None = None

    def describe(self) -> Iterable[Metric]:
        """Return the metrics, also those that this system may not tell or that are left to prometheus_client."""
        return [make() for make in _FAMILIES]

    def collect(self) -> Iterable[Metric]:
        """Ask the operating system now."""
        workers = processes.workers(self._shown_on)
        if workers:
            yield from _of_workers(workers)
            return
        process = psutil.Process()  # not kept: in a forked child it would still be the parent
        with process.oneshot():
            yield from each_of(*_parts(process))

    def _offered(self, registry: CollectorRegistry) -> Iterable[Metric]:
        self._shown_on = registry
        taken = {name for other in collectors_of(registry) or () for name in _names(other)}
        return [metric for metric in self.describe() if metric.name not in taken]


def _names(collector: object) -> Iterable[str]:
    """Return the names that are left to *collector* if it is on the registry."""
    if isinstance(collector, prometheus_client.ProcessCollector):
        # By what it tells: it describes nothing, and has nothing to tell on a system without /proc.
        return [metric.name for metric in collector.collect()]
    if isinstance(collector, SharedFamily) or not isinstance(collector, Collector):
        return []
    return [metric.name for metric in collector.describe()]


def _of_workers(workers: Iterable[tuple[int, int]]) -> Iterable[Metric]:
    together = {metric.name: metric for metric in (make() for make in _FAMILIES)}
    for number, pid in workers:
        with suppress(psutil.Error):  # it has ended meanwhile
            process = psutil.Process(pid)
            with process.oneshot():
                for part in _parts(process):
                    with suppress(psutil.Error):  # another user's process does not tell everything
                        for metric in part():
                            together[metric.name].samples += [
                                sample._replace(labels={**sample.labels, "worker": str(number)})
                                for sample in metric.samples
                            ]
    return [metric for metric in together.values() if metric.samples]


def _parts(process: psutil.Process) -> list[Callable[[], Iterable[Metric]]]:
    return [partial(part, process) for part in (_cpu, _memory, _activity, _descriptors, _storage)]


def _cpu(process: psutil.Process) -> Iterable[Metric]:
    times = process.cpu_times()
    yield filled(_CPU, ([], times.user + times.system))
    yield filled(_CPU_MODES, (["user"], times.user), (["system"], times.system))


def _memory(process: psutil.Process) -> Iterable[Metric]:
    memory = process.memory_info()
    yield filled(_RESIDENT, ([], memory.rss))
    yield filled(_VIRTUAL, ([], memory.vms))


def _activity(process: psutil.Process) -> Iterable[Metric]:
    yield filled(_START, ([], process.create_time()))
    yield filled(_THREADS, ([], process.num_threads()))
    switches = process.num_ctx_switches()
    yield filled(_SWITCHES, (["voluntary"], switches.voluntary), (["involuntary"], switches.involuntary))


def _descriptors(process: psutil.Process) -> Iterable[Metric]:
    if sys.platform == "win32":
        yield filled(_OPEN_FDS, ([], process.num_handles()))
        return
    import resource

    yield filled(_OPEN_FDS, ([], process.num_fds()))
    if sys.platform == "linux":
        limit, _ = process.rlimit(resource.RLIMIT_NOFILE)
    else:  # where workers have the same as we, as a rule
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY:
        yield filled(_MAX_FDS, ([], limit))


def _storage(process: psutil.Process) -> Iterable[Metric]:
    if not hasattr(process, "io_counters"):  # macOS
        return
    try:
        counters = process.io_counters()
    except (psutil.AccessDenied, NotImplementedError, FileNotFoundError, RuntimeError):  # a kernel or sandbox without
        return
    yield filled(_READ, ([], counters.read_bytes))
    yield filled(_WRITTEN, ([], counters.write_bytes))
