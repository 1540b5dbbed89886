# SPDX-License-Identifier: MIT
"""How long evicted pages stayed away: shadow entries and refault distances. mm/workingset.c (v6.1).

Simplified: the shadow entries of neighbouring pages are one run, whose ages may be off by a 64th of the node;
they are not limited in number, so workingset_nodereclaim and workingset_nodes stay 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .mm_inline import shed
from .mmzone import Lru
from .page import PG, Kind, Run
from .vmstat import NodeStat, mod_node_page_state

if TYPE_CHECKING:
    from .kernel import Kernel
    from .memcontrol import MemCgroup
    from .mmzone import Pgdat, Zone

__all__ = ["lru_note_cost", "workingset_age_nonresident", "workingset_eviction", "workingset_refault"]


def workingset_age_nonresident(pgdat: Pgdat, n: int) -> None:
    """`n` pages were evicted or activated: everything that is not resident is that much older."""
    pgdat.nonresident_age += n


def workingset_eviction(kernel: Kernel, run: Run, n: int | None = None) -> None:
    """The `n` oldest pages of `run` (by default all) leave, and entries take their places.

    The entries remember when, and the swap area if the pages have a copy there. The pages are the
    caller's, to be freed.
    """
    n = run.n if n is None else n
    pgdat = run.zone.pgdat
    age = pgdat.nonresident_age
    pgdat.nonresident_age = age + n
    shed(run, n, age, pgdat.lru[run.lru].size >> 6)


def workingset_refault(
    kernel: Kernel, shadow: Run, n: int, zone: Zone | None = None, memcg: MemCgroup | None = None
) -> bool:
    """The pages of an entry come back, to `zone` and charged to `memcg`: are they to start on the active list?

    If so and `shadow.flags` has WORKINGSET, the new pages are to have this flag too.
    mm/workingset.c:workingset_refault() (v6.1).
    """
    if shadow.age < 0:
        return False
    pgdat = shadow.zone.pgdat
    here = (zone or shadow.zone).pgdat
    file = shadow.space.kind == Kind.FILE
    _count(here, memcg, NodeStat.WORKINGSET_REFAULT_ANON + file, n)
    distance = pgdat.nonresident_age - shadow.age - n // 2
    if distance > _workingset_size(kernel, pgdat, file):
        return False
    workingset_age_nonresident(here, n)
    _count(here, memcg, NodeStat.WORKINGSET_ACTIVATE_ANON + file, n)
    if shadow.flags & PG.WORKINGSET:
        lru_note_cost(here, file, n)
        _count(here, memcg, NodeStat.WORKINGSET_RESTORE_ANON + file, n)
    return True


def _count(pgdat: Pgdat, memcg: MemCgroup | None, item: int, n: int) -> None:
    """mod_lruvec_state(): an event of the node, and of the groups that the pages are charged to."""
    mod_node_page_state(pgdat, NodeStat(item), n)
    if memcg is not None:
        memcg.count(pgdat.nid, item, n)


def _workingset_size(kernel: Kernel, pgdat: Pgdat, file: bool) -> int:
    """Pages that a refaulting one competes with."""
    size = pgdat.lru[Lru.ACTIVE_FILE].size
    if not file:
        size += pgdat.lru[Lru.INACTIVE_FILE].size
    if any(area.free for area in kernel.swap_areas):
        size += pgdat.lru[Lru.ACTIVE_ANON].size
        if file:
            size += pgdat.lru[Lru.INACTIVE_ANON].size
    return size


def lru_note_cost(pgdat: Pgdat, file: bool, n: int) -> None:
    """Reclaim of a type cost the I/O of `n` pages; the past counts for less and less (mm/swap.c, v6.1)."""
    if file:
        pgdat.file_cost += n
    else:
        pgdat.anon_cost += n
    if pgdat.file_cost + pgdat.anon_cost > sum(pgdat.lru[lru].size for lru in range(4)) // 4:
        pgdat.file_cost //= 2
        pgdat.anon_cost //= 2
