# SPDX-License-Identifier: MIT
"""Slab caches: sizes, where slabs come from, and when their pages come back."""

from __future__ import annotations

import pytest

from numafs.kernel import page_alloc
from numafs.kernel.errors import ENOMEM
from numafs.kernel.mempolicy import Mempolicy, Mode
from numafs.kernel.mmzone import PageUse
from numafs.kernel.slab import (
    SlabCaches,
    calculate_order,
    get_slabinfo,
    kmalloc_slab,
    kmem_cache_alloc,
    kmem_cache_alloc_bulk,
    kmem_cache_free,
    kmem_cache_shrink,
)
from numafs.kernel.vmstat import NodeStat

from .machines import assert_conserved, small_kernel, task_on


@pytest.fixture
def kernel():
    kernel = small_kernel()
    kernel.slab = SlabCaches(kernel)
    return kernel


def slab_pages(kernel, nid):
    return sum(zone.used[PageUse.SLAB] for zone in kernel.nodes[nid].zones)


@pytest.mark.parametrize(("name", "objects", "order"), [
    ("dentry", 21, 0), ("ext4_inode_cache", 27, 3), ("inode_cache", 25, 2), ("radix_tree_node", 28, 2),
    ("buffer_head", 39, 0),
])
def test_slabs_are_as_large_as_measured_with_eight_cpus(kernel, name, objects, order):
    cache = kernel.slab.find(name)
    assert (cache.objects_per_slab, cache.order) == (objects, order)


def test_an_object_too_large_for_many_still_gets_a_slab():
    assert calculate_order(8192, 8, 4096) == 3
    assert calculate_order(6784, 8, 4096) == 3


def test_kmalloc_takes_the_next_larger_size(kernel):
    assert [kmalloc_slab(kernel, size).name for size in (1, 65, 100, 1000, 8192)] == [
        "kmalloc-8", "kmalloc-96", "kmalloc-128", "kmalloc-1k", "kmalloc-8k"]


def test_a_thousand_objects_take_as_few_slabs_as_can_be(kernel):
    task = task_on(kernel, 1)
    taken = kmem_cache_alloc_bulk(kernel, task, kernel.slab.find("dentry"), 1000)
    assert sum(n for _, n in taken) == 1000
    assert slab_pages(kernel, 1) == kernel.nodes[1].stat[NodeStat.NR_SLAB_RECLAIMABLE] == 48
    assert_conserved(kernel)


def test_slab_pages_follow_the_tasks_policy_but_partial_slabs_of_its_node_come_first(kernel):
    task = task_on(kernel, 0)
    first = kmem_cache_alloc(kernel, task, "dentry")
    task.policy = Mempolicy(Mode.BIND, nodes=0b100)
    again = kmem_cache_alloc_bulk(kernel, task, kernel.slab.find("dentry"), 21)
    assert first is again[0][0]
    assert [(slab.nid, n) for slab, n in again] == [(0, 20), (2, 1)]


def test_a_demanded_node_is_not_served_by_another_nodes_slab(kernel):
    task = task_on(kernel, 0)
    kmem_cache_alloc(kernel, task, "dentry")
    assert kmem_cache_alloc(kernel, task, "dentry", nid=3).nid == 3


def test_ten_slabs_with_one_object_in_use_each_give_nothing_back(kernel):
    task = task_on(kernel, 0)
    cache = kernel.slab.find("dentry")
    taken = kmem_cache_alloc_bulk(kernel, task, cache, 210)
    for slab, n in taken:
        kmem_cache_free(kernel, slab, n - 1)
    kmem_cache_shrink(kernel, cache)
    assert slab_pages(kernel, 0) == 10
    assert get_slabinfo(cache).num_slabs == 10
    assert cache.inuse[0] == 10


def test_emptied_slabs_are_kept_only_while_there_are_few_partial_ones(kernel):
    task = task_on(kernel, 0)
    cache = kernel.slab.find("dentry")
    for slab, n in kmem_cache_alloc_bulk(kernel, task, cache, 2100):
        kmem_cache_free(kernel, slab, n)
    assert slab_pages(kernel, 0) == cache.min_partial - 1 + len(cache.cpu_slab)
    kmem_cache_shrink(kernel, cache)
    assert slab_pages(kernel, 0) == 0
    assert_conserved(kernel)


def test_partial_slabs_of_another_node_are_used_if_it_has_plenty(kernel):
    cache = kernel.slab.find("dentry")
    for slab, n in kmem_cache_alloc_bulk(kernel, task_on(kernel, 0), cache, 2100):
        kmem_cache_free(kernel, slab, n - 1)
    assert kmem_cache_alloc(kernel, task_on(kernel, 1), "dentry").nid == 0


def test_a_failed_bulk_allocation_leaves_nothing_in_use(kernel, monkeypatch):
    cache = kernel.slab.find("dentry")
    alloc_pages = page_alloc.alloc_pages
    left = iter(range(3))

    def fail_the_fourth(*args):
        if next(left, None) is None:
            raise ENOMEM("enough is enough")
        return alloc_pages(*args)

    monkeypatch.setattr(page_alloc, "alloc_pages", fail_the_fourth)
    with pytest.raises(OSError, match="enough"):
        kmem_cache_alloc_bulk(kernel, task_on(kernel, 0), cache, 100)
    assert cache.inuse[0] == 0
    assert_conserved(kernel)
