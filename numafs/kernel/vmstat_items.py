# SPDX-License-Identifier: MIT
"""Which counters the files show, and in which order: what features of a profile add to those of v6.1, and take away.

include/linux/{mmzone,vm_event_item}.h and mm/vmstat.c:vmstat_text[] of v6.1 and v6.18. What is not
shown is counted all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import TypeVar

from .vmstat import NodeStat, VmEvent, ZoneStat

__all__ = ["shown"]

E = TypeVar("E", bound=IntEnum)

ADDED: tuple[tuple[str, IntEnum, IntEnum], ...] = (
    ("free_pages_blocks", ZoneStat.NR_FREE_PAGES_BLOCKS, ZoneStat.NR_FREE_PAGES),
    ("iommu_pages", NodeStat.NR_IOMMU_PAGES, NodeStat.NR_SEC_PAGE_TABLE_PAGES),
    ("promote_candidate_nrl", NodeStat.PGPROMOTE_CANDIDATE_NRL, NodeStat.PGPROMOTE_CANDIDATE),
    ("demotion_node_items", NodeStat.PGDEMOTE_KSWAPD, NodeStat.PGPROMOTE_CANDIDATE_NRL),
    ("demotion_node_items", NodeStat.PGDEMOTE_DIRECT, NodeStat.PGDEMOTE_KSWAPD),
    ("demotion_node_items", NodeStat.PGDEMOTE_KHUGEPAGED, NodeStat.PGDEMOTE_DIRECT),
    ("demotion_node_items", NodeStat.PGDEMOTE_PROACTIVE, NodeStat.PGDEMOTE_KHUGEPAGED),
    ("hugetlb_node_item", NodeStat.NR_HUGETLB, NodeStat.PGDEMOTE_PROACTIVE),
    ("balloon_pages", NodeStat.NR_BALLOON_PAGES, NodeStat.NR_HUGETLB),
    ("kernel_file_pages", NodeStat.NR_KERNEL_FILE_PAGES, NodeStat.NR_BALLOON_PAGES),
    ("reclaim_events_by_khugepaged", VmEvent.PGSTEAL_KHUGEPAGED, VmEvent.PGSTEAL_DIRECT),
    ("proactive_node_reclaim", VmEvent.PGSTEAL_PROACTIVE, VmEvent.PGSTEAL_KHUGEPAGED),
    ("reclaim_events_by_khugepaged", VmEvent.PGSCAN_KHUGEPAGED, VmEvent.PGSCAN_DIRECT),
    ("proactive_node_reclaim", VmEvent.PGSCAN_PROACTIVE, VmEvent.PGSCAN_KHUGEPAGED),
    ("zone_reclaim_success", VmEvent.ZONE_RECLAIM_SUCCESS, VmEvent.PGSTEAL_FILE),
    ("thp_underused", VmEvent.THP_UNDERUSED_SPLIT_PAGE, VmEvent.THP_DEFERRED_SPLIT_PAGE),
    ("zero_pages_in_swap", VmEvent.SWPIN_ZERO, VmEvent.SWAP_RA_HIT),
    ("zero_pages_in_swap", VmEvent.SWPOUT_ZERO, VmEvent.SWPIN_ZERO),
    ("zswap_writeback_event", VmEvent.ZSWPWB, VmEvent.ZSWPOUT),
    ("direct_map_collapses", VmEvent.DIRECT_MAP_LEVEL2_COLLAPSES, VmEvent.DIRECT_MAP_LEVEL3_SPLITS),
    ("direct_map_collapses", VmEvent.DIRECT_MAP_LEVEL3_COLLAPSES, VmEvent.DIRECT_MAP_LEVEL2_COLLAPSES),
)
"""Feature, counter, and the counter behind which it stands."""

REMOVED: tuple[tuple[str, IntEnum], ...] = (
    ("no_bounce", ZoneStat.NR_BOUNCE),
    ("no_writeback_temp", NodeStat.NR_WRITEBACK_TEMP),
    ("demotion_node_items", VmEvent.PGDEMOTE_KSWAPD),
    ("demotion_node_items", VmEvent.PGDEMOTE_DIRECT),
)
"""Feature, and the counter that is gone with it."""


def shown(kind: type[E], features: Iterable[str]) -> tuple[E, ...]:
    """The counters of one kind that a kernel with these features has, in the order of its files.

    Places are kept for all of them, so that the order does not depend on which there are. Members of different kinds
    are equal if their numbers are, so only those of the one kind are looked at.
    """
    mine = [(feature, item, kind(after)) for feature, item, after in ADDED if isinstance(item, kind)]
    added = {item: feature for feature, item, _ in mine}
    removed = {item: feature for feature, item in REMOVED if isinstance(item, kind)}
    order: list[E] = [item for item in kind if item not in added]
    for _, item, after in mine:
        order.insert(order.index(after) + 1, item)
    have = frozenset(features)
    return tuple(
        item for item in order
        if (item not in added or added[item] in have) and (item not in removed or removed[item] not in have)
    )
