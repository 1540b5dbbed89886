# SPDX-License-Identifier: MIT
"""Shared memory: tmpfs files and shared anonymous mappings. mm/shmem.c (v6.1).

Its pages are swap-backed but counted as file pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import filemap, memcontrol, mempolicy, page_alloc, swap_state
from .gfp import GFP_HIGHUSER_MOVABLE
from .mm_inline import enter
from .mmzone import Lru
from .page import Kind, Run, Space, remove
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .filemap import Inode
    from .kernel import Kernel
    from .memcontrol import MemCgroup
    from .mm import Task, Vma
    from .mmzone import Zone

__all__ = ["shmem_fault", "shmem_get_pages", "shmem_zero_setup"]


def shmem_zero_setup(kernel: Kernel, pages: int) -> Inode:
    """The unlinked file behind a shared anonymous mapping."""
    inode = filemap.Inode("/dev/zero (deleted)", pages * kernel.machine.page_size, ino=kernel.fs.next_shmem_ino(),
                          kind=Kind.SHMEM)
    inode.nlink = 0
    return inode


def shmem_get_pages(kernel: Kernel, task: Task, inode: Inode, start: int, stop: int) -> None:
    """Make the pages [start, stop) of the file present: allocate them, or bring them back from swap."""
    for a, b in inode.space.missing(start, stop):
        for pages, where in mempolicy.file_placements(kernel, task, inode, a, b):
            while pages:
                memcg, most = memcontrol.try_charge(kernel, task, len(pages))
                zone, n = page_alloc.alloc_pages(kernel, task, GFP_HIGHUSER_MOVABLE, where, most)
                _enter(kernel, inode.space, pages[:n], zone, memcg)
                pages = pages[n:]


def _enter(kernel: Kernel, space: Space, pages: range, zone: Zone, memcg: MemCgroup | None) -> None:
    """New pages, and pages that come back from swap: these are dirty, and their slots free (shmem_swapin_folio)."""
    entries = space.pieces(pages)
    for entry in entries:
        if entry.swap is not None:
            swap_state.free_swap_cache(kernel, swap_state.read_swap_cache(kernel, entry, zone))
        else:
            remove(entry)
            enter(Run(entry.lane, entry.a, entry.b, zone, memcg=memcg), Lru.INACTIVE_ANON)
    swap_state.count_swapin(kernel, sum(entry.n for entry in entries if entry.swap is not None))
    for fresh in absent_pages(pages, [entry.indexes() for entry in entries]):
        width = fresh.step
        first = fresh.start // width
        run = Run(space.lane(width, fresh.start % width), first, first + len(fresh), zone, memcg=memcg)
        enter(run, Lru.INACTIVE_ANON)


def absent_pages(pages: range, taken: list[range]) -> list[range]:
    """What of `pages` none of the ranges in it covers."""
    if not taken:
        return [pages]
    left = bytearray(b"\1" * len(pages))
    for part in taken:
        first, step = pages.index(part.start), max(part.step // pages.step, 1)
        left[first : first + len(part) * step : step] = bytes(len(part))
    out = []
    a = left.find(1)
    while a >= 0:
        b = left.find(0, a)
        b = len(left) if b < 0 else b
        out.append(pages[a:b])
        a = left.find(1, b)
    return out


def shmem_fault(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, write: bool) -> None:
    """Faults on the unmapped pages [start, stop) of a mapping. A read maps what is there around it, too.

    Simplified: unless all of [start, stop) is there already, each page counts as a fault.
    """
    inode = vma.file
    assert inode is not None
    delta = vma.start - vma.pgoff
    there = sum(b - a for a, b in inode.space.resident(start - delta, stop - delta))
    shmem_get_pages(kernel, task, inode, start - delta, stop - delta)
    faults = stop - start
    if write:
        filemap.map_cached(kernel, vma, start, stop)
    else:
        around = filemap.filemap_map_pages(kernel, vma, start, stop)
        faults = around if there == faults else faults
    kernel.events.inc(VmEvent.PGFAULT, faults)
    if write:
        for run in inode.space.cut(start - delta, stop - delta):
            if run.resident:
                filemap.page_mkwrite(kernel, run)
