# SPDX-License-Identifier: MIT
"""The memory controller: who is charged, limits, reclaim and killing inside a group."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from numafs.kernel import cgroup_v2, memcontrol, memory, mmap, swap
from numafs.kernel.cgroup_v2 import Group
from numafs.kernel.check import Inconsistent, check
from numafs.kernel.errors import TaskKilled
from numafs.kernel.filemap import generic_file_read
from numafs.kernel.kernel import Kernel
from numafs.kernel.memcontrol import MemCgroup
from numafs.kernel.mm import Task, Vma
from numafs.kernel.swap import SwapArea
from numafs.kernel.vmstat import NodeStat

from .groups import region
from .test_cpuset import errno_of
from .v2 import attach, control, four_nodes_v2, group, root, set_mems

MIB = 256
"""Pages."""
TABLES = 3
"""Page tables of a small region far from others: one of each level."""


@pytest.fixture
def kernel() -> Kernel:
    return four_nodes_v2("cpuset", "memory")


def memory_of(group: Group) -> MemCgroup:
    assert group.memcg is not None
    return group.memcg


def task_in(kernel: Kernel, group: Group, name: str = "t") -> Task:
    """A task whose own small memory is the root's."""
    task = kernel.tasks.spawn(kernel, name)
    attach(kernel, group, task)
    return task


def read_file(kernel: Kernel, task: Task, mib: int) -> None:
    inode = kernel.fs.create(task, f"f{task.pid}")
    inode.size_bytes = mib << 20
    generic_file_read(kernel, task, inode, 0, mib << 20)
    check(kernel)


def unused(kernel: Kernel, task: Task, pages: int) -> Vma:
    assert task.mm is not None
    return mmap.mmap(kernel, task, 0x300000000, pages)


def killed(call: Callable[[], object]) -> bool:
    """Did the caller die of it? What it would do then is not done."""
    try:
        call()
    except TaskKilled:
        return True
    return False


# ---------------------------------------------------------------- who is charged


def test_pages_are_charged_to_the_group_of_who_had_them_first_and_to_those_above(kernel: Kernel) -> None:
    a = group(kernel, "a")
    control(kernel, a, "+memory")
    b = group(kernel, "b", parent=a)
    task = task_in(kernel, b)
    region(kernel, task, 100, nid=2)
    check(kernel)
    assert (memory_of(a).usage, memory_of(b).usage) == (100 + TABLES, 100 + TABLES)
    assert memory_of(a).stat[2][NodeStat.NR_ANON_PAGES] == 100
    attach(kernel, root(kernel), task)
    region(kernel, task, 10)
    assert memory_of(b).usage == 100 + TABLES


def test_pages_stay_charged_when_they_move_and_go_when_they_are_freed(kernel: Kernel) -> None:
    a = group(kernel, "a", mems="0")
    task = task_in(kernel, a)
    vma = region(kernel, task, 100)
    set_mems(kernel, a, "3")
    stat = memory_of(a).stat
    assert [stat[nid][NodeStat.NR_ANON_PAGES] for nid in range(4)] == [0, 0, 0, 100]
    mmap.munmap(kernel, task, vma.start, vma.start + 40)
    check(kernel)
    assert (memory_of(a).usage, memory_of(a).peak) == (60 + TABLES, 100 + TABLES)


def test_page_cache_is_charged_to_who_read_it_first(kernel: Kernel) -> None:
    a = group(kernel, "a")
    read_file(kernel, task_in(kernel, a), 2)
    assert memory_of(a).usage == 2 * MIB
    assert sum(memory_of(a).stat[nid][NodeStat.NR_FILE_PAGES] for nid in range(4)) == 2 * MIB


def test_what_a_removed_group_had_stays_with_those_above(kernel: Kernel) -> None:
    a = group(kernel, "a")
    control(kernel, a, "+memory")
    b = group(kernel, "b", parent=a)
    task = task_in(kernel, b)
    read_file(kernel, task, 1)
    attach(kernel, root(kernel), task)
    gone = memory_of(b)
    cgroup_v2.rmdir(kernel, b)
    check(kernel)
    assert (gone.dead, gone.usage, memory_of(a).usage) == (True, MIB, MIB)


# ---------------------------------------------------------------- limits


def test_at_its_limit_a_group_reclaims_its_own_page_cache_first(kernel: Kernel) -> None:
    a, b = group(kernel, "a"), group(kernel, "b")
    task, other = task_in(kernel, a), task_in(kernel, b)
    read_file(kernel, other, 2)
    read_file(kernel, task, 3)
    memory_of(a).max = 4 * MIB
    region(kernel, task, 2 * MIB)
    check(kernel)
    assert memory_of(a).usage <= 4 * MIB
    assert memory_of(b).usage == 2 * MIB
    assert memory_of(a).events["max"] and not memory_of(a).events["oom"]


