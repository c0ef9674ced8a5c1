"""The machine: processors, memory, disks, network."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from vitalsign.collectors._families import counter, filled, gauge
from vitalsign.collectors._sampled import SampledCollector, each_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from vitalsign.collectors._families import Declaration

__all__ = ["SystemCollector"]

_CPU = counter("system_cpu_seconds", "Time that all processors spent in each mode.", "mode")
_CPUS = gauge("system_cpus", "Logical processors.")
_LOAD = gauge("system_load_average", "Average number of runnable tasks over 1m, 5m and 15m.", "window")
_BOOT = gauge("system_boot_timestamp_seconds", "Unix time at which the machine was started.")
_MEMORY = {
    "total": gauge("system_memory_total_bytes", "Physical memory."),
    "available": gauge("system_memory_available_bytes", "Memory that programs can get without swapping."),
    "used": gauge("system_memory_used_bytes", "Memory in use, without caches."),
}
_SWAP = {
    "total": gauge("system_swap_total_bytes", "Swap space."),
    "used": gauge("system_swap_used_bytes", "Swap space in use."),
}
_DISK = {
    "total": gauge("system_disk_total_bytes", "Size of the file system.", "mountpoint"),
    "used": gauge("system_disk_used_bytes", "Space in use.", "mountpoint"),
    "free": gauge("system_disk_free_bytes", "Space that a program without privileges can use.", "mountpoint"),
}
_DISK_IO = {
    "read_bytes": counter("system_disk_read_bytes", "Bytes read from the device.", "device"),
    "write_bytes": counter("system_disk_written_bytes", "Bytes written to the device.", "device"),
    "read_count": counter("system_disk_reads", "Reads from the device.", "device"),
    "write_count": counter("system_disk_writes", "Writes to the device.", "device"),
}
_NETWORK = {
    "bytes_recv": counter("system_network_received_bytes", "Bytes received.", "interface"),
    "bytes_sent": counter("system_network_sent_bytes", "Bytes sent.", "interface"),
    "packets_recv": counter("system_network_received_packets", "Packets received.", "interface"),
    "packets_sent": counter("system_network_sent_packets", "Packets sent.", "interface"),
    "errin": counter("system_network_receive_errors", "Packets received with an error.", "interface"),
    "errout": counter("system_network_send_errors", "Packets that could not be sent.", "interface"),
    "dropin": counter("system_network_receive_drops", "Packets received and dropped.", "interface"),
    "dropout": counter("system_network_send_drops", "Packets dropped instead of sent.", "interface"),
}
_FAMILIES = (
    _CPU, _CPUS, _LOAD, _BOOT, *_MEMORY.values(), *_SWAP.values(), *_DISK.values(), *_DISK_IO.values(),
    *_NETWORK.values(),
)  # fmt: skip

_COUNTED_TWICE = ("guest", "guest_nice")  # the kernel has them in user and nice already
_WINDOWS = ("1m", "5m", "15m")
_VIRTUAL_INTERFACES = ("veth", "docker", "br-", "virbr", "vnet", "cali", "lxc", "cni", "flannel", "ifb", "dummy")
_VIRTUAL_DEVICES = ("loop", "ram", "zram")
_UNSUPPORTED = (NotImplementedError, FileNotFoundError, PermissionError, psutil.AccessDenied)


def _if_supported(part: Callable[[], Iterable[Metric]]) -> Iterator[Metric]:
    """Yield nothing for a part that this system, or a sandbox in it, does not tell."""
    try:
        yield from part()
    except _UNSUPPORTED:
        return


class SystemCollector(SampledCollector):
    """
    Show the machine that the process runs on: in a container, that is the host, as far as it can be seen.

    Args:
        mountpoints: File systems to show, by where they are mounted; all that lie on a device if None.
        interfaces: Network interfaces to show; all but those of containers and virtual machines if None.
        refresh: Seconds from one sample to the next.
        deadline: Seconds that a sample may take.

    Raises:
        CollectorOptionError: A time is not above 0.
    """

    def __init__(
        self,
        *,
        mountpoints: Sequence[str] | None = None,
        interfaces: Sequence[str] | None = None,
        refresh: float = 10.0,
        deadline: float = 5.0,
    ) -> None:
        super().__init__("system", refresh=refresh, deadline=deadline)
        self._mountpoints = mountpoints
        self._interfaces = interfaces

    def describe(self) -> Iterable[Metric]:
        """Return the metrics, also those that this machine may not tell."""
        return [make() for make in _FAMILIES]

    def collect(self) -> Iterable[Metric]:
        """Ask the operating system now."""
        parts = (_cpu, _load, _memory, _swap, _boot, self._disk_io, self._network, self._disks)
        return each_of(*(partial(_if_supported, part) for part in parts))

    def _disks(self) -> Iterable[Metric]:
        usage = {}
        for mountpoint in _mountpoints() if self._mountpoints is None else self._mountpoints:
            try:
                usage[mountpoint] = psutil.disk_usage(mountpoint)
            except OSError:  # unmounted in between, or not ours to see
                continue
        return _by_label(_DISK, usage)

    def _disk_io(self) -> Iterable[Metric]:
        counters = psutil.disk_io_counters(perdisk=True) or {}
        return _by_label(_DISK_IO, {name: device for name, device in counters.items() if _is_whole_disk(name)})

    def _network(self) -> Iterable[Metric]:
        counters = psutil.net_io_counters(pernic=True)
        return _by_label(_NETWORK, {name: counts for name, counts in counters.items() if self._shows_interface(name)})

    def _shows_interface(self, name: str) -> bool:
        return not name.startswith(_VIRTUAL_INTERFACES) if self._interfaces is None else name in self._interfaces


def _cpu() -> Iterable[Metric]:
    times = psutil.cpu_times()
    modes = [mode for mode in times._fields if mode not in _COUNTED_TWICE]
    yield filled(_CPU, *(([mode], getattr(times, mode)) for mode in modes))
    yield filled(_CPUS, ([], psutil.cpu_count() or 1))


def _load() -> Iterable[Metric]:
    yield filled(_LOAD, *(([window], load) for window, load in zip(_WINDOWS, psutil.getloadavg(), strict=True)))


def _memory() -> Iterable[Metric]:
    return _unlabelled(_MEMORY, psutil.virtual_memory())


def _swap() -> Iterable[Metric]:
    return _unlabelled(_SWAP, psutil.swap_memory())


def _boot() -> Iterable[Metric]:
    yield filled(_BOOT, ([], psutil.boot_time()))


def _unlabelled(families: Mapping[str, Declaration], measured: object) -> Iterator[Metric]:
    for field, make in families.items():
        yield filled(make, ([], getattr(measured, field)))


def _by_label(families: Mapping[str, Declaration], measured: Mapping[str, object]) -> Iterator[Metric]:
    for field, make in families.items():
        yield filled(make, *(([name], getattr(values, field)) for name, values in measured.items()))


def _mountpoints() -> Iterable[str]:
    """Choose one mountpoint for each device: a container has single files of one device mounted in many places."""
    by_device: dict[str, str] = {}
    for partition in psutil.disk_partitions(all=False):
        known = by_device.get(partition.device)
        if Path(partition.mountpoint).is_dir() and (known is None or len(partition.mountpoint) < len(known)):
            by_device[partition.device] = partition.mountpoint
    return dict.fromkeys([Path("/").resolve().as_posix(), *by_device.values()])


def _is_whole_disk(name: str) -> bool:
    """Tell a disk from its partitions, which would count its traffic twice."""
    if name.startswith(_VIRTUAL_DEVICES):
        return False
    block_devices = Path("/sys/block")
    return not block_devices.is_dir() or (block_devices / name.replace("/", "!")).exists()
