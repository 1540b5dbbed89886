# SPDX-License-Identifier: MIT
"""NUMA balancing, the scan: making page table entries inaccessible so that the next access is a hint fault.

kernel/sched/fair.c:task_numa_work(), mm/mprotect.c:change_pte_range(), mm/huge_memory.c:change_huge_pmd() (v6.1).

Simplified: an entry of a page is inaccessible in all page tables that map the page, or in none; who has never been
scanned takes no hint faults. Pages that were faulted in a moment ago and are still on their way to the LRU lists, a
dozen a CPU, are scanned like others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import huge_memory, mempolicy
from .memory_tiers import node_is_toptier
from .mm_inline import change, rejoin
from .mover import vma_migratable
from .numa_balancing import (
    MSEC,
    NUMA_BALANCING_MEMORY_TIERING,
    NUMA_BALANCING_NORMAL,
    NUMA_NO_NODE,
    now_ms,
    set_cpupid,
    task_scan_max,
    task_scan_start,
)
from .page import HPAGE_PMD_NR, PG, Kind, Run
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Mm, Task, Vma

__all__ = ["ACCESS_TIME_MASK", "change_prot_numa", "task_numa_work", "vma_policy_mof"]

ACCESS_TIME_MASK = (1 << 21) - 1
"""Bits of a page's flags that hold when it was scanned, in ms, if it is slow memory."""
TICK_NS = 4_000_000


def task_numa_work(kernel: Kernel, task: Task) -> None:
    """`task` returns to user mode and scans a part of its address space, if that is due (v6.1)."""
    numa, mm, now = task.numa, task.mm, kernel.clock.now
    numa.work = False
    if mm is None or now < mm.numa_next_scan:
        return
    if not numa.scan_period_ms:
        numa.scan_period_max_ms = task_scan_max(kernel, task)
        numa.scan_period_ms = task_scan_start(kernel, task)
    mm.numa_next_scan = now + numa.scan_period_ms * MSEC
    numa.node_stamp += 2 * TICK_NS
    window = (kernel.numa_tunables.scan_size_mb << 20) // kernel.machine.page_size
    if window:
        _scan(kernel, task, mm, window)


def _scan(kernel: Kernel, task: Task, mm: Mm, pages: int) -> None:
    """Scan as many pages as `pages` from where the last scan ended, or pass over eight times as many."""
    virtual = pages * 8
    start = mm.numa_scan_offset
    vmas = [vma for vma in mm.vmas if vma.stop > start]
    if not vmas:
        _reset_ptenuma_scan(mm)
        start, vmas = 0, list(mm.vmas)
    for vma in vmas:
        if not _scannable(task, vma):
            continue
        end = start
        while end != vma.stop:
            start = max(start, vma.start)
            end = min(-(-(start + pages) // HPAGE_PMD_NR) * HPAGE_PMD_NR, vma.stop)
            if change_prot_numa(kernel, task, vma, start, end):
                pages -= end - start
            virtual -= end - start
            start = end
            if pages <= 0 or virtual <= 0:
                mm.numa_scan_offset = start
                return
    _reset_ptenuma_scan(mm)


def _reset_ptenuma_scan(mm: Mm) -> None:
    """The end of the address space: the next scan begins another pass."""
    mm.numa_scan_seq += 1
    mm.numa_scan_offset = 0


def _scannable(task: Task, vma: Vma) -> bool:
    """May its pages be moved by hint faults? Not those of libraries, which every node should rather have a copy of."""
    if not vma_migratable(vma) or vma.hugetlb or not vma_policy_mof(task, vma):
        return False
    return vma.file is None or vma.write


def vma_policy_mof(task: Task, vma: Vma) -> bool:
    """Does the policy in effect let hint faults move pages? (mm/mempolicy.c, v6.1.)

    The default does. Shared memory has to have a policy of its own.
    """
    own = mempolicy.vma_policy(vma, vma.start)
    if vma.shared and vma.file is not None and vma.file.space.kind == Kind.SHMEM:
        return own is not None and mempolicy.migrates_on_fault(own)
    policy = own or task.policy
    return policy is None or mempolicy.migrates_on_fault(policy)


def change_prot_numa(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> int:
    """Make what may be moved in [start, stop) inaccessible; returns how many entries (mm/mempolicy.c, v6.1)."""
    alone = not vma.shared and len(vma.mm.users) == 1
    local = kernel.cpu_to_node[task.cpu] if alone else NUMA_NO_NODE
    updates = 0
    for segment, a, b in list(vma.present(start, stop)):
        space, delta = segment.space, segment.delta
        if not any(_changes(kernel, vma, run, local) for run, _, _ in space.find(a - delta, b - delta)):
            continue
        runs = huge_memory.cut(space, a - delta, b - delta)
        for run in runs:
            if _changes(kernel, vma, run, local):
                updates += _make_inaccessible(kernel, run)
        for run in runs:
            rejoin(run)
    if updates:
        vma.mm.numa_hints = True
        kernel.events.inc(VmEvent.NUMA_PTE_UPDATES, updates)
    return updates


def _changes(kernel: Kernel, vma: Vma, run: Run, local: int) -> bool:
    """Are entries of these pages made inaccessible?"""
    if not run.resident or not run.mapcount or run.flags & PG.PROT_NONE:
        return False
    nid = run.zone.pgdat.nid
    toptier = node_is_toptier(kernel, nid)
    if toptier and not kernel.vm.numa_balancing & NUMA_BALANCING_NORMAL:
        return False
    if run.flags & PG.THP:
        return True
    kind = run.space.kind
    if not vma.shared and (kind != Kind.ANON or run.mapcount != 1 or run.swap is not None):
        return False  # shared until somebody writes: others count on it
    if kind == Kind.FILE and run.flags & PG.DIRTY:
        return False
    return nid != local


def _make_inaccessible(kernel: Kernel, run: Run) -> int:
    """Returns how many entries of small pages that are."""
    change(run, set=PG.PROT_NONE)
    if kernel.vm.numa_balancing & NUMA_BALANCING_MEMORY_TIERING and not node_is_toptier(kernel, run.zone.pgdat.nid):
        set_cpupid(run, now_ms(kernel) & ACCESS_TIME_MASK)
    if run.flags & PG.THP:
        kernel.events.inc(VmEvent.NUMA_HUGE_PTE_UPDATES, run.n // HPAGE_PMD_NR)
    return run.n
