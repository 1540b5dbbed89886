# SPDX-License-Identifier: MIT
"""The kernel's allocation entry points: where each lands, and how it is given back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from numafs.kernel import kernel_alloc, mempolicy
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.kernel_alloc import pages_by_node
from numafs.kernel.mmzone import PageUse
from numafs.machine.presets import resolve
from numafs.machine.spec import Device

DEVICES = (Device("0000:3b:00.0", numa_node=2), Device("0000:00:1f.0"))


@pytest.fixture
def kernel():
    return boot(replace(resolve("ring4"), devices=DEVICES))


@pytest.fixture
def task(kernel):
    return kernel.tasks.spawn(kernel, "driver", cpu=0)


def used(kernel, use):
    return {pgdat.nid: n for pgdat in kernel.nodes if (n := sum(zone.used[use] for zone in pgdat.zones))}


def test_alloc_pages_follows_the_policy_and_alloc_pages_node_does_not(kernel, task):
    mempolicy.set_mempolicy(kernel, task, mempolicy.Mode.BIND, 0b1000, 65)
    assert pages_by_node(kernel_alloc.alloc_pages(kernel, task, 3, 10)) == {3: 80}
    assert pages_by_node(kernel_alloc.alloc_pages(kernel, task, 3, 10, nid=1)) == {1: 80}
    assert used(kernel, PageUse.KERNEL) == {1: 80, 3: 80}


def test_vmalloc_is_dealt_out_by_an_interleaving_policy(kernel, task):
    mempolicy.set_mempolicy(kernel, task, mempolicy.Mode.INTERLEAVE, 0b1111, 65)
    assert pages_by_node(kernel_alloc.vmalloc(kernel, task, 400)) == {0: 100, 1: 100, 2: 100, 3: 100}
    assert pages_by_node(kernel_alloc.vmalloc(kernel, task, 400, nid=2)) == {2: 400}


def test_a_dma_buffer_is_near_its_device_whatever_the_policy(kernel, task):
    mempolicy.set_mempolicy(kernel, task, mempolicy.Mode.BIND, 0b1000, 65)
    assert pages_by_node(kernel_alloc.dma_alloc_coherent(kernel, task, "0000:3b:00.0", 5 * 4096)) == {2: 8}
    assert pages_by_node(kernel_alloc.dma_alloc_coherent(kernel, task, "0000:00:1f.0", 4096)) == {0: 1}


def test_large_kmallocs_are_pages(kernel, task):
    assert pages_by_node(kernel_alloc.kmalloc(kernel, task, 9000)) == {0: 4}
    assert kernel_alloc.kmalloc(kernel, task, 8192, 3, nid=1).use == PageUse.SLAB


def test_everything_goes_with_the_task(kernel, task):
    kernel_alloc.kmalloc(kernel, task, 100, 5000)
    kernel_alloc.vmalloc(kernel, task, 300)
    kernel_alloc.alloc_pages(kernel, task, 0, 7)
    check(kernel)
    kernel.tasks.do_exit(kernel, task)
    assert used(kernel, PageUse.VMALLOC) == used(kernel, PageUse.KERNEL) == {}
    assert kernel.slab.find("kmalloc-128").inuse.total() == 0
    check(kernel)


def test_a_block_is_freed_once_and_by_its_owner(kernel, task):
    block = kernel_alloc.vmalloc(kernel, task, 10)
    other = kernel.tasks.spawn(kernel, "other")
    with pytest.raises(OSError, match="not other's"):
        kernel_alloc.free(kernel, other, block)
    kernel_alloc.free(kernel, task, block)
    with pytest.raises(OSError, match="not driver's"):
        kernel_alloc.free(kernel, task, block)


@pytest.mark.parametrize("wrong", [
    lambda k, t: kernel_alloc.kmalloc(k, t, 0),
    lambda k, t: kernel_alloc.kmalloc(k, t, 8, 0),
    lambda k, t: kernel_alloc.kmalloc(k, t, 8, nid=9),
    lambda k, t: kernel_alloc.alloc_pages(k, t, 11),
    lambda k, t: kernel_alloc.vmalloc(k, t, -1),
    lambda k, t: kernel_alloc.slab_alloc(k, t, "no such cache", 1),
    lambda k, t: kernel_alloc.dma_alloc_coherent(k, t, "0000:99:00.0", 4096),
    lambda k, t: kernel_alloc.dma_alloc_coherent(k, t, "0000:3b:00.0", 1 << 30),
])
def test_bad_requests_change_nothing(kernel, task, wrong):
    before = [dict(zone.used) for zone in kernel.zones()]
    with pytest.raises(OSError, match=r"argument|device"):
        wrong(kernel, task)
    assert [dict(zone.used) for zone in kernel.zones()] == before
    assert task.kernel_memory == []
