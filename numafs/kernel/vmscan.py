# SPDX-License-Identifier: MIT
"""Page reclaim: how much is scanned of which list, by kswapd, by allocators, and by node reclaim.

mm/vmscan.c (v6.1). What becomes of the pages at the ends of the lists is in `shrink_list`.

Simplified: kswapd works in passes; what a pass frees is free when the pass begins, and the next one begins
when the pages it looked at have cost their time.
Simplified: a node has one set of lists, for all memory cgroups (memcg_vmscan). Reclaim for compaction
(should_continue_reclaim) and throttling by congestion do not exist.
"""

from __future__ import annotations

from enum import IntEnum
from math import isqrt
from typing import TYPE_CHECKING

from . import page_alloc, shrinker, swap
from .gfp import Gfp, gfp_zone
from .mmzone import Lru, Wmark
from .numa_balancing import NUMA_BALANCING_MEMORY_TIERING
from .shrink_list import (
    DEF_PRIORITY,
    SWAP_CLUSTER_MAX,
    ScanControl,
    can_demote,
    reclaim_folio_list,
    shrink_active_list,
    shrink_inactive_list,
)
from .vmstat import NodeStat, VmEvent

if TYPE_CHECKING:
    from .clock import Event
    from .kernel import Kernel
    from .mm import Task
    from .mmzone import Pgdat, Zone
    from .page import Run

__all__ = [
    "MAX_RECLAIM_RETRIES", "Kswapd", "NodeReclaim", "can_reclaim_anon_pages", "cost_ns", "inactive_is_low",
    "node_reclaim", "node_reclaimable", "pgdat_balanced", "reclaim_runs", "shrink_node",
    "try_to_free_pages", "wakeup_kswapd",
]

MAX_RECLAIM_RETRIES = 16
NODE_RECLAIM_PRIORITY = 4
RECLAIM_WRITE = 2
RECLAIM_UNMAP = 4
SWAPPINESS_ANON_ONLY = 201
"""Of proactive reclaim: anonymous memory and nothing else."""
WAKE_LATENCY_NS = 20_000
"""From waking kswapd until it runs."""
NAP_NS = 100_000_000
"""kswapd's nap before it sleeps fully: HZ/10."""
PASS_NS = 2_000
"""A pass of kswapd that finds nothing takes this."""

INACTIVE_ANON = int(Lru.INACTIVE_ANON)
ACTIVE_ANON = int(Lru.ACTIVE_ANON)
INACTIVE_FILE = int(Lru.INACTIVE_FILE)
ACTIVE_FILE = int(Lru.ACTIVE_FILE)


class NodeReclaim(IntEnum):
    """What node_reclaim() achieved (mm/internal.h)."""

    NOSCAN = -2
    FULL = -1
    SOME = 0
    SUCCESS = 1


