# SPDX-License-Identifier: MIT
"""The page allocator: where a page comes from and what counts it.

mm/page_alloc.c (v6.1). Zonelists and watermarks are made in modules of these names; what happens when
memory runs low is in `vmscan` and `oom_kill`.

Simplified: free pages are not fragmented: a zone can give any block that fits in its free pages, so
watermark boosts and the anti-fragmentation pass of the fast path have nothing to do.
Simplified: one per-CPU list a zone, and not one for each CPU; it holds pages of order 0 only.
Simplified: no pages are reserved for atomic requests of higher orders (HighAtomic).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import vmscan
from .errors import ENOMEM, TaskKilled
from .gfp import Gfp, gfp_zone
from .mmzone import PageUse, Wmark
from .nodemask import Mask
from .vmstat import NumaStat, VmEvent, ZoneStat, mod_zone_page_state
from .watermarks import (
    free_blocks,
    global_dirtyable_memory,
    init_per_zone_wmark_min,
    lowmem_reserve,
    nr_free_buffer_pages,
    pcp_high_batch,
    pcp_high_max,
    setup_min_slab_ratio,
    setup_min_unmapped_ratio,
    setup_per_zone_lowmem_reserve,
    setup_per_zone_wmarks,
    si_mem_available,
    stat_threshold,
    zone_pcp_update,
    zone_watermark_ok,
)
from .zonelists import build_all_zonelists, policy_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .kernel import Kernel
    from .mm import Task
    from .mmzone import Pgdat, Zone

__all__ = [
    "PAGE_ALLOC_COSTLY_ORDER", "AllocContext", "Placement", "alloc_pages", "build_all_zonelists", "drain_all_pages",
    "free_blocks", "free_pages", "global_dirtyable_memory", "init_per_zone_wmark_min", "lowmem_reserve",
    "nr_free_buffer_pages", "pcp_high_batch", "pcp_high_max", "policy_zone", "setup_min_slab_ratio",
    "setup_min_unmapped_ratio",
    "setup_per_zone_lowmem_reserve", "setup_per_zone_wmarks", "si_mem_available", "stat_threshold",
    "zone_pcp_update", "zone_reclaimable_pages", "zone_watermark_ok",
]

PAGE_ALLOC_COSTLY_ORDER = 3
MAX_RECLAIM_RETRIES = 16
NODE_RECLAIM_DISTANCE = 30
SLOW_BATCH = 32
"""Pages that the slow path hands out at a time, so that kswapd can run beside the allocator."""

DRAIN_NS = 50_000
"""What it takes to have every CPU empty its lists."""

NR_FREE_PAGES = int(ZoneStat.NR_FREE_PAGES)
PCP = PageUse.PCP


@dataclass(frozen=True, slots=True)
class Placement:
    """What a mempolicy makes of a request."""

    nid: int
    """Preferred node: its zonelist is walked."""
    nodemask: Mask | None = None
    interleave: bool = False
    """Count interleave_hit if the page lands on `nid`."""
    many: bool = False
    """PREFERRED_MANY: the nodemask first, without direct reclaim, then anywhere."""
    asker: int | None = None
    """Node of the CPU that asks, if it is no task's and not one of `nid`."""


class AllocContext:
    """One request on its way (struct alloc_context)."""

    __slots__ = (
        "gfp", "hardwall", "highest", "kernel", "local", "nodemask", "order", "preferred", "spread_dirty",
        "task", "where", "zonelist",
    )

    def __init__(self, kernel: Kernel, task: Task | None, gfp: Gfp, where: Placement, order: int) -> None:
        self.kernel = kernel
        self.task = task
        self.gfp = gfp
        self.where = where
        self.order = order
        self.highest = gfp_zone(kernel, gfp)
        pgdat = kernel.nodes[where.nid]
        self.zonelist = pgdat.populated_zones[::-1] if gfp & Gfp.THISNODE else pgdat.fallback
        if task is not None:
            self.local = kernel.cpu_to_node[task.cpu]
        else:
            self.local = where.nid if where.asker is None else where.asker
        self.nodemask = where.nodemask
        self.hardwall = True
        """In the fast path nothing leaves mems_allowed (prepare_alloc_pages)."""
        self.spread_dirty = bool(gfp & Gfp.WRITE)
        self.preferred: Zone | None = None
        """First zone that the walk may use: the reference of the NUMA counters."""

    def zones(self) -> Iterator[Zone]:
        """The zones of the walk that the policy lets in, nearest first."""
        highest, nodemask = self.highest, self.nodemask
        for zone in self.zonelist:
            if zone.index <= highest and (nodemask is None or nodemask >> zone.pgdat.nid & 1):
                yield zone

    def allows(self, zone: Zone) -> bool:
        """Does the task's cpuset let it use `zone` (cpuset_zone_allowed)?"""
        task = self.task
        if task is None or task.mems_allowed >> zone.pgdat.nid & 1:
            return True
        if self.hardwall or self.gfp & Gfp.HARDWALL:
            return False
        from .cpuset import node_allowed

        return node_allowed(task, zone.pgdat.nid, self.gfp)


