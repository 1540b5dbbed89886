# SPDX-License-Identifier: MIT
"""The swap cache, from the side of faults: bringing pages back. mm/swap_state.c, mm/memory.c:do_swap_page() (v6.1).

Simplified: swap read-ahead reads the neighbours that the faulting stretch will want anyway, and nothing beyond it.
A page that is brought back is mapped again in every address space that had it, not only where it was wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import huge_memory, memcontrol, mempolicy, page_alloc, page_writeback, rmap, swap, workingset
from .gfp import GFP_HIGHUSER_MOVABLE
from .mm_inline import change, count_pages, enter
from .mmzone import Lru
from .page import PG, Run, Space, remove
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task, Vma
    from .mmzone import Zone
    from .page_alloc import Placement

__all__ = ["CLUSTER", "count_swapin", "free_swap_cache", "read_swap_cache", "swapin"]

CLUSTER = 8
"""Pages that one swap-in reads: 1 << vm.page_cluster."""


def swapin(kernel: Kernel, task: Task, vma: Vma, space: Space, start: int, stop: int, write: bool) -> None:
    """Bring the pages [start, stop) of an anonymous mapping back and map them again."""
    _map_swap_cache(kernel, space, start, stop, write)
    for a, b in space.missing(start, stop):
        _read_in(kernel, task, space, mempolicy.placements(kernel, task, vma, a, b), b - a)
        _map_swap_cache(kernel, space, a, b, write)


def _map_swap_cache(kernel: Kernel, space: Space, start: int, stop: int, write: bool) -> None:
    """Pages that are in memory, but have no page table entry: give them theirs back."""
    if len(space.mappers) > 1:
        rmap.cut_at_mappers(space, start, stop)
    for run in huge_memory.cut(space, start, stop):
        if run.resident and not run.mapcount:
            pages = run.indexes()
            mapcount = max(1, rmap.ptes_covering(space, pages.start, pages[-1] + 1))
            change(run, set=PG.YOUNG, mapcount=mapcount)
            if write and mapcount == 1 and not run.flags & PG.WRITEBACK:
                free_swap_cache(kernel, run)


def _read_in(
    kernel: Kernel, task: Task, space: Space, places: Iterator[tuple[range, Placement]], total: int
) -> None:
    """Allocate pages for swap entries and read them: they are in the swap cache, and not yet mapped."""
    for pages, where in places:
        while pages:
            _, most = memcontrol.try_charge(kernel, task, len(pages))
            zone, n = page_alloc.alloc_pages(kernel, task, GFP_HIGHUSER_MOVABLE, where, most)
            for entry in space.pieces(pages[:n]):
                read_swap_cache(kernel, entry, zone)
            pages = pages[n:]
    count_swapin(kernel, total)


def count_swapin(kernel: Kernel, n: int) -> None:
    """Faults and read-ahead of `n` neighbours that were read from swap, and the time it took."""
    if not n:
        return
    major = -(-n // CLUSTER)
    kernel.events.inc(VmEvent.PGMAJFAULT, major)
    kernel.events.inc(VmEvent.SWAP_RA, n - major)
    kernel.events.inc(VmEvent.SWAP_RA_HIT, n - major)
    kernel.events.inc(VmEvent.PSWPIN, n)
    page_writeback.read_io(kernel, n)


def read_swap_cache(kernel: Kernel, entry: Run, zone: Zone) -> Run:
    """The pages of a swap entry are read to `zone`: they are in the swap cache, and not yet mapped."""
    active = workingset.workingset_refault(kernel, entry, entry.n, zone, entry.memcg)
    remove(entry)
    run = Run(entry.lane, entry.a, entry.b, zone, entry.flags & PG.WORKINGSET if active else 0, entry.memcg)
    run.swap = entry.swap
    return enter(run, Lru.ACTIVE_ANON if active else Lru.INACTIVE_ANON)


def free_swap_cache(kernel: Kernel, run: Run) -> None:
    """The copy on disk is no longer that of the page: free its slots (folio_free_swap); the page is dirty."""
    area = run.swap
    assert area is not None
    change(run, set=PG.DIRTY)
    count_pages(run, -run.n)
    run.swap = None
    count_pages(run, run.n)
    swap.swap_free(kernel, area, run.n)
