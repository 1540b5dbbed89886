# SPDX-License-Identifier: MIT
"""Page faults: who gets a page, where from, and what the counters say."""

from __future__ import annotations

import pytest

from numafs.kernel import filemap, madvise, memory, mempolicy, mlock, mmap
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task, Vma
from numafs.kernel.mmzone import PageUse
from numafs.kernel.page import PG
from numafs.kernel.vmstat import NodeStat, VmEvent
from numafs.machine.spec import Disk, DiskFile

from .machines import PAGES_PER_MIB, machine

BASE = 0x100000000
MIB = PAGES_PER_MIB
FILES = (DiskFile("f1", 1 << 20), DiskFile("f10", 10 << 20), DiskFile("f100", 100 << 20))


@pytest.fixture
def kernel() -> Kernel:
    return boot(machine(512, 512, 512, 512, disks=(Disk("d", FILES),), thp="madvise"))


@pytest.fixture
def task(kernel: Kernel) -> Task:
    return kernel.tasks.spawn(kernel, "t", cpu=2)


def counts(kernel: Kernel, vma: Vma) -> dict[str, object]:
    """What numa_maps would show."""
    stats = memory.vma_stats(kernel, vma)
    return {
        "anon": stats.anon, "dirty": stats.dirty, "mapped": stats.pages, "active": stats.active,
        "mapmax": stats.mapcount_max, "node": dict(stats.node),
    }


def test_written_pages_are_on_the_node_of_the_cpu(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, BASE, 64 * MIB)
    before = kernel.events[VmEvent.PGFAULT]
    memory.touch(kernel, task, BASE, BASE + 64 * MIB, write=True)
    assert counts(kernel, vma) == {
        "anon": 16384, "dirty": 16384, "mapped": 16384, "active": 0, "mapmax": 1, "node": {1: 16384},
    }
    assert kernel.events[VmEvent.PGFAULT] - before == 16384
    check(kernel)


def test_page_tables_are_charged_and_given_back(kernel: Kernel, task: Task) -> None:
    zone = kernel.nodes[1].populated_zones[0]
    before = zone.used[PageUse.PAGE_TABLE]
    mmap.mmap(kernel, task, BASE, 64 * MIB)
    memory.touch(kernel, task, BASE, BASE + 64 * MIB, write=True)
    assert zone.used[PageUse.PAGE_TABLE] - before == 32 + 1 + 1
    assert kernel.nodes[1].stat[NodeStat.NR_PAGE_TABLE_PAGES] == zone.used[PageUse.PAGE_TABLE] - 3
    mmap.munmap(kernel, task, BASE, BASE + 64 * MIB)
    assert zone.used[PageUse.PAGE_TABLE] == before
    check(kernel)


def test_reading_anonymous_memory_takes_no_page(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, BASE, 16 * MIB)
    memory.touch(kernel, task, BASE, BASE + 16 * MIB, write=False)
    assert counts(kernel, vma)["mapped"] == 0
    assert kernel.nodes[1].stat[NodeStat.NR_PAGE_TABLE_PAGES] > 8
    check(kernel)


def test_interleaved_pages_go_by_their_address(kernel: Kernel, task: Task) -> None:
    mempolicy.set_mempolicy(kernel, task, mempolicy.Mode.INTERLEAVE, 0b1111, 1025)
    vma = mmap.mmap(kernel, task, BASE, 16 * MIB)
    memory.touch(kernel, task, BASE + 5, BASE + 16 * MIB, write=True)
    assert vma.anon is not None
    for page in (BASE + 5, BASE + 1000, BASE + 4095):
        assert filemap.pages_by_node(vma.anon, page, page + 1) == {page % 4: 1}
    assert len(list(vma.anon.runs())) == 4
    check(kernel)


def test_fork_shares_and_a_write_copies_to_the_writers_node(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, BASE, 16 * MIB)
    memory.touch(kernel, task, BASE, BASE + 8 * MIB, write=True)
    task.cpu = 4
    child = kernel.tasks.fork(kernel, task)
    assert child.mm is not None
    theirs = child.mm.find_vma(BASE)
    assert theirs is not None
    assert counts(kernel, theirs)["mapmax"] == 2
    memory.touch(kernel, task, BASE, BASE + 4 * MIB, write=True)
    assert counts(kernel, vma)["node"] == {1: 1024, 2: 1024}
    assert counts(kernel, vma)["mapmax"] == 2
    assert counts(kernel, theirs)["node"] == {1: 2048}
    check(kernel)
    kernel.tasks.do_exit(kernel, child)
    assert counts(kernel, vma)["mapmax"] == 1
    assert counts(kernel, vma)["anon"] == 2048
    check(kernel)


