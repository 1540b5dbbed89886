# SPDX-License-Identifier: MIT
"""Shrinkers: how reclaim asks the owners of caches to give objects back.

mm/vmscan.c:shrink_slab(), do_shrink_slab(), drop_slab() and fs/super.c (v6.1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING

from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task
    from .mmzone import Pgdat

__all__ = ["DEFAULT_SEEKS", "Shrinker", "drop_slab", "register_shrinker", "shrink_slab"]

DEFAULT_SEEKS = 2
SHRINK_BATCH = 128


class Shrinker(ABC):
    """A cache that can be made smaller, node by node (struct shrinker)."""

    seeks = DEFAULT_SEEKS
    """What it costs to make an object anew; 0: nothing."""
    batch = SHRINK_BATCH
    rcu = False
    """Objects are freed by call_rcu(): their pages come back after the reclaim that they were freed for."""

    def __init__(self) -> None:
        self.nr_deferred: Counter[int] = Counter()
        """Objects by node that were to be scanned and were not."""

    @abstractmethod
    def count_objects(self, kernel: Kernel, pgdat: Pgdat) -> int:
        """How many of a node's objects could be freed."""

    @abstractmethod
    def scan_objects(self, kernel: Kernel, task: Task | None, pgdat: Pgdat, nr_to_scan: int) -> int:
        """Look at the oldest `nr_to_scan` objects of a node; returns how many were freed.

        `task` reclaims; None for kswapd.
        """


def register_shrinker(kernel: Kernel, shrinker: Shrinker) -> None:
    """Let reclaim know of it."""
    kernel.slab.shrinkers.append(shrinker)


def shrink_slab(kernel: Kernel, task: Task | None, pgdat: Pgdat, priority: int) -> int:
    """Let every shrinker scan a share of its objects on a node; returns the pages that the caller may count as its own.

    Pages freed by RCU are not among them, which makes reclaim go on to lower priorities than it needs.
    mm/vmscan.c:shrink_slab() (v6.1), with what its callers add from reclaim_state.

    Simplified: a grace period takes no time: the pages are free at once.
    """
    pages = 0
    for shrinker in kernel.slab.shrinkers:
        before = kernel.slab.reclaimed_pages
        do_shrink_slab(kernel, task, shrinker, pgdat, priority)
        if not shrinker.rcu:
            pages += kernel.slab.reclaimed_pages - before
    return pages


def shrink_objects(kernel: Kernel, task: Task | None, pgdat: Pgdat, priority: int) -> int:
    """The objects freed on a node by all shrinkers."""
    return sum(do_shrink_slab(kernel, task, shrinker, pgdat, priority) for shrinker in kernel.slab.shrinkers)


def do_shrink_slab(kernel: Kernel, task: Task | None, shrinker: Shrinker, pgdat: Pgdat, priority: int) -> int:
    """One shrinker, one node. mm/vmscan.c:do_shrink_slab() (v6.1)."""
    freeable = shrinker.count_objects(kernel, pgdat)
    if not freeable:
        return 0
    deferred = shrinker.nr_deferred.pop(pgdat.nid, 0)
    delta = (freeable >> priority) * 4 // shrinker.seeks if shrinker.seeks else freeable // 2
    total_scan = min((deferred >> priority) + delta, 2 * freeable)
    freed = scanned = 0
    while total_scan and (total_scan >= shrinker.batch or total_scan >= freeable):
        nr_to_scan = min(shrinker.batch, total_scan)
        freed += shrinker.scan_objects(kernel, task, pgdat, nr_to_scan)
        kernel.events.inc(VmEvent.SLABS_SCANNED, nr_to_scan)
        total_scan -= nr_to_scan
        scanned += nr_to_scan
    left = min(max(deferred + delta - scanned, 0), 2 * freeable)
    if left:
        shrinker.nr_deferred[pgdat.nid] = left
    return freed


def drop_slab(kernel: Kernel, task: Task | None) -> None:
    """All of every node, again and again while it is worth it. mm/vmscan.c:drop_slab() (v6.1)."""
    shift = 0
    while True:
        freed = sum(shrink_objects(kernel, task, pgdat, 0) for pgdat in kernel.online_nodes)
        if freed >> shift <= 1:
            return
        shift += 1