class Kswapd:
    """The kswapd of a node: asleep (no event), napping, or running."""

    def __init__(self, kernel: Kernel, pgdat: Pgdat) -> None:
        self.kernel = kernel
        self.pgdat = pgdat
        self.order = 0
        self.highest = 0
        self.running = False
        self.napping: Event | None = None
        self.sc: ScanControl | None = None

    def wake(self) -> None:
        """It will run soon; a nap ends early."""
        if self.napping:
            self.napping.cancel()
            self.napping = None
            self.kernel.events.inc(VmEvent.KSWAPD_LOW_WMARK_HIT_QUICKLY)
        self.running = True
        self.kernel.clock.after(WAKE_LATENCY_NS, f"kswapd{self.pgdat.nid}", self.balance_pgdat)

    def balance_pgdat(self) -> None:
        """Begin a run. mm/vmscan.c:balance_pgdat() (v6.1)."""
        self.running = True
        self.kernel.events.inc(VmEvent.PAGEOUTRUN)
        for zone in self.pgdat.populated_zones:
            zone.reclaim_active = zone.index <= self.highest
        sc = ScanControl(0, self.highest, kswapd=True)
        sc.order = self.order
        sc.nr_to_reclaim = sum(
            max(zone.watermark[Wmark.HIGH], SWAP_CLUSTER_MAX)
            for zone in self.pgdat.populated_zones if zone.index <= self.highest
        )
        self.sc = sc
        self.run_pass()

    def run_pass(self) -> None:
        """One pass over the lists, unless the node is balanced."""
        kernel, pgdat, sc = self.kernel, self.pgdat, self.sc
        assert sc is not None
        if pgdat_balanced(kernel, pgdat, sc.order, sc.reclaim_idx):
            self.end_run()
            return
        sc.may_writepage = not kernel.vm.laptop_mode or sc.priority < DEF_PRIORITY - 2
        _age_active_anon(kernel, pgdat, sc)
        sc.nr_scanned = sc.written = 0
        before = sc.nr_reclaimed
        shrink_node(kernel, pgdat, sc)
        if sc.nr_scanned < sc.nr_to_reclaim or sc.nr_reclaimed == before:
            sc.priority -= 1
        delay = max(PASS_NS, cost_ns(kernel, sc))
        after = self.run_pass if sc.priority >= 1 else self.end_run
        kernel.clock.after(delay, f"kswapd{pgdat.nid}", after)

    def end_run(self) -> None:
        """Balanced, or at the end of its priorities: try to sleep. mm/vmscan.c:kswapd_try_to_sleep() (v6.1)."""
        kernel, pgdat, sc = self.kernel, self.pgdat, self.sc
        assert sc is not None
        if not sc.nr_reclaimed and sc.priority < 1:
            pgdat.kswapd_failures += 1
        for zone in pgdat.populated_zones:
            zone.reclaim_active = False
        _snapshot_refaults(pgdat)
        self.running = False
        self.sc = None
        if self.may_sleep():
            self.napping = kernel.clock.after(NAP_NS, f"kswapd{pgdat.nid} naps", self.end_nap)
        else:
            self.run_again()

    def may_sleep(self) -> bool:
        """mm/vmscan.c:prepare_kswapd_sleep() (v6.1)."""
        hopeless = self.pgdat.kswapd_failures >= MAX_RECLAIM_RETRIES
        return hopeless or pgdat_balanced(self.kernel, self.pgdat, self.order, self.highest)

    def end_nap(self) -> None:
        """Sleep fully, unless the watermark went by in the meantime."""
        self.napping = None
        if self.may_sleep():
            self.order = self.highest = 0
        else:
            self.run_again()

    def run_again(self) -> None:
        """The high watermark did not last."""
        self.kernel.events.inc(VmEvent.KSWAPD_HIGH_WMARK_HIT_QUICKLY)
        self.running = True
        self.kernel.clock.after(PASS_NS, f"kswapd{self.pgdat.nid}", self.balance_pgdat)


def wakeup_kswapd(kernel: Kernel, pgdat: Pgdat, order: int, highest: int) -> None:
    """Wake the node's kswapd unless it runs, the node is balanced, or nothing helps it (mm/vmscan.c, v6.1)."""
    kswapd = pgdat.kswapd
    if kswapd is None:
        kswapd = pgdat.kswapd = Kswapd(kernel, pgdat)
    kswapd.highest = max(kswapd.highest, highest)
    kswapd.order = max(kswapd.order, order)
    if kswapd.running or pgdat.kswapd_failures >= MAX_RECLAIM_RETRIES or pgdat_balanced(kernel, pgdat, order, highest):
        return
    kswapd.wake()


def pgdat_balanced(kernel: Kernel, pgdat: Pgdat, order: int, highest: int) -> bool:
    """Is any zone that the request may use above its high watermark? With promotion, above one higher still."""
    need = (1 << order) - 1
    mark = Wmark.PROMO if kernel.vm.numa_balancing & NUMA_BALANCING_MEMORY_TIERING else Wmark.HIGH
    return any(
        zone.stat[0] - need > zone.watermark[mark] + zone.lowmem_reserve[highest]
        for zone in pgdat.zones if zone.managed and zone.index <= highest
    )


def cost_ns(kernel: Kernel, sc: ScanControl) -> int:
    """Time for what was looked at and written."""
    latency = kernel.machine.latency
    ns = sc.nr_scanned * latency.reclaim_page_ns
    if sc.written:
        rate = min((disk.write_mb_s for disk in kernel.machine.disks), default=1000)
        ns += sc.written * kernel.machine.page_size * 1000 // rate
    return ns


# ---------------------------------------------------------------- direct reclaim


