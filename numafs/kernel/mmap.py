# SPDX-License-Identifier: MIT
"""Making, splitting, joining and removing mappings: mm/mmap.c, kernel/fork.c:dup_mmap() (v6.1)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import huge_memory, hugetlb, memory, pgalloc, shmem
from .errors import EEXIST, EINVAL, ENOMEM
from .mempolicy import mpol_dup, mpol_equal
from .mm import Mm, Segment, Vma
from .mm_inline import change
from .page import Kind

if TYPE_CHECKING:
    from .filemap import Inode
    from .kernel import Kernel
    from .mm import Task

__all__ = [
    "MMAP_BASE", "TASK_SIZE", "anon_vma_prepare", "dup_mmap", "escape_path", "exit_mmap", "mmap", "munmap", "split_vma",
    "vma_modify", "vmas_in",
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
    kernel.khugepaged.leave(mm)
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


_SPLIT = (
    "anon", "anon_vma", "exec_", "file", "hugetlb", "inherited", "locked", "name", "path", "shared", "special", "thp",
    "write",
)


def split_vma(kernel: Kernel, vma: Vma, at: int) -> Vma:
    """`vma` ends at page `at` from now on; returns the new one that goes on from there."""
    if vma.hugetlb and at % vma.hugetlb:
        raise EINVAL(f"page {at:#x} is inside a huge page")
    huge_memory.split_edges(kernel, vma, at, at)
    new = Vma(vma.mm, at, vma.stop)
    for name in _SPLIT:
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


def vmas_in(mm: Mm, start: int, stop: int) -> Iterator[Vma]:
    """The mappings in [start, stop), one by one, for who splits and joins them on the way."""
    while start < stop:
        i = bisect_right(mm.vmas, start, key=lambda v: v.stop)
        if i == len(mm.vmas) or mm.vmas[i].start >= stop:
            return
        vma = mm.vmas[i]
        start = vma.stop
        yield vma


def vma_modify(kernel: Kernel, mm: Mm, vma: Vma, start: int, stop: int, **new: object) -> Vma:
    """Give the part [start, stop) of a mapping other properties; returns the mapping that it is in afterwards.

    It is joined with a neighbour that is like it, or split off: mm/mmap.c:vma_merge() and what its callers do
    if it fails (v6.1). Callers leave alone what has the properties already.
    """
    part = vma if start <= vma.start else split_vma(kernel, vma, start)
    if stop < part.stop:
        split_vma(kernel, part, stop)
    for name, value in new.items():
        setattr(part, name, value)
    return _merge_with_neighbours(mm, part)


def _merge_with_neighbours(mm: Mm, vma: Vma) -> Vma:
    i = mm.vmas.index(vma)
    before = mm.vmas[i - 1] if i and _can_merge(mm.vmas[i - 1], vma, mm.vmas[i - 1]) else None
    after = mm.vmas[i + 1] if i + 1 < len(mm.vmas) and _can_merge(vma, mm.vmas[i + 1], mm.vmas[i + 1]) else None
    if before and after and not (before.anon_vma is after.anon_vma or not before.anon_vma or not after.anon_vma):
        after = None
    if after:
        _join(mm, vma, after)
    if before:
        _join(mm, before, vma)
    return before or vma


def _can_merge(x: Vma, y: Vma, old: Vma) -> bool:
    """can_vma_merge_after(): adjacent and alike in everything; `old` is that of the two that does not change."""
    return (
        x.stop == y.start
        and x.file is y.file
        and x.pgoff + x.pages == y.pgoff
        and (x.shared, x.write, x.exec_, x.locked, x.hugetlb, x.thp, x.name)
        == (y.shared, y.write, y.exec_, y.locked, y.hugetlb, y.thp, y.name)
        and not (x.special or y.special)
        and is_mergeable_anon_vma(x if old is y else y, old)
        and mpol_equal(x.policy, y.policy)
    )


def is_mergeable_anon_vma(vma: Vma, old: Vma) -> bool:
    """Either may have no anonymous pages yet, but `old` needs a chain of one link then: not none, none inherited."""
    if (vma.anon_vma is None or old.anon_vma is None) and old.anon_vma is not None and not old.inherited:
        return True
    return vma.anon_vma is old.anon_vma


def anon_vma_prepare(vma: Vma) -> None:
    """The mapping gets its first anonymous page; the anon_vma of a neighbour that is like it serves (mm/rmap.c)."""
    if vma.anon_vma is not None:
        return
    vmas = vma.mm.vmas
    i = vmas.index(vma)
    like_it = [near for near in vmas[i + 1 : i + 2] if _anon_vma_compatible(vma, near)]
    like_it += [near for near in vmas[max(i - 1, 0) : i] if _anon_vma_compatible(near, vma)]
    reusable = (near.anon_vma for near in like_it if near.anon_vma is not None and not near.inherited)
    vma.anon_vma = next(reusable, object())


def _anon_vma_compatible(x: Vma, y: Vma) -> bool:
    """Could the two be joined, but for their rights?"""
    return (
        x.stop == y.start
        and mpol_equal(x.policy, y.policy)
        and x.file is y.file
        and (x.shared, x.locked, x.hugetlb, x.thp) == (y.shared, y.locked, y.hugetlb, y.thp)
        and x.pgoff + x.pages == y.pgoff
    )


def _join(mm: Mm, x: Vma, y: Vma) -> None:
    x.anon = x.anon or y.anon
    if x.anon_vma is None:
        x.anon_vma, x.inherited = y.anon_vma, y.inherited
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
    if vma.anon_vma is not None:
        new.anon_vma, new.inherited = object(), True
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
