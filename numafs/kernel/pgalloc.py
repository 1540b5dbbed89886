# SPDX-License-Identifier: MIT
"""Making and freeing page tables: mm/memory.c:__pte_alloc(), free_pgtables() (v6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import memcontrol, mempolicy, page_alloc
from .gfp import GFP_KERNEL
from .mmzone import PageUse
from .pgtable import COUNTED, LEVELS
from .vmstat import NodeStat, mod_node_page_state

if TYPE_CHECKING:
    from .kernel import Kernel
    from .memcontrol import MemCgroup
    from .mm import Mm, Task
    from .mmzone import Zone

__all__ = ["free_pgtables", "mm_pgtables_bytes", "pte_alloc"]


def pte_alloc(kernel: Kernel, task: Task, mm: Mm, start: int, stop: int) -> None:
    """Make sure that there are page tables for the pages [start, stop), placed by the task's policy.

    mm/memory.c:__pte_alloc() (v6.1): charged to the node the page landed on.
    """
    for shift in reversed(LEVELS):
        for first, last in mm.page_tables.missing(shift, start >> shift, ((stop - 1) >> shift) + 1):
            _alloc_level(kernel, task, mm, shift, first, last)


def _alloc_level(kernel: Kernel, task: Task, mm: Mm, shift: int, first: int, last: int) -> None:
    while first < last:
        where = mempolicy.placement(kernel, task)
        want = 1 if where.interleave else last - first
        memcg, want = memcontrol.try_charge(kernel, task, want)
        zone, n = page_alloc.alloc_pages(kernel, task, GFP_KERNEL, where, want)
        _account(zone, memcg, shift, n)
        mm.page_tables.add(shift, first, first + n, zone, memcg)
        first += n


def _account(zone: Zone, memcg: MemCgroup | None, shift: int, n: int) -> None:
    """Count n page tables of a level, or uncount -n (pgtable_pte_page_ctor)."""
    zone.used[PageUse.PAGE_TABLE] += n
    if shift in COUNTED:
        mod_node_page_state(zone.pgdat, NodeStat.NR_PAGE_TABLE_PAGES, n)
    if memcg is not None:
        memcg.charge(n)
        if shift in COUNTED:
            memcg.count(zone.pgdat.nid, NodeStat.NR_PAGE_TABLE_PAGES, n)


def free_pgtables(kernel: Kernel, mm: Mm, floor: int, start: int, stop: int, ceiling: int) -> None:
    """Free the page tables of the unmapped [start, stop) that cover nothing outside [floor, ceiling).

    mm/memory.c:free_pgtables() (v6.1).
    """
    for shift in LEVELS:
        first, last = start >> shift, ((stop - 1) >> shift) + 1
        first = max(first, -(-floor >> shift))
        last = min(last, ceiling >> shift)
        for zone, memcg, n in mm.page_tables.take(shift, first, last) if first < last else ():
            _account(zone, memcg, shift, -n)
            page_alloc.free_pages(kernel, zone, n)


def mm_pgtables_bytes(kernel: Kernel, mm: Mm) -> int:
    """Bytes of all its page tables: VmPTE."""
    return kernel.machine.page_size * sum(n for _, _, n in mm.page_tables.pages())