def try_to_free_pages(kernel: Kernel, task: Task | None, gfp: Gfp, zones: list[Zone], order: int) -> int:
    """Direct reclaim in the nodes of these zones, for an allocation that found nothing; returns the pages freed.

    mm/vmscan.c:try_to_free_pages(), do_try_to_free_pages() (v6.1), and what __perform_reclaim() adds.
    """
    sc = ScanControl(SWAP_CLUSTER_MAX, gfp_zone(kernel, gfp), task=task)
    sc.gfp, sc.order = gfp, order
    sc.may_writepage = not kernel.vm.laptop_mode
    pgdats = list({zone.pgdat.nid: zone.pgdat for zone in zones}.values())
    if task is not None:
        from .cpuset import memory_pressure_bump

        memory_pressure_bump(kernel, task)
        task.reclaiming = True
    try:
        _throttle_direct_reclaim(kernel, pgdats)
        _do_try_to_free_pages(kernel, pgdats, sc)
        if not sc.nr_reclaimed and sc.skipped_deactivate:
            sc.priority, sc.force_deactivate, sc.skipped_deactivate = DEF_PRIORITY, True, False
            _do_try_to_free_pages(kernel, pgdats, sc)
    finally:
        if task is not None:
            task.reclaiming = False
    return sc.nr_reclaimed


def _do_try_to_free_pages(kernel: Kernel, pgdats: list[Pgdat], sc: ScanControl) -> None:
    kernel.events.allocstall[sc.reclaim_idx] += 1
    while sc.priority >= 0:
        sc.nr_scanned = sc.written = 0
        for pgdat in pgdats:
            shrink_node(kernel, pgdat, sc)
        kernel.clock.advance(cost_ns(kernel, sc))
        if sc.nr_reclaimed >= sc.nr_to_reclaim:
            break
        if sc.priority < DEF_PRIORITY - 2:
            sc.may_writepage = True
        sc.priority -= 1
    for pgdat in pgdats:
        _snapshot_refaults(pgdat)


def _throttle_direct_reclaim(kernel: Kernel, pgdats: list[Pgdat]) -> None:
    """Below half of its min watermarks a node is left to kswapd for a moment (mm/vmscan.c, v6.1)."""
    if not pgdats or _allow_direct_reclaim(kernel, pgdats[0]):
        return
    kernel.events.inc(VmEvent.PGSCAN_DIRECT_THROTTLE)
    normal = gfp_zone(kernel, Gfp(0))
    wakeup_kswapd(kernel, pgdats[0], 0, normal)
    for _ in range(DEF_PRIORITY):
        kernel.clock.advance(WAKE_LATENCY_NS)
        if _allow_direct_reclaim(kernel, pgdats[0]):
            return


def _allow_direct_reclaim(kernel: Kernel, pgdat: Pgdat) -> bool:
    if pgdat.kswapd_failures >= MAX_RECLAIM_RETRIES:
        return True
    normal = gfp_zone(kernel, Gfp(0))
    zones = [z for z in pgdat.zones[: normal + 1] if z.managed and page_alloc.zone_reclaimable_pages(kernel, z)]
    reserve = sum(zone.watermark[Wmark.MIN] for zone in zones)
    return not reserve or sum(zone.stat[0] for zone in zones) > reserve // 2


# ---------------------------------------------------------------- node reclaim


def node_reclaim(kernel: Kernel, task: Task | None, pgdat: Pgdat, gfp: Gfp, order: int) -> NodeReclaim:
    """zone_reclaim_mode: free page cache of the node itself before memory is taken from the next one.

    mm/vmscan.c:node_reclaim(), __node_reclaim() (v6.1); with the feature zone_reclaim_interval, the pause
    that Linux 2.6.16 made after an attempt that freed nothing.
    """
    if _pauses(kernel, pgdat):
        return NodeReclaim.NOSCAN
    if not node_reclaimable(kernel, pgdat):
        return NodeReclaim.FULL
    if not gfp & Gfp.DIRECT_RECLAIM or (task is not None and task.reclaiming):
        return NodeReclaim.NOSCAN
    if pgdat.cpus_present & kernel.cpu_online and task is not None and kernel.cpu_to_node[task.cpu] != pgdat.nid:
        return NodeReclaim.NOSCAN
    if pgdat.reclaim_locked:
        return NodeReclaim.NOSCAN
    pgdat.reclaim_locked = True
    try:
        reclaimed = _node_reclaim(kernel, task, pgdat, gfp, order)
    finally:
        pgdat.reclaim_locked = False
    if not reclaimed:
        pgdat.node_reclaim_failed_at = kernel.clock.now
    if reclaimed >= 1 << order:
        kernel.events.inc(VmEvent.ZONE_RECLAIM_SUCCESS)
        return NodeReclaim.SUCCESS
    kernel.events.inc(VmEvent.ZONE_RECLAIM_FAILED)
    return NodeReclaim.SOME


