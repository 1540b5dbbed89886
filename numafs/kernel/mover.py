# SPDX-License-Identifier: MIT
"""Giving pages that are in use other page frames: mm/migrate.c:migrate_pages() (v6.1).

The pages of a stretch are moved in one go: what costs is the runs.

Simplified: pages are not taken off their list while they wait to be moved, so no NR_ISOLATED. A mapping whose lanes
lie on one source node moves lane by lane, not in strict address order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import huge_memory, mm_inline, page, page_alloc
from .gfp import GFP_TRANSHUGE, Gfp
from .memory_tiers import node_is_toptier
from .nodemask import Mask
from .numa_balancing import CPUPID_UNSET, NUMA_BALANCING_MEMORY_TIERING, cpupid_of, set_cpupid
from .page import PG, Lane, Run
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task, Vma
    from .mmzone import Zone
    from .page_alloc import Placement

__all__ = ["Piece", "count_copy", "migrate_piece", "movable", "move_to", "pieces_of", "put_pages", "vma_migratable"]


@dataclass(frozen=True, slots=True)
class Piece:
    """The lane positions [a, b) of one mapping: what is to be moved, however its runs change meanwhile."""

    lane: Lane
    a: int
    b: int
    right: Mask = 0
    """Nodes whose pages stay."""
    huge: int = 0
    """Size in pages of hugetlb pages."""

    def holds(self, run: Run) -> bool:
        """Are the pages of `run` to be moved?"""
        return run.resident and not self.right >> run.zone.pgdat.nid & 1

    def indexes(self) -> range:
        """The page indexes of its positions."""
        width, i = self.lane.width, self.lane.i
        return range(self.a * width + i, self.b * width + i, width)

    def part(self, a: int, b: int) -> Piece:
        """The positions [a, b) of it."""
        return Piece(self.lane, a, b, self.right, self.huge)


# ---------------------------------------------------------------- what is to be moved


def vma_migratable(vma: Vma) -> bool:
    """Not the pages of vdso and vvar."""
    return not vma.special


def pieces_of(vma: Vma, start: int, stop: int, right: Mask, move_all: bool) -> Iterator[tuple[Piece, int]]:
    """What page tables of [start, stop) map on nodes outside `right` and may be moved (queue_pages_range).

    With each piece what its page indexes are behind the pages of the address space.
    """
    for segment, a, b in vma.present(start, stop):
        for run, first, last in segment.space.find(a - segment.delta, b - segment.delta):
            if movable(run, move_all) and not right >> run.zone.pgdat.nid & 1:
                yield Piece(run.lane, first, last, right, vma.hugetlb), segment.delta


def movable(run: Run, move_all: bool) -> bool:
    """Is it in memory and mapped, and not by others too unless these don't matter?"""
    return run.resident and (run.mapcount == 1 or (move_all and run.mapcount > 1))


# ---------------------------------------------------------------- moving it


def migrate_piece(kernel: Kernel, caller: Task | None, piece: Piece, where: Placement, gfp: Gfp) -> int:
    """Give the pages of `piece` new ones where `where` says; returns how many were not moved.

    Raises ENOMEM when no page can be had; what was moved stays moved, the rest stays put.
    """
    if piece.huge:
        return _migrate_hugetlb(kernel, piece, where, gfp)
    a = piece.a
    while a < piece.b:
        run = page.find_run(piece.lane, a)
        if run is None:
            a = page.lane_gaps(piece.lane, a, piece.b)[0][1]
            continue
        stop = min(run.b, piece.b)
        if not piece.holds(run):
            a = stop
        elif run.flags & PG.THP:
            a = _migrate_huge(kernel, caller, piece.part(a, stop), where, gfp)
        else:
            a = _migrate_base(kernel, caller, piece.part(a, stop), where, gfp)
    return 0


def _migrate_base(kernel: Kernel, caller: Task | None, piece: Piece, where: Placement, gfp: Gfp) -> int:
    """Move the first pages of `piece`, as many as one zone gives; returns the position behind them."""
    try:
        zone, n = page_alloc.alloc_pages(kernel, caller, gfp, where, piece.b - piece.a)
    except OSError:
        kernel.events.inc(VmEvent.PGMIGRATE_FAIL)
        raise
    put_pages(kernel, zone, n - move_to(kernel, piece.part(piece.a, piece.a + n), zone, order=0), order=0)
    return piece.a + n


