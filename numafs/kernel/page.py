# SPDX-License-Identifier: MIT
"""Pages, held as runs, and the mappings that own them.

A *run* is a stretch of pages of one mapping that share zone, LRU list and state: to the model
what a large folio is to Linux. It is what stands on an LRU list, is split where only a part
of it is touched, reclaimed or moved, and joins its neighbour where they are alike again.

The pages of a run are equally spaced. A mapping holds its runs in *lanes*: lane i of W holds
the pages i, i+W, i+2W, ... so that an interleaved stretch is W runs and not one a page. Most
mappings have the single lane of W = 1. Positions inside a lane are `page // W`.

As in the page cache of the kernel, a run may also stand for pages that are not there: a swap
entry (`swap` set) or a shadow entry of the workingset code (`age` set). include/linux/pagemap.h,
mm/workingset.c and include/linux/mm_inline.h (v6.1).

Simplified: a mapping that is fragmented page by page costs a run (about 200 bytes) a page.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import TYPE_CHECKING

from .mmzone import Lru

if TYPE_CHECKING:
    from .inode import Inode
    from .memcontrol import MemCgroup
    from .mm import Vma
    from .mmzone import Zone
    from .swap import SwapArea

__all__ = [
    "HPAGE_PMD_NR", "HPAGE_PMD_ORDER", "Kind", "Lane", "PG", "Run", "Space", "cut", "find_run", "insert", "remove",
    "split", "stretches",
]


class Kind(IntEnum):
    """What a mapping's pages are."""

    ANON = 0
    FILE = 1
    SHMEM = 2
    """tmpfs, shared anonymous and System V memory: swap-backed, but counted as file pages."""
    HUGETLB = 3


HPAGE_PMD_ORDER = 9
HPAGE_PMD_NR = 1 << HPAGE_PMD_ORDER
"""Pages of a transparent huge page."""


class PG:
    """Page flags of a run (include/linux/page-flags.h), and the two that live in page tables."""

    REFERENCED = 1
    DIRTY = 2
    WRITEBACK = 4
    WORKINGSET = 8
    RECLAIM = 16
    MLOCKED = 32
    YOUNG = 64
    """A page table entry says accessed."""
    EXEC = 128
    """Mapped by executable VMAs."""
    THP = 256
    """Part of transparent huge pages: the run is whole 2 MiB pieces."""
    SWAPBACKED_CLEAN = 512
    """MADV_FREE was called on it (lazyfree)."""
    PROT_NONE = 1024
    """The page table entry is inaccessible, so that the next access tells NUMA balancing of itself."""
    LAST_CPUPID_SHIFT = 16
    """From this bit up, as in the kernel, the flags say who last took a NUMA hint fault on it (see `cpupid`)."""


class Run:
    """A stretch [a, b) of lane positions of one mapping, all alike; inside it the lowest page is the oldest."""

    __slots__ = ("a", "age", "b", "flags", "lane", "lru", "mapcount", "memcg", "next", "prev", "swap", "zone")

    def __init__(
        self, lane: Lane, a: int, b: int, zone: Zone | None = None, flags: int = 0, memcg: MemCgroup | None = None
    ) -> None:
        self.lane = lane
        self.a = a
        self.b = b
        self.zone: Zone = zone  # type: ignore[assignment]  # None for entries, which are on no list
        self.lru: int = Lru.NONE
        self.flags = flags
        self.memcg = memcg
        """The group that its pages are charged to (memcontrol); an entry remembers whom they were charged to."""
        self.mapcount = 0
        """Page tables that map each of its pages."""
        self.swap: SwapArea | None = None
        """Area that holds a copy: swap cache if the run is resident, a swap entry if it is not."""
        self.age = -1
        """Shadow entry: nonresident age of the node `zone` when page `a` was evicted; later pages follow."""
        self.prev: Run = self
        self.next: Run = self

    @property
    def n(self) -> int:
        """How many pages."""
        return self.b - self.a

    @property
    def space(self) -> Space:
        """The mapping that owns it."""
        return self.lane.space

    @property
    def resident(self) -> bool:
        """Are its pages in memory, as opposed to a swap or a shadow entry?"""
        return self.lru != Lru.NONE

    def indexes(self) -> range:
        """Its page indexes in the mapping."""
        width, i = self.lane.width, self.lane.i
        return range(self.a * width + i, self.b * width + i, width)

    def __repr__(self) -> str:
        where = f"{self.zone} {Lru(self.lru).name}" if self.resident else "absent"
        return f"<{self.n} pages {self.indexes()} {where} flags={self.flags:#x} mapcount={self.mapcount}>"


