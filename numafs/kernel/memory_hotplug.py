# SPDX-License-Identifier: MIT
"""Memory blocks on and off line: mm/memory_hotplug.c and drivers/base/memory.c (v6.1).

Simplified: which pages lie in which block is not modelled. What cannot move (the kernel's own pages, and what the
boot reserved) is taken to lie in the lowest blocks of its zone, and free pages to lie in the block that goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import memory_tiers, page_alloc
from .cpuset_hotplug import cpuset_update_active_cpus
from .errors import EBUSY, EINVAL
from .gfp import Gfp
from .mmzone import PageUse, Pgdat, Zone
from .mover import Piece, migrate_piece
from .vmstat import ZoneStat, mod_zone_page_state

if TYPE_CHECKING:
    from .kernel import Kernel
    from .page import Run

__all__ = ["MemoryBlock", "add_memory", "offline_block", "online_block", "setup_blocks", "valid_zones"]

GFP_OFFLINE = Gfp.DIRECT_RECLAIM | Gfp.KSWAPD_RECLAIM | Gfp.HARDWALL | Gfp.MOVABLE | Gfp.RETRY_MAYFAIL


@dataclass(eq=False)
class MemoryBlock:
    """A memory block (struct memory_block): `memoryN` of sysfs."""

    number: int
    pgdat: Pgdat
    zones: list[Zone]
    """The zones that its pages are in, or would be in if they were on line."""
    start_pfn: int
    stop_pfn: int
    present: int
    online: bool = True

    @property
    def state(self) -> str:
        """What the file `state` shows."""
        return "online" if self.online else "offline"


# ---------------------------------------------------------------- what there is


def setup_blocks(kernel: Kernel) -> dict[int, MemoryBlock]:
    """The blocks of every node, all on line, by number."""
    pages = kernel.machine.block_size_bytes // kernel.machine.page_size
    blocks = {}
    for pgdat in kernel.nodes:
        for number in pgdat.memory_blocks:
            blocks[number] = _block_of(pgdat, number, number * pages, (number + 1) * pages)
    return blocks


def _block_of(pgdat: Pgdat, number: int, start: int, stop: int) -> MemoryBlock:
    inside = [zone for zone in pgdat.populated_zones if _overlap(zone, start, stop)]
    if not inside:
        return MemoryBlock(number, pgdat, [], start, stop, 0)
    start = max(start, inside[0].start_pfn)
    stop = min(stop, inside[-1].start_pfn + inside[-1].spanned)
    holes = sum(zone.spanned - zone.present for zone in inside if zone.start_pfn >= start)
    return MemoryBlock(number, pgdat, inside, start, stop, max(0, stop - start - holes))


def _overlap(zone: Zone, start: int, stop: int) -> int:
    return max(0, min(stop, zone.start_pfn + zone.spanned) - max(start, zone.start_pfn))


def valid_zones(kernel: Kernel, block: MemoryBlock) -> str:
    """The file valid_zones: the zone that an online block is in, or those that an offline one could join."""
    if len(block.zones) != 1:
        return "none"
    if block.online:
        return block.zones[0].type
    home = block.zones[0].type
    return "Movable" if home == "Movable" else f"{home} Movable"


# ---------------------------------------------------------------- off line


def offline_block(kernel: Kernel, number: int) -> None:
    """Take a block off line: what is in it moves to other nodes, whatever its owners' cpusets say (offline_pages)."""
    block = kernel.memory_blocks[number]
    if not block.online:
        raise EINVAL(f"memory{number} is off line")
    if block.present < kernel.machine.block_size_bytes // kernel.machine.page_size:
        raise EINVAL(f"memory{number} has holes")
    if len(block.zones) != 1:
        raise EINVAL(f"memory{number} does not lie in one zone")
    zone = block.zones[0]
    if not _removable(kernel, block, zone):
        raise EBUSY(f"memory{number} holds pages that cannot move")
    _empty(kernel, block, zone)
    block.online = False
    was_populated = zone.populated
    _resize_zone(kernel, zone, block, -block.present)
    _after_change(kernel, rebuild=was_populated and not zone.populated)


def _removable(kernel: Kernel, block: MemoryBlock, zone: Zone) -> bool:
    """Do the blocks below this one hold all that cannot move?"""
    stuck = zone.present - zone.managed
    stuck += sum(n for use, n in zone.used.items() if use != PageUse.PCP)
    below = sum(other.present for other in _blocks_of(kernel, zone) if other.number < block.number)
    return below >= stuck


