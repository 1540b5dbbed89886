# SPDX-License-Identifier: MIT
"""The checker's walk over tasks: page table entries against pages, page tables, stacks, cpusets.

Part of `check`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import cgroup, cgroup_v2, cpuset
from .check_pages import describe
from .mmzone import PageUse, Zone
from .page import Kind, Run, Space
from .vmstat import NodeStat

if TYPE_CHECKING:
    from .cpuset import Cpuset
    from .kernel import Kernel
    from .mm import Mm, Vma

__all__ = ["check_cpusets", "check_page_tables", "check_segments"]


def address_spaces(kernel: Kernel) -> list[Mm]:
    """Every mm, once."""
    return list({id(task.mm): task.mm for task in kernel.tasks if task.mm}.values())


def check_segments(kernel: Kernel, spaces: list[Space]) -> list[str]:
    """Page table entries: in order, of pages that are there; and each page is mapped as often as it says."""
    found: list[str] = []
    mapped: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for mm in address_spaces(kernel):
        found += check_vmas(mm)
        for vma in mm.vmas:
            found += check_vma(vma)
            for segment in vma.segments:
                mapped[id(segment.space)].append((segment.start - segment.delta, segment.stop - segment.delta))
    for space in spaces:
        found += check_mapcounts(space, mapped.get(id(space), []))
    return found


def check_vmas(mm: Mm) -> list[str]:
    """VMAs ascend and do not overlap."""
    found = []
    end = 0
    for vma in mm.vmas:
        if not end <= vma.start < vma.stop:
            found.append(f"VMA [{vma.start:#x}, {vma.stop:#x}) is empty or begins below {end:#x}")
        if vma.mm is not mm:
            found.append(f"VMA [{vma.start:#x}, {vma.stop:#x}) belongs to another mm")
        end = vma.stop
    return found


def check_vma(vma: Vma) -> list[str]:
    """Its segments ascend, lie within it, cover what is there, and their mappings know of it."""
    found = []
    name = f"VMA [{vma.start:#x}, {vma.stop:#x})"
    end = vma.start
    for segment in vma.segments:
        if not end <= segment.start < segment.stop <= vma.stop:
            found.append(f"{name}: page table entries [{segment.start:#x}, {segment.stop:#x}) overlap or stick out")
        end = segment.stop
        if segment.delta != vma.delta_of(segment.space):
            found.append(f"{name}: page table entries [{segment.start:#x}, {segment.stop:#x}) are of another offset")
        if vma not in segment.space.mappers:
            found.append(f"{name} is no mapper of the {describe(segment.space)} that it maps")
        covered = sum(b - a for run, a, b in segment.space.find(segment.start - segment.delta,
                                                                segment.stop - segment.delta) if maps(run))
        if covered != segment.stop - segment.start:
            found.append(f"{name}: page table entries [{segment.start:#x}, {segment.stop:#x}) of which the "
                         f"{describe(segment.space)} has {covered} pages")
    return found


def maps(run: Run) -> bool:
    """May page table entries lead to it?"""
    return run.resident or (run.swap is not None and run.space.kind == Kind.ANON)


def check_mapcounts(space: Space, intervals: list[tuple[int, int]]) -> list[str]:
    """Mapcount of each resident page against the page table entries of everybody.

    Pages of the swap cache may be mapped less often: then the other entries are swap entries.
    """
    depth = Depth(intervals)
    found = []
    for run in space.runs():
        if not run.resident:
            continue
        depths = set(depth.over(run.indexes()))
        in_swap = run.swap is not None and space.kind == Kind.ANON
        if depths != {run.mapcount} and not (in_swap and run.mapcount <= min(depths)):
            found.append(f"{describe(space)}: {run} is mapped {sorted(depths)} times")
    return found


class Depth:
    """How many of some intervals cover a number."""

    def __init__(self, intervals: list[tuple[int, int]]) -> None:
        change: Counter[int] = Counter()
        for start, stop in intervals:
            change[start] += 1
            change[stop] -= 1
        self.edges = sorted(change)
        self.depths = [0]
        for edge in self.edges:
            self.depths.append(self.depths[-1] + change[edge])

    def over(self, pages: range) -> Iterator[int]:
        """The depths of `pages`, each stretch once."""
        i = bisect_right(self.edges, pages.start)
        yield self.depths[i]
        for j in range(i, len(self.edges)):
            edge = self.edges[j]
            if edge > pages[-1]:
                return
            end = self.edges[j + 1] if j + 1 < len(self.edges) else pages.stop
            first = edge + (pages.start - edge) % pages.step
            if first < end:
                yield self.depths[j + 1]


def check_page_tables(kernel: Kernel) -> list[str]:
    """Page tables and kernel stacks of tasks against what zones are charged; boot's are nobody's."""
    tables: Counter[Zone] = Counter()
    for mm in address_spaces(kernel):
        for zone, _, n in mm.page_tables.pages():
            tables[zone] += n
    stacks: Counter[Zone] = Counter()
    for task in kernel.tasks:
        for zone, n in task.stack:
            stacks[zone] += n
    found = []
    for pgdat in kernel.nodes:
        for zone in pgdat.zones:
            boot = kernel.boot_used[zone]
            for use, held in ((PageUse.PAGE_TABLE, tables[zone]), (PageUse.KERNEL_STACK, stacks[zone])):
                says = zone.used[use]
                if says != held + boot[use]:
                    found.append(f"{zone}: {says} pages of {use.name}, tasks have {held} and boot {boot[use]}")
        stack_kb = sum(zone.used[PageUse.KERNEL_STACK] for zone in pgdat.zones) * kernel.machine.page_size // 1024
        says = pgdat.stat[NodeStat.NR_KERNEL_STACK]
        if says != stack_kb:
            found.append(f"{pgdat} nr_kernel_stack says {says}, stacks have {stack_kb}")
        table_pages = sum(zone.used[PageUse.PAGE_TABLE] for zone in pgdat.zones)
        says = pgdat.stat[NodeStat.NR_PAGE_TABLE_PAGES]
        if says > table_pages:
            found.append(f"{pgdat} nr_page_table_pages says {says}, there are {table_pages}")
    return found


def check_cpusets(kernel: Kernel) -> list[str]:
    """Groups lie within their parents, tasks within their groups, and each knows of the other."""
    found: list[str] = []
    tasks = set(kernel.tasks)
    members: set[object] = set()
    for cs in cgroup.descendants(kernel.cpusets.root):
        members |= set(cs.members)
        found += check_group(kernel, cs)
        found += [f"{task.comm} ({task.pid}) is in cpuset {cs.name!r} and does not know" for task in cs.members
                  if task.cpuset is not cs]
        found += [f"{task.comm} ({task.pid}) of cpuset {cs.name!r} is in no task table" for task in cs.members
                  if task not in tasks]
    found += [f"{task.comm} ({task.pid}) is in no cpuset" for task in tasks if task not in members]
    return found + check_groups(kernel)


def check_groups(kernel: Kernel) -> list[str]:
    """cgroup v2: each task is in one group, and feels the cpuset that this has or inherits."""
    found: list[str] = []
    if kernel.cgrp_dfl_root is None:
        return found
    seen: set[object] = set()
    for group in cgroup.descendants(kernel.cgrp_dfl_root.root):
        seen |= set(group.members)
        cs = cgroup_v2.effective_cpuset(group)
        found += [f"{task.comm} ({task.pid}) is in group {group.name!r} and does not know" for task in group.members
                  if task.cgroup is not group]
        found += [f"{task.comm} ({task.pid}) feels cpuset {task.cpuset.name!r}, group {group.name!r} has {cs.name!r}"
                  for task in group.members if task.cpuset is not cs]
        if group.cpuset is not None and (group.cpuset.group is not group or group.cpuset.dead):
            found.append(f"group {group.name!r} has a cpuset of others")
    found += [f"{task.comm} ({task.pid}) is in no group" for task in kernel.tasks if task not in seen]
    return found


def check_group(kernel: Kernel, cs: Cpuset) -> list[str]:
    """One cpuset: against its parent, and its tasks' nodes."""
    found = []
    for child in cs.nested():
        if child.effective_cpus & ~(cs.effective_cpus | cs.subparts_cpus):
            found.append(f"cpuset {child.name!r} has CPUs that its parent has not")
        if child.effective_mems & ~cs.effective_mems:
            found.append(f"cpuset {child.name!r} has nodes that its parent has not")
        effective = child.effective_cpus, child.effective_mems
        if not cs.v2_mode and (child.cpus_allowed, child.mems_allowed) != effective:
            found.append(f"cpuset {child.name!r} of cgroup v1 has not what is configured")
    if cs.effective_cpus & cs.subparts_cpus:
        found.append(f"cpuset {cs.name!r} uses CPUs that it gave to its partitions")
    mems = cpuset.guarantee_online_mems(kernel, cs)
    found += [f"{task.comm} ({task.pid}) of cpuset {cs.name!r} may use nodes {task.mems_allowed:#x}, not {mems:#x}"
              for task in cs.members if task.mems_allowed != mems]
    return found
