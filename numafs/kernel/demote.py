# SPDX-License-Identifier: MIT
"""Demotion: reclaim moves cold pages to slower memory instead of freeing them.

mm/vmscan.c:demote_folio_list(), alloc_demote_page() (v6.1). Which memory is slower is in `memory_tiers`.

Simplified: reclaim inside a group of the memory controller frees, and does not demote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import huge_memory, page, page_alloc
from .gfp import GFP_DEMOTE, GFP_TRANSHUGE, Gfp
from .memory_tiers import next_demotion_node, node_get_allowed_targets
from .mover import Piece, move_to, put_pages
from .page import HPAGE_PMD_NR, HPAGE_PMD_ORDER, PG
from .page_alloc import Placement
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task
    from .mmzone import Pgdat, Zone
    from .page import Run

__all__ = ["demote_folio_list"]


def demote_folio_list(kernel: Kernel, pgdat: Pgdat, run: Run, task: Task | None) -> int:
    """Move the pages of `run`, which is on an inactive list of the node, to slower nodes; returns how many went.

    `task` is who reclaims, None for kswapd: policies don't matter, but a task's cpuset does.
    """
    target = next_demotion_node(kernel, pgdat.nid)
    if target is None:
        return 0
    lane, at, stop = run.lane, run.a, run.b
    stays = ~(1 << pgdat.nid)
    moved = 0
    while at < stop:
        found = page.find_run(lane, at)
        if found is None or stays >> found.zone.pgdat.nid & 1:
            break
        order = HPAGE_PMD_ORDER if found.flags & PG.THP else 0
        if order and (at % HPAGE_PMD_NR or min(found.b, stop) - at < HPAGE_PMD_NR):
            _split(kernel, lane, at)
            continue
        got = _alloc_demote_page(kernel, pgdat, target, (min(found.b, stop) - at) >> order, order, task)
        if got is None and order:
            _split(kernel, lane, at)
            continue
        if got is None:
            kernel.events.inc(VmEvent.PGMIGRATE_FAIL, stop - at)
            break
        zone, n = got[0], got[1] << order
        went = move_to(kernel, Piece(lane, at, at + n, stays), zone, order)
        put_pages(kernel, zone, n - went, order)
        if order:
            kernel.events.inc(VmEvent.THP_MIGRATION_SUCCESS, went >> order)
        moved += went
        at += n
    return moved


def _split(kernel: Kernel, lane: page.Lane, at: int) -> None:
    """No huge page is to be had (or it is not whole any more): the one at `at` goes on as small ones."""
    first = at // HPAGE_PMD_NR * HPAGE_PMD_NR
    for part in page.cut(lane, first, first + HPAGE_PMD_NR):
        huge_memory.split_folio(kernel, part)
    kernel.events.inc(VmEvent.THP_MIGRATION_SPLIT)


def _alloc_demote_page(
    kernel: Kernel, pgdat: Pgdat, target: int, want: int, order: int, task: Task | None
) -> tuple[Zone, int] | None:
    """On the target, whose kswapd makes room if there is none; else on any slower node."""
    gfp = GFP_TRANSHUGE.without(Gfp.DIRECT_RECLAIM) if order else GFP_DEMOTE
    places = (
        (gfp | Gfp.THISNODE, Placement(target, asker=pgdat.nid)),
        (gfp, Placement(target, node_get_allowed_targets(kernel, pgdat.nid), asker=pgdat.nid)),
    )
    for flags, where in places:
        try:
            return page_alloc.alloc_pages(kernel, task, flags, where, want, order)
        except OSError:
            continue
    return None
