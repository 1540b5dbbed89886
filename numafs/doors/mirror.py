# SPDX-License-Identifier: MIT
"""The address space of a real process in the model: its mappings, and its pages on the model's nodes.

What a process has is what /proc/PID says; where in the model a page lies is decided when the model learns
of it, by the policies in force when it was touched.

Simplified: a page that was moved by mremap(2) is a new page. Pages of hugetlbfs are not the model's. A file that is
mapped is taken to be in memory already: reading it takes no time. A mapping is locked for none of its pages.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numafs.kernel import filemap, memory, mmap, pgalloc, shmem
from numafs.kernel.inode import Inode
from numafs.kernel.mm import Mm, Vma
from numafs.kernel.page import Kind

from .pagemap import Present

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mempolicy import Mempolicy
    from numafs.kernel.mm import Segment, Task

    from .pagemap import Area

__all__ = ["Touch", "Under", "as_mapped", "map_areas", "map_unseen", "settle", "touch_pages"]

Stretch = tuple[int, int]
IN_MEMORY = ("/dev/zero", "/memfd:", "/SYSV", "/dev/shm/", "/i915")
"""Files of these paths are shared memory."""
DELETED = " (deleted)"
HUGETLB = ("/anon_hugepage", "/dev/hugepages/")


@dataclass(frozen=True, slots=True)
class Under:
    """What decided where a thread's pages go, before it changed."""

    policy: Mempolicy | None
    cpu: int


@dataclass(frozen=True, slots=True)
class Touch:
    """A thread first touched the pages [start, stop), `under` what was in force then (None: what still is)."""

    task: Task
    start: int
    stop: int
    under: Under | None = None


def inode_of(kernel: Kernel, area: Area) -> Inode | None:
    """The model's inode of the file that is mapped; None for anonymous memory."""
    if not area.inode or area.special:
        return None
    key = area.device, area.inode
    inode = kernel.fs.foreign.get(key)
    if inode is None or not (inode.nlink or inode.users):
        kind = Kind.SHMEM if area.path.startswith(IN_MEMORY) else Kind.FILE
        inode = kernel.fs.foreign[key] = Inode(area.path, ino=area.inode, kind=kind)
        inode.nlink = 0 if area.path.endswith(DELETED) else 1
    end = (area.pgoff + area.stop - area.start) * kernel.machine.page_size
    inode.size_bytes = max(inode.size_bytes, end)
    return inode


# ---------------------------------------------------------------- mappings


def map_areas(
    kernel: Kernel, task: Task, mm: Mm, old: Sequence[Area], new: Sequence[Area]
) -> None:
    """What was mapped as `old` says is now mapped as `new` says: only what changed is looked at."""
    if old is new:
        return
    known, wanted = set(old), set(new)
    added = [area for area in new if area not in known]
    for area in old:
        if area not in wanted:
            _take_back(kernel, task, mm, area, added)
    for area in added:
        _map_area(kernel, mm, area)


def _take_back(kernel: Kernel, task: Task, mm: Mm, area: Area, added: Sequence[Area]) -> None:
    """Unmap what of an area no new one continues."""
    start = area.start
    for other in added:
        if other.start >= area.stop or other.stop <= area.start or not _continues(area, other):
            continue
        if start < other.start:
            mmap.munmap(kernel, task, start, other.start)
        start = max(start, other.stop)
    if start < area.stop:
        mmap.munmap(kernel, task, start, area.stop)


def _continues(old: Area, new: Area) -> bool:
    """Is what both cover the same memory, with other rights perhaps?"""
    if (old.inode, old.device, old.shared, old.special) != (new.inode, new.device, new.shared, new.special):
        return False
    return not old.inode or old.pgoff - old.start == new.pgoff - new.start


