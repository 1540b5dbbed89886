# SPDX-License-Identifier: MIT
"""Reclaim because somebody asks for it: nodeN/reclaim of newer kernels.

mm/vmscan.c:user_proactive_reclaim() (v6.18).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import EAGAIN, EBUSY
from .gfp import GFP_KERNEL, gfp_zone
from .shrink_list import DEF_PRIORITY, SWAP_CLUSTER_MAX, ScanControl
from .vmscan import MAX_RECLAIM_RETRIES, cost_ns, node_reclaimable, shrink_node

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task
    from .mmzone import Pgdat

__all__ = ["user_proactive_reclaim"]


def user_proactive_reclaim(
    kernel: Kernel, task: Task | None, pgdat: Pgdat, nr_to_reclaim: int, swappiness: int | None
) -> None:
    """Reclaim so many pages of a node; EAGAIN if that many cannot be had, though what was reclaimed stays so."""
    retries = MAX_RECLAIM_RETRIES
    done = 0
    while done < nr_to_reclaim:
        reclaimed = _some(kernel, task, pgdat, (nr_to_reclaim - done) // 4, swappiness)
        if not reclaimed:
            if not retries:
                raise EAGAIN(f"{done} of {nr_to_reclaim} pages could be reclaimed")
            retries -= 1
        done += reclaimed


def _some(kernel: Kernel, task: Task | None, pgdat: Pgdat, batch: int, swappiness: int | None) -> int:
    """A part of it: at least a cluster. mm/vmscan.c:__node_reclaim() (v6.18)."""
    if pgdat.reclaim_locked:
        raise EBUSY(f"node {pgdat.nid} is reclaimed from already")
    sc = ScanControl(max(batch, SWAP_CLUSTER_MAX), gfp_zone(kernel, GFP_KERNEL), task=task)
    sc.proactive, sc.swappiness = True, swappiness
    sc.priority = DEF_PRIORITY
    sc.may_writepage = not kernel.vm.laptop_mode
    enough = node_reclaimable(kernel, pgdat)
    pgdat.reclaim_locked = True
    try:
        while enough and sc.priority >= 0:
            shrink_node(kernel, pgdat, sc)
            if sc.nr_reclaimed >= batch:
                break
            sc.priority -= 1
    finally:
        pgdat.reclaim_locked = False
    kernel.clock.advance(cost_ns(kernel, sc))
    return sc.nr_reclaimed
