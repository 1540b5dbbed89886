# SPDX-License-Identifier: MIT
"""The page cache: what a read brings in, what a write dirties, what goes away when."""

from __future__ import annotations

import pytest

from numafs.kernel import filemap, memory, mempolicy, mmap, page_writeback
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task
from numafs.kernel.mmzone import Lru, PageUse
from numafs.kernel.page import PG
from numafs.kernel.vmstat import NodeStat, VmEvent
from numafs.machine.spec import Disk, DiskFile

from .machines import PAGES_PER_MIB, machine

BASE = 0x100000000
MIB = PAGES_PER_MIB
SECOND = 1_000_000_000
FILES = tuple(DiskFile(f"f{n}", n << 20) for n in (1, 10, 50, 100, 200))


@pytest.fixture
def kernel() -> Kernel:
    return boot(machine(512, 512, 512, 512, disks=(Disk("d", FILES),), thp="madvise"))


@pytest.fixture
def task(kernel: Kernel) -> Task:
    return kernel.tasks.spawn(kernel, "t", cpu=2)


def unused(kernel: Kernel) -> int:
    """Free pages of node 1, those that its CPUs keep included."""
    return sum(zone.free + zone.used[PageUse.PCP] for zone in kernel.nodes[1].zones)


def test_a_read_of_one_byte_brings_four_pages(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f1")
    assert filemap.generic_file_read(kernel, task, inode, 0, 1) == 1
    assert filemap.resident(inode) == 4
    check(kernel)


def test_a_byte_from_the_middle_brings_its_page(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f1")
    filemap.generic_file_read(kernel, task, inode, 100 * 4096, 1)
    assert inode.space.resident(0, MIB) == [(100, 101)]


def test_a_long_read_brings_one_window_more(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f200")
    filemap.generic_file_read(kernel, task, inode, 0, 50 << 20)
    assert filemap.resident(inode) == 12832
    assert len(list(inode.space.runs())) <= 3
    check(kernel)


def test_reading_on_goes_on_reading_ahead(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f200")
    ra = filemap.readahead.FileRaState()
    for offset in range(0, 50 << 20, 65536):
        filemap.generic_file_read(kernel, task, inode, offset, 65536, ra)
    assert filemap.resident(inode) == 12832


def test_a_read_ends_with_the_file(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f1")
    assert filemap.generic_file_read(kernel, task, inode, (1 << 20) - 10, 100) == 10
    assert filemap.generic_file_read(kernel, task, inode, 1 << 20, 100) == 0


def test_pages_come_to_the_readers_node_and_stay(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f100")
    filemap.generic_file_read(kernel, task, inode, 0, 100 << 20)
    task.cpu = 0
    filemap.generic_file_read(kernel, task, inode, 0, 100 << 20)
    assert filemap.pages_by_node(inode.space, 0, 25600) == {1: 25600}


def test_a_second_read_makes_pages_active(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f10")
    filemap.generic_file_read(kernel, task, inode, 0, 10 << 20)
    assert {run.lru for run in inode.space.runs()} == {Lru.INACTIVE_FILE}
    filemap.generic_file_read(kernel, task, inode, 0, 10 << 20)
    assert {run.lru for run in inode.space.runs()} == {Lru.ACTIVE_FILE}
    assert kernel.events[VmEvent.PGACTIVATE] == 2560
    check(kernel)


def test_written_pages_need_two_reads_to_become_active(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.create(task, "new")
    for _ in range(2):
        filemap.generic_perform_write(kernel, task, inode, 0, 1 << 20)
    assert not any(run.flags & PG.REFERENCED for run in inode.space.runs())
    filemap.generic_file_read(kernel, task, inode, 0, 1 << 20)
    assert {run.lru for run in inode.space.runs()} == {Lru.INACTIVE_FILE}
    filemap.generic_file_read(kernel, task, inode, 0, 1 << 20)
    assert {run.lru for run in inode.space.runs()} == {Lru.ACTIVE_FILE}


def test_an_interleaving_reader_spreads_a_file(kernel: Kernel, task: Task) -> None:
    mempolicy.set_mempolicy(kernel, task, mempolicy.Mode.INTERLEAVE, 0b1111, 1025)
    inode = kernel.fs.lookup(task, "f50")
    filemap.generic_file_read(kernel, task, inode, 0, 50 << 20)
    assert filemap.pages_by_node(inode.space, 0, 12800) == {0: 3200, 1: 3200, 2: 3200, 3: 3200}
    vma = mmap.mmap(kernel, task, BASE, 12800, file=inode)
    memory.touch(kernel, task, BASE, BASE + 12800, write=False)
    assert memory.vma_stats(kernel, vma).pages == 12800
    mmap.munmap(kernel, task, BASE, BASE + 12800)
    check(kernel)
    assert filemap.fadvise_dontneed(kernel, inode, 0, 12800) == 12800
    check(kernel)


def test_writing_dirties_and_extends(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.create(task, "new")
    filemap.generic_perform_write(kernel, task, inode, 0, 10 << 20)
    assert inode.size_bytes == 10 << 20
    assert kernel.nodes[1].stat[NodeStat.NR_DIRTY] == 2560
    assert kernel.nodes[1].stat[NodeStat.NR_DIRTIED] == 2560
    assert filemap.fadvise_dontneed(kernel, inode, 0, 2560) == 0
    check(kernel)
    page_writeback.sync(kernel)
    assert kernel.nodes[1].stat[NodeStat.NR_DIRTY] == 0
    assert kernel.nodes[1].stat[NodeStat.NR_WRITTEN] == 2560
    assert not kernel.dirty_inodes
    assert filemap.fadvise_dontneed(kernel, inode, 0, 2560) == 2560
    check(kernel)


def test_old_dirty_pages_are_written_by_the_flusher(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.create(task, "new")
    filemap.generic_perform_write(kernel, task, inode, 0, 10 << 20)
    kernel.clock.advance(29 * SECOND)
    assert kernel.nodes[1].stat[NodeStat.NR_DIRTY] == 2560
    kernel.clock.advance(7 * SECOND)
    assert kernel.nodes[1].stat[NodeStat.NR_DIRTY] == 0
    assert kernel.nodes[1].stat[NodeStat.NR_WRITEBACK] == 0
    assert kernel.nodes[1].stat[NodeStat.NR_WRITTEN] == 2560
    check(kernel)


def test_a_kicked_flusher_writes_everything(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.create(task, "new")
    filemap.generic_perform_write(kernel, task, inode, 0, 10 << 20)
    page_writeback.wakeup_flusher_threads(kernel)
    kernel.clock.advance(SECOND)
    assert kernel.nodes[1].stat[NodeStat.NR_WRITTEN] == 2560
    check(kernel)


def test_too_many_dirty_pages_are_written_at_once(kernel: Kernel, task: Task) -> None:
    kernel.vm.set(kernel, "dirty_writeback_centisecs", 0)
    inode = kernel.fs.create(task, "new")
    background, limit = page_writeback.global_dirty_limits(kernel)
    filemap.generic_perform_write(kernel, task, inode, 0, (limit + 1000) * 4096)
    dirty = sum(pgdat.stat[NodeStat.NR_DIRTY] + pgdat.stat[NodeStat.NR_WRITEBACK] for pgdat in kernel.nodes)
    assert dirty <= limit
    kernel.clock.advance(10 * SECOND)
    assert sum(pgdat.stat[NodeStat.NR_DIRTY] for pgdat in kernel.nodes) <= background
    check(kernel)


def test_a_node_over_its_share_of_the_dirty_limit_is_passed_over(kernel: Kernel, task: Task) -> None:
    kernel.vm.set(kernel, "dirty_background_ratio", 90)
    inode = kernel.fs.create(task, "new")
    pgdat = kernel.nodes[1]
    share = page_writeback.node_dirty_limit(kernel, pgdat)
    filemap.generic_perform_write(kernel, task, inode, 0, (share + 4000) * 4096)
    held = filemap.pages_by_node(inode.space, 0, share + 4000)
    assert abs(held[1] - share) <= 4 * page_writeback.WRITE_STRETCH
    assert set(held) == {1, 2}
    check(kernel)


def test_truncation_frees_dirty_and_mapped_pages(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.create(task, "new")
    filemap.generic_perform_write(kernel, task, inode, 0, 1 << 20)
    mmap.mmap(kernel, task, BASE, MIB, file=inode)
    memory.touch(kernel, task, BASE, BASE + MIB, write=False)
    filemap.truncate(kernel, inode, 100 * 4096)
    assert filemap.resident(inode) == 100
    assert kernel.nodes[1].stat[NodeStat.NR_DIRTY] == 100
    check(kernel)


def test_an_unlinked_file_goes_with_its_last_mapping(kernel: Kernel, task: Task) -> None:
    free = unused(kernel)
    inode = kernel.fs.lookup(task, "f10")
    vma = mmap.mmap(kernel, task, BASE, 10 * MIB, file=inode)
    memory.touch(kernel, task, BASE, BASE + 10 * MIB, write=False)
    kernel.fs.unlink(task, "f10")
    assert filemap.resident(inode) == 2560
    check(kernel)
    mmap.munmap(kernel, task, vma.start, vma.stop)
    assert filemap.resident(inode) == 0
    assert free - unused(kernel) < 50
    check(kernel)
    with pytest.raises(FileNotFoundError):
        kernel.fs.lookup(task, "f10")
