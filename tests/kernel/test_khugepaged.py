# SPDX-License-Identifier: MIT
"""khugepaged and MADV_COLLAPSE: huge pages of small ones."""

from __future__ import annotations

import pytest

from numafs.kernel import madvise, memory, mlock
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task, Vma
from numafs.kernel.page import PG
from numafs.kernel.vmstat import NodeStat, VmEvent

from .groups import four_nodes, on_nodes, region

SECOND = 1_000_000_000
HUGE = 512


@pytest.fixture
def kernel() -> Kernel:
    kernel = four_nodes()
    kernel.vm.set(kernel, "numa_balancing", 0)
    return kernel


@pytest.fixture
def task(kernel: Kernel) -> Task:
    return kernel.tasks.spawn(kernel, "task", cpu=0)


def huge_pages(vma: Vma) -> int:
    return sum(n for run, n in vma.runs() if run.flags & PG.THP) // HUGE


def advised(kernel: Kernel, task: Task, pages: int = 8 * HUGE, nid: int | None = None) -> Vma:
    """Small pages, for which their task then wants huge ones."""
    vma = region(kernel, task, pages, nid)
    madvise.madvise(kernel, task, vma.start, vma.stop, "hugepage")
    return vma


def test_small_pages_of_an_advised_mapping_are_collapsed(kernel: Kernel, task: Task) -> None:
    vma = advised(kernel, task, nid=1)
    kernel.clock.advance(SECOND)
    assert huge_pages(vma) == 8
    assert on_nodes(vma) == {1: 8 * HUGE}
    assert kernel.events[VmEvent.THP_COLLAPSE_ALLOC] == kernel.khugepaged.pages_collapsed == 8
    assert kernel.nodes[1].stat[NodeStat.NR_ANON_TRANSPARENT_HUGEPAGES] == 8 * HUGE
    check(kernel)


def test_nothing_is_collapsed_without_advice_or_when_switched_off(kernel: Kernel, task: Task) -> None:
    plain = region(kernel, task, 8 * HUGE)
    kernel.thp_enabled = "never"
    vma = advised(kernel, task)
    kernel.clock.advance(30 * SECOND)
    assert huge_pages(vma) == huge_pages(plain) == 0
    assert not kernel.clock.next_due()


def test_a_scan_is_so_many_pages_and_then_it_sleeps(kernel: Kernel, task: Task) -> None:
    kernel.khugepaged.pages_to_scan = 2 * HUGE
    vma = advised(kernel, task)
    collapsed = []
    for _ in range(5):
        kernel.clock.advance(SECOND)
        collapsed.append(huge_pages(vma))
        kernel.clock.advance(9 * SECOND)
    assert collapsed == [2, 4, 6, 8, 8]
    assert kernel.khugepaged.full_scans >= 1
    check(kernel)


def test_a_piece_with_holes_is_filled_unless_there_are_too_many(kernel: Kernel, task: Task) -> None:
    kernel.khugepaged.max_ptes_none = 100
    vma = advised(kernel, task, 2 * HUGE)
    memory.zap_page_range(kernel, vma, vma.start, vma.start + 101)
    memory.zap_page_range(kernel, vma, vma.start + HUGE, vma.start + HUGE + 100)
    kernel.clock.advance(SECOND)
    assert huge_pages(vma) == 1
    assert on_nodes(vma) == {0: 2 * HUGE - 101}
    check(kernel)


def test_pages_that_nobody_used_lately_stay_small(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 2 * HUGE)
    madvise.madvise(kernel, task, vma.start, vma.start + HUGE, "cold")
    madvise.madvise(kernel, task, vma.start, vma.stop, "hugepage")
    kernel.clock.advance(SECOND)
    assert huge_pages(vma) == 1
    check(kernel)


def test_the_node_of_most_pages_gets_the_huge_page(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, HUGE)
    memory.zap_page_range(kernel, vma, vma.start, vma.start + 300)
    task.cpu = 4
    memory.touch(kernel, task, vma.start, vma.start + 300, write=True)
    madvise.madvise(kernel, task, vma.start, vma.stop, "hugepage")
    assert on_nodes(vma) == {0: 212, 2: 300}
    kernel.clock.advance(SECOND)
    assert on_nodes(vma) == {2: HUGE}
    check(kernel)


def test_pages_shared_with_a_child_stay_small_until_it_exits(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, HUGE)
    child = kernel.tasks.fork(kernel, task)
    madvise.madvise(kernel, task, vma.start, vma.stop, "hugepage")
    kernel.clock.advance(SECOND)
    assert huge_pages(vma) == 0
    kernel.tasks.do_exit(kernel, child)
    kernel.clock.advance(10 * SECOND)
    assert huge_pages(vma) == 1
    check(kernel)


def test_locked_pages_stay_locked(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, HUGE)
    mlock.mlock(kernel, task, vma.start, vma.stop)
    madvise.madvise(kernel, task, vma.start, vma.stop, "hugepage")
    kernel.clock.advance(SECOND)
    assert huge_pages(vma) == 1
    assert kernel.nodes[0].stat[NodeStat.NR_UNEVICTABLE] >= HUGE
    check(kernel)


def test_without_a_free_huge_page_it_sleeps_longer(kernel: Kernel, task: Task) -> None:
    vma = advised(kernel, task, HUGE)
    zone = kernel.nodes[0].populated_zones[-1]
    filler = kernel.tasks.spawn(kernel, "filler", cpu=0)
    region(kernel, filler, zone.free - zone.watermark[0])
    kernel.clock.advance(59 * SECOND)
    assert huge_pages(vma) == 0
    assert kernel.events[VmEvent.THP_COLLAPSE_ALLOC_FAILED] == 1
    kernel.tasks.do_exit(kernel, filler)
    kernel.clock.advance(2 * SECOND)
    assert huge_pages(vma) == 1
    check(kernel)


def test_a_task_that_ends_is_scanned_no_more(kernel: Kernel, task: Task) -> None:
    advised(kernel, task, HUGE)
    other = kernel.tasks.spawn(kernel, "other", cpu=0)
    vma = advised(kernel, other, HUGE)
    kernel.tasks.do_exit(kernel, task)
    kernel.clock.advance(11 * SECOND)
    assert kernel.khugepaged.slots == [other.mm]
    assert huge_pages(vma) == 1
    check(kernel)


def test_collapse_is_done_at_once_whatever_the_settings(kernel: Kernel, task: Task) -> None:
    kernel.thp_enabled = "never"
    vma = region(kernel, task, 2 * HUGE)
    memory.zap_page_range(kernel, vma, vma.start + 1, vma.start + HUGE)
    madvise.madvise(kernel, task, vma.start, vma.stop, "collapse")
    assert huge_pages(vma) == 2
    check(kernel)


def test_collapse_of_nothing_is_invalid(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, HUGE)
    memory.zap_page_range(kernel, vma, vma.start, vma.stop)
    with pytest.raises(OSError, match="Invalid|can become"):
        madvise.madvise(kernel, task, vma.start, vma.stop, "collapse")
