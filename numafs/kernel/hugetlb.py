# SPDX-License-Identifier: MIT
"""Pools of huge pages, and the mappings that draw on them: mm/hugetlb.c (v6.1).

Simplified: mappings reserve nothing (as with MAP_NORESERVE): a fault that finds the pool empty is a signal.
Pages beyond the largest buddy order (1 GiB) are taken where a node has so many free pages, contiguous or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import mempolicy, page_alloc
from .errors import EFAULT, EINVAL
from .gfp import GFP_HIGHUSER_MOVABLE, Gfp
from .inode import Inode
from .mempolicy import Mempolicy, Mode
from .mm_inline import change, enter, leave
from .mmzone import Hstate, HugePool, Lru, PageUse
from .nodemask import Mask, next_member_in
from .page import PG, Kind, Run, Space
from .page_alloc import Placement
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task, Vma
    from .mmzone import Pgdat, Zone

__all__ = [
    "MAX_ORDER", "demote_pool_huge_page", "huge_sizes", "hugetlb_fault", "hugetlb_file_setup", "hugetlb_init",
    "nr_huge_pages", "set_max_huge_pages", "total", "zap",
]

MAX_ORDER = 10
"""Largest order of the buddy allocator."""


def huge_sizes(kernel: Kernel) -> list[int]:
    """The page sizes of the architecture, in pages: 2 MiB and 1 GiB with pages of 4 KiB."""
    entries = kernel.machine.page_size // 8
    return [entries, entries * entries]


def hugetlb_init(kernel: Kernel) -> None:
    """Empty pools of every size on every possible node."""
    for size in huge_sizes(kernel):
        kernel.hstates[size] = Hstate(size)
        for pgdat in kernel.nodes:
            pgdat.hugepages[size] = HugePool()


def _order(size: int) -> int:
    return size.bit_length() - 1


def nr_huge_pages(kernel: Kernel, size: int, nid: int | None = None) -> int:
    """Huge pages in the pool of one node or of all, surplus ones included."""
    pools = [pgdat.hugepages[size] for pgdat in kernel.nodes if nid is None or pgdat.nid == nid]
    return sum(pool.total for pool in pools)


def total(kernel: Kernel, size: int) -> tuple[int, int, int]:
    """(all, free, surplus) huge pages of the machine."""
    pools = [pgdat.hugepages[size] for pgdat in kernel.nodes]
    return sum(p.total for p in pools), sum(p.free for p in pools), sum(p.surplus for p in pools)


# ---------------------------------------------------------------- the size of the pools


def set_max_huge_pages(kernel: Kernel, size: int, count: int, nid: int | None, task: Task | None) -> None:
    """Make a pool of `count` huge pages: of node `nid`, or of the nodes of `task`'s policy, or of all with memory.

    Best effort: what cannot be had is missing. mm/hugetlb.c:set_max_huge_pages() (v6.1).
    """
    if count < 0:
        raise EINVAL(f"a pool of {count} huge pages")
    hstate = kernel.hstates[size]
    allowed = kernel.node_states_memory
    if nid is not None:
        count += nr_huge_pages(kernel, size) - nr_huge_pages(kernel, size, nid)
        allowed = 1 << nid
    elif task is not None:
        allowed = _nodes_of_policy(kernel, task) or allowed
    pages, free, surplus = total(kernel, size)
    while surplus and count > pages - surplus:
        if not _adjust_surplus(kernel, hstate, allowed, -1):
            break
        surplus -= 1
    if count > pages - surplus:
        _grow(kernel, hstate, allowed, count - (pages - surplus), task)
        return
    _shrink(kernel, hstate, allowed, min(pages - surplus - max(count, 0), free))
    pages, _, surplus = total(kernel, size)
    while count < pages - surplus and _adjust_surplus(kernel, hstate, allowed, 1):
        surplus += 1


def _nodes_of_policy(kernel: Kernel, task: Task) -> Mask:
    """init_nodemask_of_mempolicy()."""
    policy: Mempolicy | None = task.policy
    if policy is None:
        return 0
    if policy.mode == Mode.LOCAL:
        return 1 << kernel.cpu_to_node[task.cpu]
    return policy.nodes


def _next(after: int, allowed: Mask) -> int:
    return next_member_in(allowed, after)


def _valid(nid: int, allowed: Mask) -> int:
    """get_valid_node_allowed()."""
    return nid if allowed >> nid & 1 else next_member_in(allowed, nid)


def _grow(kernel: Kernel, hstate: Hstate, allowed: Mask, want: int, task: Task | None) -> None:
    """alloc_pool_huge_page() again and again: a page here, the next on the next node, until no node has any."""
    left = allowed
    while want and left:
        # Whole rounds at once, as long as every node gives what it is asked for; then page by page.
        each = max(1, want // left.bit_count())
        for _ in range(left.bit_count()):
            nid = _valid(hstate.next_nid_to_alloc, left)
            hstate.next_nid_to_alloc = _next(nid, allowed)
            got = _alloc_fresh(kernel, kernel.nodes[nid], hstate.size, each, task)
            want -= got
            if got < each:
                left &= ~(1 << nid)
            if not want:
                return


def _alloc_fresh(kernel: Kernel, pgdat: Pgdat, size: int, want: int, task: Task | None) -> int:
    """Up to `want` new huge pages for the pool of one node (alloc_fresh_huge_page)."""
    order, got = _order(size), 0
    gfp = GFP_HIGHUSER_MOVABLE | Gfp.THISNODE | Gfp.RETRY_MAYFAIL | Gfp.NOWARN
    where = Placement(pgdat.nid)
    while got < want:
        try:
            if order > MAX_ORDER:
                zone, n = _alloc_gigantic(kernel, pgdat, size), 1
            else:
                zone, n = page_alloc.alloc_pages(kernel, task, gfp, where, want - got, order)
                kernel.events.inc(VmEvent.HTLB_BUDDY_ALLOC_SUCCESS, n)
        except OSError:
            if order <= MAX_ORDER:
                kernel.events.inc(VmEvent.HTLB_BUDDY_ALLOC_FAIL)
            break
        _add_to_pool(pgdat.hugepages[size], zone, n, size)
        got += n
    return got


def _alloc_gigantic(kernel: Kernel, pgdat: Pgdat, size: int) -> Zone:
    """alloc_contig_pages(): needs a zone with so many free pages above its high watermark."""
    for zone in reversed(pgdat.populated_zones):
        if zone.free - size > zone.watermark[2]:
            page_alloc.rmqueue(kernel, zone, size, 0, zone.watermark[2])
            return zone
    raise OSError


def _add_to_pool(pool: HugePool, zone: Zone, n: int, size: int) -> None:
    zone.used[PageUse.HUGETLB] += n * size
    pool.total += n
    pool.free_in[zone] += n


def _shrink(kernel: Kernel, hstate: Hstate, allowed: Mask, n: int) -> None:
    """remove_pool_huge_page() again and again: a free page here, the next on the next node."""
    empty = 0
    while n > 0 and allowed & ~empty:
        nid = _valid(hstate.next_nid_to_free, allowed)
        hstate.next_nid_to_free = _next(nid, allowed)
        pool = kernel.nodes[nid].hugepages[hstate.size]
        if not pool.free:
            empty |= 1 << nid
            continue
        _free_huge(kernel, pool, next(zone for zone, k in pool.free_in.items() if k), hstate.size)
        n -= 1


def _free_huge(kernel: Kernel, pool: HugePool, zone: Zone, size: int) -> None:
    """A free huge page leaves the pool (update_and_free_page)."""
    pool.total -= 1
    pool.free_in[zone] -= 1
    zone.used[PageUse.HUGETLB] -= size
    order = min(_order(size), MAX_ORDER)
    page_alloc.free_pages(kernel, zone, size >> order, order)


def demote_pool_huge_page(kernel: Kernel, pgdat: Pgdat, size: int, n: int) -> None:
    """Split up to `n` free huge pages of a node into pages of the next smaller size. mm/hugetlb.c (v6.1)."""
    smaller = huge_sizes(kernel)[0]
    pool, target = pgdat.hugepages[size], pgdat.hugepages[smaller]
    if size == smaller:
        raise EINVAL("there is no smaller huge page")
    for zone in list(pool.free_in):
        count = min(n, pool.free_in[zone])
        pool.total -= count
        pool.free_in[zone] -= count
        target.total += count * size // smaller
        target.free_in[zone] += count * size // smaller
        n -= count


def _adjust_surplus(kernel: Kernel, hstate: Hstate, allowed: Mask, by: int) -> bool:
    """One page more (or less) of some node counts as surplus (adjust_pool_surplus)."""
    for pgdat in kernel.nodes:
        pool = pgdat.hugepages[hstate.size]
        if allowed >> pgdat.nid & 1 and 0 <= pool.surplus + by <= pool.total - (pool.free if by > 0 else 0):
            pool.surplus += by
            return True
    return False


# ---------------------------------------------------------------- mappings


def hugetlb_file_setup(kernel: Kernel, vma: Vma) -> Inode:
    """The unlinked file behind an anonymous mapping of huge pages."""
    inode = Inode("/anon_hugepage (deleted)", vma.pages * kernel.machine.page_size,
                  ino=kernel.fs.next_hugetlb_ino(), kind=Kind.HUGETLB)
    inode.nlink = 0
    return inode


def _space(vma: Vma) -> Space:
    """Where the pages of the mapping are: the file's if it is shared, its own if not."""
    assert vma.file is not None
    if vma.shared:
        return vma.file.space
    if vma.anon is None:
        vma.anon = Space(Kind.HUGETLB)
    return vma.anon


