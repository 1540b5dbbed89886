# SPDX-License-Identifier: MIT
"""What a caller of the page allocator permits: the flags that the model distinguishes.

include/linux/gfp_types.h (v6.1).
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = [
    "GFP_ATOMIC", "GFP_HIGHUSER_MOVABLE", "GFP_KERNEL", "GFP_MIGRATE", "GFP_TRANSHUGE", "GFP_TRANSHUGE_LIGHT", "Gfp",
    "gfp_zone",
]


class Gfp(IntFlag):
    """Permissions and wishes of one request."""

    DMA = 1
    DMA32 = 2
    HIGHMEM = 4
    MOVABLE = 8
    RECLAIMABLE = 16
    HARDWALL = 32
    """Never leave the task's mems_allowed."""
    THISNODE = 64
    """Only the preferred node; never invokes the OOM killer."""
    DIRECT_RECLAIM = 128
    """The caller may wait."""
    KSWAPD_RECLAIM = 256
    HIGH = 512
    """May dip into half of the reserve below the min watermark."""
    NORETRY = 1024
    RETRY_MAYFAIL = 2048
    """Tries hard, but never invokes the OOM killer."""
    NOFAIL = 4096
    WRITE = 8192
    """The page will be dirtied: nodes over their share of the dirty limit are passed over (spread_dirty_pages)."""


GFP_ATOMIC = Gfp.HIGH | Gfp.KSWAPD_RECLAIM
GFP_KERNEL = Gfp.DIRECT_RECLAIM | Gfp.KSWAPD_RECLAIM
GFP_HIGHUSER_MOVABLE = GFP_KERNEL | Gfp.HIGHMEM | Gfp.MOVABLE | Gfp.HARDWALL
GFP_TRANSHUGE_LIGHT = Gfp.HIGHMEM | Gfp.MOVABLE | Gfp.HARDWALL
GFP_TRANSHUGE = GFP_TRANSHUGE_LIGHT | Gfp.DIRECT_RECLAIM | Gfp.NORETRY
GFP_MIGRATE = GFP_HIGHUSER_MOVABLE | Gfp.THISNODE
"""Targets of page migration (alloc_migration_target)."""


def gfp_zone(kernel: Kernel, gfp: Gfp) -> int:
    """Index of the highest zone type that the request may use (include/linux/gfp.h:gfp_zone())."""
    types = kernel.machine.zone_types
    if gfp & Gfp.DMA and "DMA" in types:
        return types.index("DMA")
    if gfp & Gfp.DMA32 and "DMA32" in types:
        return types.index("DMA32")
    if gfp & Gfp.MOVABLE and gfp & Gfp.HIGHMEM:
        return types.index("Movable")
    if gfp & Gfp.HIGHMEM and kernel.machine.highmem:
        return types.index(kernel.machine.highmem)
    return types.index("Normal")
