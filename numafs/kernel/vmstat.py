# SPDX-License-Identifier: MIT
"""The counters: their names, their order in the files, and the only functions that change them.

A grep for a name of /proc/vmstat lands here: every member is that name in capitals.
mm/vmstat.c and include/linux/{mmzone,vm_event_item}.h (v6.1).

Simplified: counters are exact at all times; the kernel's per-CPU deltas, and the lag they
cause until vm.stat_refresh is written, do not exist.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .mmzone import Pgdat, Zone

__all__ = ["NodeStat", "NumaStat", "VmEvent", "VmEvents", "ZoneStat", "mod_node_page_state", "mod_zone_page_state"]


class ZoneStat(IntEnum):
    """Pages of a zone (enum zone_stat_item)."""

    NR_FREE_PAGES = 0
    NR_ZONE_INACTIVE_ANON = 1
    NR_ZONE_ACTIVE_ANON = 2
    NR_ZONE_INACTIVE_FILE = 3
    NR_ZONE_ACTIVE_FILE = 4
    NR_ZONE_UNEVICTABLE = 5
    NR_ZONE_WRITE_PENDING = 6
    NR_MLOCK = 7
    NR_BOUNCE = 8
    NR_ZSPAGES = 9
    NR_FREE_CMA = 10
    NR_FREE_PAGES_BLOCKS = 11
    """Made when it is shown, from the free blocks of the size of a pageblock."""


class NumaStat(IntEnum):
    """Allocation events of a zone (enum numa_stat_item); one a block, whatever its order."""

    NUMA_HIT = 0
    NUMA_MISS = 1
    NUMA_FOREIGN = 2
    NUMA_INTERLEAVE = 3
    NUMA_LOCAL = 4
    NUMA_OTHER = 5


class NodeStat(IntEnum):
    """Pages of a node (enum node_stat_item). NR_KERNEL_STACK is in KiB, events are events."""

    NR_INACTIVE_ANON = 0
    NR_ACTIVE_ANON = 1
    NR_INACTIVE_FILE = 2
    NR_ACTIVE_FILE = 3
    NR_UNEVICTABLE = 4
    NR_SLAB_RECLAIMABLE = 5
    NR_SLAB_UNRECLAIMABLE = 6
    NR_ISOLATED_ANON = 7
    NR_ISOLATED_FILE = 8
    WORKINGSET_NODES = 9
    WORKINGSET_REFAULT_ANON = 10
    WORKINGSET_REFAULT_FILE = 11
    WORKINGSET_ACTIVATE_ANON = 12
    WORKINGSET_ACTIVATE_FILE = 13
    WORKINGSET_RESTORE_ANON = 14
    WORKINGSET_RESTORE_FILE = 15
    WORKINGSET_NODERECLAIM = 16
    NR_ANON_PAGES = 17
    NR_MAPPED = 18
    NR_FILE_PAGES = 19
    NR_DIRTY = 20
    NR_WRITEBACK = 21
    NR_WRITEBACK_TEMP = 22
    NR_SHMEM = 23
    NR_SHMEM_HUGEPAGES = 24
    NR_SHMEM_PMDMAPPED = 25
    NR_FILE_HUGEPAGES = 26
    NR_FILE_PMDMAPPED = 27
    NR_ANON_TRANSPARENT_HUGEPAGES = 28
    NR_VMSCAN_WRITE = 29
    NR_VMSCAN_IMMEDIATE_RECLAIM = 30
    NR_DIRTIED = 31
    NR_WRITTEN = 32
    NR_THROTTLED_WRITTEN = 33
    NR_KERNEL_MISC_RECLAIMABLE = 34
    NR_FOLL_PIN_ACQUIRED = 35
    NR_FOLL_PIN_RELEASED = 36
    NR_KERNEL_STACK = 37
    NR_PAGE_TABLE_PAGES = 38
    NR_SEC_PAGE_TABLE_PAGES = 39
    NR_SWAPCACHED = 40
    PGPROMOTE_SUCCESS = 41
    PGPROMOTE_CANDIDATE = 42
    # What newer kernels have besides (see `vmstat_items`).
    NR_IOMMU_PAGES = 43
    PGPROMOTE_CANDIDATE_NRL = 44
    PGDEMOTE_KSWAPD = 45
    PGDEMOTE_DIRECT = 46
    PGDEMOTE_KHUGEPAGED = 47
    PGDEMOTE_PROACTIVE = 48
    NR_HUGETLB = 49
    """Made when it is shown, from the hugetlb pools."""
    NR_BALLOON_PAGES = 50
    NR_KERNEL_FILE_PAGES = 51


class VmEvent(IntEnum):
    """Machine-wide events that every zone layout has (enum vm_event_item), in the order of v6.1's /proc/vmstat.

    The per-zone-type ones (pgalloc_dma32, allocstall_movable, ...) stand in `VmEvents.by_zone_type`.
    """

    PGPGIN = 0
    PGPGOUT = 1
    PSWPIN = 2
    PSWPOUT = 3
    PGFREE = 4
    PGACTIVATE = 5
    PGDEACTIVATE = 6
    PGLAZYFREE = 7
    PGFAULT = 8
    PGMAJFAULT = 9
    PGLAZYFREED = 10
    PGREFILL = 11
    PGREUSE = 12
    PGSTEAL_KSWAPD = 13
    PGSTEAL_DIRECT = 14
    PGDEMOTE_KSWAPD = 15
    PGDEMOTE_DIRECT = 16
    PGSCAN_KSWAPD = 17
    PGSCAN_DIRECT = 18
    PGSCAN_DIRECT_THROTTLE = 19
    PGSCAN_ANON = 20
    PGSCAN_FILE = 21
    PGSTEAL_ANON = 22
    PGSTEAL_FILE = 23
    ZONE_RECLAIM_FAILED = 24
    PGINODESTEAL = 25
    SLABS_SCANNED = 26
    KSWAPD_INODESTEAL = 27
    KSWAPD_LOW_WMARK_HIT_QUICKLY = 28
    KSWAPD_HIGH_WMARK_HIT_QUICKLY = 29
    PAGEOUTRUN = 30
    PGROTATED = 31
    DROP_PAGECACHE = 32
    DROP_SLAB = 33
    OOM_KILL = 34
    NUMA_PTE_UPDATES = 35
    NUMA_HUGE_PTE_UPDATES = 36
    NUMA_HINT_FAULTS = 37
    NUMA_HINT_FAULTS_LOCAL = 38
    NUMA_PAGES_MIGRATED = 39
    PGMIGRATE_SUCCESS = 40
    PGMIGRATE_FAIL = 41
    THP_MIGRATION_SUCCESS = 42
    THP_MIGRATION_FAIL = 43
    THP_MIGRATION_SPLIT = 44
    COMPACT_MIGRATE_SCANNED = 45
    COMPACT_FREE_SCANNED = 46
    COMPACT_ISOLATED = 47
    COMPACT_STALL = 48
    COMPACT_FAIL = 49
    COMPACT_SUCCESS = 50
    COMPACT_DAEMON_WAKE = 51
    COMPACT_DAEMON_MIGRATE_SCANNED = 52
    COMPACT_DAEMON_FREE_SCANNED = 53
    HTLB_BUDDY_ALLOC_SUCCESS = 54
    HTLB_BUDDY_ALLOC_FAIL = 55
    UNEVICTABLE_PGS_CULLED = 56
    UNEVICTABLE_PGS_SCANNED = 57
    UNEVICTABLE_PGS_RESCUED = 58
    UNEVICTABLE_PGS_MLOCKED = 59
    UNEVICTABLE_PGS_MUNLOCKED = 60
    UNEVICTABLE_PGS_CLEARED = 61
    UNEVICTABLE_PGS_STRANDED = 62
    THP_FAULT_ALLOC = 63
    THP_FAULT_FALLBACK = 64
    THP_FAULT_FALLBACK_CHARGE = 65
    THP_COLLAPSE_ALLOC = 66
    THP_COLLAPSE_ALLOC_FAILED = 67
    THP_FILE_ALLOC = 68
    THP_FILE_FALLBACK = 69
    THP_FILE_FALLBACK_CHARGE = 70
    THP_FILE_MAPPED = 71
    THP_SPLIT_PAGE = 72
    THP_SPLIT_PAGE_FAILED = 73
    THP_DEFERRED_SPLIT_PAGE = 74
    THP_SPLIT_PMD = 75
    THP_SCAN_EXCEED_NONE_PTE = 76
    THP_SCAN_EXCEED_SWAP_PTE = 77
    THP_SCAN_EXCEED_SHARE_PTE = 78
    THP_SPLIT_PUD = 79
    THP_ZERO_PAGE_ALLOC = 80
    THP_ZERO_PAGE_ALLOC_FAILED = 81
    THP_SWPOUT = 82
    THP_SWPOUT_FALLBACK = 83
    BALLOON_INFLATE = 84
    BALLOON_DEFLATE = 85
    BALLOON_MIGRATE = 86
    SWAP_RA = 87
    SWAP_RA_HIT = 88
    KSM_SWPIN_COPY = 89
    COW_KSM = 90
    ZSWPIN = 91
    ZSWPOUT = 92
    DIRECT_MAP_LEVEL2_SPLITS = 93
    DIRECT_MAP_LEVEL3_SPLITS = 94
    NR_UNSTABLE = 95
    # What newer kernels have besides (see `vmstat_items`).
    PGSTEAL_KHUGEPAGED = 96
    PGSTEAL_PROACTIVE = 97
    PGSCAN_KHUGEPAGED = 98
    PGSCAN_PROACTIVE = 99
    ZONE_RECLAIM_SUCCESS = 100
    THP_UNDERUSED_SPLIT_PAGE = 101
    SWPIN_ZERO = 102
    SWPOUT_ZERO = 103
    ZSWPWB = 104
    DIRECT_MAP_LEVEL2_COLLAPSES = 105
    DIRECT_MAP_LEVEL3_COLLAPSES = 106


class VmEvents:
    """The machine-wide event counts, `events[VmEvent.PGFAULT]`, and those kept by zone type."""

    def __init__(self, zone_types: tuple[str, ...], features: frozenset[str] = frozenset()) -> None:
        from .vmstat_items import shown

        self.count = [0] * len(VmEvent)
        self.pgalloc = [0] * len(zone_types)
        self.allocstall = [0] * len(zone_types)
        self.pgskip = [0] * len(zone_types)
        self.zone_types = zone_types
        self.shown = shown(VmEvent, features)
        names = [event.name.lower() for event in self.shown]
        by_type = [f"{kind}_{type_.lower()}" for kind in ("pgalloc", "allocstall", "pgskip") for type_ in zone_types]
        self.names = [*names[:4], *by_type, *names[4:]]
        """As /proc/vmstat has them, in its order."""

    def __getitem__(self, event: VmEvent) -> int:
        return self.count[event]

    def inc(self, event: VmEvent, n: int = 1) -> None:
        """Count `n` more of `event`."""
        self.count[event] += n

    def values(self) -> list[int]:
        """Every count, in the order of `names`."""
        count = [self.count[event] for event in self.shown]
        return [*count[:4], *self.pgalloc, *self.allocstall, *self.pgskip, *count[4:]]

    def named(self) -> list[tuple[str, int]]:
        """Name and count of each event, in the order of /proc/vmstat."""
        return list(zip(self.names, self.values(), strict=True))


def mod_zone_page_state(zone: Zone, item: ZoneStat, delta: int) -> None:
    """Add `delta` to a counter of `zone`."""
    zone.stat[item] += delta


def mod_node_page_state(pgdat: Pgdat, item: NodeStat, delta: int) -> None:
    """Add `delta` to a counter of `pgdat`."""
    pgdat.stat[item] += delta
