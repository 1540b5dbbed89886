# SPDX-License-Identifier: MIT
"""Where pages come from: zonelists, watermarks, NUMA events, per-CPU lists."""

from __future__ import annotations

import pytest

from numafs.kernel.gfp import GFP_ATOMIC, GFP_HIGHUSER_MOVABLE, GFP_KERNEL, Gfp
from numafs.kernel.mmzone import PageUse, Wmark
from numafs.kernel.page import Kind, Space
from numafs.kernel.page_alloc import (
    Placement,
    alloc_pages,
    free_blocks,
    free_pages,
    pcp_high_batch,
    si_mem_available,
    stat_threshold,
)
from numafs.kernel.vmstat import NumaStat

from .machines import allocate_anon, anon_on, assert_conserved, kernel_of, machine, read_file, small_kernel, task_on


def normal(kernel, nid):
    return kernel.nodes[nid].populated_zones[-1]


def test_the_ring_falls_back_to_neighbours_first():
    kernel = small_kernel()
    assert [pgdat.fallback_nodes for pgdat in kernel.nodes] == [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]


def test_equally_distant_nodes_follow_in_a_circle():
    equal = tuple(tuple(10 if a == b else 20 for b in range(4)) for a in range(4))
    kernel = small_kernel(64, 64, 64, 64, distance=equal)
    assert [pgdat.fallback_nodes[0] for pgdat in kernel.nodes] == [0, 1, 2, 3]
    assert kernel.nodes[2].fallback_nodes == [2, 3, 0, 1]


