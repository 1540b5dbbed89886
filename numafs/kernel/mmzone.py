# SPDX-License-Identifier: MIT
"""Nodes and zones as the running kernel keeps them: free pages, watermarks, LRU lists.

include/linux/mmzone.h (v6.1). All quantities in pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING

from .vmstat import NodeStat, NumaStat, ZoneStat

if TYPE_CHECKING:
    from .page import Run
    from .vmscan import Kswapd

__all__ = ["HugePool", "Hstate", "Lru", "LruList", "PageUse", "Pgdat", "Wmark", "Zone"]


class Wmark(IntEnum):
    """enum zone_watermarks."""

    MIN = 0
    LOW = 1
    HIGH = 2
    PROMO = 3


class Lru(IntEnum):
    """enum lru_list, and NONE for entries that stand for absent pages."""

    INACTIVE_ANON = 0
    ACTIVE_ANON = 1
    INACTIVE_FILE = 2
    ACTIVE_FILE = 3
    UNEVICTABLE = 4
    NONE = 5
    UNLISTED = 6
    """Resident, but on no list: hugetlb pages."""


class PageUse(IntEnum):
    """What a page off the LRU lists is used for; `Zone.used` counts them so that no page is lost."""

    BOOT = 0
    SLAB = 1
    PAGE_TABLE = 2
    KERNEL_STACK = 3
    HUGETLB = 4
    VMALLOC = 5
    DMA = 6
    KERNEL = 7
    """alloc_pages() by somebody: pipe buffers, drivers."""
    PCP = 8
    """In a per-CPU list of free pages: neither used nor counted as free."""


class LruList:
    """One LRU list: runs linked from the newest (`head.next`) to the oldest (`head.prev`)."""

    __slots__ = ("head", "size")

    def __init__(self, head: Run) -> None:
        self.head = head
        self.size = 0
        """Pages on the list."""

    def __iter__(self) -> Iterator[Run]:
        """Its runs, newest first."""
        run = self.head.next
        while run is not self.head:
            yield run
            run = run.next

    def oldest_first(self) -> Iterator[Run]:
        """Its runs, oldest first."""
        run = self.head.prev
        while run is not self.head:
            yield run
            run = run.prev


class Zone:
    """A zone of a node (struct zone). Unpopulated ones exist too: /proc/zoneinfo prints them."""

    def __init__(self, pgdat: Pgdat, index: int, type_: str) -> None:
        self.pgdat = pgdat
        self.index = index
        """Position of the type among the machine's zone types."""
        self.type = type_
        self.start_pfn = 0
        self.spanned = 0
        self.present = 0
        self.managed = 0
        self.watermark = [0, 0, 0, 0]
        self.watermark_boost = 0
        self.lowmem_reserve: list[int] = []
        """Pages kept from a request that could have used a higher zone, by that zone's index."""
        self.stat = [0] * len(ZoneStat)
        self.numa = [0] * len(NumaStat)
        self.used: Counter[PageUse] = Counter()
        self.pcp_high = 4
        self.pcp_batch = 1
        self.pcp_free_factor = 0
        """Doubles what the per-CPU list gives back as long as nothing is allocated from it."""
        self.reclaim_active = False
        """ZONE_RECLAIM_ACTIVE: kswapd runs, and the per-CPU list is kept short."""

    @property
    def free(self) -> int:
        """NR_FREE_PAGES."""
        return self.stat[0]

    @property
    def populated(self) -> bool:
        """Has it any page at all (populated_zone)?"""
        return self.present > 0

    def __repr__(self) -> str:
        return f"<node{self.pgdat.nid} {self.type}>"


class Pgdat:
    """A possible node (pg_data_t)."""

    def __init__(self, nid: int, zone_types: tuple[str, ...]) -> None:
        from .mm_inline import new_lru_list

        self.nid = nid
        self.online = False
        self.zones = [Zone(self, index, type_) for index, type_ in enumerate(zone_types)]
        self.distance: list[int] = []
        """To every possible node, by nid."""
        self.cpus_present = 0
        """Mask of CPUs that sit here, online or not."""
        self.memory_blocks: list[int] = []
        self.fallback: list[Zone] = []
        """ZONELIST_FALLBACK: every populated zone of every node, nearest node first, highest zone first."""
        self.fallback_nodes: list[int] = []
        self.stat = [0] * len(NodeStat)
        self.lru = [new_lru_list() for _ in range(5)]
        self.min_unmapped_pages = 0
        self.min_slab_pages = 0
        self.totalreserve_pages = 0
        self.anon_cost = 0
        self.file_cost = 0
        self.nonresident_age = 0
        self.refaults = [0, 0]
        """WORKINGSET_ACTIVATE of anon and file when reclaim last ended."""
        self.kswapd_failures = 0
        self.kswapd: Kswapd | None = None
        """Its reclaim thread, made when it is first woken."""
        self.reclaim_locked = False
        self.node_reclaim_failed_at: int | None = None
        """When node reclaim last freed nothing, for zone_reclaim_interval."""
        self.writeback_congested = False
        self.adistance = 576
        """Abstract distance of its memory: how slow it is."""
        self.nbp_threshold = 0
        """Hint fault latency in ms below which pages of slow nodes are hot enough for this one; 0 for the default."""
        self.nbp_threshold_start = 0
        """When (ms) the threshold was last adjusted, and the candidates there had been."""
        self.nbp_threshold_nr_cand = 0
        self.nbp_rate_start = 0
        """When (ms) the present second of the promotion rate limit began, and the candidates there had been."""
        self.nbp_rate_nr_cand = 0
        self.hugepages: dict[int, HugePool] = {}
        """hugetlb pools by page size in pages."""

    @property
    def populated_zones(self) -> list[Zone]:
        """Its zones that have pages, lowest first."""
        return [zone for zone in self.zones if zone.present]

    @property
    def present(self) -> int:
        """node_present_pages()."""
        return sum(zone.present for zone in self.zones)

    @property
    def managed(self) -> int:
        """Pages the buddy allocator manages: MemTotal of nodeN/meminfo."""
        return sum(zone.managed for zone in self.zones)

    @property
    def free(self) -> int:
        """MemFree of nodeN/meminfo."""
        return sum(zone.stat[0] for zone in self.zones)

    def zone_stat(self, item: ZoneStat) -> int:
        """Sum of a zone counter over the node's zones."""
        return sum(zone.stat[item] for zone in self.zones)

    def numa_stat(self, item: NumaStat) -> int:
        """Sum of a NUMA event over the node's zones."""
        return sum(zone.numa[item] for zone in self.zones)

    def __repr__(self) -> str:
        return f"<node{self.nid}>"


class HugePool:
    """The hugetlb pages of one size on one node, counted in huge pages (struct hstate's per-node parts)."""

    def __init__(self) -> None:
        self.total = 0
        self.surplus = 0
        self.free_in: Counter[Zone] = Counter()
        """Its free huge pages, by zone."""

    @property
    def free(self) -> int:
        """Huge pages that nobody uses."""
        return self.free_in.total()


class Hstate:
    """What the hugetlb pools of one page size have in common (struct hstate)."""

    def __init__(self, size: int) -> None:
        self.size = size
        """Pages of one huge page."""
        self.next_nid_to_alloc = 0
        self.next_nid_to_free = 0
        self.nr_overcommit = 0
