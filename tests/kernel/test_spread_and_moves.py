# SPDX-License-Identifier: MIT
"""Page cache that a cpuset spreads, and moves of what is not plain anonymous memory."""

from __future__ import annotations

from itertools import pairwise

import pytest

from numafs.kernel import cpuset, filemap, hugetlb, mbind, memory, mempolicy, migrate, mmap
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.cpuset import CS
from numafs.kernel.kernel import Kernel
from numafs.kernel.mempolicy import Mode
from numafs.kernel.mm import Task
from numafs.kernel.page import PG
from numafs.kernel.vmstat import VmEvent
from numafs.machine.spec import Disk, DiskFile

from .groups import attach, group, on_nodes
from .machines import machine

FILES = (DiskFile("f40", 40 << 20), *(DiskFile(f"one{n}", 4096) for n in range(8)))


@pytest.fixture
def kernel() -> Kernel:
    return boot(machine(128, 128, 128, 128, disks=(Disk("d", FILES),), thp="madvise"))


@pytest.fixture
def task(kernel: Kernel) -> Task:
    return kernel.tasks.spawn(kernel, "t", cpu=2)


def read(kernel: Kernel, task: Task, name: str) -> dict[int, int]:
    """Read a file whole; where its pages are."""
    inode = kernel.fs.lookup(task, name)
    filemap.generic_file_read(kernel, task, inode, 0, inode.size_bytes)
    where = filemap.pages_by_node(inode.space, 0, filemap.resident(inode))
    return {nid: n for nid, n in sorted(where.items()) if n}


@pytest.mark.parametrize(("mems", "nodes"), [("0-3", 4), ("1-3", 3), ("2", 1), ("0,2", 2)])
def test_a_spread_file_is_dealt_out_evenly(kernel: Kernel, task: Task, mems: str, nodes: int) -> None:
    cs = group(kernel, "a", "0-7", mems)
    cpuset.update_flag(kernel, cs, CS.SPREAD_PAGE, True)
    attach(kernel, cs, task)
    where = read(kernel, task, "f40")
    assert len(where) == nodes
    assert max(where.values()) - min(where.values()) <= nodes
    check(kernel)


def test_files_of_one_page_land_on_the_next_node_each(kernel: Kernel, task: Task) -> None:
    cs = group(kernel, "a", "0-7", "0,2-3")
    cpuset.update_flag(kernel, cs, CS.SPREAD_PAGE, True)
    attach(kernel, cs, task)
    nodes = [next(iter(read(kernel, task, f"one{n}"))) for n in range(8)]
    following = {0: 2, 2: 3, 3: 0}
    assert all(following[a] == b for a, b in pairwise(nodes))


def test_spreading_comes_before_the_tasks_policy_and_ends_with_the_flag(kernel: Kernel, task: Task) -> None:
    cs = group(kernel, "a", "0-7", "0-3")
    attach(kernel, cs, task)
    cpuset.update_flag(kernel, cs, CS.SPREAD_PAGE, True)
    mempolicy.set_mempolicy(kernel, task, Mode.BIND, 0b100, 1025)
    assert len(read(kernel, task, "f40")) == 4
    cpuset.update_flag(kernel, cs, CS.SPREAD_PAGE, False)
    assert read(kernel, task, "one0") == {2: 1}


def test_an_interleaving_task_turns_its_rotor_with_every_page_of_the_cache(kernel: Kernel, task: Task) -> None:
    mempolicy.set_mempolicy(kernel, task, Mode.INTERLEAVE, 0b1011, 1025)
    where = read(kernel, task, "f40")
    assert list(where) == [0, 1, 3]
    assert max(where.values()) - min(where.values()) <= 2


def test_mapped_file_pages_move_and_the_rest_of_the_cache_stays(kernel: Kernel, task: Task) -> None:
    read(kernel, task, "f40")
    inode = kernel.fs.lookup(task, "f40")
    vma = mmap.mmap(kernel, task, 0x100000000, 100, file=inode, pgoff=64, shared=True, write=False)
    memory.touch(kernel, task, vma.start, vma.stop, write=False)
    assert migrate.migrate_pages(kernel, task, 0, 0b10, 0b1000, 1025) == 0
    assert on_nodes(vma) == {3: sum(on_nodes(vma).values())}
    assert filemap.pages_by_node(inode.space, 0, 10240)[1] == 10240 - sum(on_nodes(vma).values())
    check(kernel)


def test_a_cow_copy_obeys_the_mapping_and_the_cache_the_reader(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f40")
    vma = mmap.mmap(kernel, task, 0x100000000, 16, file=inode)
    mbind.mbind(kernel, task, vma.start, vma.stop, Mode.BIND, 0b100, 1025, 0)
    memory.touch(kernel, task, vma.start, vma.stop, write=False)
    memory.touch(kernel, task, vma.start, vma.start + 1, write=True)
    assert on_nodes(vma) == {1: 15, 2: 1}


def test_huge_pages_move_whole_and_split_where_there_is_none_to_be_had(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, 0x100000000, 4 * 512)
    vma.thp = True
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    assert migrate.migrate_pages(kernel, task, 0, 0b10, 0b1, 1025) == 0
    assert kernel.events[VmEvent.THP_MIGRATION_SUCCESS] == 4
    assert all(run.flags & PG.THP for run, _ in vma.runs())
    assert on_nodes(vma) == {0: 2048}
    check(kernel)


def test_one_page_of_a_huge_page_takes_all_of_it_along(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, 0x100000000, 2 * 512)
    vma.thp = True
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    assert migrate.move_pages(kernel, task, 0, [vma.start + 5], [3], 0) == (0, [3])
    assert on_nodes(vma) == {1: 512, 3: 512}
    check(kernel)


def test_hugetlb_pages_move_into_the_pool_of_the_destination(kernel: Kernel, task: Task) -> None:
    hugetlb.set_max_huge_pages(kernel, 512, 4, None, None)
    vma = mmap.mmap(kernel, task, 0x100000000, 512, hugetlb=512)
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    assert migrate.migrate_pages(kernel, task, 0, 0b10, 0b1000, 1025) == 0
    assert on_nodes(vma) == {3: 512}
    assert [pgdat.hugepages[512].free for pgdat in kernel.nodes] == [1, 1, 1, 0]
    check(kernel)
    other = mmap.mmap(kernel, task, 0x200000000, 512, hugetlb=512)
    memory.touch(kernel, task, other.start, other.stop, write=True)
    assert migrate.migrate_pages(kernel, task, 0, 0b10, 0b1000, 1025) == 1
    check(kernel)
