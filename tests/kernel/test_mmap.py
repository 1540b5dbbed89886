# SPDX-License-Identifier: MIT
"""Mappings: where they go, how they are split and joined, what is left of them."""

from __future__ import annotations

import pytest

from numafs.kernel import madvise, memory, mlock, mmap
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task
from numafs.kernel.page import PG
from numafs.machine.spec import Disk, DiskFile

from .machines import machine

BASE = 0x100000000


@pytest.fixture
def kernel() -> Kernel:
    return boot(machine(64, 64, disks=(Disk("d", (DiskFile("f", 1 << 20), DiskFile("a b=c", 4096))),), thp="madvise"))


@pytest.fixture
def task(kernel: Kernel) -> Task:
    return kernel.tasks.spawn(kernel, "t", cpu=0)


def stretches(task: Task, start: int = BASE, stop: int = BASE + 10000) -> list[tuple[int, int]]:
    assert task.mm is not None
    return [(vma.start - BASE, vma.stop - BASE) for vma in task.mm.overlapping(start, stop)]


def test_neighbours_that_are_alike_are_one_mapping(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 10)
    mmap.mmap(kernel, task, BASE + 20, 10)
    mmap.mmap(kernel, task, BASE + 10, 10)
    assert stretches(task) == [(0, 30)]


def test_neighbours_that_differ_are_not(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 10)
    mmap.mmap(kernel, task, BASE + 10, 10, write=False)
    assert stretches(task) == [(0, 10), (10, 20)]


def test_a_hole_leaves_two_mappings_and_their_pages(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 100)
    memory.touch(kernel, task, BASE, BASE + 100, write=True)
    mmap.munmap(kernel, task, BASE + 40, BASE + 60)
    assert stretches(task) == [(0, 40), (60, 100)]
    assert task.mm is not None
    assert [memory.vma_stats(kernel, vma).anon for vma in task.mm.overlapping(BASE, BASE + 100)] == [40, 40]
    check(kernel)


def test_advice_on_a_part_splits_and_the_same_on_all_joins_again(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 100)
    memory.touch(kernel, task, BASE, BASE + 100, write=True)
    madvise.madvise(kernel, task, BASE + 10, BASE + 20, "hugepage")
    assert stretches(task) == [(0, 10), (10, 20), (20, 100)]
    madvise.madvise(kernel, task, BASE, BASE + 100, "hugepage")
    assert stretches(task) == [(0, 100)]
    check(kernel)


def test_nothing_may_be_there_already(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 10)
    with pytest.raises(FileExistsError):
        mmap.mmap(kernel, task, BASE + 5, 10)
    mmap.mmap(kernel, task, BASE + 5, 10, write=False, fixed_noreplace=False)
    assert stretches(task) == [(0, 5), (5, 15)]


def test_mappings_without_an_address_lie_one_below_the_other(kernel: Kernel, task: Task) -> None:
    first = mmap.mmap(kernel, task, None, 10)
    start = first.start
    second = mmap.mmap(kernel, task, None, 10, shared=True)
    assert second.stop == start


def test_a_path_is_escaped(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, BASE, 1, file=kernel.fs.lookup(task, "a b=c"))
    assert vma.path == "/data/a\\040b\\075c"


def test_locking_over_a_hole_locks_what_is_before_it_and_faults_nothing_in(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 10)
    mmap.mmap(kernel, task, BASE + 20, 10)
    with pytest.raises(OSError, match="no mapping"):
        mlock.mlock(kernel, task, BASE, BASE + 30)
    assert task.mm is not None
    assert [(vma.start - BASE, vma.segments) for vma in task.mm.vmas if vma.locked] == [(0, [])]


def test_a_mapping_of_no_pages_or_beyond_the_end_is_refused(kernel: Kernel, task: Task) -> None:
    for at, pages in ((BASE, 0), (BASE, -1), (mmap.TASK_SIZE - 1, 2)):
        with pytest.raises(OSError, match="pages"):
            mmap.mmap(kernel, task, at, pages)


def test_unknown_advice_is_refused(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 10)
    with pytest.raises(OSError, match="no advice"):
        madvise.madvise(kernel, task, BASE, BASE + 10, "wisely")


def test_lazily_freed_pages_are_kept_until_memory_is_short(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, BASE, 100)
    memory.touch(kernel, task, BASE, BASE + 100, write=True)
    madvise.madvise(kernel, task, BASE, BASE + 100, "free")
    stats = memory.vma_stats(kernel, vma)
    assert (stats.anon, stats.dirty) == (100, 0)
    memory.touch(kernel, task, BASE, BASE + 10, write=True)
    assert memory.vma_stats(kernel, vma).dirty == 10
    check(kernel)


# ---------------------------------------------------------------- who may be joined (is_mergeable_anon_vma)


def lock(kernel: Kernel, task: Task, start: int, stop: int) -> None:
    mlock.mlock(kernel, task, BASE + start, BASE + stop)


def unlock(kernel: Kernel, task: Task, start: int, stop: int) -> None:
    mlock.munlock(kernel, task, BASE + start, BASE + stop)


def test_a_mapping_with_pages_is_not_joined_to_one_without_before_it(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 30)
    lock(kernel, task, 10, 20)
    unlock(kernel, task, 10, 20)
    assert stretches(task) == [(0, 10), (10, 20), (20, 30)]


def test_one_with_pages_takes_in_what_changes_beside_it(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 30)
    lock(kernel, task, 0, 20)
    madvise.madvise(kernel, task, BASE, BASE + 30, "hugepage")
    unlock(kernel, task, 0, 10)
    memory.touch(kernel, task, BASE + 25, BASE + 26, write=True)
    unlock(kernel, task, 10, 20)
    assert stretches(task) == [(0, 20), (20, 30)]
    madvise.madvise(kernel, task, BASE + 20, BASE + 30, "nohugepage")
    madvise.madvise(kernel, task, BASE + 20, BASE + 30, "hugepage")
    assert stretches(task) == [(0, 20), (20, 30)], "both have pages, of different anon_vmas"


def test_what_was_forked_with_pages_takes_in_nothing(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 10)
    memory.touch(kernel, task, BASE, BASE + 10, write=True)
    child = kernel.tasks.fork(kernel, task)
    for each in (task, child):
        mmap.mmap(kernel, each, BASE + 10, 10)
    assert stretches(task) == [(0, 20)]
    assert stretches(child) == [(0, 10), (10, 20)]


def test_a_huge_page_is_not_split_by_what_changes_nothing(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 512)
    madvise.madvise(kernel, task, BASE, BASE + 512, "hugepage")
    memory.touch(kernel, task, BASE, BASE + 512, write=True)
    unlock(kernel, task, 100, 200)
    madvise.madvise(kernel, task, BASE + 100, BASE + 200, "hugepage")
    assert stretches(task) == [(0, 512)]
    assert task.mm is not None
    assert [run.flags & PG.THP != 0 for run, _ in task.mm.overlapping(BASE, BASE + 512)[0].runs()] == [True]
