# SPDX-License-Identifier: MIT
"""Pools of huge pages, page by page round the nodes as the kernel does it."""

from __future__ import annotations

import pytest

from numafs.kernel import hugetlb, memory, mempolicy, mmap
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task
from numafs.kernel.mmzone import PageUse

from .machines import machine

BASE = 0x100000000
HUGE = 512


@pytest.fixture
def kernel() -> Kernel:
    return boot(machine(512, 512, 512, 512, thp="madvise"))


@pytest.fixture
def task(kernel: Kernel) -> Task:
    return kernel.tasks.spawn(kernel, "t", cpu=2)


def pools(kernel: Kernel) -> list[int]:
    return [pgdat.hugepages[HUGE].total for pgdat in kernel.nodes]


def test_pools_grow_and_shrink_round_the_nodes(kernel: Kernel) -> None:
    hugetlb.set_max_huge_pages(kernel, HUGE, 8, 1, None)
    assert pools(kernel) == [0, 8, 0, 0]
    hugetlb.set_max_huge_pages(kernel, HUGE, 16, None, None)
    assert pools(kernel) == [2, 10, 2, 2]
    hugetlb.set_max_huge_pages(kernel, HUGE, 9, None, None)
    assert pools(kernel) == [0, 8, 0, 1]
    check(kernel)


def test_the_writers_policy_chooses_the_nodes(kernel: Kernel, task: Task) -> None:
    mempolicy.set_mempolicy(kernel, task, mempolicy.Mode.BIND, 0b0010, 1025)
    hugetlb.set_max_huge_pages(kernel, HUGE, 6, None, task)
    assert pools(kernel) == [0, 6, 0, 0]


def test_more_than_a_node_has_is_what_it_has(kernel: Kernel) -> None:
    hugetlb.set_max_huge_pages(kernel, HUGE, 100000, 1, None)
    assert 230 < pools(kernel)[1] < 256
    assert kernel.nodes[1].populated_zones[0].used[PageUse.HUGETLB] == pools(kernel)[1] * HUGE
    check(kernel)
    hugetlb.set_max_huge_pages(kernel, HUGE, 0, None, None)
    assert pools(kernel) == [0, 0, 0, 0]
    check(kernel)


def test_a_mapping_draws_on_the_pool_of_its_node(kernel: Kernel, task: Task) -> None:
    hugetlb.set_max_huge_pages(kernel, HUGE, 8, 1, None)
    vma = mmap.mmap(kernel, task, BASE, 4 * HUGE, hugetlb=HUGE)
    memory.touch(kernel, task, BASE, BASE + 4 * HUGE, write=True)
    stats = memory.vma_stats(kernel, vma)
    assert (stats.pages, stats.anon, stats.dirty, dict(stats.node)) == (4, 4, 4, {1: 4})
    assert kernel.nodes[1].hugepages[HUGE].free == 4
    check(kernel)
    mmap.munmap(kernel, task, BASE, BASE + 4 * HUGE)
    assert kernel.nodes[1].hugepages[HUGE].free == 8
    check(kernel)


def test_an_empty_pool_is_a_signal_without_overcommit(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, HUGE, hugetlb=HUGE)
    with pytest.raises(OSError, match="no huge page"):
        memory.touch(kernel, task, BASE, BASE + HUGE, write=True)


def test_surplus_pages_come_and_go_with_their_users(kernel: Kernel, task: Task) -> None:
    kernel.hstates[HUGE].nr_overcommit = 2
    mmap.mmap(kernel, task, BASE, HUGE, hugetlb=HUGE)
    memory.touch(kernel, task, BASE, BASE + HUGE, write=True)
    assert hugetlb.total(kernel, HUGE) == (1, 0, 1)
    check(kernel)
    mmap.munmap(kernel, task, BASE, BASE + HUGE)
    assert hugetlb.total(kernel, HUGE) == (0, 0, 0)
    check(kernel)