def _map_area(kernel: Kernel, mm: Mm, area: Area) -> None:
    """Map what of the area is not mapped yet; what is has its rights now."""
    start = area.start
    new = {"write": area.write, "exec_": area.exec_, "name": _name(area)}
    for vma in mmap.vmas_in(mm, area.start, area.stop):
        a, b = max(vma.start, area.start), min(vma.stop, area.stop)
        if start < a:
            _insert(kernel, mm, area, start, a)
        if any(getattr(vma, name) != value for name, value in new.items()):
            mmap.vma_modify(kernel, mm, vma, a, b, **new)
        start = b
    if start < area.stop:
        _insert(kernel, mm, area, start, area.stop)


def _insert(kernel: Kernel, mm: Mm, area: Area, start: int, stop: int) -> None:
    vma = Vma(mm, start, stop)
    vma.shared, vma.write, vma.exec_, vma.special = area.shared, area.write, area.exec_, area.special
    vma.name = _name(area)
    vma.file = inode_of(kernel, area)
    if vma.file is not None:
        vma.pgoff = area.pgoff + start - area.start
        vma.path = mmap.escape_path(area.path)
        vma.file.users += 1
    insort(mm.vmas, vma, key=lambda v: v.start)
    mmap.vma_modify(kernel, mm, vma, start, stop)


def map_unseen(kernel: Kernel, mm: Mm, start: int, stop: int) -> None:
    """Let there be anonymous memory where nobody knows what was mapped."""
    at = start
    for vma in [*mm.overlapping(start, stop), None]:
        end = stop if vma is None else min(vma.start, stop)
        if at < end:
            new = Vma(mm, at, end)
            insort(mm.vmas, new, key=lambda v: v.start)
            mmap.vma_modify(kernel, mm, new, at, end)
        if vma is not None:
            at = vma.stop


def as_mapped(mm: Mm, start: int, stop: int) -> list[Present]:
    """[start, stop) as if all of it were there: of the file where one is mapped."""
    return [
        Present(max(vma.start, start), min(vma.stop, stop), vma.file is not None, False)
        for vma in mm.overlapping(start, stop)
    ]


def _name(area: Area) -> str:
    """What numa_maps says of an anonymous mapping."""
    return {"[heap]": "heap", "[stack]": "stack"}.get(area.path, "")


# ---------------------------------------------------------------- pages


def touch_pages(kernel: Kernel, mm: Mm, touch: Touch, there: Sequence[Present]) -> None:
    """Charge what a thread touched, as far as it still is `there` (ascending, within the touch)."""
    with acting(touch.task, touch.under):
        for stretch in there:
            for vma in mm.overlapping(stretch.start, stretch.stop):
                a, b = max(stretch.start, vma.start), min(stretch.stop, vma.stop)
                if not stretch.file:
                    _forget_freed(kernel, vma, a, b)
                _charge(kernel, touch.task, vma, a, b, stretch)
                if not stretch.file:
                    _copy_shared(kernel, touch.task, vma, a, b)


def _forget_freed(kernel: Kernel, vma: Vma, start: int, stop: int) -> None:
    """A page that is touched for the first time again was freed meanwhile.

    Pages from before a fork are not: the last who has one faults when it writes to it, and keeps it.
    """
    own = [(a, b) for segment, a, b in vma.present(start, stop) if segment.space is vma.anon]
    for a, b in own:
        memory.zap_page_range(kernel, vma, a, b)


