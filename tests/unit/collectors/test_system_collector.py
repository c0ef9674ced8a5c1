"""SystemCollector: what it shows is what the operating system says."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from vitalsign.collectors import SystemCollector
from vitalsign.collectors import system as module
from vitalsign.testing import sample_value


@pytest.fixture
def shown(registry):
    """Return a function that collects once and returns a metric's values by label values."""

    def collect(name, collector=None):
        metrics = {metric.name: metric for metric in (collector or SystemCollector()).collect()}
        return {tuple(sample.labels.values()): sample.value for sample in metrics[name].samples}

    return collect


def up(registry):
    """Return whether the collector is shown as up."""
    return sample_value(registry, "vitalsign_collector_up", collector="system")


def test_processor_time_is_counted_by_mode(shown):
    """The modes add up to the time of all processors since boot, nothing counted twice, and only grow."""
    first = shown("system_cpu_seconds")
    second = shown("system_cpu_seconds")
    assert all(second[mode] >= value for mode, value in first.items())
    assert {("user",), ("system",), ("idle",)} <= first.keys()
    assert not {("guest",), ("guest_nice",)} & first.keys()
    assert sum(first.values()) == pytest.approx(sum(psutil.cpu_times()), rel=0.1)


def test_memory_adds_up(shown):
    """Used and available memory are within the total, which is what the system says."""
    (total,) = shown("system_memory_total_bytes").values()
    assert total == psutil.virtual_memory().total
    for name in ("system_memory_used_bytes", "system_memory_available_bytes"):
        (part,) = shown(name).values()
        assert 0 < part < total


def test_disk_space_by_mountpoint(shown, tmp_path):
    """The file systems asked for are shown, one that does not exist is left out; by default the root is among them."""
    collector = SystemCollector(mountpoints=[str(tmp_path), "/does/not/exist"])
    assert shown("system_disk_total_bytes", collector) == {(str(tmp_path),): shutil.disk_usage(tmp_path).total}
    assert ("/",) in shown("system_disk_total_bytes")


def test_only_directories_are_mountpoints_and_a_device_has_one(monkeypatch, tmp_path):
    """Files that a container has mounted, and further places of a device, are left out."""
    single_file = tmp_path / "resolv.conf"
    single_file.touch()
    (tmp_path / "a" / "deeper").mkdir(parents=True)
    partitions = [
        SimpleNamespace(device="/dev/vda1", mountpoint=str(place))
        for place in (single_file, tmp_path / "a" / "deeper", tmp_path / "a")
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: partitions)
    assert list(module._mountpoints()) == ["/", str(tmp_path / "a")]


def test_disks_are_not_counted_twice(shown):
    """Traffic is shown by whole disk, not by partition or virtual device."""
    devices = {device for (device,) in shown("system_disk_read_bytes")}
    if Path("/sys/block").is_dir():
        assert all((Path("/sys/block") / device).exists() for device in devices)
    assert not any(device.startswith(("loop", "ram", "zram")) for device in devices)


def test_interfaces_can_be_chosen(shown):
    """By default the interfaces of containers are left out; those that are named are shown, whatever they are."""
    every = psutil.net_io_counters(pernic=True)
    name = next(iter(every))
    collector = SystemCollector(interfaces=[name, "does-not-exist"])
    assert {interface for (interface,) in shown("system_network_received_bytes", collector)} == {name}
    default = {interface for (interface,) in shown("system_network_received_bytes")}
    assert default <= set(every)
    assert not any(interface.startswith(("veth", "docker", "br-")) for interface in default)


def test_boot_and_load(shown):
    """The time of boot is in the past, and the load has its three windows."""
    assert 0 < shown("system_boot_timestamp_seconds")[()] < time.time()
    assert shown("system_load_average").keys() == {("1m",), ("5m",), ("15m",)}
    assert shown("system_cpus")[()] == os.cpu_count()


@pytest.mark.parametrize("error", [NotImplementedError, FileNotFoundError, PermissionError, psutil.AccessDenied])
def test_what_the_system_does_not_tell_is_left_out(registry, monkeypatch, error):
    """A sandbox without disk or swap statistics costs those metrics; the collector is up with the others."""

    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(psutil, "disk_io_counters", refuse)
    monkeypatch.setattr(psutil, "swap_memory", refuse)
    with SystemCollector().bind(registry):
        assert up(registry) == 1
        assert sample_value(registry, "system_cpus") == os.cpu_count()
        assert sample_value(registry, "system_swap_total_bytes") is None


def test_machine_without_disks(registry, monkeypatch):
    """A machine that has no disks at all, for which psutil returns None, is no error."""
    monkeypatch.setattr(psutil, "disk_io_counters", lambda perdisk: None)
    with SystemCollector().bind(registry):
        assert up(registry) == 1


def test_one_broken_part_costs_only_itself(registry, monkeypatch):
    """An error in one part is counted; the other parts are shown."""

    def fail():
        raise RuntimeError("no such counter")

    monkeypatch.setattr(psutil, "virtual_memory", fail)
    with SystemCollector().bind(registry):
        assert up(registry) == 0
        assert sample_value(registry, "system_memory_total_bytes") is None
        assert sample_value(registry, "system_cpus") == os.cpu_count()
        assert sample_value(registry, "system_boot_timestamp_seconds") is not None
