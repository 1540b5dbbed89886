# SPDX-License-Identifier: MIT
"""Reclaim: kswapd, direct reclaim, node reclaim, and what the lists look like afterwards."""

from __future__ import annotations

import pytest

from numafs.kernel import swap
from numafs.kernel.gfp import GFP_HIGHUSER_MOVABLE, GFP_KERNEL
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm_inline import change, move_to_list
from numafs.kernel.mmzone import Lru, PageUse, Pgdat, Wmark, Zone
from numafs.kernel.page import PG, Kind, Space
from numafs.kernel.page_alloc import Placement
from numafs.kernel.shrink_list import ScanControl
from numafs.kernel.vmscan import (
    NodeReclaim,
    inactive_is_low,
    node_reclaim,
    pgdat_balanced,
    reclaim_runs,
    shrink_node,
    try_to_free_pages,
    wakeup_kswapd,
)
from numafs.kernel.vmstat import NodeStat, NumaStat, VmEvent

from .machines import allocate_anon, anon_on, assert_conserved, read_file, small_kernel, task_on

SECOND = 1_000_000_000
NORMAL = 2


def zone_of(kernel: Kernel, nid: int) -> Zone:
    return kernel.nodes[nid].populated_zones[-1]


def filled(kernel: Kernel, nid: int = 0, leave: int = 0, nodes: int | None = None) -> Space:
    """A file read by a task of a node until `leave` pages are left there above its low watermark."""
    task, space, zone = task_on(kernel, nid), Space(Kind.FILE), zone_of(kernel, nid)
    read_file(kernel, task, space, 0, zone.free - zone.watermark[Wmark.LOW] - leave)
    return space


def runs_on(pgdat: Pgdat, lru: int) -> list[range]:
    return [run.indexes() for run in pgdat.lru[lru]]


# ---------------------------------------------------------------- kswapd


def test_kswapd_is_woken_when_every_allowed_node_is_low_and_stops_above_high():
    kernel = small_kernel(64, 64)
    filled(kernel, 0)
    allocate_anon(kernel, task_on(kernel, 0), 500, Placement(0, nodemask=0b01))
    kernel.clock.advance(SECOND)
    assert kernel.events[VmEvent.PAGEOUTRUN] >= 1
    assert kernel.events[VmEvent.PGSTEAL_KSWAPD] > 0
    assert pgdat_balanced(kernel, kernel.nodes[0], 0, 3)
    assert zone_of(kernel, 0).free < 2 * zone_of(kernel, 0).watermark[Wmark.HIGH]
    assert_conserved(kernel)


def test_a_node_below_low_lets_its_kswapd_sleep_while_others_have_memory():
    kernel = small_kernel(64, 64)
    filled(kernel, 0)
    allocate_anon(kernel, task_on(kernel, 0), 500, Placement(0))
    kernel.clock.advance(SECOND)
    assert kernel.events[VmEvent.PAGEOUTRUN] == 0


