# SPDX-License-Identifier: MIT
"""Scanning LRU lists: what becomes of the pages at their old ends.

mm/vmscan.c:shrink_inactive_list(), shrink_folio_list(), shrink_active_list() (v6.1). How much is
scanned, and by whom, is in `vmscan`.

A scan takes pieces of runs from the old end. All pages of a run are alike, so that one decision holds
for all of them.

Simplified: writing a page to swap ends at once (its time is charged to who reclaims), so swapped pages are
freed in the scan that wrote them and not rotated to the tail first; but those of MADV_PAGEOUT are.
Simplified: a huge page that is swapped out is split first, always.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from . import page_alloc, swap
from .gfp import GFP_KERNEL
from .mm_inline import add_to_tail, change, count_pages, del_from_list, leave, move_to_list
from .mmzone import Lru
from .page import HPAGE_PMD_NR, PG, Kind, Run, split
from .vmstat import NodeStat, VmEvent, mod_node_page_state
from .workingset import lru_note_cost, workingset_age_nonresident, workingset_eviction

if TYPE_CHECKING:
    from .gfp import Gfp
    from .kernel import Kernel
    from .mm import Task
    from .mmzone import LruList, Pgdat

__all__ = [
    "DEF_PRIORITY", "SWAP_CLUSTER_MAX", "ScanControl", "can_demote", "deactivate", "reclaim_folio_list",
    "shrink_active_list", "shrink_inactive_list", "take_piece",
]

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
        "anon_cost", "cache_trim_mode", "demote", "dirty", "file_cost", "file_is_tiny", "file_taken",
        "force_deactivate", "gfp", "keep_written", "kswapd", "may_deactivate", "may_swap", "may_unmap",
        "may_writepage", "no_demotion", "nr_reclaimed", "nr_scanned", "nr_to_reclaim", "order", "priority", "proactive",
        "reclaim_idx", "skipped_deactivate", "swappiness", "taken", "task", "unqueued_dirty", "writeback", "written",
    )

    def __init__(self, nr_to_reclaim: int, reclaim_idx: int, *, task: Task | None = None, kswapd: bool = False) -> None:
        self.nr_to_reclaim = nr_to_reclaim
        self.reclaim_idx = reclaim_idx
        self.task = task
        self.kswapd = kswapd
        self.gfp: Gfp = GFP_KERNEL
        self.order = 0
        self.proactive = False
        """A user asked for it, and no allocation."""
        self.swappiness: int | None = None
        """The user's word for this time."""
        self.priority = DEF_PRIORITY
        self.may_unmap = self.may_swap = self.may_writepage = True
        self.keep_written = False
        """What was written to swap stays in the swap cache, next to be freed: nobody waits for memory."""
        self.no_demotion = False
        """Pages are to leave memory, not to go to slower memory."""
        self.demote = False
        """Does the scan that goes on demote what it can?"""
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
        self.dirty = self.unqueued_dirty = self.writeback = self.taken = self.file_taken = 0


# ---------------------------------------------------------------- taking pieces


def _oldest(lru: LruList, reclaim_idx: int) -> Run | None:
    """The run at the old end of a list, passing over those of zones that the reclaimer has no use for."""
    run = lru.head.prev
    while run is not lru.head and run.zone.index > reclaim_idx:
        run = run.prev
    return None if run is lru.head else run