def test_watermarks_are_those_of_the_measured_machine():
    kernel = kernel_of(machine(64, 64))
    zone = normal(kernel, 0)
    kernel.vm.set(kernel, "vm.min_free_kbytes", 8192)
    low = 2048 * zone.managed // (2 * zone.managed)
    assert zone.watermark == [low, low + low // 4, low + 2 * (low // 4), low + 3 * (low // 4)]


def test_a_node_is_left_at_its_low_watermark_and_the_nearest_one_continues():
    kernel = small_kernel()
    task = task_on(kernel, 0)
    vma = allocate_anon(kernel, task, normal(kernel, 0).managed + 1000, Placement(0))
    zone = normal(kernel, 0)
    assert zone.free == zone.watermark[Wmark.LOW]
    assert anon_on(vma, 2) == anon_on(vma, 3) == 0
    assert anon_on(vma, 1) == vma.pages - anon_on(vma, 0)
    assert_conserved(kernel)


def test_spilled_pages_are_misses_there_and_foreign_here():
    kernel = small_kernel()
    task = task_on(kernel, 0)
    vma = allocate_anon(kernel, task, normal(kernel, 0).managed + 1000, Placement(0))
    here, there = normal(kernel, 0).numa, normal(kernel, 1).numa
    spilled = anon_on(vma, 1)
    assert here[NumaStat.NUMA_FOREIGN] == there[NumaStat.NUMA_MISS] == there[NumaStat.NUMA_OTHER] == spilled
    assert here[NumaStat.NUMA_HIT] == here[NumaStat.NUMA_LOCAL] == anon_on(vma, 0)


def test_a_bound_page_elsewhere_is_a_hit_but_not_local():
    kernel = small_kernel()
    allocate_anon(kernel, task_on(kernel, 0), 1000, Placement(1, nodemask=0b10))
    numa = normal(kernel, 1).numa
    assert (numa[NumaStat.NUMA_HIT], numa[NumaStat.NUMA_MISS], numa[NumaStat.NUMA_OTHER]) == (1000, 0, 1000)


def test_interleave_hits_count_only_where_the_policy_wanted_the_page():
    kernel = small_kernel()
    alloc_pages(kernel, task_on(kernel, 0), GFP_HIGHUSER_MOVABLE, Placement(2, interleave=True), 10)
    assert normal(kernel, 2).numa[NumaStat.NUMA_INTERLEAVE] == 10


def test_an_event_is_a_block_whatever_its_order():
    kernel = small_kernel()
    zone, n = alloc_pages(kernel, None, GFP_KERNEL, Placement(1), 3, order=9)
    assert (n, zone.managed - zone.free, zone.numa[NumaStat.NUMA_HIT]) == (3, 3 * 512, 3)


def test_numa_stat_off_counts_nothing():
    kernel = small_kernel()
    kernel.vm.set(kernel, "vm.numa_stat", 0)
    alloc_pages(kernel, None, GFP_KERNEL, Placement(1), 5)
    assert not any(normal(kernel, 1).numa)


def test_user_pages_never_leave_mems_allowed():
    kernel = small_kernel()
    task = task_on(kernel, 0)
    task.mems_allowed = 0b1100
    zone, _ = alloc_pages(kernel, task, GFP_HIGHUSER_MOVABLE, Placement(0), 1)
    assert zone.pgdat.nid == 3


def test_thisnode_fails_where_others_would_fall_back():
    kernel = small_kernel()
    zone = normal(kernel, 1)
    while zone.free > zone.watermark[Wmark.MIN]:
        alloc_pages(kernel, None, Gfp.THISNODE, Placement(1), 1 << 20)
    with pytest.raises(OSError, match="order 0"):
        alloc_pages(kernel, None, Gfp.THISNODE, Placement(1), 1)
    assert alloc_pages(kernel, None, Gfp(0), Placement(1), 1)[0].pgdat.nid == 2


def test_a_huge_page_needs_its_whole_size_above_the_watermark():
    kernel = small_kernel()
    zone = normal(kernel, 1)
    while zone.free > zone.watermark[Wmark.MIN] + 511:
        alloc_pages(kernel, None, Gfp.THISNODE, Placement(1), zone.free - zone.watermark[Wmark.MIN] - 511)
    with pytest.raises(OSError):
        alloc_pages(kernel, None, Gfp.THISNODE, Placement(1), 1, order=9)


def test_atomic_requests_may_use_part_of_the_reserve():
    kernel = small_kernel()
    zone = normal(kernel, 1)
    for gfp in (Gfp.THISNODE, Gfp.THISNODE | GFP_ATOMIC):
        with pytest.raises(OSError):
            while True:
                alloc_pages(kernel, None, gfp, Placement(1), 1 << 20)
        share = 3 if gfp & Gfp.HIGH else 8
        assert abs(zone.free - zone.watermark[Wmark.MIN] * share // 8) <= 32


def test_pages_pass_through_the_per_cpu_list_in_batches():
    kernel = small_kernel(512, 512)
    zone = normal(kernel, 0)
    high, batch = pcp_high_batch(kernel, zone)
    alloc_pages(kernel, None, GFP_KERNEL, Placement(0), 1)
    assert (zone.used[PageUse.PCP], zone.managed - zone.free) == (batch - 1, batch)
    free_pages(kernel, zone, 1)
    assert (zone.used[PageUse.PCP], zone.managed - zone.free) == (batch, batch)
    assert high > batch


def test_what_is_freed_beyond_the_limit_of_the_per_cpu_list_goes_to_the_zone():
    kernel = small_kernel(512, 512)
    zone = normal(kernel, 0)
    taken = 0
    while taken < 20000:
        taken += alloc_pages(kernel, None, GFP_KERNEL, Placement(0), 20000 - taken)[1]
    free_pages(kernel, zone, taken)
    assert zone.used[PageUse.PCP] < zone.pcp_high
    assert_conserved(kernel)


def test_freeing_at_once_spills_as_much_as_freeing_one_by_one():
    spilled = []
    for step in (1, 30000):
        kernel = small_kernel(512, 512)
        zone = normal(kernel, 0)
        taken = 0
        while taken < 30000:
            taken += alloc_pages(kernel, None, GFP_KERNEL, Placement(0), 30000 - taken)[1]
        for _ in range(0, 30000, step):
            free_pages(kernel, zone, step)
        spilled.append(zone.used[PageUse.PCP])
        assert_conserved(kernel)
    assert abs(spilled[0] - spilled[1]) <= 1


def test_the_share_of_per_cpu_lists_can_be_set():
    kernel = small_kernel(512, 512)
    zone = normal(kernel, 0)
    kernel.vm.set(kernel, "vm.percpu_pagelist_high_fraction", 8)
    assert zone.pcp_high == zone.managed // 8 // 2


def test_buddyinfo_adds_up():
    kernel = small_kernel()
    alloc_pages(kernel, None, GFP_KERNEL, Placement(0), 777)
    blocks = free_blocks(kernel, normal(kernel, 0))
    assert len(blocks) == 11
    assert sum(count << order for order, count in enumerate(blocks)) == normal(kernel, 0).free


def test_drift_of_the_counters_as_measured():
    kernel = kernel_of(machine(512, 512, 512, 512))
    assert stat_threshold(kernel, normal(kernel, 0)) == 2 * 4 * (1 + 3)


def test_mem_available_leaves_reserves_and_half_of_the_cache_at_most():
    kernel = small_kernel(64)
    free = normal(kernel, 0).free
    assert si_mem_available(kernel) == free - kernel.totalreserve_pages
    read_file(kernel, task_on(kernel, 0), Space(Kind.FILE), 0, 4000)
    assert si_mem_available(kernel) <= free - kernel.totalreserve_pages - min(2000, normal(kernel, 0).watermark[1])