class Lane:
    """The runs of every width-th page from page i, in order, and their starts for bisection."""

    __slots__ = ("i", "runs", "space", "starts", "width")

    def __init__(self, space: Space, i: int, width: int) -> None:
        self.space = space
        self.i = i
        self.width = width
        self.starts: list[int] = []
        self.runs: list[Run] = []


class Space:
    """A mapping (struct address_space, or the anonymous pages that one VMA allocated).

    Anonymous mappings index pages by virtual page number, files by page offset.
    """

    __slots__ = ("groups", "inode", "kind", "mappers", "nrpages")

    def __init__(self, kind: Kind, inode: Inode | None = None) -> None:
        self.kind = kind
        self.inode = inode
        self.groups: dict[int, list[Lane]] = {}
        """Lanes by their width."""
        self.mappers: list[Vma] = []
        """VMAs that may map its pages: the reverse map."""
        self.nrpages = 0
        """Resident pages."""

    def lane(self, width: int, i: int) -> Lane:
        """Lane `i` of the lanes of this width, which are made if missing."""
        lanes = self.groups.get(width)
        if lanes is None:
            lanes = self.groups[width] = [Lane(self, j, width) for j in range(width)]
        return lanes[i]

    def cut(self, start: int, stop: int) -> list[Run]:
        """The runs that lie in the pages [start, stop), split at its edges. Entries included."""
        out: list[Run] = []
        for width, lanes in self.groups.items():
            for lane in lanes:
                a, b = -((lane.i - start) // width), -((lane.i - stop) // width)
                if a < b and lane.starts:
                    out += cut(lane, a, b)
        return out

    def split_at(self, page: int) -> None:
        """No run of any lane has pages on both sides of `page`."""
        for width, lanes in self.groups.items():
            for lane in lanes:
                at = -((lane.i - page) // width)
                run = find_run(lane, at)
                if run is not None and run.a < at:
                    split(run, at)

    def find(self, start: int, stop: int) -> Iterator[tuple[Run, int, int]]:
        """Runs that overlap the pages [start, stop), unsplit, with the lane positions that do."""
        for width, lanes in self.groups.items():
            for lane in lanes:
                a, b = -((lane.i - start) // width), -((lane.i - stop) // width)
                if a >= b or not lane.starts:
                    continue
                first = max(bisect_right(lane.starts, a) - 1, 0)
                for run in lane.runs[first : bisect_left(lane.starts, b)]:
                    if run.b > a:
                        yield run, max(run.a, a), min(run.b, b)

    def resident(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The pages of [start, stop) that are in memory, as stretches of neighbours."""
        found = (range(run.lane.i + a * w, run.lane.i + b * w, w)
                 for run, a, b in self.find(start, stop) if run.resident for w in (run.lane.width,))
        return stretches(found, start, stop)

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The pages of [start, stop) that are not in memory, as stretches of neighbours."""
        out = []
        for a, b in self.resident(start, stop):
            if a > start:
                out.append((start, a))
            start = b
        if start < stop:
            out.append((start, stop))
        return out

    def pieces(self, pages: range) -> list[Run]:
        """The runs that lie in `pages`, which may be spaced, split at their edges. Entries included."""
        if pages.step == 1:
            return self.cut(pages.start, pages.stop)
        out: list[Run] = []
        for width, lanes in self.groups.items():
            if width == pages.step:
                lane = lanes[pages.start % width]
                out += cut(lane, pages.start // width, pages.start // width + len(pages))
            elif any(lane.runs for lane in lanes):
                for page in pages:
                    out += cut(lanes[page % width], page // width, page // width + 1)
        return out

    def absent(self, pages: range) -> list[range]:
        """Those of `pages`, which may be spaced, for which there is no run, as ranges that may be spaced."""
        missing = [pages] if pages else []
        for width, lanes in self.groups.items():
            missing = [gap for part in missing for gap in absent_from(lanes, width, part)]
        return missing

    def runs(self) -> Iterator[Run]:
        """Every run, lane by lane."""
        for lanes in self.groups.values():
            for lane in lanes:
                yield from lane.runs


def absent_from(lanes: list[Lane], width: int, pages: range) -> list[range]:
    """What of `pages` no run of these lanes covers."""
    if not pages or not any(lane.runs for lane in lanes):
        return [pages] if pages else []
    step = pages.step
    if step % width and width % step:
        return [gap for page in pages for gap in absent_from(lanes, width, range(page, page + width, width))]
    stride = max(step, width)
    out = []
    for first in range(pages.start, min(pages.start + stride, pages.stop), step):
        lane = lanes[first % width]
        every = stride // width
        count = len(range(first, pages.stop, stride))
        if every > 1:
            out += [range(p, p + 1) for p in range(first, pages.stop, stride) if find_run(lane, p // width) is None]
            continue
        a = first // width
        out += [range(x * width + lane.i, y * width + lane.i, width) for x, y in lane_gaps(lane, a, a + count)]
    return out


def lane_gaps(lane: Lane, a: int, b: int) -> list[tuple[int, int]]:
    """Stretches of the lane positions [a, b) that no run covers."""
    out = []
    first = max(bisect_right(lane.starts, a) - 1, 0)
    for run in lane.runs[first : bisect_left(lane.starts, b)]:
        if run.b <= a:
            continue
        if run.a > a:
            out.append((a, run.a))
        a = run.b
    if a < b:
        out.append((a, b))
    return out


def stretches(ranges: Iterable[range], start: int, stop: int) -> list[tuple[int, int]]:
    """What `ranges`, which may be spaced, cover of [start, stop), as stretches of neighbouring pages."""
    inside = [r for r in ranges if r.stop > start and r.start < stop]
    if all(r.step == 1 for r in inside):
        out: list[tuple[int, int]] = []
        for r in sorted(inside, key=lambda r: r.start):
            a, b = max(r.start, start), min(r.stop, stop)
            if out and out[-1][1] >= a:
                out[-1] = (out[-1][0], max(out[-1][1], b))
            else:
                out.append((a, b))
        return out
    covered = bytearray(stop - start)
    for r in inside:
        first = r.start if r.start >= start else r.start + -((r.start - start) // r.step) * r.step
        part = range(first - start, min(r.stop, stop) - start, r.step)
        covered[part.start : part.stop : part.step] = b"\1" * len(part)
    return _ones(covered, start)


def _ones(covered: bytearray, start: int) -> list[tuple[int, int]]:
    out = []
    a = covered.find(1)
    while a >= 0:
        b = covered.find(0, a)
        b = len(covered) if b < 0 else b
        out.append((start + a, start + b))
        a = covered.find(1, b)
    return out


def find_run(lane: Lane, position: int) -> Run | None:
    """The run that covers a position of the lane."""
    i = bisect_right(lane.starts, position) - 1
    if i >= 0 and (run := lane.runs[i]).b > position:
        return run
    return None


def insert(run: Run) -> None:
    """Enter `run` into its lane."""
    lane = run.lane
    i = bisect_left(lane.starts, run.a)
    lane.starts.insert(i, run.a)
    lane.runs.insert(i, run)


def remove(run: Run) -> None:
    """Take `run` out of its lane."""
    lane = run.lane
    i = bisect_left(lane.starts, run.a)
    del lane.starts[i], lane.runs[i]


def split(run: Run, at: int) -> Run:
    """[a, b) becomes [a, at); returns the new run [at, b), which stands just behind it (is newer) in the list."""
    new = Run(run.lane, at, run.b, run.zone, run.flags, run.memcg)
    new.lru, new.mapcount, new.swap = run.lru, run.mapcount, run.swap
    if run.age >= 0:
        new.age = run.age + (at - run.a)
    run.b = at
    if run.lru != Lru.NONE:
        new.prev, new.next = run.prev, run
        run.prev.next = new
        run.prev = new
    insert(new)
    return new


def cut(lane: Lane, a: int, b: int) -> list[Run]:
    """The runs of `lane` that lie in [a, b), split at its edges."""
    i = bisect_right(lane.starts, a) - 1
    if i >= 0 and (run := lane.runs[i]).a < a < run.b:
        split(run, a)
    i = bisect_left(lane.starts, a)
    j = bisect_left(lane.starts, b, i)
    if j > i and (run := lane.runs[j - 1]).b > b:
        split(run, b)
    return lane.runs[i:j]