def test_a_fork_of_a_fork_shares_by_three(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, BASE, 100)
    memory.touch(kernel, task, BASE, BASE + 100, write=True)
    child = kernel.tasks.fork(kernel, task)
    kernel.tasks.fork(kernel, child)
    assert counts(kernel, vma)["mapmax"] == 3
    memory.touch(kernel, child, BASE + 10, BASE + 20, write=True)
    assert counts(kernel, vma)["mapmax"] == 3
    kernel.tasks.do_exit(kernel, task)
    check(kernel)


def test_a_read_fault_maps_what_is_cached_around_it(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f1")
    vma = mmap.mmap(kernel, task, BASE, MIB, file=inode)
    filemap.generic_file_read(kernel, task, inode, 0, 1 << 20)
    memory.touch(kernel, task, BASE + 20, BASE + 21, write=False)
    assert vma.holes(BASE, BASE + MIB) == [(BASE, BASE + 16), (BASE + 32, BASE + MIB)]
    assert counts(kernel, vma)["active"] == 0
    check(kernel)


def test_faults_read_around_the_missing_page(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f1")
    mmap.mmap(kernel, task, BASE, MIB, file=inode)
    memory.touch(kernel, task, BASE + 100, BASE + 101, write=False)
    assert inode.space.resident(0, MIB) == [(84, 116)]
    assert kernel.events[VmEvent.PGMAJFAULT] == 1


def test_writing_a_private_mapping_copies_the_file(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f10")
    vma = mmap.mmap(kernel, task, BASE, 10 * MIB, file=inode)
    memory.touch(kernel, task, BASE, BASE + 10 * MIB, write=True)
    assert counts(kernel, vma) == {
        "anon": 2560, "dirty": 2560, "mapped": 2560, "active": 0, "mapmax": 1, "node": {1: 2560},
    }
    assert filemap.resident(inode) == 2560
    assert kernel.nodes[1].stat[NodeStat.NR_DIRTY] == 0
    check(kernel)


def test_writing_a_shared_mapping_dirties_the_file(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f1")
    vma = mmap.mmap(kernel, task, BASE, MIB, file=inode, shared=True)
    memory.touch(kernel, task, BASE, BASE + 100, write=True)
    assert counts(kernel, vma)["dirty"] == 100
    assert kernel.nodes[1].stat[NodeStat.NR_DIRTY] == 100
    filemap.fsync(kernel, inode)
    assert counts(kernel, vma)["dirty"] == 0
    assert kernel.nodes[1].stat[NodeStat.NR_WRITTEN] == 100
    check(kernel)


def test_unmapping_marks_young_file_pages_accessed(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f1")
    active = kernel.nodes[1].stat[NodeStat.NR_ACTIVE_FILE]
    for rounds in (0, MIB):
        mmap.mmap(kernel, task, BASE, MIB, file=inode)
        memory.touch(kernel, task, BASE, BASE + MIB, write=False)
        mmap.munmap(kernel, task, BASE, BASE + MIB)
        assert kernel.nodes[1].stat[NodeStat.NR_ACTIVE_FILE] - active == rounds
    check(kernel)


def test_shared_anonymous_memory_is_shmem(kernel: Kernel, task: Task) -> None:
    shmem = kernel.nodes[1].stat[NodeStat.NR_SHMEM]
    vma = mmap.mmap(kernel, task, BASE, 16 * MIB, shared=True)
    memory.touch(kernel, task, BASE, BASE + 16 * MIB, write=True)
    assert vma.path == "/dev/zero\\040(deleted)"
    assert counts(kernel, vma) == {
        "anon": 0, "dirty": 4096, "mapped": 4096, "active": 0, "mapmax": 1, "node": {1: 4096},
    }
    assert kernel.nodes[1].stat[NodeStat.NR_SHMEM] - shmem == 4096
    check(kernel)
    child = kernel.tasks.fork(kernel, task)
    mmap.munmap(kernel, task, BASE, BASE + 16 * MIB)
    assert kernel.nodes[1].stat[NodeStat.NR_SHMEM] - shmem == 4096
    kernel.tasks.do_exit(kernel, child)
    assert kernel.nodes[1].stat[NodeStat.NR_SHMEM] == shmem
    check(kernel)


def test_an_access_without_a_mapping_is_a_fault(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 10)
    with pytest.raises(OSError, match="no mapping"):
        memory.touch(kernel, task, BASE, BASE + 11, write=True)


def test_writing_a_read_only_mapping_is_a_fault(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 10, write=False)
    with pytest.raises(OSError, match="read-only"):
        memory.touch(kernel, task, BASE, BASE + 1, write=True)


def test_an_access_beyond_the_file_is_a_fault(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 2 * MIB, file=kernel.fs.lookup(task, "f1"))
    with pytest.raises(OSError, match="beyond the end"):
        memory.touch(kernel, task, BASE, BASE + MIB + 1, write=False)
    check(kernel)


def test_advised_memory_is_filled_with_huge_pages(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, BASE, 10 * MIB)
    madvise.madvise(kernel, task, BASE, BASE + 10 * MIB, "hugepage")
    memory.touch(kernel, task, BASE + 700, BASE + 701, write=True)
    assert counts(kernel, vma)["anon"] == 512
    memory.touch(kernel, task, BASE, BASE + 10 * MIB, write=True)
    assert counts(kernel, vma)["anon"] == 2560
    assert kernel.nodes[1].stat[NodeStat.NR_ANON_TRANSPARENT_HUGEPAGES] == 2560
    assert kernel.events[VmEvent.THP_FAULT_ALLOC] == 5
    madvise.madvise(kernel, task, BASE + 600, BASE + 700, "dontneed")
    assert kernel.nodes[1].stat[NodeStat.NR_ANON_TRANSPARENT_HUGEPAGES] == 2048
    assert counts(kernel, vma)["anon"] == 2460
    check(kernel)


def test_memory_that_is_not_advised_gets_small_pages(kernel: Kernel, task: Task) -> None:
    mmap.mmap(kernel, task, BASE, 10 * MIB)
    memory.touch(kernel, task, BASE, BASE + 10 * MIB, write=True)
    assert kernel.nodes[1].stat[NodeStat.NR_ANON_TRANSPARENT_HUGEPAGES] == 0


def test_locking_a_private_file_mapping_copies_it(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f10")
    vma = mmap.mmap(kernel, task, BASE, 10 * MIB, file=inode)
    memory.touch(kernel, task, BASE, BASE + 10 * MIB, write=False)
    mlock.mlock(kernel, task, BASE, BASE + 10 * MIB)
    assert counts(kernel, vma)["anon"] == 2560
    assert kernel.nodes[1].stat[NodeStat.NR_UNEVICTABLE] == 2560
    check(kernel)
    mlock.munlock(kernel, task, BASE, BASE + 10 * MIB)
    assert kernel.nodes[1].stat[NodeStat.NR_UNEVICTABLE] == 0
    check(kernel)


def test_locked_shared_file_pages_stay_where_they_are_mapped(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f10")
    mmap.mmap(kernel, task, BASE, 10 * MIB, file=inode, shared=True)
    mlock.mlock(kernel, task, BASE, BASE + 10 * MIB)
    assert kernel.nodes[1].stat[NodeStat.NR_UNEVICTABLE] == 2560
    assert kernel.nodes[1].stat[NodeStat.NR_MAPPED] >= 2560
    mmap.munmap(kernel, task, BASE, BASE + 10 * MIB)
    assert kernel.nodes[1].stat[NodeStat.NR_UNEVICTABLE] == 0
    check(kernel)


def test_new_pages_of_a_locked_mapping_are_unevictable(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, BASE, MIB)
    mlock.mlock(kernel, task, BASE, BASE + MIB)
    assert counts(kernel, vma)["active"] == MIB
    check(kernel)


def test_sixty_four_gib_are_a_handful_of_steps() -> None:
    kernel = boot(machine(40960, 40960, thp="never"))
    task = kernel.tasks.spawn(kernel, "t", cpu=0)
    vma = mmap.mmap(kernel, task, BASE, 65536 * MIB)
    memory.touch(kernel, task, BASE, BASE + 65536 * MIB, write=True)
    assert vma.anon is not None
    assert len(list(vma.anon.runs())) < 10
    assert len(vma.segments) == 1


def test_a_huge_page_that_a_child_copies_whole_stays_one_for_the_parent() -> None:
    kernel = boot(machine(64, 64, thp="always"))
    task = kernel.tasks.spawn(kernel, "t", cpu=0)
    start = 512 << 10
    vma = mmap.mmap(kernel, task, start, 512)
    memory.touch(kernel, task, start, start + 512, write=True)
    child = kernel.tasks.fork(kernel, task)
    memory.touch(kernel, child, start, start + 512, write=True)
    assert [bool(run.flags & PG.THP) for run, _ in vma.runs()] == [True]
    assert child.mm is not None
    [copy] = child.mm.overlapping(start, start + 512)
    assert [bool(run.flags & PG.THP) for run, _ in copy.runs()] == [False]
    check(kernel)


def test_a_read_of_shared_memory_maps_what_is_there_around_it() -> None:
    kernel = boot(machine(64, 64))
    task = kernel.tasks.spawn(kernel, "t", cpu=0)
    vma = mmap.mmap(kernel, task, 512 << 10, 16, shared=True)
    memory.touch(kernel, task, vma.start + 1, vma.start + 9, write=True)
    memory.zap_page_range(kernel, vma, vma.start + 5, vma.start + 8)
    memory.touch(kernel, task, vma.start + 13, vma.start + 14, write=False)
    assert memory.vma_stats(kernel, vma).pages == 9
    check(kernel)
