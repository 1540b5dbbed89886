# SPDX-License-Identifier: MIT
"""/proc/{zoneinfo,buddyinfo,pagetypeinfo}: zone by zone. mm/vmstat.c (v6.1).

Simplified: the pages of all per-CPU lists of a zone are shown on the first CPU's. There are no migrate types: free
blocks are shown as Movable, and pageblocks as Unmovable as far as the kernel's own pages fill them. With the feature
pcp_high_auto the limit of a list stays at its lowest, which a newer kernel raises and lowers as it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from numafs.kernel import page_alloc
from numafs.kernel.mmzone import PageUse
from numafs.kernel.nodemask import members

from .attr import Attr
from .counters import counters_of

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mmzone import Pgdat, Zone

__all__ = ["ZONES"]

MARKS = (
    "\n  pages free     %d\n        boost    %d\n        min      %d\n        low      %d\n        high     %d"
    "%s\n        spanned  %d\n        present  %d\n        managed  %d\n        cma      0\n        protection: (%s)"
)
PROMO = "\n        promo    %d"
PAGESET = (
    "\n              count: %d\n              high:  %d\n              batch: %d", "\n  vm stats threshold: %d"
)
PAGESET_TUNED = (
    "\n              count:    %d\n              high:     %d\n              batch:    %d",
    "\n              high_min: %d\n              high_max: %d\n  vm stats threshold: %d",
)
"""With the feature pcp_high_auto."""
LAST = "\n  node_unreclaimable:  %d\n  start_pfn:           %d"
MAX_RECLAIM_RETRIES = 16
PAGEBLOCK = 512
MIGRATE_TYPES = ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate")


def zoneinfo_show(kernel: Kernel) -> str:
    """mm/vmstat.c:zoneinfo_show() (v6.1): unpopulated zones too."""
    return "".join(part for pgdat in kernel.online_nodes for part in _zones_of(kernel, pgdat))


def _zones_of(kernel: Kernel, pgdat: Pgdat) -> Iterator[str]:
    populated = pgdat.populated_zones
    counters = counters_of(kernel)
    for zone in pgdat.zones:
        yield f"Node {pgdat.nid}, zone {zone.type:>8}"
        if populated and zone is populated[0]:
            yield "\n  per-node stats" + _lines(counters.node_names, counters.of_nodes((pgdat,)))
        yield _marks(kernel, zone)
        if zone.present:
            yield _lines(counters.zone_names, counters.of_zones((zone,)))
            yield from _pagesets(kernel, zone)
            yield LAST % (pgdat.kswapd_failures >= MAX_RECLAIM_RETRIES, zone.start_pfn)
        yield "\n"


def _lines(names: Sequence[str], values: Sequence[int]) -> str:
    return "".join(f"\n      {name:<12} {value}" for name, value in zip(names, values, strict=True))


def _marks(kernel: Kernel, zone: Zone) -> str:
    boost = zone.watermark_boost
    low, mid, high, promo = zone.watermark
    protection = zone.lowmem_reserve or [0] * len(kernel.machine.zone_types)
    return MARKS % (
        zone.stat[0], boost, low + boost, mid + boost, high + boost,
        PROMO % (promo + boost) if kernel.has("promo_watermark_line") else "", zone.spanned, zone.present, zone.managed,
        ", ".join(map(str, protection)),
    )


def _pagesets(kernel: Kernel, zone: Zone) -> Iterator[str]:
    high, batch = page_alloc.pcp_high_batch(kernel, zone)
    threshold = page_alloc.stat_threshold(kernel, zone)
    count = zone.used[PageUse.PCP]
    first, rest = PAGESET
    last: tuple[int, ...] = (threshold,)
    if kernel.has("pcp_high_auto"):
        first, rest = PAGESET_TUNED
        last = (high, page_alloc.pcp_high_max(kernel, zone), threshold)
    yield "\n  pagesets"
    for cpu in members(kernel.cpu_online):
        yield f"\n    cpu: {cpu}" + first % (count, high, batch) + rest % last
        count = 0


def buddyinfo_show(kernel: Kernel) -> str:
    """mm/vmstat.c:frag_show() (v6.1)."""
    return "".join(
        f"Node {zone.pgdat.nid}, zone {zone.type:>8} " + _counts(page_alloc.free_blocks(kernel, zone)) + "\n"
        for zone in kernel.zones()
    )


def _counts(blocks: list[int]) -> str:
    return "".join(f"{n:6d} " for n in blocks)


def pagetypeinfo_show(kernel: Kernel) -> str:
    """mm/vmstat.c:pagetypeinfo_show() (v6.1): all of it once for each node."""
    return "".join(part for pgdat in kernel.online_nodes if pgdat.present for part in _page_types(kernel, pgdat))


def _page_types(kernel: Kernel, pgdat: Pgdat) -> Iterator[str]:
    yield f"Page block order: 9\nPages per block:  {PAGEBLOCK}\n\n"
    yield f"{'Free pages count per migrate type at order':<43} " + "".join(f"{order:6d} " for order in range(11)) + "\n"
    for zone in pgdat.populated_zones:
        for kind in MIGRATE_TYPES:
            blocks = page_alloc.free_blocks(kernel, zone) if kind == "Movable" else [0] * 11
            counts = "".join(f"{n:6d} " if n < 100000 else ">100000 " for n in blocks)
            yield f"Node {pgdat.nid:4d}, zone {zone.type:>8}, type {kind:>12} {counts}\n"
    yield f"\n{'Number of blocks type ':<23}" + "".join(f"{kind:>12} " for kind in MIGRATE_TYPES) + "\n"
    for zone in pgdat.populated_zones:
        pageblocks = -(-zone.spanned // PAGEBLOCK)
        unmovable = min(-(-zone.used.total() // PAGEBLOCK), pageblocks)
        counts = "".join(f"{n:12d} " for n in (unmovable, pageblocks - unmovable, 0, 0, 0))
        yield f"Node {pgdat.nid}, zone {zone.type:>8} {counts}\n"


ZONES: tuple[Attr[Kernel], ...] = (
    Attr("buddyinfo", 0o444, buddyinfo_show),
    Attr("pagetypeinfo", 0o400, pagetypeinfo_show),
    Attr("zoneinfo", 0o444, zoneinfo_show),
)
