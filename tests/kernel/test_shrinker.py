# SPDX-License-Identifier: MIT
"""Shrinkers: how many objects a pass asks for, and what is left for later."""

from __future__ import annotations

import pytest

from numafs.kernel.shrinker import Shrinker, drop_slab, register_shrinker, shrink_slab
from numafs.kernel.slab import SlabCaches, kmem_cache_alloc_bulk, kmem_cache_free
from numafs.kernel.vmstat import NodeStat, VmEvent

from .machines import small_kernel, task_on


class Objects(Shrinker):
    """Some dentries a node, each of which can be freed."""

    def __init__(self, kernel, n):
        super().__init__()
        self.asked = []
        cache = kernel.slab.find("dentry")
        self.slabs = {
            pgdat.nid: [slab for slab, k in kmem_cache_alloc_bulk(kernel, task_on(kernel, pgdat.nid), cache, n)
                        for _ in range(k)]
            for pgdat in kernel.online_nodes
        }
        register_shrinker(kernel, self)

    def count_objects(self, kernel, pgdat):
        return len(self.slabs[pgdat.nid])

    def scan_objects(self, kernel, task, pgdat, nr_to_scan):
        self.asked.append(nr_to_scan)
        freed, self.slabs[pgdat.nid] = self.slabs[pgdat.nid][:nr_to_scan], self.slabs[pgdat.nid][nr_to_scan:]
        for slab in freed:
            kmem_cache_free(kernel, slab)
        return len(freed)


@pytest.fixture
def kernel():
    kernel = small_kernel(64, 64)
    kernel.slab = SlabCaches(kernel)
    return kernel


def test_priority_four_asks_for_an_eighth_in_whole_batches(kernel):
    objects = Objects(kernel, 8400)
    shrink_slab(kernel, None, kernel.nodes[0], 4)
    assert objects.asked == [128] * 8
    assert kernel.events[VmEvent.SLABS_SCANNED] == 1024
    assert objects.nr_deferred[0] == 8400 // 16 * 2 - 1024


def test_too_few_for_a_batch_are_saved_up(kernel):
    objects = Objects(kernel, 630)
    for _ in range(4):
        shrink_slab(kernel, None, kernel.nodes[0], 4)
    assert objects.asked == []
    assert objects.nr_deferred[0] == 4 * (630 // 16 * 2)


def test_pages_count_and_not_objects(kernel):
    Objects(kernel, 2100)
    free = kernel.nodes[0].free + sum(zone.used.total() for zone in kernel.nodes[0].zones)
    pages = shrink_slab(kernel, None, kernel.nodes[0], 0)
    assert pages == 100 - (kernel.slab.find("dentry").min_partial - 1) - 1
    assert kernel.nodes[0].free + sum(zone.used.total() for zone in kernel.nodes[0].zones) == free


def test_pages_that_rcu_frees_come_too_late_to_count(kernel):
    objects = Objects(kernel, 2100)
    objects.rcu = True
    before = kernel.nodes[0].stat[NodeStat.NR_SLAB_RECLAIMABLE]
    assert shrink_slab(kernel, None, kernel.nodes[0], 0) == 0
    assert kernel.nodes[0].stat[NodeStat.NR_SLAB_RECLAIMABLE] < before // 10


def test_only_the_node_that_reclaims_is_scanned(kernel):
    objects = Objects(kernel, 2100)
    shrink_slab(kernel, None, kernel.nodes[1], 0)
    assert (len(objects.slabs[0]), len(objects.slabs[1])) == (2100, 0)


def test_drop_slab_goes_on_until_little_is_freed(kernel):
    objects = Objects(kernel, 3000)
    drop_slab(kernel, None)
    assert objects.slabs == {0: [], 1: []}


def test_objects_that_cost_nothing_are_scanned_by_halves(kernel):
    objects = Objects(kernel, 1024)
    objects.seeks = 0
    shrink_slab(kernel, None, kernel.nodes[0], 12)
    assert sum(objects.asked) == 512