def test_a_slow_allocator_never_meets_direct_reclaim():
    kernel = small_kernel(256, 64)
    filled(kernel, 0)
    task = task_on(kernel, 0)
    for _ in range(40):
        allocate_anon(kernel, task, 100, Placement(0, nodemask=0b01))
        kernel.clock.advance(SECOND // 1000)
    assert kernel.events[VmEvent.PGSTEAL_KSWAPD] > 0
    assert kernel.events[VmEvent.PGSTEAL_DIRECT] == sum(kernel.events.allocstall) == 0


def test_a_fast_allocator_with_small_reserves_meets_direct_reclaim():
    kernel = small_kernel(256, 64)
    kernel.vm.set(kernel, "vm.min_free_kbytes", 128)
    kernel.vm.set(kernel, "vm.watermark_scale_factor", 1)
    filled(kernel, 0)
    allocate_anon(kernel, task_on(kernel, 0), 20000, Placement(0, nodemask=0b01))
    assert kernel.events.allocstall[3] > 0
    assert kernel.events[VmEvent.PGSTEAL_DIRECT] > 0


def test_raised_watermarks_wake_nobody_until_the_next_allocation():
    kernel = small_kernel(256)
    filled(kernel, 0, leave=500)
    kernel.vm.set(kernel, "vm.min_free_kbytes", 16384)
    kernel.clock.advance(SECOND)
    assert kernel.events[VmEvent.PAGEOUTRUN] == 0
    allocate_anon(kernel, task_on(kernel, 0), 1, Placement(0))
    kernel.clock.advance(SECOND)
    assert pgdat_balanced(kernel, kernel.nodes[0], 0, 3)


def test_a_node_where_nothing_can_be_reclaimed_becomes_hopeless():
    kernel = small_kernel(64, 64)
    task = task_on(kernel, 0)
    zone = zone_of(kernel, 0)
    allocate_anon(kernel, task, zone.free - zone.watermark[Wmark.LOW] + 20, Placement(0, nodemask=0b01))
    kernel.clock.advance(60 * SECOND)
    assert kernel.nodes[0].kswapd_failures == 16
    runs = kernel.events[VmEvent.PAGEOUTRUN]
    wakeup_kswapd(kernel, kernel.nodes[0], 0, 3)
    kernel.clock.advance(SECOND)
    assert kernel.events[VmEvent.PAGEOUTRUN] == runs


def test_a_nap_cut_short_is_counted_as_a_quick_hit_of_low():
    kernel = small_kernel(256)
    filled(kernel, 0)
    task = task_on(kernel, 0)
    allocate_anon(kernel, task, 100, Placement(0))
    kernel.clock.advance(SECOND // 20)
    allocate_anon(kernel, task, 2000, Placement(0))
    assert kernel.events[VmEvent.KSWAPD_LOW_WMARK_HIT_QUICKLY] >= 1


# ---------------------------------------------------------------- direct reclaim


def test_direct_reclaim_frees_a_cluster_of_the_oldest_pages_and_finishes_its_first_pass():
    kernel = small_kernel(512)
    filled(kernel, 0)
    freed = try_to_free_pages(kernel, task_on(kernel, 0), GFP_HIGHUSER_MOVABLE, [zone_of(kernel, 0)], 0)
    assert freed == kernel.events[VmEvent.PGSTEAL_DIRECT] == kernel.events[VmEvent.PGSCAN_DIRECT]
    assert 32 <= freed < 128
    assert runs_on(kernel.nodes[0], Lru.INACTIVE_FILE)[-1].start == freed
    assert kernel.events.allocstall[3] == 1


def test_a_task_that_reclaims_does_not_start_again():
    kernel = small_kernel(64)
    filled(kernel, 0)
    kernel.vm.zone_reclaim_mode = 1
    task = task_on(kernel, 0)
    task.reclaiming = True
    assert node_reclaim(kernel, task, kernel.nodes[0], GFP_HIGHUSER_MOVABLE, 0) == NodeReclaim.NOSCAN


# ---------------------------------------------------------------- node reclaim


@pytest.fixture
def full() -> Kernel:
    kernel = small_kernel(256, 64)
    filled(kernel, 0)
    return kernel


def test_node_reclaim_keeps_an_allocation_local_at_the_price_of_page_cache(full):
    full.vm.zone_reclaim_mode = 1
    vma = allocate_anon(full, task_on(full, 0), 10000, Placement(0))
    assert anon_on(vma, 1) < 10000 // 25
    assert full.events[VmEvent.PGSTEAL_DIRECT] == full.events[VmEvent.PGSCAN_DIRECT] > 9000
    assert full.events[VmEvent.PGSTEAL_DIRECT] % 32 == 0
    assert sum(full.events.allocstall) == full.events[VmEvent.PAGEOUTRUN] == 0
    assert_conserved(full)


def test_a_page_goes_abroad_for_each_call_whose_pages_stay_in_the_per_cpu_list(full):
    full.vm.zone_reclaim_mode = 1
    vma = allocate_anon(full, task_on(full, 0), 10000, Placement(0))
    calls = full.events[VmEvent.PGSTEAL_DIRECT] // 32
    assert 0.85 * calls <= anon_on(vma, 1) <= calls
    assert zone_of(full, 0).used[PageUse.PCP] < zone_of(full, 0).pcp_high


def test_mode_8_is_off_and_2_alone_is_on(full):
    task = task_on(full, 0)
    full.vm.zone_reclaim_mode = 8
    assert anon_on(allocate_anon(full, task, 1000, Placement(0)), 0) == 0
    full.vm.zone_reclaim_mode = 2
    assert anon_on(allocate_anon(full, task, 1000, Placement(0)), 0) > 900


def test_node_reclaim_stops_at_min_unmapped_ratio(full):
    full.vm.zone_reclaim_mode = 1
    full.vm.set(full, "vm.min_unmapped_ratio", 60)
    allocate_anon(full, task_on(full, 0), 40000, Placement(0))
    cache = full.nodes[0].stat[NodeStat.NR_FILE_PAGES]
    limit = full.nodes[0].managed * 60 // 100
    assert limit - 32 <= cache <= limit
    assert full.events[VmEvent.ZONE_RECLAIM_FAILED] == 0


def test_dirty_cache_does_not_open_the_gate_without_bit_2(full):
    for run in list(full.nodes[0].lru[Lru.INACTIVE_FILE]):
        change(run, set=PG.DIRTY)
    full.vm.zone_reclaim_mode = 1
    assert node_reclaim(full, task_on(full, 0), full.nodes[0], GFP_HIGHUSER_MOVABLE, 0) == NodeReclaim.FULL
    assert full.events[VmEvent.PGSCAN_DIRECT] == 0


def test_mapped_cache_opens_the_gate_only_with_bit_4(full):
    for run in list(full.nodes[0].lru[Lru.INACTIVE_FILE]):
        change(run, mapcount=1)
    task = task_on(full, 0)
    for mode, result in ((1, NodeReclaim.FULL), (3, NodeReclaim.FULL), (5, NodeReclaim.SUCCESS)):
        full.vm.zone_reclaim_mode = mode
        assert node_reclaim(full, task, full.nodes[0], GFP_HIGHUSER_MOVABLE, 0) == result


def test_a_node_with_cpus_is_reclaimed_by_its_own_cpus_only(full):
    full.vm.zone_reclaim_mode = 1
    assert node_reclaim(full, task_on(full, 1), full.nodes[0], GFP_HIGHUSER_MOVABLE, 0) == NodeReclaim.NOSCAN


def test_a_node_of_anonymous_memory_is_left_alone_whatever_the_mode():
    kernel = small_kernel(64, 64)
    swap.swapon(kernel, swap.SwapArea("/dev/sda", 10000))
    task, zone = task_on(kernel, 0), zone_of(kernel, 0)
    allocate_anon(kernel, task, zone.free - zone.watermark[Wmark.LOW], Placement(0))
    kernel.vm.zone_reclaim_mode = 7
    vma = allocate_anon(kernel, task, 1000, Placement(0))
    assert anon_on(vma, 1) == 1000
    assert kernel.events[VmEvent.ZONE_RECLAIM_FAILED] == kernel.events[VmEvent.PSWPOUT] == 0


def test_shared_memory_opens_the_gate_of_bit_4_in_vain_and_each_page_fails_anew():
    kernel = small_kernel(64, 64)
    space, zone = filled(kernel, 0), zone_of(kernel, 0)
    space.kind = Kind.SHMEM
    for run in list(kernel.nodes[0].lru[Lru.INACTIVE_FILE]):
        kernel.nodes[0].stat[NodeStat.NR_SHMEM] += run.n
        move_to_list(run, Lru.INACTIVE_ANON)
    kernel.vm.zone_reclaim_mode = 4
    vma = allocate_anon(kernel, task_on(kernel, 0), 100, Placement(0))
    assert anon_on(vma, 1) == kernel.events[VmEvent.ZONE_RECLAIM_FAILED] == 100
    assert zone.numa[NumaStat.NUMA_FOREIGN] == 100


def test_after_a_vain_attempt_the_old_interval_lets_a_node_rest():
    kernel = small_kernel(64, 64, zone_reclaim_interval=True)
    filled(kernel, 0)
    for run in list(kernel.nodes[0].lru[Lru.INACTIVE_FILE]):
        change(run, set=PG.WRITEBACK)
    kernel.vm.zone_reclaim_mode = 1
    task = task_on(kernel, 0)

    def attempt() -> NodeReclaim:
        return node_reclaim(kernel, task, kernel.nodes[0], GFP_HIGHUSER_MOVABLE, 0)

    assert attempt() == NodeReclaim.SOME
    assert attempt() == NodeReclaim.NOSCAN
    kernel.clock.advance(31 * SECOND)
    assert attempt() == NodeReclaim.SOME


# ---------------------------------------------------------------- the lists


def scan(kernel: Kernel, priority: int, goal: int, nid: int = 0) -> ScanControl:
    sc = ScanControl(goal, 3)
    sc.priority = priority
    shrink_node(kernel, kernel.nodes[nid], sc)
    return sc


def test_active_pages_are_left_alone_while_there_are_enough_inactive_ones():
    kernel = small_kernel(64)
    filled(kernel, 0)
    pgdat = kernel.nodes[0]
    oldest = pgdat.lru[Lru.INACTIVE_FILE].head.prev
    oldest.lane.space.cut(0, 1000)
    move_to_list(pgdat.lru[Lru.INACTIVE_FILE].head.prev, Lru.ACTIVE_FILE)
    scan(kernel, 2, 1 << 20)
    assert pgdat.lru[Lru.ACTIVE_FILE].size == 1000
    assert kernel.events[VmEvent.PGDEACTIVATE] == 0


def test_active_pages_become_inactive_when_they_outnumber_these():
    kernel = small_kernel(64)
    filled(kernel, 0)
    pgdat = kernel.nodes[0]
    move_to_list(pgdat.lru[Lru.INACTIVE_FILE].head.prev, Lru.ACTIVE_FILE)
    assert inactive_is_low(pgdat, Lru.INACTIVE_FILE)
    scan(kernel, 4, 32)
    assert kernel.events[VmEvent.PGDEACTIVATE] == kernel.events[VmEvent.PGREFILL] > 0
    assert all(run.flags & PG.WORKINGSET for run in pgdat.lru[Lru.INACTIVE_FILE])
    assert_conserved(kernel)


def test_referenced_clean_cache_is_reclaimed_and_young_mapped_cache_gets_another_round():
    kernel = small_kernel(64)
    space = filled(kernel, 0)
    first, second = space.cut(0, 64)[0], space.cut(64, 128)[0]
    change(first, set=PG.REFERENCED)
    change(second, set=PG.YOUNG, mapcount=1)
    scan(kernel, 0, 160)
    assert [run.resident for run in space.cut(0, 64)] == [False]
    (kept,) = (run for run in space.cut(64, 128) if run.resident)
    assert kept.flags & PG.REFERENCED
    assert not kept.flags & PG.YOUNG
    assert kernel.nodes[0].lru[Lru.INACTIVE_FILE].head.next is kept


def test_dirty_pages_wait_for_the_flusher_on_the_active_list():
    kernel = small_kernel(64)
    space = filled(kernel, 0)
    change(space.cut(0, 32)[0], set=PG.DIRTY)
    scan(kernel, 0, 64)
    (dirty,) = space.cut(0, 32)
    assert dirty.lru == Lru.ACTIVE_FILE
    assert dirty.flags & PG.RECLAIM
    assert kernel.nodes[0].stat[NodeStat.NR_VMSCAN_IMMEDIATE_RECLAIM] == 32


def test_with_a_goal_no_more_than_its_clusters_are_freed():
    kernel = small_kernel(64)
    filled(kernel, 0)
    assert scan(kernel, 4, 40).nr_reclaimed == 64


def test_one_step_over_a_long_run_and_many_leave_the_same():
    states = []
    for goals in ([640], [32] * 20):
        kernel = small_kernel(64)
        filled(kernel, 0)
        for goal in goals:
            scan(kernel, 2, goal)
        states.append((kernel.events.count, runs_on(kernel.nodes[0], Lru.INACTIVE_FILE), kernel.nodes[0].stat))
    assert states[0] == states[1]


# ---------------------------------------------------------------- swap


def test_without_swap_anonymous_memory_is_not_even_scanned():
    kernel = small_kernel(64)
    allocate_anon(kernel, task_on(kernel, 0), 8000, Placement(0))
    scan(kernel, 0, 1000)
    assert kernel.events[VmEvent.PGSCAN_ANON] == 0


def test_anonymous_memory_is_swapped_to_the_area_of_highest_priority_first():
    kernel = small_kernel(64)
    slow, fast = swap.SwapArea("/slow", 5000), swap.SwapArea("/fast", 300, priority=5)
    swap.swapon(kernel, slow)
    swap.swapon(kernel, fast)
    vma = allocate_anon(kernel, task_on(kernel, 0), 8000, Placement(0))
    sc = scan(kernel, 0, 1000)
    assert sc.nr_reclaimed == fast.used + slow.used >= 1000
    assert (fast.used, slow.priority) == (300, -2)
    assert anon_on(vma, 0) == 8000 - sc.nr_reclaimed
    assert kernel.events[VmEvent.PSWPOUT] == sc.nr_reclaimed
    assert_conserved(kernel)


def test_young_anonymous_pages_are_kept_once():
    kernel = small_kernel(64)
    swap.swapon(kernel, swap.SwapArea("/swap", 5000))
    vma = allocate_anon(kernel, task_on(kernel, 0), 1000, Placement(0))
    for run, _ in list(vma.runs()):
        change(run, set=PG.YOUNG)
    assert scan(kernel, 0, 1).nr_reclaimed == 0
    assert scan(kernel, 0, 1).nr_reclaimed == 32


def test_lazily_freed_pages_are_dropped_without_swap():
    kernel = small_kernel(64)
    vma = allocate_anon(kernel, task_on(kernel, 0), 1000, Placement(0))
    for run, _ in list(vma.runs()):
        change(run, clear=PG.DIRTY, set=PG.SWAPBACKED_CLEAN)
        swap.mark_page_lazyfree(kernel, run)
    assert scan(kernel, 0, 100).nr_reclaimed == 128
    assert kernel.events[VmEvent.PGLAZYFREED] == 128
    assert_conserved(kernel)


def test_pages_written_on_request_stay_until_memory_is_wanted():
    kernel = small_kernel(64)
    swap.swapon(kernel, swap.SwapArea("/swap", 5000))
    vma = allocate_anon(kernel, task_on(kernel, 0), 1000, Placement(0))
    assert reclaim_runs(kernel, [run for run, _ in vma.runs()]) == 0
    assert swap.nr_swap_pages(kernel) == 4000
    assert anon_on(vma, 0) == 0


def test_when_swap_is_full_reclaim_goes_on_without_it():
    kernel = small_kernel(64)
    swap.swapon(kernel, swap.SwapArea("/swap", 100))
    allocate_anon(kernel, task_on(kernel, 0), 1000, Placement(0))
    assert scan(kernel, 0, 1000).nr_reclaimed == 100
    assert swap.nr_swap_pages(kernel) == 0
    assert scan(kernel, 0, 1000).nr_reclaimed == 0


def test_swap_pressure_splits_between_the_types_by_swappiness():
    stolen = {}
    for swappiness in (0, 60, 200):
        kernel = small_kernel(64)
        swap.swapon(kernel, swap.SwapArea("/swap", 50000))
        kernel.vm.set(kernel, "vm.swappiness", swappiness)
        filled(kernel, 0, leave=8000)
        move_to_list(kernel.nodes[0].lru[Lru.INACTIVE_FILE].head.prev, Lru.ACTIVE_FILE)
        allocate_anon(kernel, task_on(kernel, 0), 7000, Placement(0))
        scan(kernel, 3, 1 << 20)
        stolen[swappiness] = kernel.events[VmEvent.PGSCAN_ANON]
    assert stolen[0] == 0 < stolen[60] < stolen[200]


def test_kernel_requests_reclaim_only_zones_they_can_use():
    kernel = small_kernel(64)
    filled(kernel, 0)
    assert try_to_free_pages(kernel, None, GFP_KERNEL, [zone_of(kernel, 0)], 0) > 0
    assert kernel.events.allocstall[NORMAL] == 1
