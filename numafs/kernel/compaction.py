# SPDX-License-Identifier: MIT
"""Compaction: mm/compaction.c (v6.1).

Simplified: free pages are never fragmented in the model, so that compaction finds nothing to move. A
request for it looks at the node's pages, which the compact_* events count, and empties the per-CPU lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .page_alloc import drain_all_pages
from .vmstat import VmEvent, ZoneStat

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mmzone import Pgdat

__all__ = ["compact_node"]

LISTS = (
    ZoneStat.NR_ZONE_INACTIVE_ANON, ZoneStat.NR_ZONE_ACTIVE_ANON, ZoneStat.NR_ZONE_INACTIVE_FILE,
    ZoneStat.NR_ZONE_ACTIVE_FILE,
)


def compact_node(kernel: Kernel, pgdat: Pgdat) -> None:
    """A write to nodeN/compact: full synchronous compaction of every zone (v6.1)."""
    zones = pgdat.populated_zones
    drain_all_pages(zones)
    for zone in zones:
        kernel.events.inc(VmEvent.COMPACT_MIGRATE_SCANNED, sum(zone.stat[item] for item in LISTS))
        kernel.events.inc(VmEvent.COMPACT_FREE_SCANNED, zone.free)
