# SPDX-License-Identifier: MIT
"""Making, splitting, joining and removing mappings: mm/mmap.c, kernel/fork.c:dup_mmap() (v6.1)."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from . import huge_memory, hugetlb, memory, pgalloc, shmem
from .errors import EEXIST, EINVAL, ENOMEM
from .mempolicy import mpol_dup, mpol_equal
from .mm import Mm, Segment, Vma
from .page import Kind, change

if TYPE_CHECKING:
    from .filemap import Inode
    from .kernel import Kernel
    from .mm import Task

__all__ = [
    "MMAP_BASE", "TASK_SIZE", "dup_mmap", "escape_path", "exit_mmap", "isolate_range", "mmap", "munmap", "split_vma",
    "vma_merge",
]

TASK_SIZE = 1 << 35
"""Pages of the lower half of the address space: 47 bits of 4 KiB pages."""
MMAP_BASE = 0x7F0000000
"""Mappings without a wanted address lie below this page, the next always below the last."""


def escape_path(path: str) -> str:
    """A path as numa_maps and maps print it (fs/seq_file.c:mangle_path())."""
    return "".join(f"\\{ord(c):03o}" if c in "\n\t= " else c for c in path)


# ---------------------------------------------------------------- mmap(2), munmap(2)


def mmap(
    kernel: Kernel, task: Task, at: int | None, pages: int, *, file: Inode | None = None, pgoff: int = 0,
    shared: bool = False, write: bool = True, exec_: bool = False, hugetlb: int = 0, fixed_noreplace: bool = True,
) -> Vma:
    """mmap(2): a mapping of `pages` pages at page `at`, or where there is room.

    `hugetlb` is the size in pages of the huge pages of an anonymous mapping. EEXIST: something is there already.
    """
    mm = task.mm
    if mm is None:
        raise ENOMEM(f"task {task.pid} has no address space in the model")
    if pages <= 0:
        raise EINVAL("a mapping of no pages")
    unit = hugetlb or 1
    start = _unmapped_area(mm, pages, unit) if at is None else at
    _check_place(mm, start, pages, unit, hugetlb)
    if mm.overlapping(start, start + pages):
        if fixed_noreplace:
            raise EEXIST(f"something is mapped in {pages} pages from {start:#x}")
        munmap(kernel, task, start, start + pages)
    vma = Vma(mm, start, start + pages)
    vma.shared, vma.write, vma.exec_, vma.hugetlb = shared, write, exec_, hugetlb
    _set_file(kernel, vma, file, pgoff)
    _insert(mm, vma)
    return _merge_with_neighbours(mm, vma)


def _check_place(mm: Mm, start: int, pages: int, unit: int, huge: int) -> None:
    if start < 0 or start + pages > TASK_SIZE:
        raise ENOMEM(f"{pages} pages from {start:#x} are beyond the address space")
    if start % unit or pages % unit:
        raise EINVAL(f"a mapping of huge pages is whole pieces of {huge} pages")


def _unmapped_area(mm: Mm, pages: int, unit: int) -> int:
    """Top down: the highest hole below MMAP_BASE that is large enough (vm_unmapped_area)."""
    top = MMAP_BASE
    for vma in reversed(mm.vmas):
        if vma.start >= MMAP_BASE:
            continue
        if top - vma.stop >= pages and (top - pages) // unit * unit >= vma.stop:
            break
        top = min(top, vma.start)
    start = (top - pages) // unit * unit
    if start <= 0:
        raise ENOMEM(f"no hole of {pages} pages")
    return start


def _set_file(kernel: Kernel, vma: Vma, file: Inode | None, pgoff: int) -> None:
    if vma.hugetlb:
        vma.path = escape_path("/anon_hugepage (deleted)")
        vma.pgoff = 0
        vma.file = hugetlb.hugetlb_file_setup(kernel, vma)
    elif file is not None:
        vma.file, vma.pgoff = file, pgoff
        vma.path = escape_path(file.path)
    elif vma.shared:
        vma.file, vma.pgoff = shmem.shmem_zero_setup(kernel, vma.pages), 0
        vma.path = escape_path(vma.file.path)
    if vma.file is not None:
        vma.file.users += 1


def munmap(kernel: Kernel, task: Task, start: int, stop: int) -> None:
    """munmap(2): nothing is mapped in [start, stop) afterwards."""
    mm = task.mm
    if mm is None or start < 0 or stop <= start:
        raise EINVAL(f"no pages from {start:#x} to {stop:#x} to unmap")
    vmas = isolate_range(kernel, mm, start, stop)
    if not vmas:
        return
    for vma in vmas:
        _remove_vma(kernel, mm, vma)
    floor, ceiling = _neighbours(mm, start, stop)
    pgalloc.free_pgtables(kernel, mm, floor, max(start, floor), min(stop, ceiling), ceiling)


def _neighbours(mm: Mm, start: int, stop: int) -> tuple[int, int]:
    i = bisect_left(mm.vmas, start, key=lambda v: v.start)
    floor = mm.vmas[i - 1].stop if i else 0
    ceiling = mm.vmas[i].start if i < len(mm.vmas) else TASK_SIZE
    return floor, ceiling


def _remove_vma(kernel: Kernel, mm: Mm, vma: Vma) -> None:
    memory.zap_page_range(kernel, vma, vma.start, vma.stop)
    mm.vmas.remove(vma)
    _put_file(kernel, vma)


def _put_file(kernel: Kernel, vma: Vma) -> None:
    if vma.file is not None:
        vma.file.users -= 1
        kernel.fs.iput(vma.file)


def exit_mmap(kernel: Kernel, mm: Mm) -> None:
    """The last user of an address space is gone: everything in it goes back."""
    for vma in list(mm.vmas):
        _remove_vma(kernel, mm, vma)
    pgalloc.free_pgtables(kernel, mm, 0, 0, TASK_SIZE, TASK_SIZE)


# ---------------------------------------------------------------- splitting and joining


def _insert(mm: Mm, vma: Vma) -> None:
    mm.vmas.insert(bisect_left(mm.vmas, vma.start, key=lambda v: v.start), vma)


def isolate_range(kernel: Kernel, mm: Mm, start: int, stop: int) -> list[Vma]:
    """The mappings of [start, stop), split so that none reaches beyond it."""
    for edge in (start, stop):
        vma = mm.find_vma(edge)
        if vma is not None and vma.start < edge:
            split_vma(kernel, vma, edge)
    return mm.overlapping(start, stop)


def split_vma(kernel: Kernel, vma: Vma, at: int) -> Vma:
    """`vma` ends at page `at` from now on; returns the new one that goes on from there."""
    if vma.hugetlb and at % vma.hugetlb:
        raise EINVAL(f"page {at:#x} is inside a huge page")
    huge_memory.split_edges(kernel, vma, at, at)
    new = Vma(vma.mm, at, vma.stop)
    for name in ("anon", "exec_", "file", "hugetlb", "locked", "name", "path", "shared", "special", "thp", "write"):
        setattr(new, name, getattr(vma, name))
    new.pgoff = vma.pgoff + at - vma.start
    new.policy = mpol_dup(vma.policy) if vma.policy else None
    if new.file is not None:
        new.file.users += 1
    moved = vma.unmap(at, vma.stop)
    vma.stop = at
    for segment in moved:
        new.map(segment.start, segment.stop, segment.space, segment.delta)
    _insert(vma.mm, new)
    return new


def vma_merge(kernel: Kernel, mm: Mm, start: int, stop: int) -> None:
    """Join what may be joined of the mappings in and around [start, stop)."""
    for vma in mm.overlapping(max(start - 1, 0), stop + 1):
        if vma in mm.vmas:
            _merge_with_neighbours(mm, vma)


def _merge_with_neighbours(mm: Mm, vma: Vma) -> Vma:
    i = mm.vmas.index(vma)
    if i + 1 < len(mm.vmas) and _can_merge(vma, mm.vmas[i + 1]):
        _join(mm, vma, mm.vmas[i + 1])
    if i and _can_merge(mm.vmas[i - 1], vma):
        _join(mm, mm.vmas[i - 1], vma)
        return mm.vmas[i - 1]
    return vma


def _can_merge(x: Vma, y: Vma) -> bool:
    """can_vma_merge_after(): adjacent, alike in everything, and their anonymous pages go to one place."""
    return (
        x.stop == y.start
        and x.file is y.file
        and x.pgoff + x.pages == y.pgoff
        and (x.shared, x.write, x.exec_, x.locked, x.hugetlb, x.thp, x.name)
        == (y.shared, y.write, y.exec_, y.locked, y.hugetlb, y.thp, y.name)
        and not (x.special or y.special)
        and (x.anon is y.anon or x.anon is None or y.anon is None)
        and mpol_equal(x.policy, y.policy)
    )


def _join(mm: Mm, x: Vma, y: Vma) -> None:
    x.anon = x.anon or y.anon
    moved = y.unmap(y.start, y.stop)
    mm.vmas.remove(y)
    x.stop = y.stop
    for segment in moved:
        x.map(segment.start, segment.stop, segment.space, segment.delta)
    if y.file is not None:
        y.file.users -= 1


# ---------------------------------------------------------------- fork


def dup_mmap(kernel: Kernel, task: Task, old: Mm) -> Mm:
    """The address space of a child: mappings are copied, pages shared until written.

    kernel/fork.c:dup_mmap() (v6.1). Page tables of mappings without anonymous pages are not copied: the child
    faults them in (mm/memory.c:vma_needs_copy()). `task` is the parent, whose policy places the page tables.
    """
    mm = Mm()
    mm.start_brk = old.start_brk
    mm.numa_hints = old.numa_hints
    for vma in list(old.vmas):
        new = _dup_vma(vma, mm)
        mm.vmas.append(new)
        if _needs_copy(vma):
            _copy_page_range(kernel, task, vma, new)
    return mm


def _dup_vma(vma: Vma, mm: Mm) -> Vma:
    new = Vma(mm, vma.start, vma.stop)
    for name in ("exec_", "file", "hugetlb", "name", "path", "pgoff", "shared", "special", "thp", "write"):
        setattr(new, name, getattr(vma, name))
    new.policy = mpol_dup(vma.policy) if vma.policy else None
    if new.file is not None:
        new.file.users += 1
    return new


def _needs_copy(vma: Vma) -> bool:
    return vma.anon is not None or any(segment.space.kind in (Kind.ANON, Kind.HUGETLB) for segment in vma.segments)


def _copy_page_range(kernel: Kernel, task: Task, vma: Vma, new: Vma) -> None:
    """Both map the same pages afterwards, and write to copies."""
    segments = [Segment(s.start, s.stop, s.space, s.delta) for s in vma.segments]
    for segment in segments:
        pgalloc.pte_alloc(kernel, task, new.mm, segment.start, segment.stop)
    vma.anon = new.anon = None
    for segment in segments:
        a, b = segment.start - segment.delta, segment.stop - segment.delta
        new.map(segment.start, segment.stop, segment.space, segment.delta)
        for run in segment.space.cut(a, b):
            if run.resident and run.mapcount:
                change(run, mapcount=run.mapcount + 1)
