# SPDX-License-Identifier: MIT
"""/sys/devices/system/cpu: the CPUs, how they are put together, and their caches.

drivers/base/{cpu,topology,cacheinfo}.c (v6.1). A CPU that is off line keeps its directory, its
node link and `online`, and loses topology/ and cache/.

Simplified: no frequencies, idle states or microcode; no CPU is vulnerable to anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from numafs.kernel import cpu as cpu_hotplug
from numafs.kernel.nodemask import Mask, hex_mask, list_text, mask_of, members

from .attr import Attr, Caller
from .numbers import kstrtobool
from .sysfs_device import UEVENT, add_power
from .sysfs_node import nr_cpu_ids
from .tree import SYSFS, Dir, Following, Link, Node

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.machine.spec import Cache, Cpu

__all__ = ["cpu_dir", "core_cpus", "package_cpus"]


def package_cpus(kernel: Kernel, cpu: Cpu) -> Mask:
    """CPUs on line in the socket of `cpu` (topology_core_cpumask)."""
    return kernel.cpu_online & kernel.machine.packages.get(cpu.socket, 0)


def die_cpus(kernel: Kernel, cpu: Cpu) -> Mask:
    """CPUs on line in the die of `cpu`."""
    return kernel.cpu_online & kernel.machine.dies.get((cpu.socket, cpu.die), 0)


def core_cpus(kernel: Kernel, cpu: Cpu) -> Mask:
    """CPUs on line in the core of `cpu`: its threads (topology_sibling_cpumask)."""
    return kernel.cpu_online & kernel.machine.cores.get((cpu.socket, cpu.die, cpu.core), 0)


class CpuDevice:
    """A CPU as its files see it."""

    def __init__(self, kernel: Kernel, cpu: Cpu) -> None:
        self.kernel = kernel
        self.cpu = cpu


def online_store(device: CpuDevice, data: bytes, caller: Caller) -> None:
    """1 or 0; what it is already is no error. drivers/base/core.c:online_store() (v6.1)."""
    wanted = kstrtobool(data)
    kernel, number = device.kernel, device.cpu.cpu
    if wanted == bool(kernel.cpu_online >> number & 1):
        return
    if wanted:
        cpu_hotplug.cpu_up(kernel, number)
    else:
        cpu_hotplug.cpu_down(kernel, number)


def online_show(device: CpuDevice) -> str:
    """Is it on line?"""
    return f"{device.kernel.cpu_online >> device.cpu.cpu & 1}\n"


ONLINE: Attr[CpuDevice] = Attr("online", 0o644, online_show, online_store, size=4096)

Cpumask = Callable[["Kernel", "Cpu"], Mask]


def mask_row(name: str, cpus: Cpumask) -> Attr[CpuDevice]:
    """A file of topology/ with a set of CPUs as a mask."""

    def show(device: CpuDevice) -> str:
        return hex_mask(cpus(device.kernel, device.cpu), nr_cpu_ids(device.kernel)) + "\n"

    return Attr(name, 0o444, show, size=4096)


def list_row(name: str, cpus: Cpumask) -> Attr[CpuDevice]:
    """A file of topology/ with a set of CPUs as a list."""
    return Attr(name, 0o444, lambda device: list_text(cpus(device.kernel, device.cpu)) + "\n", size=28672)


TOPOLOGY: tuple[Attr[CpuDevice], ...] = (
    mask_row("cluster_cpus", core_cpus),
    list_row("cluster_cpus_list", core_cpus),
    Attr("cluster_id", 0o444, lambda device: "65535\n", size=4096),
    mask_row("core_cpus", core_cpus),
    list_row("core_cpus_list", core_cpus),
    Attr("core_id", 0o444, lambda device: f"{device.cpu.core}\n", size=4096),
    mask_row("core_siblings", package_cpus),
    list_row("core_siblings_list", package_cpus),
    mask_row("die_cpus", die_cpus),
    list_row("die_cpus_list", die_cpus),
    Attr("die_id", 0o444, lambda device: f"{device.cpu.die}\n", size=4096),
    mask_row("package_cpus", package_cpus),
    list_row("package_cpus_list", package_cpus),
    Attr("physical_package_id", 0o444, lambda device: f"{device.cpu.socket}\n", size=4096),
    mask_row("thread_siblings", core_cpus),
    list_row("thread_siblings_list", core_cpus),
)
"""The order of names as ls sorts them; clusters are single cores here."""


class CacheDevice:
    """A cache as a CPU's cache/indexI/ sees it."""

    def __init__(self, kernel: Kernel, cache: Cache) -> None:
        self.kernel = kernel
        self.cache = cache
        self.id = kernel.machine.cache_ids[cache.level, cache.type, min(cache.shared_cpus)]

    @property
    def shared(self) -> Mask:
        """CPUs on line behind it."""
        return self.kernel.cpu_online & mask_of(self.cache.shared_cpus)


