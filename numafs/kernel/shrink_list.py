# SPDX-License-Identifier: MIT
"""Scanning LRU lists: what becomes of the pages at their old ends.

mm/vmscan.c:shrink_inactive_list(), shrink_folio_list(), shrink_active_list() (v6.1). How much is
scanned, and by whom, is in `vmscan`.

A scan takes pieces of runs from the old end, 32 pages or what is left of the target. All pages of a
piece are alike, so that one decision holds for all of them.

Simplified: writing a page to swap ends at once (its time is charged to who reclaims), so swapped pages are
freed in the scan that wrote them and not rotated to the tail first.
Simplified: a huge page that is swapped out is split first, always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import page_alloc, swap
from .gfp import GFP_KERNEL
from .mmzone import Lru
from .page import HPAGE_PMD_NR, PG, Kind, Run, change, count_pages, leave, move_to_list, split
from .vmstat import NodeStat, VmEvent, mod_node_page_state
from .workingset import lru_note_cost, workingset_age_nonresident, workingset_eviction

if TYPE_CHECKING:
    from .gfp import Gfp
    from .kernel import Kernel
    from .mm import Task
    from .mmzone import LruList, Pgdat

__all__ = ["SWAP_CLUSTER_MAX", "ScanControl", "shrink_active_list", "shrink_inactive_list", "shrink_pieces"]

SWAP_CLUSTER_MAX = 32
DEF_PRIORITY = 12

INACTIVE_ANON = int(Lru.INACTIVE_ANON)
ACTIVE_ANON = int(Lru.ACTIVE_ANON)
INACTIVE_FILE = int(Lru.INACTIVE_FILE)
UNEVICTABLE = int(Lru.UNEVICTABLE)
NEEDS_THOUGHT = PG.REFERENCED | PG.DIRTY | PG.WRITEBACK | PG.MLOCKED | PG.YOUNG | PG.THP


class ScanControl:
    """What a reclaimer wants and may do, and what came of it (struct scan_control)."""

    __slots__ = (
        "anon_cost", "cache_trim_mode", "dirty", "file_cost", "file_is_tiny", "file_taken", "force_deactivate", "gfp",
        "immediate", "kswapd", "may_deactivate", "may_swap", "may_unmap", "may_writepage", "nr_reclaimed",
        "nr_scanned", "nr_to_reclaim", "order", "priority", "reclaim_idx", "skipped_deactivate", "taken", "task",
        "unqueued_dirty", "writeback", "written",
    )

    def __init__(self, nr_to_reclaim: int, reclaim_idx: int, *, task: Task | None = None, kswapd: bool = False) -> None:
        self.nr_to_reclaim = nr_to_reclaim
        self.reclaim_idx = reclaim_idx
        self.task = task
        self.kswapd = kswapd
        self.gfp: Gfp = GFP_KERNEL
        self.order = 0
        self.priority = DEF_PRIORITY
        self.may_unmap = self.may_swap = self.may_writepage = True
        self.may_deactivate = [False, False]
        """Whether active anonymous and file pages may be deactivated."""
        self.force_deactivate = self.skipped_deactivate = False
        self.cache_trim_mode = self.file_is_tiny = False
        self.anon_cost = self.file_cost = 0
        self.nr_scanned = self.nr_reclaimed = 0
        self.written = 0
        """Pages written to swap, whose time is still to be charged."""
        self.clear_counts()

    def clear_counts(self) -> None:
        """Before each node: what the inactive lists consisted of (sc->nr)."""
        self.dirty = self.unqueued_dirty = self.writeback = self.immediate = self.taken = self.file_taken = 0


# ---------------------------------------------------------------- taking pieces


def _take(lru: LruList, most: int, reclaim_idx: int) -> Run | None:
    """The oldest pages of a list, at most `most`, as a run of their own, still on the list; None if there are none.

    Runs of zones that the reclaimer has no use for are passed over (isolate_lru_folios).
    """
    run = lru.head.prev
    while run is not lru.head and run.zone.index > reclaim_idx:
        run = run.prev
    if run is lru.head:
        return None
    if run.flags & PG.THP:
        most = max(most // HPAGE_PMD_NR, 1) * HPAGE_PMD_NR  # a huge page is taken whole
    if run.b - run.a > most:
        split(run, run.a + most)
    return run


# ---------------------------------------------------------------- inactive lists


def shrink_inactive_list(kernel: Kernel, pgdat: Pgdat, lru: int, nr_to_scan: int, sc: ScanControl) -> int:
    """Scan `nr_to_scan` pages of an inactive list; returns how many were freed.

    `nr_to_scan` may be many clusters if nobody else's list is scanned in between.
    mm/vmscan.c:shrink_inactive_list() (v6.1).
    """
    lists = pgdat.lru[lru]
    left = min(nr_to_scan, lists.size)
    reclaimed = scanned = 0
    file = lru == INACTIVE_FILE
    while left > 0:
        n = _evict_clean(kernel, lists, left, sc) if file else 0
        if n:
            reclaimed += n
        else:
            run = _take(lists, min(left, SWAP_CLUSTER_MAX), sc.reclaim_idx)
            if run is None:
                break
            n = run.b - run.a
            reclaimed += shrink_piece(kernel, pgdat, run, sc)
        scanned += n
        left -= n
    _count_scan(kernel, sc, file, scanned, reclaimed)
    return reclaimed


def _count_scan(kernel: Kernel, sc: ScanControl, file: bool, scanned: int, reclaimed: int) -> None:
    count = kernel.events.count
    count[VmEvent.PGSCAN_KSWAPD if sc.kswapd else VmEvent.PGSCAN_DIRECT] += scanned
    count[VmEvent.PGSTEAL_KSWAPD if sc.kswapd else VmEvent.PGSTEAL_DIRECT] += reclaimed
    count[VmEvent.PGSCAN_FILE if file else VmEvent.PGSCAN_ANON] += scanned
    count[VmEvent.PGSTEAL_FILE if file else VmEvent.PGSTEAL_ANON] += reclaimed
    sc.nr_scanned += scanned
    sc.taken += scanned
    if file:
        sc.file_taken += scanned


def _evict_clean(kernel: Kernel, lru: LruList, most: int, sc: ScanControl) -> int:
    """If the oldest run is plain page cache, clean and used by nobody, free up to `most` pages of it in one step."""
    run = lru.head.prev
    if (
        run.flags & NEEDS_THOUGHT or run.mapcount or run.lane.space.kind != Kind.FILE or run is lru.head
        or run.zone.index > sc.reclaim_idx
    ):
        return 0
    zone, n = run.zone, min(most, run.b - run.a)
    workingset_eviction(kernel, run, n)
    page_alloc.free_pages(kernel, zone, n)
    return n


def shrink_pieces(kernel: Kernel, pgdat: Pgdat, runs: list[Run], sc: ScanControl) -> int:
    """Reclaim what can be of these runs, all of one node and on inactive lists (mm/vmscan.c:reclaim_folio_list())."""
    return sum(shrink_piece(kernel, pgdat, run, sc) for run in runs)


def shrink_piece(kernel: Kernel, pgdat: Pgdat, run: Run, sc: ScanControl) -> int:
    """Decide on pages that are all alike: free them, or move them to a list; returns how many were freed.

    mm/vmscan.c:shrink_folio_list() (v6.1).
    """
    n = run.b - run.a
    file = run.lru == INACTIVE_FILE
    if run.flags & PG.MLOCKED:
        kernel.events.inc(VmEvent.UNEVICTABLE_PGS_CULLED, n)
        move_to_list(run, UNEVICTABLE)
        return 0
    if run.mapcount and not sc.may_unmap:
        move_to_list(run, run.lru)
        return 0
    if file and run.flags & (PG.DIRTY | PG.WRITEBACK):
        _count_dirty(run, n, sc)
    if run.flags & PG.WRITEBACK:
        _postpone_writeback(kernel, pgdat, run, sc)
        return 0
    referenced = bool(run.flags & PG.REFERENCED)
    keep = _check_references(kernel, run)
    if keep:
        _activate(kernel, run) if keep == ACTIVATE else move_to_list(run, run.lru)
        return 0
    return _reclaim(kernel, pgdat, run, sc, clean_only=referenced and file)


KEEP = 1
ACTIVATE = 2


def _count_dirty(run: Run, n: int, sc: ScanControl) -> None:
    """mm/vmscan.c:folio_check_dirty_writeback() (v6.1)."""
    sc.dirty += n
    if not run.flags & PG.WRITEBACK:
        sc.unqueued_dirty += n


def _check_references(kernel: Kernel, run: Run) -> int:
    """0 to reclaim, else KEEP or ACTIVATE; forgets the references. mm/vmscan.c:folio_check_references() (v6.1)."""
    from . import rmap

    flags = run.flags
    if not flags & (PG.REFERENCED | PG.YOUNG) and not run.mapcount:
        return 0
    ptes = rmap.folio_referenced(run) if run.mapcount else 0
    change(run, clear=PG.REFERENCED)
    if not ptes:
        return 0
    change(run, set=PG.REFERENCED)
    file = run.lru == INACTIVE_FILE
    return ACTIVATE if flags & PG.REFERENCED or ptes > 1 or (file and flags & PG.EXEC) else KEEP


def _activate(kernel: Kernel, run: Run) -> None:
    """Pages that can't or shouldn't go now become active; a full swap space gets its copies of them back."""
    if run.swap is not None and swap.vm_swap_full(kernel):
        area = run.swap
        count_pages(run, -run.n)
        run.swap = None
        run.flags |= PG.DIRTY
        count_pages(run, run.n)
        swap.swap_free(kernel, area, run.n)
    kernel.events.inc(VmEvent.PGACTIVATE, run.n)
    workingset_age_nonresident(run.zone.pgdat, run.n)
    move_to_list(run, run.lru | 1)


def _postpone_writeback(kernel: Kernel, pgdat: Pgdat, run: Run, sc: ScanControl) -> None:
    """Pages on their way to the disk: to be freed when they are there."""
    if sc.kswapd and run.flags & PG.RECLAIM and pgdat.writeback_congested:
        sc.immediate += run.n
    else:
        change(run, set=PG.RECLAIM)
        sc.writeback += run.n
    _activate(kernel, run)


def _reclaim(kernel: Kernel, pgdat: Pgdat, run: Run, sc: ScanControl, *, clean_only: bool) -> int:
    """Unmap, write if that is allowed, and free."""
    kind = run.lane.space.kind
    lazyfree = kind == Kind.ANON and run.flags & PG.SWAPBACKED_CLEAN
    if lazyfree and run.flags & PG.DIRTY:  # written since MADV_FREE
        change(run, clear=PG.SWAPBACKED_CLEAN)
        kernel.events.inc(VmEvent.PGACTIVATE, run.n)
        move_to_list(run, ACTIVE_ANON)
        return 0
    if kind == Kind.FILE:
        if run.flags & PG.DIRTY:
            _postpone_dirty(kernel, pgdat, run)
            return 0
    elif not lazyfree and (run.swap is None or run.flags & PG.DIRTY):
        if not sc.may_writepage:
            move_to_list(run, run.lru)
            return 0
        written = _write_to_swap(kernel, pgdat, run, sc)
        if written is None:
            return 0
        run = written
    if clean_only and run.flags & PG.DIRTY:
        move_to_list(run, run.lru)
        return 0
    _unmap(kernel, run)
    zone, n = run.zone, run.b - run.a
    if lazyfree:
        kernel.events.inc(VmEvent.PGLAZYFREED, n)
        leave(run)
    else:
        workingset_eviction(kernel, run)
    page_alloc.free_pages(kernel, zone, n)
    return n


def _unmap(kernel: Kernel, run: Run) -> None:
    if not run.mapcount:
        return
    from . import rmap

    rmap.try_to_unmap(kernel, run)


def _postpone_dirty(kernel: Kernel, pgdat: Pgdat, run: Run) -> None:
    """Dirty file pages are the flusher's: they become active, and go when they are clean."""
    mod_node_page_state(pgdat, NodeStat.NR_VMSCAN_IMMEDIATE_RECLAIM, run.n)
    change(run, set=PG.RECLAIM)
    _activate(kernel, run)


