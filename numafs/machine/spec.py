# SPDX-License-Identifier: MIT
"""What the hardware is: plain, frozen records, and nothing that behaves.

A `Machine` is what a firmware would describe (SRAT, SLIT, HMAT, CPUID) together with the
few boot-time choices a kernel makes from it. `numafs.machine.toml` reads and writes it,
`numafs.kernel` boots from it. Sizes are in bytes where a name ends in `_bytes`, in pages of
the machine (`page_size` bytes) everywhere else.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from .patterns import expand

__all__ = [
    "DRAM_DISTANCE", "SLOW_DISTANCE", "BootUse", "Cache", "Cpu", "Device", "Disk", "DiskFile", "Latency", "Machine",
    "Node", "Performance", "Swap", "Zone",
]

K = TypeVar("K", bound=Hashable)

DRAM_DISTANCE = 576
"""Abstract distance of what the firmware calls memory (include/linux/memory-tiers.h:MEMTIER_ADISTANCE_DRAM)."""
SLOW_DISTANCE = 5 * DRAM_DISTANCE
"""Of memory that drivers add, such as CXL (drivers/dax/kmem.c:MEMTIER_DEFAULT_DAX_ADISTANCE)."""


@dataclass(frozen=True)
class Zone:
    """One zone of one node, in pages. `type` is the name that /proc/zoneinfo prints."""

    type: str
    start_pfn: int
    spanned: int
    present: int
    managed: int


@dataclass(frozen=True)
class BootUse:
    """Pages of a node that the booted kernel and its first programs hold, by what they are.

    What `free` leaves unexplained after these is the kernel's own (`kernel`): it is never given
    back and appears in no counter but the missing free pages.
    """

    anon: int = 0
    file: int = 0
    unevictable: int = 0
    """File pages of ramfs: on no list that reclaim looks at."""
    slab_reclaimable: int = 0
    slab_unreclaimable: int = 0
    page_tables: int = 0
    kernel_stack: int = 0
    kernel: int = 0
    free: Mapping[str, int] = field(default_factory=dict)
    """Free pages by zone type; a zone not named here keeps what the rest leaves it."""


@dataclass(frozen=True)
class Performance:
    """What the firmware's HMAT says of a node's memory, as its nearest CPUs see it (access0/initiators)."""

    read_latency_ns: int = 0
    write_latency_ns: int = 0
    read_bandwidth_mb_s: int = 0
    write_bandwidth_mb_s: int = 0


@dataclass(frozen=True)
class Node:
    """A NUMA node: its zones in ascending order and what lives in them at boot."""

    nid: int
    zones: tuple[Zone, ...] = ()
    boot: BootUse = BootUse()
    memory_blocks: tuple[int, ...] = ()
    """Numbers of the memory blocks (`memoryN` directories) that lie in this node."""
    performance: Performance | None = None
    """None: the machine has no HMAT, or it doesn't speak of this node."""
    abstract_distance: int = DRAM_DISTANCE
    """How slow its memory is: the kernel sorts nodes into memory tiers by it."""

    @property
    def present(self) -> int:
        """Its pages, holes left out."""
        return sum(zone.present for zone in self.zones)


@dataclass(frozen=True)
class Cache:
    """A cache as cpuN/cache/indexI shows it; `shared_cpus` are the CPUs behind it."""

    level: int
    type: str
    """`Data`, `Instruction` or `Unified`."""
    size_kb: int
    line_size: int
    ways: int
    sets: int
    shared_cpus: tuple[int, ...]


@dataclass(frozen=True)
class Cpu:
    """One logical CPU and where it sits."""

    cpu: int
    node: int
    socket: int = 0
    die: int = 0
    core: int = 0
    caches: tuple[Cache, ...] = ()


@dataclass(frozen=True)
class Swap:
    """A swap area; `active` ones are swapped on at boot."""

    path: str
    pages: int
    priority: int | None = None
    partition: bool = True
    active: bool = True


@dataclass(frozen=True)
class DiskFile:
    """A file or directory of a disk, path relative to data/. In `Disk.content` the path may be a pattern."""

    path: str
    size_bytes: int = 0
    directory: bool = False


@dataclass(frozen=True)
class Disk:
    """A disk under data/: its files, and how fast it is."""

    name: str
    content: tuple[DiskFile, ...] = ()
    """As the machine file says it: `many/d{0..199}/{0..99}` stands for 20000 files."""
    read_mb_s: int = 2000
    write_mb_s: int = 1000
    latency_ns: int = 80_000

    @cached_property
    def files(self) -> tuple[DiskFile, ...]:
        """Every file and directory by its own name; the directories that a path implies are not listed."""
        return tuple(
            DiskFile(path, item.size_bytes, item.directory) for item in self.content for path in expand(item.path)
        )

    def __getstate__(self) -> dict[str, object]:
        """Without the expanded files."""
        return {key: value for key, value in self.__dict__.items() if key != "files"}


@dataclass(frozen=True)
class Device:
    """A PCI device: address `0000:3b:00.0`, class as in /sys, node or -1."""

    address: str
    numa_node: int = -1
    class_code: int = 0x020000
    vendor: int = 0x8086
    device: int = 0x1572


@dataclass(frozen=True)
class Latency:
    """What things cost in model time.

    `remote` cost is the local one times distance / 10.
    """

    fault_ns: int = 500
    """One minor fault that gets a cleared local page."""
    copy_page_ns: int = 400
    reclaim_page_ns: int = 150
    access_ns: int = 90
    """One load from local DRAM."""
    bandwidth_mb_s: int = 20_000
    """Of one node's memory."""


