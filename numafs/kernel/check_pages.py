# SPDX-License-Identifier: MIT
"""The checker's walk over mappings: which there are, whether their lanes are in order, what their pages count.

Part of `check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd, lcm
from typing import TYPE_CHECKING

from .mm_inline import count_pages
from .mmzone import Lru, Pgdat, Zone
from .page import PG, Kind, Lane, Run, Space
from .vmstat import NodeStat, ZoneStat

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = ["check_spaces", "shadow_counters", "spaces_of"]


def spaces_of(kernel: Kernel) -> list[Space]:
    """Every mapping that somebody has: files of the disks, memory of tasks, what is being written back."""
    inodes = [kernel.rootfs, kernel.bdev, *kernel.fs.inodes(), *kernel.dirty_inodes]
    inodes += [kernel.tasks.program] if kernel.tasks.program else []
    spaces = {id(inode.space): inode.space for inode in inodes}
    for task in kernel.tasks:
        for vma in task.mm.vmas if task.mm else ():
            held = [vma.file.space] if vma.file else []
            held += [vma.anon] if vma.anon else []
            held += [segment.space for segment in vma.segments]
            spaces.update((id(space), space) for space in held)
    return list(spaces.values())


def check_spaces(spaces: list[Space]) -> list[str]:
    """Lanes: their runs in order and disjoint, page counts, no page twice."""
    found: list[str] = []
    for space in spaces:
        resident = 0
        for lane in lanes_of(space):
            found += check_lane(lane)
            resident += sum(run.n for run in lane.runs if run.resident)
        if resident != space.nrpages:
            found.append(f"{describe(space)} says {space.nrpages} resident pages, it has {resident}")
        found += check_once(space)
    return found


def lanes_of(space: Space) -> Iterator[Lane]:
    """Every lane of a mapping."""
    for lanes in space.groups.values():
        yield from lanes


def check_lane(lane: Lane) -> list[str]:
    """One lane."""
    found = []
    if lane.starts != [run.a for run in lane.runs]:
        found.append(f"{describe(lane.space)}: a lane's starts are not its runs'")
    end = 0
    for run in lane.runs:
        if run.lane is not lane:
            found.append(f"{describe(lane.space)}: {run} is in a lane that is not its own")
        if run.a >= run.b or run.a < end:
            found.append(f"{describe(lane.space)}: {run} overlaps its elder or is empty")
        if run.resident and run.zone is None:
            found.append(f"{describe(lane.space)}: {run} is resident nowhere")
        if run.flags & PG.PROT_NONE and not (run.resident and run.mapcount):
            found.append(f"{describe(lane.space)}: {run} has inaccessible page table entries, but none at all")
        if run.resident and run.age >= 0:
            found.append(f"{describe(lane.space)}: {run} is resident and a shadow entry")
        end = run.b
    return found


def check_once(space: Space) -> list[str]:
    """No page may be in lanes of two widths."""
    widths = [width for width, lanes in space.groups.items() if any(lane.runs for lane in lanes)]
    found = []
    for i, width in enumerate(widths):
        others = [run for other in widths[i + 1 :] for lane in space.groups[other] for run in lane.runs]
        for lane in space.groups[width] if others else ():
            found += [f"{describe(space)}: {run} and {other} share a page" for run in lane.runs for other in others
                      if meet(run.indexes(), other.indexes())]
    return found


def meet(x: range, y: range) -> bool:
    """Have two ranges a number in common?"""
    if x.start >= y.stop or y.start >= x.stop or (x.start - y.start) % gcd(x.step, y.step):
        return False
    start = max(x.start, y.start)
    first = next((n for n in range(start + -(start - x.start) % x.step, start + lcm(x.step, y.step) + x.step, x.step)
                  if n in y), None)
    return first is not None and first in x


def describe(space: Space) -> str:
    """A mapping, in a finding."""
    path = getattr(space.inode, "path", "")
    return f"{space.kind.name} mapping {path}".rstrip()


def shadow_counters(kernel: Kernel, spaces: list[Space]) -> tuple[dict[int, list[int]], dict[Zone, list[int]]]:
    """What node and zone counters should be, by counting every resident page anew."""
    shadows: dict[Zone, Zone] = {}
    nodes: dict[int, Pgdat] = {}
    for pgdat in kernel.nodes:
        nodes[pgdat.nid] = Pgdat(pgdat.nid, kernel.machine.zone_types)
        shadows.update(zip(pgdat.zones, nodes[pgdat.nid].zones, strict=True))
    for space in spaces:
        for run in space.runs():
            if run.resident:
                count_as(run, shadows[run.zone])
    return {nid: pgdat.stat for nid, pgdat in nodes.items()}, {zone: s.stat for zone, s in shadows.items()}


def count_as(run: Run, zone: Zone) -> None:
    """Count a run's pages in another zone's counters."""
    double = Run(run.lane, run.a, run.b, zone, run.flags)
    double.mapcount, double.swap, double.lru = run.mapcount, run.swap, run.lru
    count_pages(double, run.n)
    if run.lru != Lru.UNLISTED and run.space.kind != Kind.HUGETLB:
        zone.pgdat.stat[NodeStat.NR_INACTIVE_ANON + run.lru] += run.n
        zone.stat[ZoneStat.NR_ZONE_INACTIVE_ANON + run.lru] += run.n