def _copy_shared(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    """What a fork left shared was written."""
    for segment, a, b in list(vma.present(start, stop)):
        if _is_anonymous(segment) and segment.space is not vma.anon:
            with _writable(vma):
                memory.touch(kernel, task, a, b, write=True)


def settle(
    kernel: Kernel, task: Task, mm: Mm, there: Sequence[Present], start: int = 0, stop: int = mmap.TASK_SIZE
) -> None:
    """Of [start, stop) the process has these pages and no others.

    Free what is gone, charge to `task` what nobody saw coming.
    """
    at = 0
    for vma in mm.overlapping(start, stop):
        while at < len(there) and there[at].stop <= vma.start:
            at += 1
        if vma.special or _is_hugetlb(vma):
            continue
        here = _within(there, at, vma)
        kept = [(a, b) for a, b, stretch in here if not stretch.file]
        _free_gone(kernel, vma, max(start, vma.start), min(stop, vma.stop), kept)
        for a, b, stretch in here:
            _charge(kernel, task, vma, a, b, stretch)


def _within(there: Sequence[Present], at: int, vma: Vma) -> list[tuple[int, int, Present]]:
    out = []
    while at < len(there) and there[at].start < vma.stop:
        stretch = there[at]
        out.append((max(stretch.start, vma.start), min(stretch.stop, vma.stop), stretch))
        at += 1
    return out


def _free_gone(kernel: Kernel, vma: Vma, start: int, stop: int, kept: list[Stretch]) -> None:
    """Free anonymous pages of [start, stop) that are not among `kept`."""
    for a, b in list(_without(_anonymous(vma, start, stop), kept)):
        memory.zap_page_range(kernel, vma, a, b)


def _charge(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, stretch: Present) -> None:
    """The pages [start, stop) of a mapping are there: give them a place if they have none."""
    if vma.special or _is_hugetlb(vma):
        return
    if not stretch.file:
        for a, b in list(_without([(start, stop)], _anonymous(vma, start, stop))):
            _charge_anon(kernel, task, vma, a, b, stretch.huge)
    elif vma.file is not None:
        for a, b in vma.holes(start, stop):
            _charge_file(kernel, task, vma, vma.file, a, b)


def _charge_anon(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, huge: bool) -> None:
    """New pages; a huge one is one here too, if the model's settings let it."""
    if vma.file is not None:
        pgalloc.pte_alloc(kernel, task, vma.mm, start, stop)
        memory.fill_anon(kernel, task, vma, start, stop)
        return
    with _writable(vma, huge=huge):
        memory.touch(kernel, task, start, stop, write=True)


@contextmanager
def _writable(vma: Vma, *, huge: bool = False) -> Iterator[None]:
    """Whatever its rights are now, its pages were written."""
    write, thp = vma.write, vma.thp
    vma.write, vma.thp = True, huge
    try:
        yield
    finally:
        vma.write, vma.thp = write, thp


def _charge_file(kernel: Kernel, task: Task, vma: Vma, inode: Inode, start: int, stop: int) -> None:
    """Bring pages of a file into the page cache, where they are not yet, and map them."""
    delta = vma.start - vma.pgoff
    pgalloc.pte_alloc(kernel, task, vma.mm, start, stop)
    if inode.space.kind == Kind.SHMEM:
        shmem.shmem_fault(kernel, task, vma, start, stop, write=vma.write and vma.shared)
        return
    for a, b in inode.space.missing(start - delta, stop - delta):
        filemap.filemap_add(kernel, task, inode, a, b)
    filemap.map_cached(kernel, vma, start, stop)


# ---------------------------------------------------------------- stretches


def _is_hugetlb(vma: Vma) -> bool:
    return vma.path.startswith(HUGETLB)


def _anonymous(vma: Vma, start: int, stop: int) -> list[Stretch]:
    """What of [start, stop) has page table entries of anonymous pages."""
    return [(a, b) for segment, a, b in vma.present(start, stop) if _is_anonymous(segment)]


def _is_anonymous(segment: Segment) -> bool:
    return segment.space.kind == Kind.ANON


def _without(stretches: Sequence[Stretch], holes: Sequence[Stretch]) -> Iterator[Stretch]:
    """Ascending `stretches` less ascending `holes`."""
    i = 0
    for start, stop in stretches:
        while i < len(holes) and holes[i][1] <= start:
            i += 1
        j = i
        while j < len(holes) and holes[j][0] < stop:
            if start < holes[j][0]:
                yield start, holes[j][0]
            start = max(start, holes[j][1])
            j += 1
        if start < stop:
            yield start, stop


@contextmanager
def acting(task: Task, under: Under | None) -> Iterator[None]:
    """Let `task` allocate as it did then."""
    if under is None:
        yield
        return
    now = Under(task.policy, task.cpu)
    task.policy, task.cpu = under.policy, under.cpu
    try:
        yield
    finally:
        task.policy, task.cpu = now.policy, now.cpu