def _pauses(kernel: Kernel, pgdat: Pgdat) -> bool:
    """Did an attempt fail so short a time ago that the next one waits (zone_reclaim_interval)?

    Simplified: the pause is the node's, where Linux 2.6.16 kept one for each of its zones.
    """
    if pgdat.node_reclaim_failed_at is None or not kernel.has("zone_reclaim_interval"):
        return False
    return kernel.clock.now < pgdat.node_reclaim_failed_at + kernel.vm.zone_reclaim_interval * 1_000_000_000


def node_reclaimable(kernel: Kernel, pgdat: Pgdat) -> bool:
    """Is there more page cache, or more slab, than node reclaim is to leave alone?"""
    stat, mode = pgdat.stat, kernel.vm.zone_reclaim_mode
    if mode & RECLAIM_UNMAP:
        cache = stat[NodeStat.NR_FILE_PAGES]
    else:
        cache = stat[NodeStat.NR_ACTIVE_FILE] + stat[NodeStat.NR_INACTIVE_FILE] - stat[NodeStat.NR_MAPPED]
    if not mode & RECLAIM_WRITE:
        cache -= stat[NodeStat.NR_DIRTY]
    return cache > pgdat.min_unmapped_pages or stat[NodeStat.NR_SLAB_RECLAIMABLE] > pgdat.min_slab_pages


def _node_reclaim(kernel: Kernel, task: Task | None, pgdat: Pgdat, gfp: Gfp, order: int) -> int:
    mode = kernel.vm.zone_reclaim_mode
    sc = ScanControl(max(1 << order, SWAP_CLUSTER_MAX), gfp_zone(kernel, gfp), task=task)
    sc.gfp, sc.order = gfp, order
    sc.priority = NODE_RECLAIM_PRIORITY
    sc.may_writepage = bool(mode & RECLAIM_WRITE)
    sc.may_unmap = bool(mode & RECLAIM_UNMAP)
    if task is not None:
        task.reclaiming = True
    try:
        while sc.priority >= 0:
            shrink_node(kernel, pgdat, sc)
            if sc.nr_reclaimed >= 1 << order:
                break
            sc.priority -= 1
    finally:
        if task is not None:
            task.reclaiming = False
    kernel.clock.advance(cost_ns(kernel, sc))
    return sc.nr_reclaimed


# ---------------------------------------------------------------- one node


def shrink_node(kernel: Kernel, pgdat: Pgdat, sc: ScanControl) -> None:
    """Shrink the lists and the slabs of a node, once, at the priority of `sc` (mm/vmscan.c, v6.1)."""
    before = sc.nr_reclaimed
    sc.clear_counts()
    _prepare_scan_count(pgdat, sc)
    shrink_lruvec(kernel, pgdat, sc)
    sc.nr_reclaimed += shrinker.shrink_slab(kernel, sc.task, pgdat, sc.priority)
    if sc.kswapd and sc.writeback and sc.writeback == sc.taken:
        pgdat.writeback_congested = True
    if sc.nr_reclaimed > before:
        pgdat.kswapd_failures = 0
        pgdat.writeback_congested = False


