# SPDX-License-Identifier: MIT
"""Transparent huge pages: mm/huge_memory.c (v6.1).

Simplified: a 2 MiB piece that once had page tables may become a huge page again at the next fault. The pages
of a huge page that is unmapped in part are freed at once, not when memory runs short. Reads do not map the
huge zero page. Shared memory has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import khugepaged, memcontrol, memory, mempolicy, mlock, page_alloc
from .gfp import GFP_TRANSHUGE_LIGHT, Gfp
from .mm_inline import change, enter
from .mmzone import Lru
from .page import HPAGE_PMD_NR, HPAGE_PMD_ORDER, PG, Kind, Run, Space
from .page_alloc import Placement
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .memcontrol import MemCgroup
    from .mm import Task, Vma
    from .mmzone import Zone

__all__ = [
    "HPAGE_PMD_NR", "HPAGE_PMD_ORDER", "cut", "do_huge_pmd_anonymous_page", "do_huge_pmd_wp_page",
    "hugepage_vma_check", "map_huge_page", "split_edges", "split_fault", "split_folio", "split_range",
    "vma_thp_gfp_mask",
]


def hugepage_vma_check(kernel: Kernel, vma: Vma) -> bool:
    """May faults in this anonymous mapping make huge pages?"""
    if vma.file is not None or vma.special or vma.name == "stack":
        return False
    if vma.thp is False:
        return False
    return kernel.thp_enabled == "always" or (kernel.thp_enabled == "madvise" and vma.thp is True)


def split_fault(kernel: Kernel, vma: Vma, start: int, stop: int) -> list[tuple[int, int, bool]]:
    """The faults on the hole [start, stop): stretches, and whether each is whole huge pages (then it may reach
    beyond the hole's edges)."""
    if not hugepage_vma_check(kernel, vma):
        return [(start, stop, False)]
    out: list[tuple[int, int, bool]] = []
    first = start // HPAGE_PMD_NR * HPAGE_PMD_NR
    for block in (first, (stop - 1) // HPAGE_PMD_NR * HPAGE_PMD_NR):
        end = block + HPAGE_PMD_NR
        fits = block >= vma.start and end <= vma.stop and vma.holes(block, end) == [(block, end)]
        at = max(start, out[-1][1]) if out else start
        if at >= stop:
            break
        if at < block:
            out.append((at, block, True))
        out.append((block, end, True) if fits else (max(at, block), min(stop, end), False))
    return _joined(out)


def _joined(parts: list[tuple[int, int, bool]]) -> list[tuple[int, int, bool]]:
    out: list[tuple[int, int, bool]] = []
    for a, b, huge in parts:
        if out and out[-1][2] == huge and out[-1][1] == a:
            out[-1] = (out[-1][0], b, huge)
        else:
            out.append((a, b, huge))
    return out


def vma_thp_gfp_mask(kernel: Kernel, vma: Vma) -> Gfp:
    """How hard a fault tries: transparent_hugepage/defrag."""
    advised = vma.thp is True
    if kernel.thp_defrag == "always":
        return GFP_TRANSHUGE_LIGHT | Gfp.DIRECT_RECLAIM | (Gfp(0) if advised else Gfp.NORETRY)
    if kernel.thp_defrag == "defer":
        return GFP_TRANSHUGE_LIGHT | Gfp.KSWAPD_RECLAIM
    if kernel.thp_defrag == "defer+madvise":
        return GFP_TRANSHUGE_LIGHT | (Gfp.DIRECT_RECLAIM if advised else Gfp.KSWAPD_RECLAIM)
    if kernel.thp_defrag == "madvise" and advised:
        return GFP_TRANSHUGE_LIGHT | Gfp.DIRECT_RECLAIM
    return GFP_TRANSHUGE_LIGHT


def do_huge_pmd_anonymous_page(
    kernel: Kernel, task: Task, vma: Vma, start: int, stop: int, wanted: tuple[int, int]
) -> None:
    """Write faults on whole, empty huge pages; where there is none to be had, on the small pages that are wanted."""
    at = start
    khugepaged.khugepaged_enter_vma(kernel, vma)
    for blocks, where in mempolicy.placements(kernel, task, vma, start, stop, order=HPAGE_PMD_ORDER):
        while blocks:
            memcg, most = memcontrol.try_charge(kernel, task, len(blocks) * HPAGE_PMD_NR, oom=False)
            got = _alloc_huge(kernel, task, vma, where, most // HPAGE_PMD_NR) if most >= HPAGE_PMD_NR else None
            if got is None:
                break
            zone, n = got
            _map_huge(kernel, vma, blocks[:n], zone, memcg)
            at = max(at, blocks[n - 1] + HPAGE_PMD_NR)
            blocks = blocks[n:]
    for a, b in vma.holes(start, stop):
        kernel.events.inc(VmEvent.THP_FAULT_FALLBACK, (b - a) // HPAGE_PMD_NR)
        a, b = max(a, wanted[0]), min(b, wanted[1])
        kernel.events.inc(VmEvent.PGFAULT, b - a)
        memory.fill_anon(kernel, task, vma, a, b)


def _alloc_huge(kernel: Kernel, task: Task, vma: Vma, where: Placement, want: int) -> tuple[Zone, int] | None:
    """First on the node itself without reclaiming there, then anywhere the policy permits (vma_alloc_folio)."""
    gfp = vma_thp_gfp_mask(kernel, vma)
    policy = mempolicy.get_vma_policy(vma, task)
    if policy is None or policy.mode not in mempolicy.INTERLEAVING:
        got = _try(kernel, task, gfp | Gfp.THISNODE | Gfp.NORETRY, Placement(_nearest(kernel, where)), want)
        if got or not gfp & Gfp.DIRECT_RECLAIM:
            return got
    return _try(kernel, task, gfp, where, want)


def _nearest(kernel: Kernel, where: Placement) -> int:
    """The node tried first: the preferred one, if the policy's mask has it."""
    if where.nodemask is None or where.nodemask >> where.nid & 1:
        return where.nid
    order = kernel.nodes[where.nid].fallback_nodes
    return next((nid for nid in order if where.nodemask >> nid & 1), where.nid)


def _try(kernel: Kernel, task: Task, gfp: Gfp, where: Placement, want: int) -> tuple[Zone, int] | None:
    try:
        return page_alloc.alloc_pages(kernel, task, gfp, where, want, HPAGE_PMD_ORDER)
    except OSError:
        return None


def _map_huge(kernel: Kernel, vma: Vma, blocks: range, zone: Zone, memcg: MemCgroup | None) -> None:
    kernel.events.inc(VmEvent.THP_FAULT_ALLOC, len(blocks))
    kernel.events.inc(VmEvent.PGFAULT, len(blocks))
    whole = [(blocks.start, blocks[-1] + HPAGE_PMD_NR)] if blocks.step == HPAGE_PMD_NR else [
        (block, block + HPAGE_PMD_NR) for block in blocks
    ]
    for a, b in whole:
        map_huge_page(kernel, vma, zone, a, b, memcg)


def map_huge_page(
    kernel: Kernel, vma: Vma, zone: Zone, start: int, stop: int, memcg: MemCgroup | None
) -> None:
    """New huge pages of a zone are mapped at [start, stop)."""
    space = memory.anon_prepare(vma)
    flags, lru = PG.YOUNG | PG.DIRTY | PG.THP, Lru.INACTIVE_ANON
    if vma.locked:
        flags, lru = flags | PG.MLOCKED, Lru.UNEVICTABLE
    run = Run(space.lane(1, 0), start, stop, zone, flags, memcg)
    run.mapcount = 1
    vma.map(start, stop, space)
    enter(run, lru)
    if vma.locked:
        mlock.mlock_new_folio(kernel, stop - start)


# ---------------------------------------------------------------- splitting


def split_edges(kernel: Kernel, vma: Vma, start: int, stop: int) -> None:
    """Huge pages that reach over an edge of [start, stop) become small ones (vma_adjust_trans_huge)."""
    for edge in {start, stop}:
        if edge % HPAGE_PMD_NR:
            block = edge // HPAGE_PMD_NR * HPAGE_PMD_NR
            split_range(kernel, vma, block, block + HPAGE_PMD_NR)


def do_huge_pmd_wp_page(kernel: Kernel, vma: Vma, start: int, stop: int) -> None:
    """A write to huge pages that others have, too: the writer copies small pages.

    Simplified: the page itself becomes small pages for the others, too, unless all of it is written.
    """
    split_edges(kernel, vma, start, stop)
    for segment, a, b in vma.present(start, stop):
        huge = sum(j - i for run, i, j in segment.space.find(a, b) if run.flags & PG.THP)
        kernel.events.inc(VmEvent.THP_SPLIT_PMD, huge // HPAGE_PMD_NR)


def split_range(kernel: Kernel, vma: Vma, start: int, stop: int) -> None:
    """Every huge page with a page in [start, stop) becomes small ones (__split_huge_pmd)."""
    start = start // HPAGE_PMD_NR * HPAGE_PMD_NR
    stop = -(-stop // HPAGE_PMD_NR) * HPAGE_PMD_NR
    for segment, a, b in list(vma.present(start, stop)):
        if segment.space.kind != Kind.ANON or not any(r.flags & PG.THP for r, _, _ in segment.space.find(a, b)):
            continue
        for run in segment.space.cut(start, stop):
            if run.flags & PG.THP:
                kernel.events.inc(VmEvent.THP_SPLIT_PMD, run.n // HPAGE_PMD_NR)
                kernel.events.inc(VmEvent.THP_DEFERRED_SPLIT_PAGE, run.n // HPAGE_PMD_NR)
                change(run, clear=PG.THP)


def cut(space: Space, start: int, stop: int) -> list[Run]:
    """`space.cut()`, but huge pages stay whole: those at the edges are in the answer with all of their pages."""
    for run, _, _ in list(space.find(start, start + 1)):
        if run.flags & PG.THP:
            start = start // HPAGE_PMD_NR * HPAGE_PMD_NR
    for run, _, _ in list(space.find(stop - 1, stop)):
        if run.flags & PG.THP:
            stop = -(-stop // HPAGE_PMD_NR) * HPAGE_PMD_NR
    return space.cut(start, stop)


def split_folio(kernel: Kernel, run: Run) -> None:
    """Reclaim or migration wants the small pages of huge ones (split_huge_page_to_list)."""
    if run.flags & PG.THP:
        kernel.events.inc(VmEvent.THP_SPLIT_PAGE, -(-run.n // HPAGE_PMD_NR))
        change(run, clear=PG.THP)
