# SPDX-License-Identifier: MIT
"""Shared memory: tmpfs files and shared anonymous mappings. mm/shmem.c (v6.1).

Its pages are swap-backed but counted as file pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import filemap, mempolicy, page_alloc, swap_state
from .gfp import GFP_HIGHUSER_MOVABLE
from .mmzone import Lru
from .page import Kind, Run, enter
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .filemap import Inode
    from .kernel import Kernel
    from .mm import Task, Vma

__all__ = ["shmem_fault", "shmem_get_pages", "shmem_zero_setup"]


def shmem_zero_setup(kernel: Kernel, pages: int) -> Inode:
    """The unlinked file behind a shared anonymous mapping."""
    inode = filemap.Inode("/dev/zero (deleted)", pages * kernel.machine.page_size, ino=kernel.fs.next_shmem_ino(),
                          kind=Kind.SHMEM)
    inode.nlink = 0
    return inode


def shmem_get_pages(kernel: Kernel, task: Task, inode: Inode, start: int, stop: int) -> None:
    """Make the pages [start, stop) of the file present: allocate them, or bring them back from swap."""
    space = inode.space
    swap_state.shmem_swapin(kernel, task, inode, start, stop)
    for a, b in space.missing(start, stop):
        for pages, where in mempolicy.file_placements(kernel, task, inode, a, b):
            while pages:
                zone, n = page_alloc.alloc_pages(kernel, task, GFP_HIGHUSER_MOVABLE, where, len(pages))
                width = pages.step
                lane = space.lane(width, pages.start % width)
                first = pages.start // width
                enter(Run(lane, first, first + n, zone), Lru.INACTIVE_ANON)
                pages = pages[n:]


def shmem_fault(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, write: bool) -> None:
    """Faults on the unmapped pages [start, stop) of a mapping: each is counted, for memory that is not there
    yet cannot be mapped around a fault."""
    inode = vma.file
    assert inode is not None
    delta = vma.start - vma.pgoff
    there = sum(b - a for a, b in inode.space.resident(start - delta, stop - delta))
    shmem_get_pages(kernel, task, inode, start - delta, stop - delta)
    if not write and there == stop - start:
        faults = filemap.filemap_map_pages(kernel, vma, start, stop)
    else:
        faults = stop - start
        filemap.map_cached(kernel, vma, start, stop)
    kernel.events.inc(VmEvent.PGFAULT, faults)
    if write:
        for run in inode.space.cut(start - delta, stop - delta):
            if run.resident:
                filemap.page_mkwrite(kernel, run)
