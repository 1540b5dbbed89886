# SPDX-License-Identifier: MIT
"""Reclaim inside a group of the memory controller: mm/vmscan.c:try_to_free_mem_cgroup_pages() (v6.1).

Simplified: a group has no lists of its own: its pages are taken from those of the nodes, at the cost of a
walk over them, inactive before active ones and page cache before anonymous memory, however large either is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import swap, vmscan
from .mmzone import Lru
from .shrink_list import SWAP_CLUSTER_MAX, ScanControl, deactivate, reclaim_folio_list, take_piece

if TYPE_CHECKING:
    from .kernel import Kernel
    from .memcontrol import MemCgroup
    from .mm import Task
    from .page import Run

__all__ = ["try_to_free_mem_cgroup_pages"]


def try_to_free_mem_cgroup_pages(
    kernel: Kernel, memcg: MemCgroup | None, want: int, task: Task | None = None
) -> int:
    """Free at least `want` pages of a group and of those below it, by clusters; None is everybody. Returns how many."""
    want = -(-want // SWAP_CLUSTER_MAX) * SWAP_CLUSTER_MAX
    sc = ScanControl(want, len(kernel.machine.zone_types), task=task)
    if task is not None:
        task.reclaiming = True
    try:
        for inactive in (Lru.INACTIVE_FILE, Lru.INACTIVE_ANON):
            if inactive == Lru.INACTIVE_ANON and not swap.nr_swap_pages(kernel):
                break
            _shrink(kernel, memcg, inactive, sc)
            if sc.nr_reclaimed >= want:
                break
            _deactivate(kernel, memcg, inactive + 1, want - sc.nr_reclaimed)
            _shrink(kernel, memcg, inactive, sc)
    finally:
        if task is not None:
            task.reclaiming = False
    kernel.clock.advance(vmscan.cost_ns(kernel, sc))
    return sc.nr_reclaimed


def _shrink(kernel: Kernel, memcg: MemCgroup | None, lru: int, sc: ScanControl) -> None:
    """Reclaim from what the group has on the lists `lru`, oldest first."""
    for run in _runs_of(kernel, memcg, lru):
        left = sc.nr_to_reclaim - sc.nr_reclaimed
        if left <= 0:
            return
        if run.lru != lru:
            continue  # joined another, which was or will be looked at
        piece = take_piece(run, -(-left // SWAP_CLUSTER_MAX) * SWAP_CLUSTER_MAX)
        sc.nr_scanned += piece.n
        sc.nr_reclaimed += reclaim_folio_list(kernel, [piece], sc)


def _deactivate(kernel: Kernel, memcg: MemCgroup | None, lru: int, most: int) -> None:
    """The oldest of what the group has on the active lists `lru` becomes inactive."""
    for run in _runs_of(kernel, memcg, lru):
        if most <= 0:
            return
        if run.lru == lru:
            piece = take_piece(run, most)
            most -= piece.n
            deactivate(kernel, piece)


def _runs_of(kernel: Kernel, memcg: MemCgroup | None, lru: int) -> list[Run]:
    """The group's runs on the lists `lru` of all nodes, oldest first."""
    return [
        run for pgdat in kernel.online_nodes for run in pgdat.lru[lru].oldest_first()
        if memcg is None or run.memcg is not None and memcg in run.memcg.lineage
    ]
