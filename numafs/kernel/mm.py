# SPDX-License-Identifier: MIT
"""Address spaces and tasks: mm_struct, vm_area_struct, task_struct.

include/linux/{mm_types,sched}.h (v6.1). Addresses are virtual page numbers (vpn) unless named
otherwise. What happens to them is in `memory` (faults), `mempolicy`, `migrate` and `fork`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .nodemask import Mask
from .numa_balancing import TaskNuma
from .page import Run, Space
from .pgtable import PageTables

if TYPE_CHECKING:
    from .cgroup_v2 import Group
    from .cpuset import Cpuset
    from .filemap import Inode
    from .kernel_alloc import Block
    from .mempolicy import Mempolicy
    from .mmzone import Zone

__all__ = ["Mm", "Segment", "Task", "Vma"]


@dataclass(slots=True)
class Segment:
    """Page table entries of a VMA: the pages [start, stop) are those of `space` at vpn - delta.

    A segment maps what `space` holds there: resident pages, and swap entries.
    """

    start: int
    stop: int
    space: Space
    delta: int = 0


class Vma:
    """A mapping [start, stop) of an address space (vm_area_struct)."""

    __slots__ = (
        "anon", "anon_vma", "exec_", "file", "hugetlb", "inherited", "locked", "mm", "name", "path", "pgoff", "policy",
        "segments", "shared", "special", "start", "stop", "thp", "write",
    )

    def __init__(self, mm: Mm, start: int, stop: int) -> None:
        self.mm = mm
        self.start = start
        self.stop = stop
        self.file: Inode | None = None
        self.pgoff = start
        """File offset of its first page; for private anonymous memory its vpn when it was mapped."""
        self.shared = False
        self.write = True
        self.exec_ = False
        self.locked = False
        """VM_LOCKED."""
        self.special = False
        """vdso and vvar: VM_IO/VM_PFNMAP, without pages that anybody counts."""
        self.hugetlb = 0
        """Size of its huge pages in pages, 0 for ordinary memory."""
        self.thp: bool | None = None
        """True after madvise(MADV_HUGEPAGE), False after MADV_NOHUGEPAGE."""
        self.name = ""
        """`heap` or `stack`."""
        self.path = ""
        """What numa_maps prints behind file=, already escaped; empty for anonymous memory."""
        self.policy: Mempolicy | None = None
        self.anon: Space | None = None
        """Where its new anonymous pages go; None before the first."""
        self.anon_vma: object | None = None
        """What decides if it can be joined with a neighbour: shared by those that were one; None before the first."""
        self.inherited = False
        """It was forked with its `anon_vma`: the chain has the parent's links, too."""
        self.segments: list[Segment] = []
        """Present page table entries, ascending and disjoint."""

    @property
    def pages(self) -> int:
        """Length in pages."""
        return self.stop - self.start

    def delta_of(self, space: Space) -> int:
        """What is to be added to a page's index in `space` for its address here."""
        if self.file is not None and self.file.space is space:
            return self.start - self.pgoff
        return 0

    def present(self, start: int, stop: int) -> Iterator[tuple[Segment, int, int]]:
        """Segments that overlap [start, stop), with the overlap."""
        last = bisect_left(self.segments, stop, key=lambda s: s.start)
        for segment in self.segments[self._first(start) : last]:
            if segment.stop > start:
                yield segment, max(segment.start, start), min(segment.stop, stop)

    def holes(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Stretches of [start, stop) without page table entries."""
        out = []
        for _, a, b in self.present(start, stop):
            if a > start:
                out.append((start, a))
            start = b
        if start < stop:
            out.append((start, stop))
        return out

    def map(self, start: int, stop: int, space: Space, delta: int = 0) -> None:
        """Enter page table entries for a hole; they join their neighbours where these continue."""
        i = bisect_left(self.segments, start, key=lambda s: s.start)
        before = self.segments[i - 1] if i else None
        after = self.segments[i] if i < len(self.segments) else None
        if before and before.stop == start and before.space is space and before.delta == delta:
            before.stop = stop
            if after and after.start == stop and after.space is space and after.delta == delta:
                before.stop = after.stop
                del self.segments[i]
        elif after and after.start == stop and after.space is space and after.delta == delta:
            after.start = start
        else:
            self.segments.insert(i, Segment(start, stop, space, delta))
            if self not in space.mappers:
                space.mappers.append(self)

    def unmap(self, start: int, stop: int) -> list[Segment]:
        """Remove the page table entries of [start, stop); returns what they were."""
        i = self._first(start)
        kept: list[Segment] = []
        gone: list[Segment] = []
        j = i
        while j < len(self.segments) and self.segments[j].start < stop:
            segment = self.segments[j]
            j += 1
            a, b = max(segment.start, start), min(segment.stop, stop)
            if a >= b:
                kept.append(segment)
                continue
            gone.append(Segment(a, b, segment.space, segment.delta))
            if segment.start < a:
                kept.append(Segment(segment.start, a, segment.space, segment.delta))
            if b < segment.stop:
                kept.append(Segment(b, segment.stop, segment.space, segment.delta))
        self.segments[i:j] = kept
        for space in {id(s.space): s.space for s in gone}.values():
            if not any(s.space is space for s in self.segments) and self in space.mappers:
                space.mappers.remove(self)
        return gone

    def _first(self, start: int) -> int:
        return max(bisect_right(self.segments, start, key=lambda s: s.start) - 1, 0)

    def mapped(self) -> Iterator[tuple[Run, int, int]]:
        """What its page tables map, resident or swapped out: runs, and the lane positions of each."""
        for segment in self.segments:
            yield from segment.space.find(segment.start - segment.delta, segment.stop - segment.delta)

    def runs(self) -> Iterator[tuple[Run, int]]:
        """Resident runs that its page tables map, and how many pages of each."""
        for run, a, b in self.mapped():
            if run.resident and run.mapcount:
                yield run, b - a


class Mm:
    """An address space (mm_struct)."""

    def __init__(self) -> None:
        self.vmas: list[Vma] = []
        """Ascending by address."""
        self.users: list[Task] = []
        """Threads that share it."""
        self.page_tables = PageTables()
        self.start_brk = 0
        self.numa_next_scan = 0
        """Before this time NUMA balancing does not scan it."""
        self.numa_scan_seq = 0
        """How often it was scanned from end to end."""
        self.numa_scan_offset = 0
        """The page that the next scan begins at."""
        self.khugepaged = False
        """MMF_VM_HUGEPAGE: khugepaged scans it."""
        self.numa_hints = False
        """Were entries of it ever made inaccessible?"""

    @property
    def swapents(self) -> int:
        """MM_SWAPENTS: page table entries that are swap entries."""
        return sum(b - a for vma in self.vmas for run, a, b in vma.mapped() if run.swap and not run.mapcount)

    def overlapping(self, start: int, stop: int) -> list[Vma]:
        """VMAs that have a page in [start, stop), ascending."""
        first = max(bisect_right(self.vmas, start, key=lambda v: v.start) - 1, 0)
        last = bisect_left(self.vmas, stop, key=lambda v: v.start)
        return [vma for vma in self.vmas[first:last] if vma.stop > start]

    def find_vma(self, vpn: int) -> Vma | None:
        """The VMA that contains a page."""
        i = bisect_right(self.vmas, vpn, key=lambda v: v.start) - 1
        if i >= 0 and self.vmas[i].stop > vpn:
            return self.vmas[i]
        return None


@dataclass(eq=False)
class Task:
    """A thread (task_struct). Its process is the task whose pid is `tgid`."""

    pid: int
    tgid: int
    comm: str
    mm: Mm | None
    """None for kernel threads and for real processes that were only adopted."""
    cpus_allowed: Mask
    cpu: int
    """Where it last ran; its allocations are local to this CPU's node."""
    mems_allowed: Mask
    cpuset: Cpuset
    """The group of cgroup v1; with v2 the cpuset that its group has or inherits."""
    ppid: int = 1
    uid: int = 0
    gid: int = 0
    real: bool = False
    """A process of this machine, adopted: the door watches for its exit."""
    kthread: bool = False
    bound: bool = False
    """PF_NO_SETAFFINITY: a kernel thread that no cpuset may take."""
    policy: Mempolicy | None = None
    user_cpus: Mask = 0
    """With the feature user_cpus_ptr: what sched_setaffinity(2) last asked for; 0 for nothing."""
    il_prev: int = 1023
    il_weight: int = 0
    """Pages that weighted interleaving still puts on node `il_prev`."""
    spread_page: bool = False
    spread_slab: bool = False
    spread_rotor: int = -1
    oom_score_adj: int = 0
    reclaiming: bool = False
    """PF_MEMALLOC: it reclaims, and must not start to reclaim again."""
    killed: bool = False
    exited: bool = False
    start_ns: int = 0
    sum_exec_runtime: int = 0
    """CPU time that it used, in ns."""
    numa: TaskNuma = field(default_factory=TaskNuma)
    children: list[Task] = field(default_factory=list)
    cmdline: tuple[str, ...] = ()
    stack: list[tuple[Zone, int]] = field(default_factory=list)
    """Its kernel stack: how many pages in which zone."""
    cgroup: Group | None = None
    """Its group of cgroup v2."""
    kernel_memory: list[Block] = field(default_factory=list)
    """What the kernel allocated on its behalf (kernel_alloc)."""
