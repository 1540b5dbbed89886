# SPDX-License-Identifier: MIT
"""Files and their page cache: reading, writing, mapping, throwing away. mm/filemap.c, mm/truncate.c (v6.1).

Simplified: the index of the page cache (radix_tree_node) and buffer heads take no slab memory; in the kernel they
take 0.2 % of what is cached, and 3 % of what was written.
Simplified: reads and writes are whole pages; a write of a part of a page that is not cached does not read it first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import memcontrol, mempolicy, mlock, page_alloc, page_writeback, readahead, rmap, swap, workingset
from .errors import EFAULT, EINVAL
from .gfp import GFP_HIGHUSER_MOVABLE, Gfp
from .inode import Inode
from .mm_inline import change, enter, leave, rejoin
from .mmzone import Lru
from .page import PG, Kind, Run, Space, remove
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .memcontrol import MemCgroup
    from .mm import Task, Vma
    from .mmzone import Zone

__all__ = [
    "Inode", "fadvise_dontneed", "filemap_add", "filemap_fault", "filemap_map_pages", "fsync", "generic_file_read",
    "generic_perform_write", "invalidate_mapping_pages", "page_mkwrite", "pages_by_node", "resident", "truncate",
]

FAULT_AROUND = 16
"""fault_around_bytes in pages: a read fault maps what is cached of the 64 KiB around it."""
FAULT_STRETCH = 1024
"""Pages of a mapped file that are read in and mapped together."""
READ_STRETCH = 16384
"""Pages of a file that are looked at together by a long read."""
READ_BYTES = 65536
"""What a program asks of one read(2), where a caller does not say."""


def size_in_pages(kernel: Kernel, inode: Inode) -> int:
    """Pages that the file has."""
    return -(-inode.size_bytes // kernel.machine.page_size)


# ---------------------------------------------------------------- the page cache


def filemap_add(
    kernel: Kernel, task: Task, inode: Inode, start: int, stop: int, flags: int = 0, gfp: Gfp = GFP_HIGHUSER_MOVABLE
) -> None:
    """Allocate pages for [start, stop) of a file, none of which is cached, and enter them.

    mm/filemap.c:filemap_add_folio() (v6.1): a page that was evicted not long ago starts on the active list.
    """
    for pages, where in mempolicy.file_placements(kernel, task, inode, start, stop):
        while pages:
            want = page_writeback.dirty_batch(kernel, where, len(pages)) if gfp & Gfp.WRITE else len(pages)
            memcg, want = memcontrol.try_charge(kernel, task, want)
            zone, n = page_alloc.alloc_pages(kernel, task, gfp, where, want)
            _enter_cache(kernel, inode.space, pages[:n], zone, flags, memcg)
            pages = pages[n:]


def _enter_cache(
    kernel: Kernel, space: Space, pages: range, zone: Zone, flags: int, memcg: MemCgroup | None
) -> None:
    shadows = [(shadow.indexes(), shadow) for shadow in space.pieces(pages)]
    fresh = [(part, None) for part in space.absent(pages)] if shadows else [(pages, None)]
    for part, shadow in sorted([*shadows, *fresh], key=lambda piece: piece[0].start):
        if shadow is None:
            _enter_run(space, part, zone, flags, Lru.INACTIVE_FILE, memcg)
        else:
            _enter_refault(kernel, shadow, zone, flags, memcg)


def _enter_refault(kernel: Kernel, shadow: Run, zone: Zone, flags: int, memcg: MemCgroup | None) -> None:
    active = workingset.workingset_refault(kernel, shadow, shadow.n, zone, memcg)
    remove(shadow)
    kept = shadow.flags & PG.WORKINGSET if active else 0
    fresh = Run(shadow.lane, shadow.a, shadow.b, zone, flags | kept, memcg)
    enter(fresh, Lru.ACTIVE_FILE if active else Lru.INACTIVE_FILE)


def _enter_run(
    space: Space, pages: range, zone: Zone, flags: int, lru: int, memcg: MemCgroup | None
) -> None:
    width = pages.step
    first = pages.start // width
    enter(Run(space.lane(width, pages.start % width), first, first + len(pages), zone, flags, memcg), lru)


def read_pages(kernel: Kernel, task: Task, inode: Inode, start: int, stop: int, flags: int = 0) -> int:
    """Read from the disk what of [start, stop) is not cached (page_cache_ra_unbounded); returns how many pages."""
    stop = min(stop, size_in_pages(kernel, inode))
    read = 0
    for a, b in inode.space.missing(start, stop) if start < stop else ():
        filemap_add(kernel, task, inode, a, b, flags)
        read += b - a
    page_writeback.read_io(kernel, read)
    return read


# ---------------------------------------------------------------- read(2)


def generic_file_read(
    kernel: Kernel, task: Task, inode: Inode, offset: int, length: int, ra: readahead.FileRaState | None = None,
) -> int:
    """read(2): bytes that could be read. `ra` is the open file's read-ahead; without it the file is freshly opened.

    mm/filemap.c:filemap_read() (v6.1): every page that is read is marked accessed.
    """
    if offset < 0 or length < 0:
        raise EINVAL("a negative offset or length")
    length = min(length, inode.size_bytes - offset)
    if length <= 0:
        return 0
    ra = ra or readahead.FileRaState()
    size = kernel.machine.page_size
    first, last = offset // size, -(-(offset + length) // size)
    request = max(min(READ_BYTES, length) // size, 1)
    with held(kernel, inode):
        for start in range(first, last, READ_STRETCH):
            _read_stretch(kernel, task, inode, ra, start, min(last, start + READ_STRETCH), request)
    ra.prev_page = last - 1
    return length


@contextmanager
def held(kernel: Kernel, inode: Inode) -> Iterator[None]:
    """Nobody may forget the file meanwhile: it is open."""
    kernel.fs.iget(inode)
    try:
        yield
    finally:
        inode.users -= 1
        kernel.fs.iput(inode)


def _read_stretch(
    kernel: Kernel, task: Task, inode: Inode, ra: readahead.FileRaState, start: int, stop: int, request: int
) -> None:
    for a, b, cached in _by_presence(inode.space, start, stop):
        if not cached or ra.async_due(inode, a, b):
            readahead.page_cache_ra(kernel, task, inode, ra, a, b, request)
        _mark_accessed(kernel, inode.space, a, b)


def _by_presence(space: Space, start: int, stop: int) -> list[tuple[int, int, bool]]:
    """[start, stop) in order, as stretches that are cached and stretches that are not."""
    out = []
    for a, b in space.missing(start, stop):
        if start < a:
            out.append((start, a, True))
        out.append((a, b, False))
        start = b
    if start < stop:
        out.append((start, stop, True))
    return out


def _mark_accessed(kernel: Kernel, space: Space, start: int, stop: int) -> None:
    for run in space.cut(start, stop):
        if run.resident:
            swap.folio_mark_accessed(kernel, run)


# ---------------------------------------------------------------- mapped files


def filemap_fault(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, write: bool) -> None:
    """Faults on the unmapped pages [start, stop) of a mapping of a file: read in what is missing, then map.

    A private mapping that is written only needs the page to copy: nothing is mapped.
    mm/memory.c:do_read_fault(), do_cow_fault(), do_shared_fault() (v6.1).
    """
    inode = vma.file
    assert inode is not None
    delta = vma.start - vma.pgoff
    if stop - delta > size_in_pages(kernel, inode):
        raise EFAULT(f"page {stop - delta - 1} is beyond the end of {inode.path}")
    for at in range(start, stop, FAULT_STRETCH):
        end = min(at + FAULT_STRETCH, stop)
        major = readahead.mmap_readahead(kernel, task, inode, at - delta, end - delta)
        kernel.events.inc(VmEvent.PGMAJFAULT, major)
        if not write:
            faults = filemap_map_pages(kernel, vma, at, end)
        elif vma.shared:
            faults = end - at
            _map_exactly(kernel, vma, at, end)
            page_writeback.balance_dirty_pages(kernel, end - at)
        else:
            faults = end - at
        kernel.events.inc(VmEvent.PGFAULT, faults)


def filemap_map_pages(kernel: Kernel, vma: Vma, start: int, stop: int) -> int:
    """Fault-around: map what is cached of the aligned 64 KiB pieces that overlap [start, stop); returns the faults."""
    around = max(vma.start, start // FAULT_AROUND * FAULT_AROUND)
    until = min(vma.stop, -(-stop // FAULT_AROUND) * FAULT_AROUND)
    map_cached(kernel, vma, around, until)
    return -(-stop // FAULT_AROUND) - start // FAULT_AROUND


def _map_exactly(kernel: Kernel, vma: Vma, start: int, stop: int) -> None:
    """do_shared_fault(): map the pages and dirty them."""
    delta = vma.start - vma.pgoff
    map_cached(kernel, vma, start, stop)
    assert vma.file is not None
    for run in vma.file.space.cut(start - delta, stop - delta):
        if run.resident:
            page_mkwrite(kernel, run)


def map_cached(kernel: Kernel, vma: Vma, start: int, stop: int) -> None:
    """Enter page table entries for the pages of [start, stop) that are in memory and not yet mapped."""
    assert vma.file is not None
    space, delta = vma.file.space, vma.start - vma.pgoff
    flags = PG.YOUNG | (PG.EXEC if vma.exec_ else 0)
    for a, b in vma.holes(start, stop):
        for x, y in space.resident(a - delta, b - delta):
            runs = [run for run in space.cut(x, y) if run.resident]
            for run in runs:
                change(run, set=flags, mapcount=run.mapcount + 1)
            vma.map(x + delta, y + delta, space, delta)
            for run in runs:
                rejoin(run)
            if vma.locked:
                mlock.mlock_pages(kernel, vma, x + delta, y + delta)


def page_mkwrite(kernel: Kernel, run: Run) -> None:
    """A page of a file becomes dirty (folio_mark_dirty)."""
    if run.space.kind == Kind.FILE:
        page_writeback.dirty_pages(kernel, run)
    else:
        change(run, set=PG.DIRTY)


# ---------------------------------------------------------------- write(2)


def generic_perform_write(kernel: Kernel, task: Task, inode: Inode, offset: int, length: int) -> int:
    """write(2): pages are allocated away from nodes with too many dirty ones, dirtied, and the writer is throttled.

    mm/filemap.c:generic_perform_write() (v6.1). Written pages are not marked accessed.
    """
    if offset < 0 or length < 0:
        raise EINVAL("a negative offset or length")
    if not length:
        return 0
    size = kernel.machine.page_size
    first, last = offset // size, -(-(offset + length) // size)
    with held(kernel, inode):
        while first < last:
            stop = min(last, first + page_writeback.write_stretch(kernel))
            inode.size_bytes = max(inode.size_bytes, min(offset + length, stop * size))
            _write_stretch(kernel, task, inode, first, stop)
            page_writeback.balance_dirty_pages(kernel, stop - first)
            first = stop
    return length


def _write_stretch(kernel: Kernel, task: Task, inode: Inode, start: int, stop: int) -> None:
    for a, b in inode.space.missing(start, stop):
        filemap_add(kernel, task, inode, a, b, gfp=GFP_HIGHUSER_MOVABLE | Gfp.WRITE)
    for run in inode.space.cut(start, stop):
        if run.resident:
            page_writeback.dirty_pages(kernel, run)


def fsync(kernel: Kernel, inode: Inode) -> None:
    """fsync(2): write its dirty pages and wait."""
    page_writeback.write_inode_now(kernel, inode)


# ---------------------------------------------------------------- throwing away


def fadvise_dontneed(kernel: Kernel, inode: Inode, start: int, stop: int) -> int:
    """posix_fadvise(POSIX_FADV_DONTNEED): free clean, unmapped pages; returns how many."""
    return invalidate_mapping_pages(kernel, inode, start, stop)


def invalidate_mapping_pages(kernel: Kernel, inode: Inode, start: int = 0, stop: int | None = None) -> int:
    """Free the clean, unmapped pages of [start, stop), and the memory of evicted ones; returns how many.

    mm/truncate.c:invalidate_mapping_pages() (v6.1).
    """
    freed = 0
    for run in inode.space.cut(start, stop if stop is not None else size_in_pages(kernel, inode)):
        if not run.resident and run.swap is None:
            remove(run)
        elif run.resident and not run.mapcount and not run.flags & (PG.DIRTY | PG.WRITEBACK):
            freed += run.n
            _free_cached(kernel, run)
    inode.ra_marks.clear()
    return freed


def truncate(kernel: Kernel, inode: Inode, size_bytes: int) -> None:
    """truncate(2), and the end of a file: pages behind the new end are unmapped and freed, dirty or not.

    mm/truncate.c:truncate_pagecache() (v6.1).
    """
    old = size_in_pages(kernel, inode)
    inode.size_bytes = size_bytes
    first = size_in_pages(kernel, inode)
    page_writeback.wait_on_writeback(kernel, inode, first, old)
    for run in inode.space.cut(first, max(old, first)):
        if not run.resident:
            swapped = run.swap
            remove(run)
            if swapped is not None:
                swap.swap_free(kernel, swapped, run.n)
            continue
        if run.mapcount:
            rmap.try_to_unmap(kernel, run)
        _free_cached(kernel, run)
    if not inode.space.nrpages:
        kernel.dirty_inodes.pop(inode, None)


def _free_cached(kernel: Kernel, run: Run) -> None:
    zone, n, area = run.zone, run.n, run.swap
    mlock.clear_page_mlock(kernel, run)
    leave(run)
    page_alloc.free_pages(kernel, zone, n)
    if area is not None:
        swap.swap_free(kernel, area, n)


# ---------------------------------------------------------------- what is where


def resident(inode: Inode) -> int:
    """mincore(2): pages of the file that are in memory."""
    return inode.space.nrpages


def pages_by_node(space: Space, start: int, stop: int) -> dict[int, int]:
    """How many pages of [start, stop) each node holds."""
    count: dict[int, int] = {}
    for run, a, b in space.find(start, stop):
        if run.resident:
            nid = run.zone.pgdat.nid
            count[nid] = count.get(nid, 0) + b - a
    return count
