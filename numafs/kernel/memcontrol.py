# SPDX-License-Identifier: MIT
"""The memory controller of cgroup v2: pages are charged to the group of the task that had them first.

mm/memcontrol.c (v6.1). A run knows whom it is charged to; its pages are counted for that group and
all above it whenever they are for their node (`page`). A page stays charged where it is when its task
moves, and when the group is gone.

Simplified: pages of files and of address spaces and page tables are charged, not the kernel's other memory
(stacks, slab), nor swap.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from . import memcg_vmscan, oom_kill
from .errors import EAGAIN, ENOMEM, TaskKilled
from .vmstat import NodeStat

if TYPE_CHECKING:
    from .cgroup_v2 import Group
    from .kernel import Kernel
    from .mm import Task

__all__ = [
    "EVENTS", "PAGE_COUNTER_MAX", "MemCgroup", "mem_cgroup_from_task", "memory_high_write", "memory_max_write",
    "memory_reclaim", "try_charge",
]

PAGE_COUNTER_MAX = 2**63 // 4096
"""What `max` means."""
MAX_RECLAIM_RETRIES = 16
MEMCG_CHARGE_BATCH = 64
EVENTS = ("low", "high", "max", "oom", "oom_kill", "oom_group_kill")
"""Rows of memory.events."""


class MemCgroup:
    """What a group may have and has of memory, in pages, with all below it (struct mem_cgroup)."""

    __slots__ = (
        "dead", "events", "group", "high", "lineage", "local_events", "max", "oom_group", "peak", "stat", "usage",
    )

    def __init__(self, group: Group, parent: MemCgroup | None) -> None:
        self.group = group
        self.lineage: tuple[MemCgroup, ...] = (self, *(parent.lineage if parent else ()))
        """Itself and those above that have the controller; not the root, which has no limits."""
        self.usage = self.peak = 0
        self.max = self.high = PAGE_COUNTER_MAX
        self.oom_group = False
        self.stat: defaultdict[int, list[int]] = defaultdict(lambda: [0] * len(NodeStat))
        """By node: those counters that its pages contribute to."""
        self.dead = False
        """Its group has it no more; pages may still be charged to it."""
        self.events: Counter[str] = Counter()
        self.local_events: Counter[str] = Counter()

    def charge(self, n: int) -> None:
        """It has n pages more, or with -n fewer (page_counter_charge)."""
        for memcg in self.lineage:
            memcg.usage += n
            memcg.peak = max(memcg.peak, memcg.usage)

    def count(self, nid: int, item: int, n: int) -> None:
        """n pages more are in a state that a counter counts (mod_memcg_lruvec_state)."""
        for memcg in self.lineage:
            memcg.stat[nid][item] += n

    def event(self, name: str) -> None:
        """Something happened here, and so in all groups above (memcg_memory_event)."""
        self.local_events[name] += 1
        for memcg in self.lineage:
            memcg.events[name] += 1

    def tightest(self) -> MemCgroup:
        """Whose limit is nearest."""
        return min(self.lineage, key=lambda memcg: memcg.max - memcg.usage)


def mem_cgroup_from_task(task: Task | None) -> MemCgroup | None:
    """Whom the pages of `task` are charged to; None: the root."""
    if task is None or task.cgroup is None:
        return None
    return next((group.memcg for group in task.cgroup.above() if group.memcg is not None), None)


def try_charge(kernel: Kernel, task: Task, want: int, *, oom: bool = True) -> tuple[MemCgroup | None, int]:
    """Whom to charge new pages to, and how many of `want` there is room for: at least one, or without `oom` none.

    Makes room by reclaim and by killing in the group. Raises ENOMEM if nobody can be killed,
    TaskKilled if it was `task`. mm/memcontrol.c:try_charge_memcg() (v6.1).
    """
    memcg = mem_cgroup_from_task(task)
    if memcg is None:
        return None, want
    retries = MAX_RECLAIM_RETRIES if oom else 1
    while (over := memcg.tightest()).usage >= over.max and not task.killed:
        over.event("max")
        if memcg_vmscan.try_to_free_mem_cgroup_pages(kernel, over, 1, task):
            continue
        retries -= 1
        if retries >= 0:
            continue
        if not oom:
            return memcg, 0
        if not out_of_memory(kernel, over, task):
            raise ENOMEM(f"{over.group.name} has {over.usage} pages, may have {over.max}, and nobody can be killed")
        if task.killed:
            raise TaskKilled(task)
    return memcg, min(want, _room(kernel, memcg, task))


def _room(kernel: Kernel, memcg: MemCgroup, task: Task) -> int:
    """Pages that fit now; a group above memory.high is shrunk first (mem_cgroup_handle_over_high)."""
    for above in memcg.lineage:
        if above.usage > above.high:
            above.event("high")
            memcg_vmscan.try_to_free_mem_cgroup_pages(kernel, above, above.usage - above.high, task)
    most = min(above.max - above.usage for above in memcg.lineage)
    high = min(max(above.high - above.usage, 0) + MEMCG_CHARGE_BATCH for above in memcg.lineage)
    return max(min(most, high), 1)


def out_of_memory(kernel: Kernel, memcg: MemCgroup, task: Task | None) -> bool:
    """Kill something in the group; False if there is nothing (mem_cgroup_out_of_memory)."""
    memcg.event("oom")
    return oom_kill.mem_cgroup_out_of_memory(kernel, memcg, task)


# ---------------------------------------------------------------- what is written


def memory_max_write(kernel: Kernel, memcg: MemCgroup, pages: int) -> None:
    """A new limit: what is above it is reclaimed, else something is killed; the write succeeds."""
    memcg.max = pages
    retries = MAX_RECLAIM_RETRIES
    while memcg.usage > pages:
        if retries:
            if not memcg_vmscan.try_to_free_mem_cgroup_pages(kernel, memcg, memcg.usage - pages):
                retries -= 1
        elif not out_of_memory(kernel, memcg, None):
            break


def memory_high_write(kernel: Kernel, memcg: MemCgroup, pages: int) -> None:
    """Where tasks of the group begin to reclaim; what is above it is reclaimed now."""
    memcg.high = pages
    retries = MAX_RECLAIM_RETRIES
    while memcg.usage > pages and retries:
        if not memcg_vmscan.try_to_free_mem_cgroup_pages(kernel, memcg, memcg.usage - pages):
            retries -= 1


def memory_reclaim(kernel: Kernel, memcg: MemCgroup | None, pages: int) -> None:
    """memory.reclaim: free that many pages; EAGAIN if it were fewer, which then are freed all the same."""
    freed, retries = 0, MAX_RECLAIM_RETRIES
    while freed < pages:
        reclaimed = memcg_vmscan.try_to_free_mem_cgroup_pages(kernel, memcg, pages - freed)
        if not reclaimed:
            if not retries:
                raise EAGAIN(f"{freed} of {pages} pages were reclaimed")
            retries -= 1
        freed += reclaimed
