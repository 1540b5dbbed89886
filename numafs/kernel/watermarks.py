# SPDX-License-Identifier: MIT
"""Watermarks, reserves and per-CPU list sizes of zones, and sums over them. mm/page_alloc.c (v6.1)."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from .gfp import Gfp, gfp_zone
from .mmzone import Wmark
from .nodemask import members
from .vmstat import NodeStat, ZoneStat

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mmzone import Zone

__all__ = [
    "free_blocks", "global_dirtyable_memory", "init_per_zone_wmark_min", "lowmem_reserve", "nr_free_buffer_pages",
    "nr_free_zone_pages", "pcp_high_batch", "pcp_high_max", "setup_min_slab_ratio", "setup_min_unmapped_ratio",
    "setup_per_zone_lowmem_reserve", "setup_per_zone_wmarks", "si_mem_available", "stat_threshold",
    "zone_pcp_update", "zone_watermark_ok",
]

MAX_ORDER = 10
MIN_PERCPU_PAGELIST_HIGH_FRACTION = 8
NR_FREE_PAGES = int(ZoneStat.NR_FREE_PAGES)


def nr_free_zone_pages(kernel: Kernel, highest: int) -> int:
    """Pages beyond the high watermark in all zones up to index `highest`."""
    zones = [zone for zone in kernel.zones() if zone.index <= highest]
    return sum(max(0, zone.managed - zone.watermark[Wmark.HIGH] - zone.watermark_boost) for zone in zones)


def nr_free_buffer_pages(kernel: Kernel) -> int:
    """What kernel allocations could have: pages beyond high in the zones up to Normal."""
    return nr_free_zone_pages(kernel, gfp_zone(kernel, Gfp(0)))


def init_per_zone_wmark_min(kernel: Kernel) -> None:
    """Choose min_free_kbytes by the size of the machine unless its user has set more, and all that follows from it.

    mm/page_alloc.c:calculate_min_free_kbytes(), init_per_zone_wmark_min() (v6.1).
    """
    page_kb = kernel.machine.page_size >> 10
    kb = isqrt(nr_free_buffer_pages(kernel) * page_kb * 16)
    if kb > kernel.vm.user_min_free_kbytes:
        kernel.vm.min_free_kbytes = min(max(kb, 128), 262144)
    else:
        kernel.printk(
            f"min_free_kbytes is not updated to {kb} because user defined value "
            f"{kernel.vm.user_min_free_kbytes} is preferred"
        )
    setup_per_zone_wmarks(kernel)
    setup_per_zone_lowmem_reserve(kernel)
    setup_min_unmapped_ratio(kernel)
    setup_min_slab_ratio(kernel)


def setup_per_zone_wmarks(kernel: Kernel) -> None:
    """Watermarks from min_free_kbytes and watermark_scale_factor (mm/page_alloc.c, v6.1)."""
    pages_min = (kernel.vm.min_free_kbytes << 10) // kernel.machine.page_size
    highmem = kernel.machine.highmem
    lowmem = sum(zone.managed for zone in kernel.zones() if zone.type != highmem)
    for zone in kernel.zones():
        base = pages_min * zone.managed // max(lowmem, 1)
        low = min(max(zone.managed // 1024, 32), 128) if zone.type == highmem else base
        gap = max(base >> 2, zone.managed * kernel.vm.watermark_scale_factor // 10000)
        zone.watermark_boost = 0
        zone.watermark = [low + i * gap for i in range(4)]
    zone_pcp_update(kernel)
    calculate_totalreserve_pages(kernel)


def setup_per_zone_lowmem_reserve(kernel: Kernel) -> None:
    """What each zone keeps from requests that could have used a higher one of its node (mm/page_alloc.c, v6.1)."""
    for pgdat in kernel.nodes:
        for zone in pgdat.zones:
            zone.lowmem_reserve = lowmem_reserve(kernel, zone)
    calculate_totalreserve_pages(kernel)


def lowmem_reserve(kernel: Kernel, zone: Zone) -> list[int]:
    """The protection of `zone` by the highest zone index of a request."""
    ratio = kernel.vm.lowmem_reserve_ratio[zone.index]
    reserve = [0] * len(zone.pgdat.zones)
    above = 0
    for higher in zone.pgdat.zones[zone.index + 1 :]:
        above += higher.managed
        reserve[higher.index] = above // ratio if ratio and zone.managed else 0
    return reserve


def calculate_totalreserve_pages(kernel: Kernel) -> None:
    """Pages that user memory cannot have (mm/page_alloc.c, v6.1)."""
    for pgdat in kernel.nodes:
        pgdat.totalreserve_pages = sum(
            min(zone.managed, max(zone.lowmem_reserve, default=0) + zone.watermark[Wmark.HIGH] + zone.watermark_boost)
            for zone in pgdat.zones
        )
    kernel.totalreserve_pages = sum(pgdat.totalreserve_pages for pgdat in kernel.nodes)


def setup_min_unmapped_ratio(kernel: Kernel) -> None:
    """Unmapped file pages that node reclaim leaves to each node (mm/page_alloc.c, v6.1)."""
    for pgdat in kernel.nodes:
        pgdat.min_unmapped_pages = sum(z.managed * kernel.vm.min_unmapped_ratio // 100 for z in pgdat.zones)


def setup_min_slab_ratio(kernel: Kernel) -> None:
    """Slab pages that node reclaim leaves to each node (mm/page_alloc.c, v6.1)."""
    for pgdat in kernel.nodes:
        pgdat.min_slab_pages = sum(z.managed * kernel.vm.min_slab_ratio // 100 for z in pgdat.zones)


def zone_watermark_ok(kernel: Kernel, zone: Zone, order: int, mark: int, highest: int) -> bool:
    """Would a block of this order leave more than `mark` and the lowmem reserve free?"""
    return zone.stat[NR_FREE_PAGES] - (1 << order) + 1 > mark + zone.lowmem_reserve[highest]


def zone_pcp_update(kernel: Kernel) -> None:
    """Limits of the per-CPU lists, which follow the low watermarks and the CPUs on line (mm/page_alloc.c, v6.1)."""
    for zone in kernel.zones():
        zone.pcp_high, zone.pcp_batch = pcp_high_batch(kernel, zone)


def pcp_high_batch(kernel: Kernel, zone: Zone) -> tuple[int, int]:
    """Limit and refill size of the zone's per-CPU lists (mm/page_alloc.c:zone_batchsize(), zone_highsize(), v6.1)."""
    batch = max(min(zone.managed // 1024, (1 << 20) // kernel.machine.page_size) // 4, 1)
    batch = max(1, (1 << (batch + batch // 2).bit_length() - 1) - 1)
    return _zone_highsize(kernel, zone, batch, kernel.vm.percpu_pagelist_high_fraction), batch


def pcp_high_max(kernel: Kernel, zone: Zone) -> int:
    """How far the limit of a per-CPU list may be raised (mm/page_alloc.c:zone_set_pageset_high_and_batch(), v6.18)."""
    high, batch = pcp_high_batch(kernel, zone)
    if kernel.vm.percpu_pagelist_high_fraction:
        return high
    return _zone_highsize(kernel, zone, batch, MIN_PERCPU_PAGELIST_HIGH_FRACTION)


def _zone_highsize(kernel: Kernel, zone: Zone, batch: int, fraction: int) -> int:
    total = zone.managed // fraction if fraction else zone.watermark[Wmark.LOW]
    cpus = sum(1 for cpu in members(kernel.cpu_online) if kernel.cpu_to_node[cpu] == zone.pgdat.nid)
    return max(total // (cpus or kernel.cpu_online.bit_count() or 1), batch << 2)


def stat_threshold(kernel: Kernel, zone: Zone) -> int:
    """How far a CPU's counters may drift before it folds them (mm/vmstat.c:calculate_normal_threshold(), v6.1)."""
    mem = zone.managed * kernel.machine.page_size >> 27
    return min(125, 2 * kernel.cpu_online.bit_count().bit_length() * (1 + mem.bit_length()))


# ---------------------------------------------------------------- sums for the files


def free_blocks(kernel: Kernel, zone: Zone) -> list[int]:
    """Free blocks by order, as /proc/buddyinfo shows them: sum(count << order) == free pages."""
    free = zone.stat[NR_FREE_PAGES]
    return [free >> order & 1 for order in range(MAX_ORDER)] + [free >> MAX_ORDER]


def si_mem_available(kernel: Kernel) -> int:
    """MemAvailable in pages (mm/page_alloc.c, v6.1)."""
    low = sum(zone.watermark[Wmark.LOW] for zone in kernel.zones())
    available = sum(zone.stat[NR_FREE_PAGES] for zone in kernel.zones()) - kernel.totalreserve_pages
    cache = _global(kernel, NodeStat.NR_ACTIVE_FILE) + _global(kernel, NodeStat.NR_INACTIVE_FILE)
    slab = _global(kernel, NodeStat.NR_SLAB_RECLAIMABLE) + _global(kernel, NodeStat.NR_KERNEL_MISC_RECLAIMABLE)
    available += cache - min(cache // 2, low) + slab - min(slab // 2, low)
    return max(0, available)


def _global(kernel: Kernel, item: NodeStat) -> int:
    return sum(pgdat.stat[item] for pgdat in kernel.nodes)


def global_dirtyable_memory(kernel: Kernel) -> int:
    """Pages that dirty_ratio is a share of (mm/page-writeback.c, v6.1)."""
    free = sum(zone.stat[NR_FREE_PAGES] for zone in kernel.zones())
    free -= min(free, kernel.totalreserve_pages)
    return free + _global(kernel, NodeStat.NR_ACTIVE_FILE) + _global(kernel, NodeStat.NR_INACTIVE_FILE) + 1