def _prepare_scan_count(pgdat: Pgdat, sc: ScanControl) -> None:
    """Which types may be deactivated, and whether the cache is large or tiny (mm/vmscan.c, v6.1)."""
    stat = pgdat.stat
    sc.anon_cost, sc.file_cost = pgdat.anon_cost, pgdat.file_cost
    changed_anon = stat[NodeStat.WORKINGSET_ACTIVATE_ANON] != pgdat.refaults[0]
    changed_file = stat[NodeStat.WORKINGSET_ACTIVATE_FILE] != pgdat.refaults[1]
    anon = sc.force_deactivate or changed_anon or inactive_is_low(pgdat, INACTIVE_ANON)
    file = sc.force_deactivate or changed_file or inactive_is_low(pgdat, INACTIVE_FILE)
    sc.may_deactivate = [anon, file]
    lru = pgdat.lru
    inactive_file = lru[INACTIVE_FILE].size
    sc.cache_trim_mode = bool(inactive_file >> sc.priority) and not file
    if anon or not lru[INACTIVE_ANON].size >> sc.priority:
        sc.file_is_tiny = False
        return
    high = sum(zone.watermark[Wmark.HIGH] for zone in pgdat.zones)
    sc.file_is_tiny = inactive_file + lru[ACTIVE_FILE].size + pgdat.free <= high


def inactive_is_low(pgdat: Pgdat, inactive: int) -> bool:
    """Is the inactive list short beside the active one? The larger both are, the shorter it may be."""
    inactive_size, active_size = pgdat.lru[inactive].size, pgdat.lru[inactive + 1].size
    gb = (inactive_size + active_size) >> 18
    return inactive_size * (isqrt(10 * gb) if gb else 1) < active_size


def can_reclaim_anon_pages(kernel: Kernel, pgdat: Pgdat, sc: ScanControl | None = None) -> bool:
    """Is there swap space left, or slower memory to demote to?"""
    return swap.nr_swap_pages(kernel) > 0 or can_demote(kernel, pgdat, sc)


def can_age_anon_pages(kernel: Kernel, pgdat: Pgdat, sc: ScanControl) -> bool:
    """Is there any use in keeping the inactive anonymous list filled?"""
    return bool(kernel.swap_areas) or can_demote(kernel, pgdat, sc)


def _get_scan_count(kernel: Kernel, pgdat: Pgdat, sc: ScanControl) -> list[int]:
    """Pages to scan of each list (mm/vmscan.c:get_scan_count(), v6.1)."""
    swappiness = kernel.vm.swappiness if sc.swappiness is None else sc.swappiness
    fraction = [1, 1]
    if not sc.may_swap or not can_reclaim_anon_pages(kernel, pgdat, sc):
        fraction = [0, 1]
    elif swappiness == SWAPPINESS_ANON_ONLY:
        fraction = [1, 0]
    elif not sc.priority and swappiness:
        pass
    elif sc.file_is_tiny:
        fraction = [1, 0]
    elif sc.cache_trim_mode:
        fraction = [0, 1]
    else:
        fraction = _fractions(swappiness, sc)
        total = sum(fraction)
        return [
            (_lru_size(pgdat, lru, sc.reclaim_idx) >> sc.priority) * fraction[lru >> 1] // total for lru in range(4)
        ]
    return [
        _lru_size(pgdat, lru, sc.reclaim_idx) >> sc.priority if fraction[lru >> 1] else 0 for lru in range(4)
    ]


