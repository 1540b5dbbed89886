# SPDX-License-Identifier: MIT
"""NUMA balancing: is a page worth moving? By who uses it and, in slow memory, by how hot it is.

kernel/sched/fair.c:should_numa_migrate_memory() and what it asks (v6.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .memory_tiers import node_is_toptier
from .mmzone import Wmark
from .numa_balancing import (
    CPUPID_UNSET,
    NUMA_BALANCING_MEMORY_TIERING,
    NUMA_NO_NODE,
    PID_BITS,
    cpu_pid_to_cpupid,
    cpupid_match_pid,
    cpupid_of,
    now_ms,
    set_cpupid,
)
from .numa_scan import ACCESS_TIME_MASK
from .page import HPAGE_PMD_NR, PG
from .vmstat import NodeStat, mod_node_page_state
from .watermarks import zone_watermark_ok

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task
    from .mmzone import Pgdat
    from .page import Run

__all__ = ["reset_memory_tiering", "should_numa_migrate_memory"]

NUMA_MIGRATION_ADJUST_STEPS = 16
ACTIVE_NODE_FRACTION = 3
GIB = 1 << 30


def should_numa_migrate_memory(kernel: Kernel, task: Task, run: Run) -> int:
    """`task` took a hint fault on each page of `run`: how many of them are worth moving to it (v6.1)?"""
    source, node = run.zone.pgdat.nid, kernel.cpu_to_node[task.cpu]
    tiering = kernel.vm.numa_balancing & NUMA_BALANCING_MEMORY_TIERING
    if tiering and not node_is_toptier(kernel, source):
        return _should_promote(kernel, run, kernel.nodes[node])
    last = set_cpupid(run, cpu_pid_to_cpupid(task.cpu, task.pid))
    if not tiering and not node_is_toptier(kernel, source) and not _cpupid_valid(kernel, last):
        return 0
    numa = task.numa
    unset = last == CPUPID_UNSET
    mine = cpupid_match_pid(task, last)
    if (numa.preferred_nid == NUMA_NO_NODE or numa.scan_seq <= 4) and (unset or mine):
        return run.n
    # Two faults from one node in a row tell of more than chance.
    if not unset and not (_cpupid_valid(kernel, last) and kernel.cpu_to_node[last >> PID_BITS] == node):
        return 0
    return run.n if mine or _group_favours(task, source, node) else 0


def _cpupid_valid(kernel: Kernel, cpupid: int) -> bool:
    """Is it one, and no time of a scan in tiering mode?"""
    return cpupid != CPUPID_UNSET and cpupid >> PID_BITS < len(kernel.cpu_to_node)


def _group_favours(task: Task, source: int, node: int) -> bool:
    """A page that others use too: does the group of tasks use `node` so much more than `source`?"""
    group = task.numa.group
    if group is None or group.cpu(node) > group.cpu(source) * ACTIVE_NODE_FRACTION:
        return True
    return group.cpu(node) * group.mem(source) * 3 > group.cpu(source) * group.mem(node) * 4


# ---------------------------------------------------------------- hot pages of slow memory


def _should_promote(kernel: Kernel, run: Run, pgdat: Pgdat) -> int:
    """Pages of slow memory move up if there is plenty of room, or if they were used soon after they were scanned."""
    if _pgdat_free_space_enough(kernel, pgdat):
        pgdat.nbp_threshold = 0
        return run.n
    default = kernel.numa_tunables.hot_threshold_ms
    limit = (kernel.vm.numa_balancing_promote_rate_limit_MBps << 20) // kernel.machine.page_size
    _adjust_threshold(kernel, pgdat, limit, default)
    now = now_ms(kernel) & ACCESS_TIME_MASK
    last = cpupid_of(run)
    set_cpupid(run, now)
    if (now - last) & ACCESS_TIME_MASK >= (pgdat.nbp_threshold or default):
        return 0
    return _rate_limit(kernel, pgdat, limit, run)


def _pgdat_free_space_enough(kernel: Kernel, pgdat: Pgdat) -> bool:
    """Is so much free that hot or not does not matter?"""
    enough = max(GIB // kernel.machine.page_size, pgdat.present >> 4)
    highest = kernel.machine.zone_types.index("Movable")
    return any(
        zone_watermark_ok(kernel, zone, 0, zone.watermark[Wmark.PROMO] + enough, highest)
        for zone in pgdat.populated_zones
    )


def _adjust_threshold(kernel: Kernel, pgdat: Pgdat, limit: int, default: int) -> None:
    """Once a minute: as many candidates as the limit lets through (numa_promotion_adjust_threshold)."""
    now, period = now_ms(kernel), kernel.numa_tunables.scan_period_max_ms
    if now - pgdat.nbp_threshold_start <= period:
        return
    pgdat.nbp_threshold_start = now
    wanted = limit * period // 1000
    candidates = pgdat.stat[NodeStat.PGPROMOTE_CANDIDATE]
    came = candidates - pgdat.nbp_threshold_nr_cand
    unit = default * 2 // NUMA_MIGRATION_ADJUST_STEPS
    threshold = pgdat.nbp_threshold or default
    if came > wanted * 11 // 10:
        threshold = max(threshold - unit, unit)
    elif came < wanted * 9 // 10:
        threshold = min(threshold + unit, default * 2)
    pgdat.nbp_threshold_nr_cand = candidates
    pgdat.nbp_threshold = threshold


def _rate_limit(kernel: Kernel, pgdat: Pgdat, limit: int, run: Run) -> int:
    """Count the pages as candidates; returns how many of them this second has room for (numa_promotion_rate_limit)."""
    candidates = pgdat.stat[NodeStat.PGPROMOTE_CANDIDATE]
    mod_node_page_state(pgdat, NodeStat.PGPROMOTE_CANDIDATE, run.n)
    now = now_ms(kernel)
    size = HPAGE_PMD_NR if run.flags & PG.THP else 1
    if now - pgdat.nbp_rate_start > 1000:
        pgdat.nbp_rate_start = now
        pgdat.nbp_rate_nr_cand = candidates + size
    room = limit - 1 - (candidates - pgdat.nbp_rate_nr_cand)
    return min(run.n, max(room, 0) // size * size)


def reset_memory_tiering(kernel: Kernel) -> None:
    """Tiering mode is switched on: thresholds begin anew. kernel/sched/core.c:reset_memory_tiering() (v6.1)."""
    for pgdat in kernel.online_nodes:
        pgdat.nbp_threshold = 0
        pgdat.nbp_threshold_nr_cand = pgdat.stat[NodeStat.PGPROMOTE_CANDIDATE]
        pgdat.nbp_threshold_start = now_ms(kernel)
