# SPDX-License-Identifier: MIT
"""The checker finds what is wrong: each test breaks one thing by hand."""

from __future__ import annotations

import pytest

from numafs.kernel import filemap, memory, mmap
from numafs.kernel.boot import boot
from numafs.kernel.check import Inconsistent, check, findings
from numafs.kernel.check_pages import meet
from numafs.kernel.check_tasks import Depth
from numafs.kernel.mmzone import Lru, PageUse
from numafs.kernel.page import PG
from numafs.kernel.vmstat import NodeStat, NumaStat
from numafs.machine.presets import resolve


@pytest.fixture
def kernel():
    return boot(resolve("ring4"))


@pytest.fixture
def task(kernel):
    return kernel.tasks.spawn(kernel, "sh", cpu=0)


@pytest.fixture
def vma(kernel, task):
    vma = mmap.mmap(kernel, task, None, 1000)
    memory.touch(kernel, task, vma.start, vma.stop, True)
    check(kernel)
    return vma


def test_a_lost_page_is_found(kernel):
    kernel.zones()[1].used[PageUse.KERNEL] += 1
    assert any("managed" in found for found in findings(kernel))


def test_a_wrong_counter_is_found_by_name(kernel, vma):
    kernel.nodes[0].stat[NodeStat.NR_ANON_PAGES] += 3
    with pytest.raises(Inconsistent, match="nr_anon_pages says"):
        check(kernel)


def test_a_flag_changed_behind_the_counters_is_found(kernel, task):
    inode = kernel.fs.lookup(task, "f10")
    filemap.generic_file_read(kernel, task, inode, 0, 1 << 20)
    next(inode.space.runs()).flags |= PG.DIRTY
    assert any("nr_dirty" in found for found in findings(kernel))


def test_a_wrong_mapcount_is_found(kernel, vma):
    next(vma.anon.runs()).mapcount = 2
    assert any("is mapped [1] times" in found for found in findings(kernel))


def test_page_table_entries_of_nothing_are_found(kernel, vma):
    vma.segments[-1].stop += 1
    vma.stop += 1
    assert any("page table entries" in found for found in findings(kernel))


def test_a_run_on_the_wrong_list_is_found(kernel, vma):
    next(vma.anon.runs()).lru = Lru.ACTIVE_FILE
    assert any("thinks it is elsewhere" in found for found in findings(kernel))


def test_numa_events_that_do_not_add_up_are_found(kernel):
    kernel.zones()[0].numa[NumaStat.NUMA_HIT] += 1
    assert any("numa hit" in found for found in findings(kernel))


def test_a_slab_object_that_nobody_counted_is_found(kernel):
    kernel.slab.find("dentry").inuse[0] += 1
    assert any("objects on <node0>" in found for found in findings(kernel))


def test_a_task_with_nodes_that_its_cpuset_has_not_is_found(kernel, task):
    task.mems_allowed = 1
    assert any("may use nodes" in found for found in findings(kernel))


def test_all_findings_are_in_one_exception(kernel, vma):
    kernel.nodes[0].stat[NodeStat.NR_ANON_PAGES] += 3
    kernel.nodes[1].stat[NodeStat.NR_SHMEM] += 1
    with pytest.raises(Inconsistent) as caught:
        check(kernel)
    assert len(caught.value.findings) == 2


@pytest.mark.parametrize(("x", "y", "expected"), [
    (range(10), range(9, 12), True), (range(0, 10, 2), range(1, 11, 2), False),
    (range(0, 100, 4), range(2, 100, 6), True), (range(0, 8, 4), range(6, 20, 6), False),
    (range(5), range(5, 9), False),
])
def test_whether_two_spaced_ranges_meet(x, y, expected):
    assert meet(x, y) is meet(y, x) is bool(set(x) & set(y)) is expected


def test_depth_is_counted_at_the_pages_of_a_range_only():
    depth = Depth([(0, 10), (5, 8)])
    assert list(depth.over(range(10))) == [1, 2, 1]
    assert set(depth.over(range(0, 10, 9))) == {1}