# ---------------------------------------------------------------- allocation


def alloc_pages(
    kernel: Kernel, task: Task | None, gfp: Gfp, where: Placement, want: int, order: int = 0
) -> tuple[Zone, int]:
    """Take 1..`want` blocks of 2**order pages of one zone, as many as its watermark leaves.

    The caller loops. `task` None is the kernel itself, on a CPU of `where.nid`. Raises ENOMEM if
    the request must fail, TaskKilled if `task` was chosen by the OOM killer.

    mm/page_alloc.c:__alloc_pages() (v6.1).
    """
    if where.many:
        return _alloc_pages_preferred_many(kernel, task, gfp, where, want, order)
    context = AllocContext(kernel, task, gfp, where, order)
    context.nodemask = _fast_nodemask(context)
    page = get_page_from_freelist(context, Wmark.LOW, want)
    if page is None:
        return _slowpath(context, want)
    if page[0].reclaim_active:
        _spend(context, page[1])
    return page


def _spend(context: AllocContext, n: int) -> None:
    """The time that `n` pages take goes by now and not at the end of a batch: reclaim runs beside the allocator."""
    context.kernel.clock.advance(n * context.kernel.machine.latency.fault_ns << context.order)


def _alloc_pages_preferred_many(
    kernel: Kernel, task: Task | None, gfp: Gfp, where: Placement, want: int, order: int
) -> tuple[Zone, int]:
    """mm/mempolicy.c:alloc_pages_preferred_many() (v6.1)."""
    try:
        first = Placement(where.nid, where.nodemask)
        return alloc_pages(kernel, task, gfp.without(Gfp.DIRECT_RECLAIM | Gfp.NOFAIL) | Gfp.NOWARN, first, want, order)
    except OSError:
        return alloc_pages(kernel, task, gfp, Placement(where.nid), want, order)


def _fast_nodemask(context: AllocContext) -> Mask | None:
    """The fast path takes mems_allowed for the nodemask of a task without a policy (prepare_alloc_pages)."""
    if context.where.nodemask is not None or context.task is None:
        return context.where.nodemask
    return context.task.mems_allowed


def get_page_from_freelist(context: AllocContext, mark: Wmark, want: int, slack: int = 0) -> tuple[Zone, int] | None:
    """Walk the zonelist for a zone that is above its watermark, and take up to `want` blocks of it.

    `slack` divides what must stay free below MIN, for those who may use the reserve.
    mm/page_alloc.c:get_page_from_freelist() (v6.1).
    """
    kernel, order, highest, nodemask = context.kernel, context.order, context.highest, context.nodemask
    context.preferred = None
    for zone in context.zonelist:
        if zone.index > highest or (nodemask is not None and not nodemask >> zone.pgdat.nid & 1):
            continue
        if context.preferred is None:
            context.preferred = zone
        if not context.allows(zone) or (context.spread_dirty and not _node_dirty_ok(kernel, zone.pgdat)):
            continue
        level = zone.watermark[mark] + zone.watermark_boost
        if slack:
            level -= level * slack // 8
        need = level + zone.lowmem_reserve[highest]
        room = _room(zone, order, need)
        if not room and kernel.vm.zone_reclaim_mode & 7:
            tried = _node_reclaim(context, zone)
            if tried in (vmscan.NodeReclaim.SOME, vmscan.NodeReclaim.SUCCESS):
                room = _room(zone, order, need)
                want = want if room else 1  # the next page looks here again
        if room:
            n = min(room, want, SLOW_BATCH if zone.reclaim_active else want)
            rmqueue(kernel, zone, n, order, need)
            _zone_statistics(context, zone, n)
            return zone, n
    return None


def _node_dirty_ok(kernel: Kernel, pgdat: Pgdat) -> bool:
    from .page_writeback import node_dirty_ok

    return node_dirty_ok(kernel, pgdat)