def _fractions(swappiness: int, sc: ScanControl) -> list[int]:
    """The shares of anonymous and file pages, by swappiness and by what reclaim of either cost lately."""
    total = sc.anon_cost + sc.file_cost
    anon_cost, file_cost = total + sc.anon_cost, total + sc.file_cost
    total = anon_cost + file_cost
    return [swappiness * (total + 1) // (anon_cost + 1), (200 - swappiness) * (total + 1) // (file_cost + 1)]


def _lru_size(pgdat: Pgdat, lru: int, reclaim_idx: int) -> int:
    """Pages of a list in the zones up to an index."""
    for zone in pgdat.zones[reclaim_idx + 1 :]:
        if zone.managed:
            return sum(zone.stat[1 + lru] for zone in pgdat.zones[: reclaim_idx + 1])
    return pgdat.lru[lru].size


def shrink_lruvec(kernel: Kernel, pgdat: Pgdat, sc: ScanControl) -> None:
    """Scan the four lists in turn, a cluster at a time, until the goal or the targets are reached.

    mm/vmscan.c:shrink_lruvec() (v6.1).
    """
    nr = _get_scan_count(kernel, pgdat, sc)
    targets = nr[:]
    proportional = not sc.kswapd and sc.priority == DEF_PRIORITY
    reclaimed = 0
    while nr[INACTIVE_ANON] or nr[INACTIVE_FILE] or nr[ACTIVE_FILE]:
        goal = None if proportional else max(sc.nr_to_reclaim - reclaimed, 1)
        only = _only_list(nr, sc)
        if only is not None:  # nothing comes between the clusters of this list: all of it in one step
            reclaimed += _shrink_list(kernel, pgdat, only, nr[only], sc, goal)
            break
        for lru in range(4):
            if nr[lru]:
                scan = min(nr[lru], SWAP_CLUSTER_MAX)
                nr[lru] -= scan
                reclaimed += _shrink_list(kernel, pgdat, lru, scan, sc)
        if reclaimed >= sc.nr_to_reclaim and not proportional and not _trim_targets(nr, targets):
            break
    sc.nr_reclaimed += reclaimed
    if can_age_anon_pages(kernel, pgdat, sc) and inactive_is_low(pgdat, INACTIVE_ANON):
        shrink_active_list(kernel, pgdat, ACTIVE_ANON, SWAP_CLUSTER_MAX, sc)


def _only_list(nr: list[int], sc: ScanControl) -> int | None:
    """The list that alone is still to be scanned, if there is only one; active ones may have to be left alone."""
    for active in (ACTIVE_ANON, ACTIVE_FILE):
        if nr[active] and not sc.may_deactivate[active >> 1]:
            sc.skipped_deactivate = True
            nr[active] = 0
    wanted = [lru for lru in range(4) if nr[lru]]
    return wanted[0] if len(wanted) == 1 else None


def _trim_targets(nr: list[int], targets: list[int]) -> bool:
    """The goal is met: stop the smaller type, and let the larger get as far as the smaller got; False if none is left.

    Part of mm/vmscan.c:shrink_lruvec() (v6.1).
    """
    anon, file = nr[0] + nr[1], nr[2] + nr[3]
    if not anon or not file:
        return False
    smaller, larger = (0, 2) if file > anon else (2, 0)
    percentage = (nr[smaller] + nr[smaller + 1]) * 100 // (targets[smaller] + targets[smaller + 1] + 1)
    nr[smaller] = nr[smaller + 1] = 0
    for lru in (larger, larger + 1):
        scanned = targets[lru] - nr[lru]
        left = targets[lru] * (100 - percentage) // 100
        nr[lru] = left - min(left, scanned)
    return True


def _shrink_list(
    kernel: Kernel, pgdat: Pgdat, lru: int, nr_to_scan: int, sc: ScanControl, goal: int | None = None
) -> int:
    """One list, inactive or active; returns the pages freed."""
    if lru & 1:
        shrink_active_list(kernel, pgdat, lru, nr_to_scan, sc)
        return 0
    reclaimed = shrink_inactive_list(kernel, pgdat, lru, nr_to_scan, sc, goal)
    if sc.unqueued_dirty and sc.unqueued_dirty == sc.file_taken:
        from .page_writeback import wakeup_flusher_threads

        wakeup_flusher_threads(kernel)
    return reclaimed


def _age_active_anon(kernel: Kernel, pgdat: Pgdat, sc: ScanControl) -> None:
    """kswapd keeps the inactive anonymous list filled if there is somewhere to go from there."""
    if can_age_anon_pages(kernel, pgdat, sc) and inactive_is_low(pgdat, INACTIVE_ANON):
        shrink_active_list(kernel, pgdat, ACTIVE_ANON, SWAP_CLUSTER_MAX, sc)


def _snapshot_refaults(pgdat: Pgdat) -> None:
    """Remember how many refaults were activated, to see at the next reclaim whether there were more."""
    pgdat.refaults = [pgdat.stat[NodeStat.WORKINGSET_ACTIVATE_ANON], pgdat.stat[NodeStat.WORKINGSET_ACTIVATE_FILE]]


# ---------------------------------------------------------------- reclaim on request


def reclaim_runs(kernel: Kernel, runs: list[Run]) -> int:
    """Reclaim these pages now: MADV_PAGEOUT (mm/vmscan.c:reclaim_pages(), v6.1); returns how many were freed."""
    sc = ScanControl(0, len(kernel.machine.zone_types))
    sc.no_demotion = sc.keep_written = True
    freed = reclaim_folio_list(kernel, runs, sc)
    kernel.clock.advance(cost_ns(kernel, sc))
    return freed