def take_piece(run: Run, most: int) -> Run:
    """The oldest pages of a run, at most `most`, as a run of their own, still on the list."""
    if run.flags & PG.THP:
        most = max(most // HPAGE_PMD_NR, 1) * HPAGE_PMD_NR  # a huge page is taken whole
    if run.b - run.a > most:
        split(run, run.a + most)
    return run


# ---------------------------------------------------------------- inactive lists


class Fate(IntEnum):
    """What is to become of pages at the old end of an inactive list (the labels of shrink_folio_list())."""

    EVICT = 0
    """Plain page cache, clean and used by nobody: free it."""
    RECLAIM = 1
    """Unmap, write if need be, free."""
    KEEP = 2
    """Once more around the inactive list, remembered as referenced."""
    ROTATE = 3
    """Once more around the inactive list, because the reclaimer may not do what it would take."""
    ACTIVATE = 4
    UNDER_WRITEBACK = 5
    DIRTY_FILE = 6
    CULL = 7
    """Locked in memory: to the unevictable list."""
    DEMOTE = 8
    """To slower memory, in place of whatever else would free it."""


def shrink_inactive_list(
    kernel: Kernel, pgdat: Pgdat, lru: int, nr_to_scan: int, sc: ScanControl, goal: int | None = None
) -> int:
    """Scan `nr_to_scan` pages of an inactive list, or up to the cluster that reaches `goal`; returns how many it freed.

    mm/vmscan.c:shrink_inactive_list() (v6.1); with a `goal`, as many calls of it as shrink_lruvec() would make.
    """
    lists = pgdat.lru[lru]
    left = min(nr_to_scan, lists.size)
    reclaimed = scanned = 0
    sc.demote = can_demote(kernel, pgdat, sc)
    while left > 0 and (goal is None or reclaimed < goal):
        run = _oldest(lists, sc.reclaim_idx)
        if run is None:
            break
        fate = _fate(run, sc)
        most = left
        if (fate <= Fate.RECLAIM or fate == Fate.DEMOTE) and goal is not None:
            most = min(left, -(-(goal - reclaimed) // SWAP_CLUSTER_MAX) * SWAP_CLUSTER_MAX)
        if fate == Fate.EVICT:
            n = _evict(kernel, run, most)
            reclaimed += n
        elif fate == Fate.DEMOTE:
            n = demote_piece(kernel, pgdat, take_piece(run, most), sc)
            reclaimed += n
        else:
            n, freed = _shrink_piece(kernel, pgdat, take_piece(run, most), fate, sc)
            reclaimed += freed
        scanned += n
        left -= n
    _count_scan(kernel, sc, lru == INACTIVE_FILE, scanned, reclaimed)
    return reclaimed


def _reclaimer_events(sc: ScanControl) -> tuple[VmEvent, VmEvent]:
    """What the pages that were scanned and stolen count as (mm/vmscan.c:reclaimer_offset(), v6.18)."""
    if sc.kswapd:
        return VmEvent.PGSCAN_KSWAPD, VmEvent.PGSTEAL_KSWAPD
    if sc.proactive:
        return VmEvent.PGSCAN_PROACTIVE, VmEvent.PGSTEAL_PROACTIVE
    return VmEvent.PGSCAN_DIRECT, VmEvent.PGSTEAL_DIRECT


def _count_scan(kernel: Kernel, sc: ScanControl, file: bool, scanned: int, reclaimed: int) -> None:
    count = kernel.events.count
    scan, steal = _reclaimer_events(sc)
    count[scan] += scanned
    count[steal] += reclaimed
    count[VmEvent.PGSCAN_FILE if file else VmEvent.PGSCAN_ANON] += scanned
    count[VmEvent.PGSTEAL_FILE if file else VmEvent.PGSTEAL_ANON] += reclaimed
    sc.nr_scanned += scanned
    sc.taken += scanned
    if file:
        sc.file_taken += scanned


def _evict(kernel: Kernel, run: Run, most: int) -> int:
    """Free up to `most` of the oldest pages of plain page cache in one step."""
    zone, n = run.zone, min(most, run.b - run.a)
    workingset_eviction(kernel, run, n)
    page_alloc.free_pages(kernel, zone, n)
    return n


def reclaim_folio_list(kernel: Kernel, runs: list[Run], sc: ScanControl) -> int:
    """Reclaim what can be of these runs, wherever they are; returns how many pages were freed (v6.1)."""
    freed = 0
    for run in runs:
        if run.lru == UNEVICTABLE or not run.resident:
            continue
        if run.lru & 1:
            run = move_to_list(run, run.lru - 1)
        freed += _shrink_piece(kernel, run.zone.pgdat, run, _fate(run, sc), sc)[1]
    return freed


def _fate(run: Run, sc: ScanControl) -> Fate:
    """Decide on the pages of a run, which are all alike, without touching them.

    mm/vmscan.c:shrink_folio_list(), folio_check_references() (v6.1).
    """
    flags, kind = run.flags, run.lane.space.kind
    if not flags & NEEDS_THOUGHT and not run.mapcount and kind == Kind.FILE:
        return Fate.DEMOTE if sc.demote else Fate.EVICT
    if flags & PG.MLOCKED:
        return Fate.CULL
    if run.mapcount and not sc.may_unmap:
        return Fate.ROTATE
    if flags & PG.WRITEBACK:
        return Fate.UNDER_WRITEBACK
    file = run.lru == INACTIVE_FILE
    if flags & PG.YOUNG and run.mapcount:
        return Fate.ACTIVATE if flags & PG.REFERENCED or (file and flags & PG.EXEC) else Fate.KEEP
    if sc.demote:
        return Fate.DEMOTE
    if kind == Kind.FILE:
        return Fate.DIRTY_FILE if flags & PG.DIRTY else Fate.RECLAIM
    if flags & PG.SWAPBACKED_CLEAN and kind == Kind.ANON:
        return Fate.ACTIVATE if flags & PG.DIRTY else Fate.RECLAIM  # dirty: written since MADV_FREE
    if (run.swap is None or flags & PG.DIRTY) and not sc.may_writepage:
        return Fate.ROTATE
    return Fate.RECLAIM


def _shrink_piece(kernel: Kernel, pgdat: Pgdat, run: Run, fate: Fate, sc: ScanControl) -> tuple[int, int]:
    """Do to pages what was decided; returns how many they were, and how many were freed."""
    n = run.b - run.a
    if run.lru == INACTIVE_FILE and run.flags & (PG.DIRTY | PG.WRITEBACK):
        sc.dirty += n
        sc.unqueued_dirty += 0 if run.flags & PG.WRITEBACK else n
    if fate <= Fate.RECLAIM:
        return n, _reclaim(kernel, pgdat, run, sc)
    if fate == Fate.CULL:
        kernel.events.inc(VmEvent.UNEVICTABLE_PGS_CULLED, n)
        move_to_list(run, UNEVICTABLE)
    elif fate == Fate.ROTATE:
        move_to_list(run, run.lru)
    elif fate == Fate.KEEP:
        change(run, set=PG.REFERENCED, clear=PG.YOUNG)
        move_to_list(run, run.lru)
    elif fate == Fate.ACTIVATE:
        change(run, clear=PG.YOUNG, set=PG.REFERENCED if run.flags & PG.YOUNG else 0)
        _activate(kernel, run)
    elif fate == Fate.UNDER_WRITEBACK:
        _postpone_writeback(kernel, pgdat, run, sc)
    else:
        _postpone_dirty(kernel, pgdat, run)
    return n, 0


def can_demote(kernel: Kernel, pgdat: Pgdat, sc: ScanControl | None) -> bool:
    """May pages of the node go to slower memory in place of being freed (v6.1)?"""
    tiers = kernel.tiers
    return tiers.demotion_enabled and pgdat.nid in tiers.preferred and not (sc is not None and sc.no_demotion)


def demote_piece(kernel: Kernel, pgdat: Pgdat, run: Run, sc: ScanControl) -> int:
    """Move the pages of `run` to slower memory; returns how many went.

    What finds no room there meets its other fate, and so does all that this scan still looks at.
    mm/vmscan.c:demote_folio_list(), alloc_demote_page() (v6.1).
    """
    from .demote import demote_folio_list

    n = run.n
    moved = demote_folio_list(kernel, pgdat, run, sc.task)
    _count_demoted(kernel, pgdat, sc, moved)
    sc.demote = moved == n
    return moved


def _count_demoted(kernel: Kernel, pgdat: Pgdat, sc: ScanControl, n: int) -> None:
    """By the machine, as v6.1 shows it, and by the node that the pages left, as newer kernels do."""
    kernel.events.inc(VmEvent.PGDEMOTE_KSWAPD if sc.kswapd else VmEvent.PGDEMOTE_DIRECT, n)
    item = NodeStat.PGDEMOTE_PROACTIVE if sc.proactive else NodeStat.PGDEMOTE_DIRECT
    mod_node_page_state(pgdat, NodeStat.PGDEMOTE_KSWAPD if sc.kswapd else item, n)


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
    if run.flags & PG.SWAPBACKED_CLEAN:
        change(run, clear=PG.SWAPBACKED_CLEAN)
        move_to_list(run, ACTIVE_ANON)
        return
    move_to_list(run, run.lru | 1)


def _postpone_writeback(kernel: Kernel, pgdat: Pgdat, run: Run, sc: ScanControl) -> None:
    """Pages on their way to the disk: to be freed when they are there."""
    if not (sc.kswapd and run.flags & PG.RECLAIM and pgdat.writeback_congested):
        change(run, set=PG.RECLAIM)
        sc.writeback += run.n
    _activate(kernel, run)


def _reclaim(kernel: Kernel, pgdat: Pgdat, run: Run, sc: ScanControl) -> int:
    """Write what has no copy, unmap, and free; returns how many pages."""
    kind = run.lane.space.kind
    lazyfree = kind == Kind.ANON and run.flags & PG.SWAPBACKED_CLEAN
    written = None
    if kind != Kind.FILE and not lazyfree and (run.swap is None or run.flags & PG.DIRTY):
        written = _write_to_swap(kernel, pgdat, run, sc)
        if written is None:
            return 0
        run = written
    _unmap(kernel, run)
    if written is not None and sc.keep_written:
        del_from_list(run)
        add_to_tail(run, INACTIVE_ANON)
        return 0
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
    lists = pgdat.lru[lru]
    left = min(nr_to_scan, lists.size)
    while left > 0:
        run = _oldest(lists, sc.reclaim_idx)
        if run is None:
            return
        run = take_piece(run, left)
        left -= run.b - run.a
        deactivate(kernel, run)


def deactivate(kernel: Kernel, run: Run) -> None:
    """What becomes of active pages whose turn it is."""
    from . import rmap

    n, lru = run.b - run.a, run.lru
    kernel.events.inc(VmEvent.PGREFILL, n)
    if run.flags & PG.MLOCKED:
        move_to_list(run, UNEVICTABLE)
        return
    young = run.mapcount and rmap.folio_referenced(run)
    if young and run.flags & PG.EXEC and lru != ACTIVE_ANON:
        move_to_list(run, lru)
        return
    change(run, set=PG.WORKINGSET)
    kernel.events.inc(VmEvent.PGDEACTIVATE, n)
    move_to_list(run, lru - 1)