def _migrate_huge(kernel: Kernel, caller: Task | None, piece: Piece, where: Placement, gfp: Gfp) -> int:
    """Move transparent huge pages whole; if there is none to be had, the first is split and goes on as pages."""
    start = piece.a // huge_memory.HPAGE_PMD_NR * huge_memory.HPAGE_PMD_NR
    blocks = -(-(piece.b - start) // huge_memory.HPAGE_PMD_NR)
    try:
        gfp = GFP_TRANSHUGE | gfp & Gfp.THISNODE
        zone, n = page_alloc.alloc_pages(kernel, caller, gfp, where, blocks, huge_memory.HPAGE_PMD_ORDER)
    except OSError:
        for run in page.cut(piece.lane, start, start + huge_memory.HPAGE_PMD_NR):
            huge_memory.split_folio(kernel, run)
        kernel.events.inc(VmEvent.THP_MIGRATION_SPLIT)
        return piece.a
    stop = start + n * huge_memory.HPAGE_PMD_NR
    moved = move_to(kernel, piece.part(start, stop), zone, huge_memory.HPAGE_PMD_ORDER)
    kernel.events.inc(VmEvent.THP_MIGRATION_SUCCESS, moved // huge_memory.HPAGE_PMD_NR)
    put_pages(kernel, zone, stop - start - moved, huge_memory.HPAGE_PMD_ORDER)
    return stop


def move_to(kernel: Kernel, piece: Piece, zone: Zone, order: int) -> int:
    """The pages of `piece` live in `zone` now; what they had is freed. Returns how many there were."""
    cost = 0
    freed: Counter[Zone] = Counter()
    for run in page.cut(piece.lane, piece.a, piece.b):
        if not piece.holds(run):
            continue
        old, n = run.zone, run.n
        _folio_migrate_flags(kernel, run, zone)
        mm_inline.to_zone(run, zone)
        freed[old] += n
        cost += count_copy(kernel, old, zone, n, run.flags)
    # Only now: a huge page may be several runs, of which some are locked.
    for old, n in freed.items():
        put_pages(kernel, old, n, order)
    kernel.clock.advance(cost)
    return freed.total()


def _folio_migrate_flags(kernel: Kernel, run: Run, zone: Zone) -> None:
    """Between fast and slow memory, who last faulted on the pages is forgotten: slow ones keep a time in its place."""
    if not kernel.vm.numa_balancing & NUMA_BALANCING_MEMORY_TIERING or cpupid_of(run) == CPUPID_UNSET:
        return
    if node_is_toptier(kernel, run.zone.pgdat.nid) != node_is_toptier(kernel, zone.pgdat.nid):
        set_cpupid(run, CPUPID_UNSET)


def put_pages(kernel: Kernel, zone: Zone, n: int, order: int) -> None:
    """Give `n` pages back, as blocks of 2**order if they are whole ones."""
    if n & ((1 << order) - 1):
        order = 0
    if n:
        page_alloc.free_pages(kernel, zone, n >> order, order)


def count_copy(kernel: Kernel, old: Zone, new: Zone, n: int, flags: int) -> int:
    """`n` pages were moved; returns the nanoseconds that copying takes, by distance.

    The caller lets them pass once it holds no runs: events may change any run. Locked pages are off their
    list when they are unmapped (__munlock_page), and locked again when they are mapped (remove_migration_pte).
    """
    kernel.events.inc(VmEvent.PGMIGRATE_SUCCESS, n)
    if flags & PG.MLOCKED:
        kernel.events.inc(VmEvent.UNEVICTABLE_PGS_STRANDED, n)
        kernel.events.inc(VmEvent.UNEVICTABLE_PGS_MLOCKED, n)
        kernel.events.inc(VmEvent.UNEVICTABLE_PGS_CULLED, n)
    return n * kernel.machine.latency.copy_page_ns * old.pgdat.distance[new.pgdat.nid] // 10


# ---------------------------------------------------------------- hugetlb


def _migrate_hugetlb(kernel: Kernel, piece: Piece, where: Placement, gfp: Gfp) -> int:
    """Move hugetlb pages, each into a free one of the destination's pool (alloc_huge_page_nodemask).

    Simplified: where the pool has none free, the page stays and counts as not moved.
    """
    size, failed, cost = piece.huge, 0, 0
    for block in range(piece.a // size * size, piece.b, size):
        for run in page.cut(piece.lane, block, block + size):
            if not piece.holds(run):
                continue
            zone = _free_huge_page_of(kernel, size, where, gfp)
            if zone is None:
                failed += 1
                kernel.events.inc(VmEvent.PGMIGRATE_FAIL, size)
                continue
            old = run.zone
            zone.pgdat.hugepages[size].free_in[zone] -= 1
            old.pgdat.hugepages[size].free_in[old] += 1
            mm_inline.to_zone(run, zone)
            cost += count_copy(kernel, old, zone, size, run.flags)
    kernel.clock.advance(cost)
    return failed


def _free_huge_page_of(kernel: Kernel, size: int, where: Placement, gfp: Gfp) -> Zone | None:
    """A zone of the nearest permitted node that has a free huge page."""
    nodes = [where.nid] if gfp & Gfp.THISNODE else kernel.nodes[where.nid].fallback_nodes
    for nid in nodes:
        pool = kernel.nodes[nid].hugepages[size]
        if pool.free and (where.nodemask is None or where.nodemask >> nid & 1):
            return next(zone for zone, k in pool.free_in.items() if k)
    return None
