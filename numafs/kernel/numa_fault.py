# SPDX-License-Identifier: MIT
"""NUMA balancing, the faults: a task touches pages that the scan made inaccessible, and they may come to its node.

mm/memory.c:do_numa_page(), mm/huge_memory.c:do_huge_pmd_numa_page(), mm/mempolicy.c:mpol_misplaced(),
mm/migrate.c:migrate_misplaced_page() (v6.1). Faults on pages alike are taken together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import mempolicy, mm_inline, page, page_alloc
from .gfp import GFP_MISPLACED, GFP_TRANSHUGE_LIGHT, Gfp
from .memory_tiers import node_is_toptier
from .mm_inline import change
from .mmzone import Wmark
from .mover import Piece, move_to, put_pages
from .numa_balancing import (
    CPUPID_UNSET,
    NUMA_BALANCING_MEMORY_TIERING,
    NumaFault,
    cpupid_of,
    task_numa_fault,
)
from .numa_promotion import should_numa_migrate_memory
from .page import HPAGE_PMD_NR, HPAGE_PMD_ORDER, PG, Kind, Run
from .page_alloc import Placement
from .vmscan import wakeup_kswapd
from .vmstat import NodeStat, VmEvent, mod_node_page_state

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task, Vma
    from .mmzone import Pgdat

__all__ = ["do_numa_page", "migrate_misplaced_page", "mpol_misplaced"]


def do_numa_page(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    """`task` accesses [start, stop): hint faults on what of it is inaccessible (v6.1)."""
    pieces = [
        (Piece(run.lane, first, last), segment.delta)
        for segment, a, b in vma.present(start, stop)
        for run, first, last in segment.space.find(a - segment.delta, b - segment.delta) if run.flags & PG.PROT_NONE
    ]
    for piece, delta in pieces:
        at = piece.a
        while at < piece.b:
            run = page.find_run(piece.lane, at)
            if run is None or not run.flags & PG.PROT_NONE:
                at = run.b if run else at + 1
                continue
            run = _cut(run, at, piece.b)
            at = run.b
            _fault(kernel, task, vma, run, run.indexes().start + delta)


def _cut(run: Run, a: int, b: int) -> Run:
    """What of `run` lies in [a, b), huge pages whole, as a run of its own."""
    if run.flags & PG.THP:
        a, b = a // HPAGE_PMD_NR * HPAGE_PMD_NR, -(-b // HPAGE_PMD_NR) * HPAGE_PMD_NR
    return page.cut(run.lane, max(a, run.a), min(b, run.b))[0]


def _fault(kernel: Kernel, task: Task, vma: Vma, run: Run, vpn: int) -> None:
    """Hint faults on all pages of `run`, the first of which is at `vpn`."""
    nid, n = run.zone.pgdat.nid, run.n
    local = nid == kernel.cpu_to_node[task.cpu]
    change(run, clear=PG.PROT_NONE, set=PG.YOUNG)
    if run.flags & PG.THP and (run.a % HPAGE_PMD_NR or n % HPAGE_PMD_NR):
        kernel.events.inc(VmEvent.PGFAULT, n)  # parts of huge pages stay where they are
        return
    faults = n // HPAGE_PMD_NR if run.flags & PG.THP else n
    kernel.events.inc(VmEvent.PGFAULT, faults)
    kernel.events.inc(VmEvent.NUMA_HINT_FAULTS, faults)
    if local:
        kernel.events.inc(VmEvent.NUMA_HINT_FAULTS_LOCAL, faults)
    tiering = kernel.vm.numa_balancing & NUMA_BALANCING_MEMORY_TIERING
    last = CPUPID_UNSET if tiering and not node_is_toptier(kernel, nid) else cpupid_of(run)
    shared = run.mapcount > 1 and vma.shared
    target, wanted = mpol_misplaced(kernel, task, vma, run, vpn)
    moved = 0
    if wanted:
        moved = migrate_misplaced_page(kernel, task, vma, run, target, wanted)
    else:
        mm_inline.rejoin(run)
    stayed = NumaFault(last, nid, n - wanted, local=local, shared=shared, no_group=not vma.write)
    went = replace(stayed, nid=target, pages=moved, migrated=True)
    refused = replace(stayed, pages=wanted - moved, failed=True)
    for outcome in (went, refused, stayed):
        if outcome.pages:
            task_numa_fault(kernel, task, outcome)


def mpol_misplaced(kernel: Kernel, task: Task, vma: Vma, run: Run, vpn: int) -> tuple[int, int]:
    """Where the pages should be by the policy, and how many of them should go there (v6.1)."""
    here, node = run.zone.pgdat.nid, kernel.cpu_to_node[task.cpu]
    policy = mempolicy.get_vma_policy(vma, task, vpn)
    if policy is None:
        if here == node:
            return node, 0
    elif not mempolicy.migrates_on_fault(policy) or not policy.nodes >> node & 1:
        return here, 0
    worth = should_numa_migrate_memory(kernel, task, run)
    return node, worth if here != node else 0


# ---------------------------------------------------------------- moving


def migrate_misplaced_page(kernel: Kernel, task: Task, vma: Vma, run: Run, nid: int, n: int) -> int:
    """Move the first `n` pages of `run` to node `nid` as far as it has room; returns how many went (v6.1)."""
    file = run.space.kind == Kind.FILE
    if file and (run.flags & PG.DIRTY or (run.mapcount != 1 and vma.exec_)):
        return 0
    huge = bool(run.flags & PG.THP)
    if huge and run.mapcount > 1:
        return 0
    source = run.zone.pgdat.nid
    piece = Piece(run.lane, run.a, run.a + n, ~(1 << source))
    moved = _migrate(kernel, task, piece, kernel.nodes[nid], huge)
    kernel.events.inc(VmEvent.NUMA_PAGES_MIGRATED, moved)
    if not node_is_toptier(kernel, source) and node_is_toptier(kernel, nid):
        mod_node_page_state(kernel.nodes[nid], NodeStat.PGPROMOTE_SUCCESS, moved)
    return moved


def _migrate(kernel: Kernel, task: Task, piece: Piece, pgdat: Pgdat, huge: bool) -> int:
    """Page by page (or huge page by huge page), until the node is nearly full or has nothing to give."""
    order, size = (HPAGE_PMD_ORDER, HPAGE_PMD_NR) if huge else (0, 1)
    gfp = GFP_TRANSHUGE_LIGHT | Gfp.THISNODE if huge else GFP_MISPLACED
    where = Placement(pgdat.nid)
    moved, at = 0, piece.a
    while at < piece.b:
        room = _room(kernel, pgdat, size)
        if not room:
            if kernel.vm.numa_balancing & NUMA_BALANCING_MEMORY_TIERING:
                wakeup_kswapd(kernel, pgdat, order, kernel.machine.zone_types.index("Movable"))
            break
        want = min(room, piece.b - at) // size
        try:
            zone, got = page_alloc.alloc_pages(kernel, task, gfp, where, want, order)
        except OSError:
            kernel.events.inc(VmEvent.PGMIGRATE_FAIL, piece.b - at)
            if huge:
                kernel.events.inc(VmEvent.THP_MIGRATION_FAIL, (piece.b - at) // size)
            break
        pages = got << order
        went = move_to(kernel, piece.part(at, at + pages), zone, order)
        put_pages(kernel, zone, pages - went, order)
        if huge:
            kernel.events.inc(VmEvent.THP_MIGRATION_SUCCESS, went // size)
        moved += went
        at += pages
    return moved


def _room(kernel: Kernel, pgdat: Pgdat, size: int) -> int:
    """Pages, in whole pages of `size`, that the node can take before all its zones are down to high.

    mm/migrate.c:migrate_balanced_pgdat() (v6.1).
    """
    highest = kernel.machine.zone_types.index("Movable")
    above = [
        zone.free - zone.watermark[Wmark.HIGH] - zone.lowmem_reserve[highest] - size for zone in pgdat.populated_zones
    ]
    return sum(-(-pages // size) * size for pages in above if pages > 0)