@dataclass(frozen=True)
class Machine:
    """A whole machine. Everything is checked by `numafs.machine.toml`; build by hand with care."""

    name: str
    nodes: tuple[Node, ...]
    cpus: tuple[Cpu, ...]
    distance: tuple[tuple[int, ...], ...]
    """SLIT: distance[a][b] from node a to node b, by position in `nodes`; 10 is local."""
    about: str = ""
    """What it is for: a sentence that can stand alone, and more if need be."""
    arch: str = "x86_64"
    """As `uname -m` says it: x86_64, i686 or ia64."""
    page_size: int = 4096
    zone_types: tuple[str, ...] = ("DMA", "DMA32", "Normal", "Movable", "Device")
    """All zone types of the architecture, ascending; a node populates some."""
    highmem: str | None = None
    """The zone type that kernel allocations cannot use (HighMem of a 32-bit machine)."""
    block_size_bytes: int = 128 << 20
    possible_cpus: int = 0
    """nr_cpu_ids; 0 means as many as there are CPUs."""
    possible_nodes: int = 0
    """nr_node_ids, the bound of hot-plugged nodes; 0 means one more than the highest node."""
    max_numnodes: int = 1024
    nr_cpus: int = 8192
    """CONFIG_NR_CPUS: bounds the length of a write to cpuset.cpus."""
    swaps: tuple[Swap, ...] = ()
    disks: tuple[Disk, ...] = ()
    devices: tuple[Device, ...] = ()
    latency: Latency = Latency()
    sysctl: Mapping[str, int] = field(default_factory=dict)
    """Boot-time values that differ from the kernel's own choice, e.g. {"vm.zone_reclaim_mode": 1}."""
    zone_reclaim_mode: str = "0"
    """A number, or `auto`: on at boot if a distance exceeds RECLAIM_DISTANCE, as before Linux 3.16."""
    zone_reclaim_interval: bool = False
    """Offer /proc/sys/vm/zone_reclaim_interval with its effect, as Linux 2.6.16 did."""
    slab_allocator: str = "slub"
    thp: str = "always"
    """transparent_hugepage/enabled at boot."""
    cgroup: str = "v1"
    """Which hierarchy has the cpuset controller: v1, v2 or none."""
    cpuset_v2_mode: bool = False
    """Is v1 mounted with -o cpuset_v2_mode?"""
    kernel: str = "6.1"
    """The profile whose features the kernel asks for."""
    kernel_release: str = "6.1.0-numafs"
    seed: int = 1

    @property
    def features(self) -> frozenset[str]:
        """Names of the kernel features that this machine's profile and compatibility switches have."""
        names = set(FEATURES[self.kernel])
        if self.zone_reclaim_interval:
            names.add("zone_reclaim_interval")
        return frozenset(names)

    @cached_property
    def by_cpu(self) -> Mapping[int, Cpu]:
        """Its CPUs by number."""
        return {cpu.cpu: cpu for cpu in self.cpus}

    @cached_property
    def packages(self) -> Mapping[int, int]:
        """Mask of the CPUs of each socket."""
        return _masks((cpu.socket, cpu.cpu) for cpu in self.cpus)

    @cached_property
    def dies(self) -> Mapping[tuple[int, int], int]:
        """Mask of the CPUs of each (socket, die)."""
        return _masks(((cpu.socket, cpu.die), cpu.cpu) for cpu in self.cpus)

    @cached_property
    def cores(self) -> Mapping[tuple[int, int, int], int]:
        """Mask of the CPUs, which are its threads, of each (socket, die, core)."""
        return _masks(((cpu.socket, cpu.die, cpu.core), cpu.cpu) for cpu in self.cpus)

    @cached_property
    def cache_ids(self) -> Mapping[tuple[int, str, int], int]:
        """Number of the cache of each (level, type, first CPU behind it) among those of its level and type."""
        found = sorted(
            {(cache.level, cache.type, min(cache.shared_cpus)) for cpu in self.cpus for cache in cpu.caches}
        )
        first: dict[tuple[int, str], int] = {}
        return {key: i - first.setdefault(key[:2], i) for i, key in enumerate(found)}


def _masks(pairs: Iterable[tuple[K, int]]) -> dict[K, int]:
    masks: dict[K, int] = {}
    for key, cpu in pairs:
        masks[key] = masks.get(key, 0) | 1 << cpu
    return masks


FEATURES: Mapping[str, frozenset[str]] = {
    "6.1": frozenset(),
    "6.18": frozenset((
        # What it does otherwise.
        "compact_memory_checks",  # vm.compact_memory takes 1 and nothing else
        "proactive_node_reclaim",  # nodeN/reclaim, pgsteal_proactive and pgscan_proactive
        "user_cpus_ptr",  # cpusets keep the affinity that a user chose
        "wide_interleave_index",  # interleaving by address counts in an unsigned long
        "weighted_interleave",  # MPOL_WEIGHTED_INTERLEAVE and its weights in /sys/kernel/mm/mempolicy
        "balancing_preferred_many",  # MPOL_F_NUMA_BALANCING goes with MPOL_PREFERRED_MANY too
        # What it shows besides.
        "defrag_mode", "memfd_noexec", "vfs_cache_pressure_denom",
        "balloon_pages", "demotion_node_items", "direct_map_collapses", "free_pages_blocks", "hugetlb_node_item",
        "iommu_pages", "kernel_file_pages", "memmap_pages", "oom_rss_breakdown", "pcp_high_auto",
        "promo_watermark_line", "promote_candidate_nrl", "reclaim_events_by_khugepaged", "thp_underused",
        "dump_stack_uid", "zero_pages_in_swap", "zone_reclaim_success", "zswap_writeback_event",
        # What it shows otherwise, or no more.
        "no_bounce", "no_writeback_temp", "node_meminfo_aligned",
    )),
}
"""The features of each profile. Who asks for one says `kernel.has("...")`; nobody compares versions."""
