# SPDX-License-Identifier: MIT
"""The running kernel of one machine: what the modules of this package act upon.

A function that does a kernel function's job has its name and takes the `Kernel` first, in
place of the kernel's globals. There is no `current`: the task is an argument.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from .backing_dev import BdiWriteback
from .clock import Clock
from .khugepaged import Khugepaged
from .memory_tiers import MemoryTiers
from .mmzone import Hstate, PageUse, Pgdat, Zone
from .nodemask import Mask
from .numa_balancing import NumaTunables
from .printk import Level, LogBuffer, Ratelimit
from .vmstat import VmEvents
from .weighted_interleave import InterleaveWeights

if TYPE_CHECKING:
    from numafs.machine.spec import Machine

    from .cgroup_v2 import DefaultHierarchy
    from .cpuset import CpusetHierarchy
    from .filemap import Inode
    from .fork import TaskTable
    from .memory_hotplug import MemoryBlock
    from .mm import Task
    from .namei import Filesystem
    from .slab import SlabCaches
    from .swap import SwapArea
    from .sysctl import Sysctl

__all__ = ["Kernel"]

log = logging.getLogger("numafs.kernel")

SECOND_NS = 1_000_000_000


class Kernel:
    """All state of a booted machine; make one with `numafs.kernel.boot.boot(machine)`."""

    machine: Machine
    clock: Clock
    random: random.Random
    nodes: list[Pgdat]
    """Every possible node, by nid."""
    events: VmEvents
    vm: Sysctl
    """/proc/sys/vm and /proc/sys/kernel: `kernel.vm.zone_reclaim_mode`."""
    tasks: TaskTable
    cgrp_dfl_root: DefaultHierarchy | None
    """cgroup v2, on a machine whose cpuset controller is there."""
    cpusets: CpusetHierarchy
    fs: Filesystem
    slab: SlabCaches
    rootfs: Inode
    """The initial ramfs: pages that nothing reclaims."""
    bdev: Inode
    """The disks' block devices: their pages are Buffers."""
    swap_areas: list[SwapArea]
    totalreserve_pages: int
    cpu_online: Mask
    cpu_present: Mask
    irq_default_affinity: Mask
    """CPUs that new interrupts may go to."""
    cpu_to_node: list[int]
    """Node of each possible CPU."""
    node_online: Mask
    memory_blocks: dict[int, MemoryBlock]
    """Blocks of memory that can go off line, by number."""
    node_possible: Mask
    features: frozenset[str]

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.features = machine.features
        self.clock = Clock()
        self.totalreserve_pages = 0
        self.gfp_zones: dict[int, int] = {}
        """What gfp_zone() found, by the flags."""
        self.swap_areas = []
        self.random = random.Random(machine.seed)
        self.events = VmEvents(machine.zone_types, self.features)
        self.log = LogBuffer(self.clock)
        """The kernel log."""
        self.oom_ratelimit = Ratelimit(5 * SECOND_NS, 10)
        """Of OOM reports (mm/oom_kill.c: oom_rs)."""
        self.nopage_ratelimit = Ratelimit(10 * SECOND_NS, 1)
        """Of reports of failed allocations (mm/page_alloc.c: nopage_rs)."""
        self.thp_enabled = machine.thp
        """transparent_hugepage/enabled: always, madvise or never."""
        self.thp_defrag = "madvise"
        """transparent_hugepage/defrag: always, defer, defer+madvise, madvise or never."""
        self.khugepaged = Khugepaged()
        self.tiers = MemoryTiers()
        self.numa_tunables = NumaTunables()
        self.cpu_curr: dict[int, Task] = {}
        """The task that last ran on each CPU (rq->curr)."""
        self.hstates: dict[int, Hstate] = {}
        """hugetlb page sizes, in pages."""
        self.writeback = BdiWriteback()
        self.il_weights = InterleaveWeights(machine)
        """Of weighted interleaving."""
        self.drop_caches_quiet = False
        """drop_caches was told not to be logged any more."""
        self.boot_used: dict[Zone, Counter[PageUse]] = {}
        """Page tables and kernel stacks of before the first task."""
        self.dirty_inodes: dict[Inode, None] = {}
        self.on_oom_kill: Callable[[object], None] | None = None
        """Told of a real task that the OOM killer chose; the door decides what to do to the process."""
        self.on_kill: Callable[[Task], None] | None = None
        """Told of a real task that cgroup.kill is to kill; the door decides what to do to the process."""

    def has(self, feature: str) -> bool:
        """Does the machine's profile have this kernel feature?"""
        return feature in self.features

    def printk(self, text: str, level: Level = Level.WARNING) -> None:
        """A message of the kernel log."""
        self.log.store(text, level)
        log.info("%s", text)

    @property
    def kmsg(self) -> list[str]:
        """The texts of the kernel log, oldest first."""
        return [record.text for record in self.log.records]

    @property
    def online_nodes(self) -> list[Pgdat]:
        """Nodes that are on line, by nid."""
        return [pgdat for pgdat in self.nodes if pgdat.online]

    @property
    def cpu_possible(self) -> Mask:
        """cpu_possible_mask: every CPU that the machine could have."""
        return (1 << len(self.cpu_to_node)) - 1

    @property
    def node_states_memory(self) -> Mask:
        """N_MEMORY: the nodes that have pages."""
        return sum(1 << pgdat.nid for pgdat in self.nodes if pgdat.present)

    def zones(self) -> list[Zone]:
        """Every populated zone of the machine, by node."""
        return [zone for pgdat in self.nodes for zone in pgdat.zones if zone.present]

    def node_of_cpu(self, cpu: int) -> Pgdat:
        """cpu_to_node(): the node that CPU `cpu` sits in."""
        return self.nodes[self.cpu_to_node[cpu]]