def _write_to_swap(kernel: Kernel, pgdat: Pgdat, run: Run, sc: ScanControl) -> Run | None:
    """Give pages slots and write them; what could not be is made active. Returns the part that was written.

    mm/swap_state.c:add_to_swap() and mm/vmscan.c:pageout() (v6.1).
    """
    if run.flags & PG.THP:
        kernel.events.inc(VmEvent.THP_SPLIT_PAGE, run.n // HPAGE_PMD_NR)
        change(run, clear=PG.THP)
    if run.swap is None:
        slots = swap.get_swap_pages(kernel, run.n)
        if slots is None:
            _activate(kernel, run)
            return None
        area, count = slots
        if count < run.n:
            _activate(kernel, split(run, run.a + count))
        count_pages(run, -run.n)
        run.swap = area
        run.flags &= ~PG.DIRTY
        count_pages(run, run.n)
    else:
        change(run, clear=PG.DIRTY)
    n = run.n
    mod_node_page_state(pgdat, NodeStat.NR_VMSCAN_WRITE, n)
    mod_node_page_state(pgdat, NodeStat.NR_WRITTEN, n)
    kernel.events.inc(VmEvent.PSWPOUT, n)
    kernel.events.inc(VmEvent.PGPGOUT, n * kernel.machine.page_size // 1024)
    lru_note_cost(pgdat, False, n)
    sc.written += n
    return run


# ---------------------------------------------------------------- active lists


def shrink_active_list(kernel: Kernel, pgdat: Pgdat, lru: int, nr_to_scan: int, sc: ScanControl) -> None:
    """The oldest active pages become the youngest inactive ones, but for referenced code (v6.1)."""
    from . import rmap

    lists = pgdat.lru[lru]
    left = min(nr_to_scan, lists.size)
    events = kernel.events
    while left > 0:
        run = _take(lists, left, sc.reclaim_idx)
        if run is None:
            return
        n = run.b - run.a
        left -= n
        events.inc(VmEvent.PGREFILL, n)
        if run.flags & PG.MLOCKED:
            move_to_list(run, UNEVICTABLE)
            continue
        young = run.mapcount and rmap.folio_referenced(run)
        if young and run.flags & PG.EXEC and lru != ACTIVE_ANON:
            move_to_list(run, lru)
            continue
        change(run, set=PG.WORKINGSET)
        events.inc(VmEvent.PGDEACTIVATE, n)
        move_to_list(run, lru - 1)