def hugetlb_fault(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    """Faults on a mapping of huge pages: each takes one from the pool, by the policy of the mapping.

    mm/hugetlb.c:hugetlb_no_page(), dequeue_huge_page_vma() (v6.1).
    """
    size = vma.hugetlb
    start, stop = start // size * size, -(-stop // size) * size
    space, delta = _space(vma), vma.start - vma.pgoff if vma.shared else 0
    for a, b in vma.holes(start, stop):
        for x, y in space.resident(a - delta, b - delta):
            _map_shared(vma, space, x, y, delta)
        for x, y in space.missing(a - delta, b - delta):
            for blocks, where in mempolicy.placements(kernel, task, vma, x + delta, y + delta, order=_order(size)):
                for block in blocks:
                    _map_one(kernel, task, vma, space, block, delta, where)
        kernel.events.inc(VmEvent.PGFAULT, (b - a) // size)


def _map_shared(vma: Vma, space: Space, start: int, stop: int, delta: int) -> None:
    for run in space.cut(start, stop):
        change(run, mapcount=run.mapcount + 1)
    vma.map(start + delta, stop + delta, space, delta)


def _map_one(
    kernel: Kernel, task: Task, vma: Vma, space: Space, block: int, delta: int, where: Placement
) -> None:
    size = vma.hugetlb
    zone = _dequeue(kernel, task, size, where)
    first = block - delta
    run = Run(space.lane(1, 0), first, first + size, zone, PG.YOUNG | PG.DIRTY)
    run.mapcount = 1
    enter(run, Lru.UNLISTED)
    vma.map(block, block + size, space, delta)


def _dequeue(kernel: Kernel, task: Task, size: int, where: Placement) -> Zone:
    """A free page of the nearest node that the policy and the cpuset permit."""
    for nid in kernel.nodes[where.nid].fallback_nodes:
        permitted = where.nodemask is None or where.nodemask >> nid & 1
        pool = kernel.nodes[nid].hugepages[size]
        if permitted and pool.free and task.mems_allowed >> nid & 1:
            zone = next(zone for zone, k in pool.free_in.items() if k)
            pool.free_in[zone] -= 1
            return zone
    surplus = _alloc_surplus(kernel, task, size, where)
    if surplus is None:
        raise EFAULT(f"no huge page of {size} pages is free where the task may have it")
    return surplus


def _alloc_surplus(kernel: Kernel, task: Task, size: int, where: Placement) -> Zone | None:
    """A page beyond the pool, as far as nr_overcommit_hugepages lets it (alloc_surplus_huge_page)."""
    hstate = kernel.hstates[size]
    if total(kernel, size)[2] >= hstate.nr_overcommit or _order(size) > MAX_ORDER:
        return None
    try:
        gfp = GFP_HIGHUSER_MOVABLE | Gfp.RETRY_MAYFAIL | Gfp.NOWARN
        zone, _ = page_alloc.alloc_pages(kernel, task, gfp, where, 1, _order(size))
    except OSError:
        return None
    zone.used[PageUse.HUGETLB] += size
    pool = zone.pgdat.hugepages[size]
    pool.total += 1
    pool.surplus += 1
    return zone


def zap(kernel: Kernel, vma: Vma, space: Space, start: int, stop: int) -> None:
    """Page table entries of huge pages were removed: pages that nobody maps go back to their pool."""
    size = vma.hugetlb
    for run in space.cut(start, stop):
        mapcount = run.mapcount - 1
        change(run, mapcount=mapcount)
        # The pages of a shared file live as long as the file, which here is one mapping's.
        if not mapcount:
            free_huge_page(kernel, run, size)


def free_huge_page(kernel: Kernel, run: Run, size: int) -> None:
    """Back to the pool, or to the buddy allocator while the node has surplus pages. mm/hugetlb.c (v6.1)."""
    zone, n = run.zone, run.n // size
    pool = zone.pgdat.hugepages[size]
    leave(run)
    pool.free_in[zone] += n
    for _ in range(min(n, pool.surplus)):
        pool.surplus -= 1
        _free_huge(kernel, pool, zone, size)