def _blocks_of(kernel: Kernel, zone: Zone) -> list[MemoryBlock]:
    return [block for block in kernel.memory_blocks.values() if block.online and zone in block.zones]


def _empty(kernel: Kernel, block: MemoryBlock, zone: Zone) -> None:
    """Take as many pages out of the zone's free ones as the block has, moving pages off the node for it."""
    page_alloc.drain_all_pages([zone])
    taken = _take_free(zone, block.present)
    try:
        while taken < block.present:
            _do_migrate_range(kernel, zone, block.present - taken)
            page_alloc.drain_all_pages([zone])
            got = _take_free(zone, block.present - taken)
            if not got:
                raise EBUSY(f"memory{block.number} could not be emptied")
            taken += got
    except OSError as failed:
        mod_zone_page_state(zone, ZoneStat.NR_FREE_PAGES, taken)
        raise EBUSY(f"memory{block.number} could not be emptied: {failed}") from failed


def _take_free(zone: Zone, want: int) -> int:
    n = min(want, zone.free)
    mod_zone_page_state(zone, ZoneStat.NR_FREE_PAGES, -n)
    return n


def _do_migrate_range(kernel: Kernel, zone: Zone, want: int) -> None:
    """Move the oldest `want` pages of the zone to other nodes, the nearest first."""
    nid = zone.pgdat.nid
    elsewhere = kernel.node_states_memory & ~(1 << nid) or 1 << nid
    where = page_alloc.Placement(nid, elsewhere)
    for run in _oldest(zone):
        if want <= 0:
            return
        n = min(want, run.n)
        want -= n
        migrate_piece(kernel, None, Piece(run.lane, run.a, run.a + n, ~(1 << nid)), where, GFP_OFFLINE)


def _oldest(zone: Zone) -> list[Run]:
    """The zone's runs, list by list, oldest first."""
    return [run for lru in zone.pgdat.lru for run in reversed(list(lru)) if run.zone is zone]


# ---------------------------------------------------------------- on line


def online_block(kernel: Kernel, number: int, zone: str | None = None) -> None:
    """Bring a block on line, in the zone it had or in the one named, e.g. Movable (online_pages)."""
    block = kernel.memory_blocks[number]
    if block.online:
        raise EINVAL(f"memory{number} is on line")
    if zone is not None:
        block.zones = [next(z for z in block.pgdat.zones if z.type == zone)]
    target = block.zones[0]
    was_populated = target.populated
    block.online = True
    block.pgdat.online = True
    kernel.node_online |= 1 << block.pgdat.nid
    _resize_zone(kernel, target, block, block.present)
    mod_zone_page_state(target, ZoneStat.NR_FREE_PAGES, block.present)
    _after_change(kernel, rebuild=not was_populated)


def add_memory(kernel: Kernel, nid: int, number: int, zone: str) -> None:
    """Plug a new block of memory into a possible node; it comes on line in `zone`."""
    if number in kernel.memory_blocks:
        raise EINVAL(f"memory{number} is there already")
    pages = kernel.machine.block_size_bytes // kernel.machine.page_size
    pgdat = kernel.nodes[nid]
    target = next(z for z in pgdat.zones if z.type == zone)
    block = MemoryBlock(number, pgdat, [target], number * pages, (number + 1) * pages, pages, online=False)
    kernel.memory_blocks[number] = block
    pgdat.memory_blocks = sorted([*pgdat.memory_blocks, number])
    online_block(kernel, number)


# ---------------------------------------------------------------- both


def _resize_zone(kernel: Kernel, zone: Zone, block: MemoryBlock, pages: int) -> None:
    """`block` came or went: the zone has so many pages more or less, and spans what is on line (resize_zone_range)."""
    start, stop = zone.start_pfn, zone.start_pfn + zone.spanned
    if pages > 0:
        start = min(start, block.start_pfn) if zone.present else block.start_pfn
        stop = max(stop, block.stop_pfn)
    else:
        others = _blocks_of(kernel, zone)
        if block.start_pfn <= start:
            start = min((other.start_pfn for other in others), default=0)
        stop = max((other.stop_pfn for other in others), default=0)
    zone.present += pages
    zone.managed += pages
    zone.start_pfn, zone.spanned = start, stop - start


def _after_change(kernel: Kernel, *, rebuild: bool) -> None:
    """Zonelists, watermarks and cpusets follow."""
    page_alloc.init_per_zone_wmark_min(kernel)
    if rebuild:
        page_alloc.build_all_zonelists(kernel)
        memory_tiers.establish_demotion_targets(kernel)
    cpuset_update_active_cpus(kernel)
