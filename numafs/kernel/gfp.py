# SPDX-License-Identifier: MIT
"""What a caller of the page allocator permits: the flags that the model distinguishes.

include/linux/gfp_types.h (v6.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = [
    "GFP_ATOMIC", "GFP_DEMOTE", "GFP_HIGHUSER_MOVABLE", "GFP_KERNEL", "GFP_MIGRATE", "GFP_MISPLACED", "GFP_TRANSHUGE",
    "GFP_TRANSHUGE_LIGHT", "Gfp", "gfp_zone", "show_gfp_flags",
]


class Gfp(int):
    """Permissions and wishes of one request.

    Numbers and not an enum: enum members are slow to combine, and every allocation does.
    """

    __slots__ = ()

    DMA: ClassVar[Gfp]
    DMA32: ClassVar[Gfp]
    HIGHMEM: ClassVar[Gfp]
    MOVABLE: ClassVar[Gfp]
    RECLAIMABLE: ClassVar[Gfp]
    HARDWALL: ClassVar[Gfp]
    """Never leave the task's mems_allowed."""
    THISNODE: ClassVar[Gfp]
    """Only the preferred node; never invokes the OOM killer."""
    DIRECT_RECLAIM: ClassVar[Gfp]
    """The caller may wait."""
    KSWAPD_RECLAIM: ClassVar[Gfp]
    HIGH: ClassVar[Gfp]
    """May dip into half of the reserve below the min watermark."""
    NORETRY: ClassVar[Gfp]
    RETRY_MAYFAIL: ClassVar[Gfp]
    """Tries hard, but never invokes the OOM killer."""
    NOFAIL: ClassVar[Gfp]
    NOWARN: ClassVar[Gfp]
    """Its failure is nothing to report."""
    WRITE: ClassVar[Gfp]
    """The page will be dirtied: nodes over their share of the dirty limit are passed over (spread_dirty_pages)."""

    def __or__(self, other: int) -> Gfp:
        return Gfp(int(self) | other)

    def without(self, flags: Gfp) -> Gfp:
        """These permissions but for `flags`."""
        return Gfp(self & ~flags)


Gfp.DMA = Gfp(1 << 0)
Gfp.DMA32 = Gfp(1 << 1)
Gfp.HIGHMEM = Gfp(1 << 2)
Gfp.MOVABLE = Gfp(1 << 3)
Gfp.RECLAIMABLE = Gfp(1 << 4)
Gfp.HARDWALL = Gfp(1 << 5)
Gfp.THISNODE = Gfp(1 << 6)
Gfp.DIRECT_RECLAIM = Gfp(1 << 7)
Gfp.KSWAPD_RECLAIM = Gfp(1 << 8)
Gfp.HIGH = Gfp(1 << 9)
Gfp.NORETRY = Gfp(1 << 10)
Gfp.RETRY_MAYFAIL = Gfp(1 << 11)
Gfp.NOFAIL = Gfp(1 << 12)
Gfp.WRITE = Gfp(1 << 13)
Gfp.NOWARN = Gfp(1 << 14)

GFP_ATOMIC = Gfp.HIGH | Gfp.KSWAPD_RECLAIM
GFP_KERNEL = Gfp.DIRECT_RECLAIM | Gfp.KSWAPD_RECLAIM
GFP_HIGHUSER_MOVABLE = GFP_KERNEL | Gfp.HIGHMEM | Gfp.MOVABLE | Gfp.HARDWALL
GFP_TRANSHUGE_LIGHT = Gfp.HIGHMEM | Gfp.MOVABLE | Gfp.HARDWALL | Gfp.NOWARN
GFP_TRANSHUGE = GFP_TRANSHUGE_LIGHT | Gfp.DIRECT_RECLAIM | Gfp.NORETRY
GFP_MIGRATE = GFP_HIGHUSER_MOVABLE | Gfp.THISNODE
"""Targets of page migration (alloc_migration_target)."""
GFP_MISPLACED = Gfp.HIGHMEM | Gfp.MOVABLE | Gfp.HARDWALL | Gfp.THISNODE | Gfp.NORETRY | Gfp.NOWARN
"""Targets of hint faults, which wait for nothing (alloc_misplaced_dst_page)."""
GFP_DEMOTE = Gfp.HIGHMEM | Gfp.MOVABLE | Gfp.HARDWALL | Gfp.KSWAPD_RECLAIM | Gfp.NOWARN
"""Targets of demotion (demote_folio_list)."""


def gfp_zone(kernel: Kernel, gfp: Gfp) -> int:
    """Index of the highest zone type that the request may use (include/linux/gfp.h:gfp_zone())."""
    index = kernel.gfp_zones.get(gfp)
    if index is None:
        index = kernel.gfp_zones[gfp] = _gfp_zone(kernel, gfp)
    return index


def _gfp_zone(kernel: Kernel, gfp: Gfp) -> int:
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


_SHOWN = (
    (Gfp.NOWARN, 0x2000, "__GFP_NOWARN"), (Gfp.RETRY_MAYFAIL, 0x4000, "__GFP_RETRY_MAYFAIL"),
    (Gfp.NOFAIL, 0x8000, "__GFP_NOFAIL"), (Gfp.NORETRY, 0x10000, "__GFP_NORETRY"),
)


def show_gfp_flags(gfp: Gfp, *, zeroed: bool = False) -> str:
    """The flags as the kernel prints them, by number and by name (%#x(%pGg); include/trace/events/mmflags.h, v6.1).

    Simplified: what the model does not tell apart is printed as the usual case: user pages are __GFP_COMP, all others
    GFP_KERNEL.
    """
    user = bool(gfp & Gfp.MOVABLE)
    value, names = (0x100CCA, ["GFP_HIGHUSER_MOVABLE"]) if user else (0xCC0, ["GFP_KERNEL"])
    for flag, bit, name in _SHOWN:
        if gfp & flag:
            value |= bit
            names.append(name)
    for wanted, bit, name in (
        (user, 0x40000, "__GFP_COMP"), (zeroed, 0x100, "__GFP_ZERO"),
        (gfp & Gfp.THISNODE, 0x200000, "__GFP_THISNODE"), (gfp & Gfp.RECLAIMABLE, 0x10, "__GFP_RECLAIMABLE"),
    ):
        if wanted:
            value |= bit
            names.append(name)
    return f"{value:#x}({'|'.join(names)})"
