# SPDX-License-Identifier: MIT
"""From a machine to a running kernel: nodes, zones, what memory is in use when the first shell starts.

mm/page_alloc.c:free_area_init(), mm/mm_init.c and init/main.c:start_kernel() (v6.1).

Simplified: nothing happens during boot. The memory that the booted kernel and its first programs
hold is put in place as the machine describes it, without allocations that would be counted, and
the machine's sysctls are set when that is done, as by sysctl.conf.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import hugetlb, khugepaged, memory_tiers, page_alloc, swap
from .cgroup_v2 import DefaultHierarchy
from .cpuset import CpusetHierarchy
from .fork import TaskTable
from .initmem import populate
from .kernel import Kernel
from .memory_hotplug import setup_blocks
from .mmzone import Pgdat
from .namei import Filesystem
from .nodemask import mask_of
from .slab import SlabCaches
from .sysctl import Sysctl
from .vmstat import ZoneStat, mod_zone_page_state

if TYPE_CHECKING:
    from numafs.machine.spec import Machine, Node

__all__ = ["boot"]

RECLAIM_DISTANCE = 30
"""Distance beyond which nodes are reclaimed before memory is taken from afar (arch/x86/include/asm/topology.h)."""


def boot(machine: Machine) -> Kernel:
    """The kernel of `machine`, ready for its first task. init/main.c:start_kernel() (v6.1)."""
    kernel = Kernel(machine)
    kernel.vm = Sysctl(machine.zone_types)
    setup_nodes(kernel)
    setup_cpus(kernel)
    kernel.memory_blocks = setup_blocks(kernel)
    memory_tiers.establish_demotion_targets(kernel)
    page_alloc.build_all_zonelists(kernel, boot=True)
    page_alloc.init_per_zone_wmark_min(kernel)
    kernel.slab = SlabCaches(kernel)
    kernel.cgrp_dfl_root = DefaultHierarchy() if machine.cgroup == "v2" else None
    kernel.cpusets = CpusetHierarchy(kernel)
    kernel.tasks = TaskTable(kernel)
    kernel.fs = Filesystem(kernel)
    hugetlb.hugetlb_init(kernel)
    kernel.swap_areas = []
    populate(kernel)
    setup_sysctls(kernel)
    for area in machine.swaps:
        if area.active:
            swap.swapon(kernel, swap.SwapArea(area.path, area.pages, area.priority, area.partition))
    return kernel


def setup_nodes(kernel: Kernel) -> None:
    """Every possible node, with its zones and distances; those of the machine are on line."""
    machine = kernel.machine
    possible = range(max(machine.possible_nodes, *(node.nid + 1 for node in machine.nodes)))
    kernel.nodes = [Pgdat(nid, machine.zone_types) for nid in possible]
    for pgdat in kernel.nodes:
        pgdat.distance = [LOCAL_DISTANCE if nid == pgdat.nid else REMOTE_DISTANCE for nid in possible]
    for node, row in zip(machine.nodes, machine.distance, strict=True):
        setup_node(kernel.nodes[node.nid], node)
        for other, distance in zip(machine.nodes, row, strict=True):
            kernel.nodes[node.nid].distance[other.nid] = distance
    kernel.node_online = mask_of(node.nid for node in machine.nodes)
    kernel.node_possible = mask_of(possible)


LOCAL_DISTANCE = 10
REMOTE_DISTANCE = 20


def setup_node(pgdat: Pgdat, node: Node) -> None:
    """Give a node its zones, all of whose managed pages are free."""
    pgdat.online = True
    pgdat.adistance = node.abstract_distance
    pgdat.memory_blocks = list(node.memory_blocks)
    by_type = {zone.type: zone for zone in pgdat.zones}
    for described in node.zones:
        zone = by_type[described.type]
        zone.start_pfn = described.start_pfn
        zone.spanned = described.spanned
        zone.present = described.present
        zone.managed = described.managed
        mod_zone_page_state(zone, ZoneStat.NR_FREE_PAGES, zone.managed)


def setup_cpus(kernel: Kernel) -> None:
    """All of the machine's CPUs, on line, at their nodes."""
    cpus = kernel.machine.cpus
    possible = max([kernel.machine.possible_cpus, *(cpu.cpu + 1 for cpu in cpus)])
    kernel.cpu_present = kernel.cpu_online = mask_of(cpu.cpu for cpu in cpus)
    kernel.irq_default_affinity = (1 << possible) - 1
    kernel.cpu_to_node = [0] * possible
    for cpu in cpus:
        kernel.cpu_to_node[cpu.cpu] = cpu.node
        kernel.nodes[cpu.node].cpus_present |= 1 << cpu.cpu


def setup_sysctls(kernel: Kernel) -> None:
    """What the kernel chooses by its size and shape, then what the machine says."""
    vm, machine = kernel.vm, kernel.machine
    vm.zone_reclaim_mode = zone_reclaim_mode_at_boot(kernel)
    if kernel.node_online.bit_count() > 1:
        vm.numa_balancing = 1
        kernel.printk("Enabling automatic NUMA balancing. Configure with numa_balancing= or the "
                      "kernel.numa_balancing sysctl")
    free_kbytes = sum(zone.managed - zone.used.total() for zone in kernel.zones()) * (machine.page_size // 1024)
    vm.user_reserve_kbytes = min(free_kbytes // 32, 1 << 17)
    vm.admin_reserve_kbytes = min(free_kbytes // 32, 1 << 13)
    khugepaged.start_stop_khugepaged(kernel)
    for name, value in machine.sysctl.items():
        vm.set(kernel, name, value)


def zone_reclaim_mode_at_boot(kernel: Kernel) -> int:
    """As the machine says; with `auto` by distance, as mm/page_alloc.c:build_zonelists() did before Linux 3.16."""
    mode = kernel.machine.zone_reclaim_mode
    if mode != "auto":
        return int(mode)
    return int(any(distance > RECLAIM_DISTANCE for distance in distances(kernel.online_nodes)))


def distances(nodes: Iterable[Pgdat]) -> list[int]:
    """Every distance between two of `nodes`."""
    nodes = list(nodes)
    return [pgdat.distance[other.nid] for pgdat in nodes for other in nodes]