CACHE: tuple[Attr[CacheDevice], ...] = (
    Attr("coherency_line_size", 0o444, lambda device: f"{device.cache.line_size}\n", size=4096),
    Attr("id", 0o444, lambda device: f"{device.id}\n", size=4096),
    Attr("level", 0o444, lambda device: f"{device.cache.level}\n", size=4096),
    Attr("number_of_sets", 0o444, lambda device: f"{device.cache.sets}\n", size=4096),
    Attr("physical_line_partition", 0o444, lambda device: "1\n", size=4096),
    Attr("shared_cpu_list", 0o444, lambda device: list_text(device.shared) + "\n", size=4096),
    Attr("shared_cpu_map", 0o444, lambda device: hex_mask(device.shared, nr_cpu_ids(device.kernel)) + "\n", size=4096),
    Attr("size", 0o444, lambda device: f"{device.cache.size_kb}K\n", size=4096),
    Attr("type", 0o444, lambda device: f"{device.cache.type}\n", size=4096),
    UEVENT,
    Attr("ways_of_associativity", 0o444, lambda device: f"{device.cache.ways}\n", size=4096),
)


def possible_cpus(kernel: Kernel) -> Mask:
    """cpu_possible_mask."""
    return (1 << nr_cpu_ids(kernel)) - 1


TOP: tuple[Attr[Kernel], ...] = (
    Attr("isolated", 0o444, lambda kernel: "\n", size=4096),
    Attr("kernel_max", 0o444, lambda kernel: f"{kernel.machine.nr_cpus - 1}\n", size=4096),
    Attr("offline", 0o444, lambda kernel: list_text(possible_cpus(kernel) & ~kernel.cpu_online) + "\n", size=4096),
    Attr("online", 0o444, lambda kernel: list_text(kernel.cpu_online) + "\n", size=4096),
    Attr("possible", 0o444, lambda kernel: list_text(possible_cpus(kernel)) + "\n", size=4096),
    Attr("present", 0o444, lambda kernel: list_text(kernel.cpu_present) + "\n", size=4096),
    UEVENT,
)


class WhileOnline:
    """The directories that a CPU has only while it is on line."""

    def __init__(self, device: CpuDevice) -> None:
        self.device = device
        self.dirs: dict[str, Dir] = {}
        topology = self.dirs["topology"] = Dir(SYSFS, 0o755)
        topology.add_files(TOPOLOGY, device)
        caches = device.cpu.caches
        if not caches:
            return
        home = self.dirs["cache"] = Dir(SYSFS, 0o755)
        home.add_files((UEVENT,), device)
        add_power(home)
        for i, cache in enumerate(caches):
            index = home.dir(f"index{i}")
            index.add_files(CACHE, CacheDevice(device.kernel, cache))
            add_power(index)

    @property
    def online(self) -> bool:
        """Is the CPU on line?"""
        return bool(self.device.kernel.cpu_online >> self.device.cpu.cpu & 1)

    def find(self, name: str) -> Node | None:
        """The directory of that name, if it is there now."""
        return self.dirs.get(name) if self.online else None

    def names(self) -> Iterator[str]:
        """Those that are there now."""
        return iter(self.dirs if self.online else ())


def _one_cpu(kernel: Kernel, number: int) -> Dir:
    device = CpuDevice(kernel, kernel.machine.by_cpu[number])
    comes_and_goes = WhileOnline(device)
    home = Dir(SYSFS, 0o755, find=comes_and_goes.find, more=comes_and_goes.names)
    nid = kernel.cpu_to_node[number]
    home.add(f"node{nid}", Link(f"../../node/node{nid}"))
    home.add("subsystem", Link("../../../../bus/cpu"))
    home.add_files((ONLINE, UEVENT) if cpu_hotplug.cpu_hotpluggable(number) else (UEVENT,), device)
    add_power(home)
    return home


VULNERABILITIES: tuple[Attr[Kernel], ...] = tuple(
    Attr(name, 0o444, lambda _: "Not affected\n", size=4096)
    for name in (
        "gather_data_sampling", "indirect_target_selection", "itlb_multihit", "l1tf", "mds", "meltdown",
        "mmio_stale_data", "reg_file_data_sampling", "retbleed", "spec_rstack_overflow", "spec_store_bypass",
        "spectre_v1", "spectre_v2", "srbds", "tsa", "tsx_async_abort", "vmscape",
    )
)
"""drivers/base/cpu.c:cpu_root_vulnerabilities_attrs (v6.1 with its stable updates)."""


def cpu_dir(kernel: Kernel) -> Dir:
    """The directory /sys/devices/system/cpu."""
    cpus = Following(
        "cpu", lambda: members(kernel.cpu_present), lambda cpu: bool(kernel.cpu_present >> cpu & 1),
        lambda cpu: _one_cpu(kernel, cpu),
    )
    top = Dir(SYSFS, 0o755, find=cpus.find, more=cpus.names)
    top.add_files(TOP, kernel)
    add_power(top)
    if kernel.machine.arch in ("x86_64", "i686"):
        top.dir("vulnerabilities").add_files(VULNERABILITIES, kernel)
    return top
