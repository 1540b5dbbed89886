# SPDX-License-Identifier: MIT
"""Page faults and the taking away of page table entries: mm/memory.c (v6.1).

A fault is taken for a stretch of pages at once; what the kernel does a page at a time is
counted a page at a time.

Simplified: a second read of the zero page counts as a fault again. A page whose sharer is gone is
written without the write-protection fault. A swapped page that several address spaces share
comes back to all of them at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import (
    filemap,
    huge_memory,
    hugetlb,
    memcontrol,
    mempolicy,
    mlock,
    mmap,
    numa_fault,
    numa_scan,
    page_alloc,
    pgalloc,
    rmap,
    sched,
    shmem,
    swap,
    swap_state,
)
from .errors import EFAULT
from .gfp import GFP_HIGHUSER_MOVABLE
from .mm_inline import change, enter, leave, rejoin
from .mmzone import Lru
from .page import PG, Kind, Run, Space, remove, stretches
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .memcontrol import MemCgroup
    from .mm import Task, Vma
    from .mmzone import Zone

__all__ = ["FAULT_WINDOW", "VmaStats", "anon_prepare", "free_run", "fill_anon", "touch", "vma_stats", "zap_page_range"]

FAULT_WINDOW = 1 << 19
"""Pages whose faults are taken together: their page tables come before them."""


# ---------------------------------------------------------------- faults


def touch(kernel: Kernel, task: Task, start: int, stop: int, write: bool) -> None:
    """`task` loads from (or stores to) each page of [start, stop): mm/memory.c:handle_mm_fault() (v6.1).

    Raises EFAULT where the task would get a signal: no mapping, one that forbids writing, a page beyond the file.
    """
    if task.mm is None:
        raise EFAULT(f"task {task.pid} has no address space in the model")
    if task.numa.work:
        numa_scan.task_numa_work(kernel, task)
    while start < stop:
        vma = task.mm.find_vma(start)
        if vma is None:
            raise EFAULT(f"no mapping at page {start:#x}")
        if write and not vma.write:
            raise EFAULT(f"the mapping at page {start:#x} is read-only")
        end = min(stop, vma.stop, (start // FAULT_WINDOW + 1) * FAULT_WINDOW)
        _handle_window(kernel, task, vma, start, end, write)
        start = end


def _handle_window(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, write: bool) -> None:
    if vma.special:
        return
    if vma.hugetlb:
        hugetlb.hugetlb_fault(kernel, task, vma, start, stop)
        return
    before = kernel.events[VmEvent.PGFAULT]
    holes = vma.holes(start, stop)
    if holes:
        pgalloc.pte_alloc(kernel, task, vma.mm, start, stop)
    for a, b in present_between(holes, start, stop):
        _touch_present(kernel, task, vma, a, b, write)
    for a, b in holes:
        if vma.file is not None:
            _do_fault(kernel, task, vma, a, b, write)
        else:
            _do_anonymous_page(kernel, task, vma, a, b, write)
    latency = kernel.machine.latency
    faults = kernel.events[VmEvent.PGFAULT] - before
    sched.run_for(kernel, task, faults * latency.fault_ns + (stop - start) * latency.access_ns)


def present_between(holes: list[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    """What of [start, stop) is not in `holes`."""
    out = []
    for a, b in holes:
        if start < a:
            out.append((start, a))
        start = b
    if start < stop:
        out.append((start, stop))
    return out


def _do_anonymous_page(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, write: bool) -> None:
    """do_anonymous_page(): a read maps the zero page, of which nothing is counted."""
    if not write:
        kernel.events.inc(VmEvent.PGFAULT, stop - start)
        return
    for a, b, huge in huge_memory.split_fault(kernel, vma, start, stop):
        if huge:
            huge_memory.do_huge_pmd_anonymous_page(kernel, task, vma, a, b, (start, stop))
        else:
            kernel.events.inc(VmEvent.PGFAULT, b - a)
            fill_anon(kernel, task, vma, a, b)


def _do_fault(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, write: bool) -> None:
    """do_fault(): do_read_fault(), do_cow_fault() or do_shared_fault() of a file."""
    inode = vma.file
    assert inode is not None
    if inode.space.kind == Kind.SHMEM:
        shmem.shmem_fault(kernel, task, vma, start, stop, write=write and vma.shared)
    else:
        filemap.filemap_fault(kernel, task, vma, start, stop, write=write)
    if write and not vma.shared:
        fill_anon(kernel, task, vma, start, stop)


# ---------------------------------------------------------------- pages that are there


def _touch_present(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, write: bool) -> None:
    """Accesses to page table entries that exist: swap-in, copy on write, or only the accessed bit."""
    if vma.mm.numa_hints:
        numa_fault.do_numa_page(kernel, task, vma, start, stop)
    swapped, shared = _access(kernel, vma, start, stop, write)
    for a, b in swapped:
        _do_swap_page(kernel, task, vma, a, b, write)
    if write and swapped:
        _, shared = _access(kernel, vma, start, stop, write)
    for a, b in shared:
        kernel.events.inc(VmEvent.PGFAULT, b - a)
        huge_memory.do_huge_pmd_wp_page(kernel, vma, a, b)
        fill_anon(kernel, task, vma, a, b)


Stretches = list[tuple[int, int]]


def _access(kernel: Kernel, vma: Vma, start: int, stop: int, write: bool) -> tuple[Stretches, Stretches]:
    """Set the accessed (and dirty) bits of [start, stop); returns what must be swapped in and what copied."""
    swapped: list[range] = []
    shared: list[range] = []
    for segment, a, b in list(vma.present(start, stop)):
        space, delta = segment.space, segment.delta
        touched = []
        copies = write and space.kind != Kind.ANON and not vma.shared
        if not copies and not _needs_change(space, a - delta, b - delta, write):
            continue
        for run in huge_memory.cut(space, a - delta, b - delta):
            at = _moved(run.indexes(), delta)
            if not run.resident or not run.mapcount:
                swapped.append(at)
            elif copies or (write and space.kind == Kind.ANON and run.mapcount > 1):
                shared.append(at)
            else:
                _mark_young(kernel, run, write)
                touched.append(run)
        for run in touched:
            rejoin(run)
    return stretches(swapped, start, stop), stretches(shared, start, stop)


def _needs_change(space: Space, start: int, stop: int, write: bool) -> bool:
    """Does any page lack the bits that the access would set? Most accesses find them set, and split nothing."""
    wanted = PG.YOUNG | PG.DIRTY if write else PG.YOUNG
    return any(
        run.flags & wanted != wanted or run.mapcount != 1 or not run.resident or (write and run.swap is not None)
        for run, _, _ in space.find(start, stop)
    )


def _moved(pages: range, by: int) -> range:
    return range(pages.start + by, pages.stop + by, pages.step)


def _mark_young(kernel: Kernel, run: Run, write: bool) -> None:
    if write and run.space.kind == Kind.FILE:
        filemap.page_mkwrite(kernel, run)
    if write and run.swap is not None and run.space.kind == Kind.ANON:
        swap_state.free_swap_cache(kernel, run)
    change(run, set=PG.YOUNG | (PG.DIRTY if write else 0))


def _do_swap_page(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, write: bool) -> None:
    """do_swap_page() of a stretch of swap entries."""
    space_of = [(segment.space, a, b) for segment, a, b in vma.present(start, stop)]
    for space, a, b in space_of:
        kernel.events.inc(VmEvent.PGFAULT, b - a)
        if space.kind == Kind.ANON:
            swap_state.swapin(kernel, task, vma, space, a, b, write)


# ---------------------------------------------------------------- anonymous pages


def anon_prepare(vma: Vma) -> Space:
    """Where the new anonymous pages of `vma` go."""
    mmap.anon_vma_prepare(vma)
    if vma.anon is None:
        vma.anon = Space(Kind.ANON)
    return vma.anon


def fill_anon(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    """New, written anonymous pages take the place of whatever page table entries [start, stop) has."""
    space = anon_prepare(vma)
    flags, lru = PG.YOUNG | PG.DIRTY, Lru.INACTIVE_ANON
    if vma.locked:
        flags, lru = flags | PG.MLOCKED, Lru.UNEVICTABLE
    replaced = False
    try:
        for pages, where in mempolicy.placements(kernel, task, vma, start, stop):
            # The pages of a lane are no stretch: page tables for all its lanes, before any is filled.
            if pages.step > 1 and not replaced:
                _replace_ptes(kernel, vma, start, stop, space)
                replaced = True
            while pages:
                memcg, most = memcontrol.try_charge(kernel, task, len(pages))
                zone, n = page_alloc.alloc_pages(kernel, task, GFP_HIGHUSER_MOVABLE, where, most)
                chunk, pages = pages[:n], pages[n:]
                if not replaced:
                    _replace_ptes(kernel, vma, chunk.start, chunk.stop, space)
                _enter_anon(space, chunk, zone, flags, lru, memcg)
                if vma.locked:
                    mlock.mlock_new_folio(kernel, n)
    except OSError:
        _unmap_absent(vma, space, start, stop)
        raise


def _enter_anon(
    space: Space, pages: range, zone: Zone, flags: int, lru: int, memcg: MemCgroup | None
) -> None:
    width = pages.step
    first = pages.start // width
    run = Run(space.lane(width, pages.start % width), first, first + len(pages), zone, flags, memcg)
    run.mapcount = 1
    enter(run, lru)


def _replace_ptes(kernel: Kernel, vma: Vma, start: int, stop: int, space: Space) -> None:
    zap_page_range(kernel, vma, start, stop, accessed=False)
    vma.map(start, stop, space)


def _unmap_absent(vma: Vma, space: Space, start: int, stop: int) -> None:
    """The allocator gave up in the middle of [start, stop): no entries for pages that never came."""
    for pages in space.absent(range(start, stop)):
        for a, b in stretches([pages], start, stop):
            vma.unmap(a, b)


# ---------------------------------------------------------------- taking away


def zap_page_range(kernel: Kernel, vma: Vma, start: int, stop: int, *, accessed: bool = True) -> None:
    """Remove the page table entries of [start, stop), and free the pages that nobody else has.

    mm/memory.c:zap_pte_range() (v6.1): young file pages are marked accessed, except where a copy takes their place.
    """
    huge_memory.split_edges(kernel, vma, start, stop)
    for gone in vma.unmap(start, stop):
        space = gone.space
        a, b = gone.start - gone.delta, gone.stop - gone.delta
        if space.kind == Kind.HUGETLB:
            hugetlb.zap(kernel, vma, space, a, b)
        elif space.kind == Kind.ANON:
            _zap_anon(kernel, vma, space, a, b)
        else:
            _zap_file(kernel, vma, space, a, b, accessed)


def _zap_anon(kernel: Kernel, vma: Vma, space: Space, start: int, stop: int) -> None:
    if space.mappers:
        rmap.cut_at_mappers(space, start, stop)
    kept = []
    for run in space.cut(start, stop):
        pages = run.indexes()
        others = rmap.ptes_covering(space, pages.start, pages[-1] + 1) if space.mappers else 0
        if not others:
            free_run(kernel, run)
        elif run.mapcount:
            change(run, mapcount=others)
            kept.append(mlock.munlock_vma_page(kernel, run) if vma.locked else run)
    for run in kept:
        rejoin(run)


def _zap_file(kernel: Kernel, vma: Vma, space: Space, start: int, stop: int, accessed: bool) -> None:
    runs = space.cut(start, stop)
    for run in runs:
        young = accessed and run.flags & PG.YOUNG
        mapcount = run.mapcount - 1
        change(run, clear=0 if mapcount else PG.YOUNG | PG.EXEC | PG.PROT_NONE, mapcount=mapcount)
        if vma.locked:
            run = mlock.munlock_vma_page(kernel, run)
        if young:
            swap.folio_mark_accessed(kernel, run)
    for run in runs:
        rejoin(run)


def free_run(kernel: Kernel, run: Run) -> None:
    """Give back the pages of `run`, and the swap slots behind them; it is no longer in its mapping."""
    area, n, zone = run.swap, run.n, run.zone
    if not run.resident:
        remove(run)
    else:
        # A huge page may be several runs, if a part of it is locked: then its parts go one by one.
        whole = run.flags & PG.THP and not n % huge_memory.HPAGE_PMD_NR
        order = huge_memory.HPAGE_PMD_ORDER if whole else 0
        mlock.clear_page_mlock(kernel, run)
        leave(run)
        page_alloc.free_pages(kernel, zone, n >> order, order)
    if area is not None:
        swap.swap_free(kernel, area, n)


# ---------------------------------------------------------------- what numa_maps counts


@dataclass(slots=True)
class VmaStats:
    """What the page table entries of one VMA map (struct numa_maps); hugetlb counts huge pages."""

    pages: int = 0
    anon: int = 0
    dirty: int = 0
    mapcount_max: int = 0
    swapcache: int = 0
    active: int = 0
    writeback: int = 0
    node: Counter[int] = field(default_factory=Counter)


def vma_stats(kernel: Kernel, vma: Vma) -> VmaStats:
    """fs/proc/task_mmu.c:gather_stats() (v6.1) over the whole mapping."""
    stats = VmaStats()
    unit = vma.hugetlb or 1
    for run, pages in vma.runs():
        if run.mapcount:
            _gather_stats(stats, run, pages // unit)
    return stats


def _gather_stats(stats: VmaStats, run: Run, n: int) -> None:
    kind = run.space.kind
    stats.pages += n
    if kind in (Kind.ANON, Kind.HUGETLB):
        stats.anon += n
    if run.flags & PG.DIRTY or kind == Kind.HUGETLB:
        stats.dirty += n
    if run.swap is not None:
        stats.swapcache += n
    if run.lru in (Lru.ACTIVE_ANON, Lru.ACTIVE_FILE, Lru.UNEVICTABLE):
        stats.active += n
    if run.flags & PG.WRITEBACK:
        stats.writeback += n
    stats.mapcount_max = max(stats.mapcount_max, run.mapcount)
    stats.node[run.zone.pgdat.nid] += n