def test_without_anything_to_reclaim_the_group_s_largest_dies(kernel: Kernel) -> None:
    a = group(kernel, "a")
    task, outsider = task_in(kernel, a), task_in(kernel, root(kernel))
    region(kernel, outsider, 9 * MIB)
    memory_of(a).max = 4 * MIB
    vma = unused(kernel, task, 5 * MIB)
    assert killed(lambda: memory.touch(kernel, task, vma.start, vma.stop, write=True))
    assert (memory_of(a).events["oom"], memory_of(a).events["oom_kill"]) == (1, 1)
    assert "oom_memcg=/a,task_memcg=/a" in "".join(map(str, kernel.kmsg))
    kernel.tasks.do_exit(kernel, task)
    check(kernel)
    assert (memory_of(a).usage, outsider.exited) == (0, False)


def test_another_process_of_the_group_may_die_and_then_there_is_room(kernel: Kernel) -> None:
    a = group(kernel, "a")
    large, small = task_in(kernel, a), task_in(kernel, a)
    region(kernel, large, 3 * MIB)
    memory_of(a).max = 4 * MIB
    region(kernel, small, 2 * MIB)
    check(kernel)
    assert (large.exited, small.exited, memory_of(a).usage) == (True, False, 2 * MIB + TABLES)


def test_with_oom_group_all_die_together(kernel: Kernel) -> None:
    a = group(kernel, "a")
    tasks = [task_in(kernel, a) for _ in range(3)]
    region(kernel, tasks[0], 3 * MIB)
    memory_of(a).oom_group = True
    memcontrol.memory_max_write(kernel, memory_of(a), MIB)
    check(kernel)
    assert all(task.exited for task in tasks)
    assert memory_of(a).events["oom_group_kill"] == 1


def test_a_limit_below_what_is_used_kills_without_swap_and_the_write_succeeds(kernel: Kernel) -> None:
    a = group(kernel, "a")
    task = task_in(kernel, a)
    region(kernel, task, 4 * MIB)
    memcontrol.memory_max_write(kernel, memory_of(a), MIB)
    check(kernel)
    assert (task.exited, memory_of(a).usage) == (True, 0)


def test_with_swap_a_limit_swaps_out(kernel: Kernel) -> None:
    swap.swapon(kernel, SwapArea("/swap", 16 * MIB, -2, False))
    a = group(kernel, "a")
    task = task_in(kernel, a)
    vma = region(kernel, task, 4 * MIB)
    memcontrol.memory_max_write(kernel, memory_of(a), MIB)
    check(kernel)
    assert (task.exited, memory_of(a).usage <= MIB) == (False, True)
    memory.touch(kernel, task, vma.start, vma.start + MIB, write=False)
    check(kernel)
    assert (task.exited, memory_of(a).usage <= MIB) == (False, True)


def test_above_high_a_group_is_slowed_by_reclaim_and_nobody_dies(kernel: Kernel) -> None:
    a = group(kernel, "a")
    task = task_in(kernel, a)
    memcontrol.memory_high_write(kernel, memory_of(a), MIB)
    read_file(kernel, task, 4)
    region(kernel, task, 2 * MIB)
    assert memory_of(a).events["high"] and not task.exited
    assert memory_of(a).stat[0][NodeStat.NR_FILE_PAGES] == 0


# ---------------------------------------------------------------- reclaim on request


def test_reclaim_frees_what_is_asked_or_says_eagain(kernel: Kernel) -> None:
    a, b = group(kernel, "a"), group(kernel, "b")
    task, other = task_in(kernel, a), task_in(kernel, b)
    read_file(kernel, other, 1)
    read_file(kernel, task, 4)
    region(kernel, task, MIB)
    memcontrol.memory_reclaim(kernel, memory_of(a), MIB)
    assert memory_of(a).usage == 4 * MIB + TABLES
    assert errno_of(lambda: memcontrol.memory_reclaim(kernel, memory_of(a), 1 << 18)) == "EAGAIN"
    check(kernel)
    assert (memory_of(a).usage, memory_of(b).usage) == (MIB + TABLES, MIB)


def test_the_checker_sees_a_wrong_charge(kernel: Kernel) -> None:
    a = group(kernel, "a")
    memory_of(a).usage = 3
    with pytest.raises(Inconsistent, match="says 3 pages, there are 0"):
        check(kernel)