def _node_reclaim(context: AllocContext, zone: Zone) -> vmscan.NodeReclaim:
    """node_reclaim() on the node of `zone` unless it is far from the preferred one (zone_allows_reclaim)."""
    assert context.preferred is not None
    pgdat = zone.pgdat
    if context.preferred.pgdat.distance[pgdat.nid] > NODE_RECLAIM_DISTANCE:
        return vmscan.NodeReclaim.NOSCAN
    return vmscan.node_reclaim(context.kernel, context.task, pgdat, context.gfp, context.order)


def _room(zone: Zone, order: int, need: int) -> int:
    """How many blocks of 2**order pages can be taken one by one, each time finding more than `need` free."""
    above = zone.stat[NR_FREE_PAGES] - need
    if order:
        above -= (1 << order) - 1
        return max(0, (above + (1 << order) - 1) >> order)
    if above <= 0:
        return 0
    return int(zone.used[PCP]) + above


def rmqueue(kernel: Kernel, zone: Zone, n: int, order: int, need: int) -> None:
    """Take `n` blocks of 2**order pages; those of order 0 by way of the per-CPU list.

    Simplified: the last refill of the list stops at the watermark, `need`, and not a part of a batch below it: on
    average the lag of the kernel's free-page counter makes up for that.
    """
    pages = n << order
    kernel.events.pgalloc[zone.index] += pages
    taken = pages
    if not order:
        have = zone.used[PCP]
        batch = zone.pcp_batch
        taken = min(-((have - n) // batch) * batch, zone.stat[NR_FREE_PAGES] - need) if n > have else 0
        zone.used[PCP] = have + taken - n
        zone.pcp_free_factor >>= 1
    zone.stat[NR_FREE_PAGES] -= taken


def _zone_statistics(context: AllocContext, zone: Zone, n: int) -> None:
    """Count `n` blocks in the NUMA events of the zone they came from and of the preferred one.

    mm/page_alloc.c:zone_statistics() (v6.1).
    """
    kernel, preferred = context.kernel, context.preferred
    if preferred is None or not kernel.vm.numa_stat:
        return
    nid = zone.pgdat.nid
    numa = zone.numa
    if nid == preferred.pgdat.nid:
        numa[NumaStat.NUMA_HIT] += n
    else:
        numa[NumaStat.NUMA_MISS] += n
        preferred.numa[NumaStat.NUMA_FOREIGN] += n
    numa[NumaStat.NUMA_LOCAL if nid == context.local else NumaStat.NUMA_OTHER] += n
    if context.where.interleave and nid == context.where.nid:
        numa[NumaStat.NUMA_INTERLEAVE] += n


def free_pages(kernel: Kernel, zone: Zone, n: int, order: int = 0) -> None:
    """Give `n` blocks of 2**order pages back to `zone` (free_unref_page and __free_pages)."""
    pages = n << order
    kernel.events.inc(VmEvent.PGFREE, pages)
    if order:
        mod_zone_page_state(zone, ZoneStat.NR_FREE_PAGES, pages)
        return
    free_unref_pages(zone, pages)


def free_unref_pages(zone: Zone, n: int) -> None:
    """Free `n` pages by way of the per-CPU list, which spills into the zone whenever it reaches its limit.

    mm/page_alloc.c:free_unref_page_commit(), nr_pcp_free() (v6.1).
    """
    count, batch = zone.used[PCP], zone.pcp_batch
    high = min(batch << 2, zone.pcp_high) if zone.reclaim_active else zone.pcp_high
    spilled = 0
    while n and count + n >= high:
        n -= max(0, high - count)
        count = max(count, high)
        give = batch << zone.pcp_free_factor
        most = max(high - batch, 1)
        if give < most:
            zone.pcp_free_factor += 1
        give = min(max(give, batch), most)
        if give == most and n > most:  # from here on every `most` pages spill as many
            rounds = n // most
            spilled += rounds * most
            n -= rounds * most
        count -= give
        spilled += give
    zone.used[PCP] = count + n
    mod_zone_page_state(zone, ZoneStat.NR_FREE_PAGES, spilled)


def drain_all_pages(zones: list[Zone]) -> None:
    """Empty the per-CPU lists of these zones."""
    for zone in zones:
        mod_zone_page_state(zone, ZoneStat.NR_FREE_PAGES, zone.used[PCP])
        zone.used[PCP] = 0


# ---------------------------------------------------------------- the slow path


def _slowpath(context: AllocContext, want: int) -> tuple[Zone, int]:
    """LOW failed everywhere: wake kswapd, use the reserve down to MIN, reclaim, kill.

    mm/page_alloc.c:__alloc_pages_slowpath() (v6.1).
    """
    task, gfp, order = context.task, context.gfp, context.order
    if task is not None and task.killed:
        raise TaskKilled(task)
    context.nodemask = context.where.nodemask
    context.hardwall = False
    context.spread_dirty = False
    want = min(want, SLOW_BATCH)
    no_progress_loops = 0
    while True:
        _wake_all_kswapds(context)
        page = _from_reserve(context, want)
        if page:
            _spend(context, page[1])
            return page
        if not gfp & Gfp.DIRECT_RECLAIM or (task is not None and task.reclaiming):
            raise _failure(context)
        page, progress = _direct_reclaim(context, want)
        if page:
            return page
        if gfp & Gfp.NORETRY or (order > PAGE_ALLOC_COSTLY_ORDER and not gfp & Gfp.RETRY_MAYFAIL):
            raise _failure(context)
        no_progress_loops = 0 if progress and order <= PAGE_ALLOC_COSTLY_ORDER else no_progress_loops + 1
        if _should_reclaim_retry(context, no_progress_loops):
            continue
        if _may_oom(context):
            no_progress_loops = 0
        elif not gfp & Gfp.NOFAIL:
            raise _failure(context)


def _failure(context: AllocContext) -> OSError:
    from .show_mem import warn_alloc

    warn_alloc(context.kernel, context.task, context.gfp, context.where.nodemask, context.order)
    return ENOMEM(f"no block of order {context.order} for a request preferring node {context.where.nid}")


def _from_reserve(context: AllocContext, want: int) -> tuple[Zone, int] | None:
    """A walk down to MIN, or as far below as the request may go (gfp_to_alloc_flags, __zone_watermark_ok)."""
    slack = 0
    if context.gfp & Gfp.HIGH:
        slack = 4 if context.gfp & Gfp.DIRECT_RECLAIM else 5
    return get_page_from_freelist(context, Wmark.MIN, want, slack)


def _wake_all_kswapds(context: AllocContext) -> None:
    if not context.gfp & Gfp.KSWAPD_RECLAIM:
        return
    last = None
    for zone in context.zones():
        if zone.pgdat is not last and context.allows(zone):
            last = zone.pgdat
            vmscan.wakeup_kswapd(context.kernel, last, context.order, context.highest)


def _direct_reclaim(context: AllocContext, want: int) -> tuple[tuple[Zone, int] | None, int]:
    """Reclaim on behalf of the request and try again; what came of it, and the pages reclaimed.

    mm/page_alloc.c:__alloc_pages_direct_reclaim() (v6.1).
    """
    zones = [zone for zone in context.zones() if context.allows(zone)]
    progress = vmscan.try_to_free_pages(context.kernel, context.task, context.gfp, zones, context.order)
    if not progress:
        return None, 0
    page = _from_reserve(context, want)
    if page is None:
        context.kernel.clock.advance(DRAIN_NS)
        drain_all_pages(zones)
        page = _from_reserve(context, want)
    return page, progress


def zone_reclaimable_pages(kernel: Kernel, zone: Zone) -> int:
    """Pages of `zone` on the lists that reclaim could free."""
    stat = zone.stat
    pages = stat[ZoneStat.NR_ZONE_INACTIVE_FILE] + stat[ZoneStat.NR_ZONE_ACTIVE_FILE]
    if vmscan.can_reclaim_anon_pages(kernel, zone.pgdat):
        pages += stat[ZoneStat.NR_ZONE_INACTIVE_ANON] + stat[ZoneStat.NR_ZONE_ACTIVE_ANON]
    return pages


def _should_reclaim_retry(context: AllocContext, no_progress_loops: int) -> bool:
    """Would some zone reach MIN if all that is reclaimable in it were free?"""
    if no_progress_loops > MAX_RECLAIM_RETRIES:
        return False
    for zone in context.zones():
        available = zone_reclaimable_pages(context.kernel, zone) + zone.stat[NR_FREE_PAGES]
        need = zone.watermark[Wmark.MIN] + zone.lowmem_reserve[context.highest] + (1 << context.order) - 1
        if available > need:
            return True
    return False


def _may_oom(context: AllocContext) -> bool:
    """Kill something, if the request is one that may; raises TaskKilled if it was the caller.

    mm/page_alloc.c:__alloc_pages_may_oom() (v6.1).
    """
    kernel, task, gfp = context.kernel, context.task, context.gfp
    if context.order > PAGE_ALLOC_COSTLY_ORDER or gfp & (Gfp.RETRY_MAYFAIL | Gfp.THISNODE):
        return False
    if context.highest < gfp_zone(kernel, Gfp(0)):
        return False
    from . import oom_kill

    killed = oom_kill.out_of_memory(kernel, task, gfp, context.where, context.order)
    if task is not None and task.killed:
        raise TaskKilled(task)
    return killed
