# SPDX-License-Identifier: MIT
"""The task table: processes, threads, copies, adopted ones, and their end."""

from __future__ import annotations

import errno

import pytest

from numafs.kernel import binfmt, memory
from numafs.kernel.check import check
from numafs.kernel.errors import TaskKilled
from numafs.kernel.fork import FIRST_PID
from numafs.kernel.kernel import Kernel
from numafs.kernel.mempolicy import Mode, set_mempolicy
from numafs.kernel.mm import Task
from numafs.kernel.vmstat import NodeStat

from .groups import four_nodes, on_nodes, region


@pytest.fixture
def kernel() -> Kernel:
    return four_nodes()


def free(kernel: Kernel) -> int:
    """Free pages, those on per-CPU lists included."""
    from numafs.kernel.mmzone import PageUse

    return sum(zone.free + zone.used[PageUse.PCP] for zone in kernel.zones())


def test_a_spawned_task_has_the_memory_of_a_small_program(kernel: Kernel) -> None:
    task = kernel.tasks.spawn(kernel, "memtool", cpu=2)
    assert task.pid >= FIRST_PID
    assert (task.cpu, task.ppid, task.mems_allowed) == (2, 1, 0b1111)
    assert task.mm
    assert len(task.mm.vmas) == 10
    assert [vma.name for vma in task.mm.vmas if vma.name] == ["heap", "stack"]
    assert set(on_nodes(task.mm.vmas)) == {1}
    check(kernel)


def test_the_program_is_in_memory_once_and_stays(kernel: Kernel) -> None:
    first = kernel.tasks.spawn(kernel, "a", cpu=0)
    kernel.tasks.do_exit(kernel, first)
    level = free(kernel)
    for _ in range(3):
        kernel.tasks.do_exit(kernel, kernel.tasks.spawn(kernel, "a", cpu=0))
    assert free(kernel) == level
    check(kernel)


def test_exit_gives_everything_back(kernel: Kernel) -> None:
    kernel.tasks.do_exit(kernel, kernel.tasks.spawn(kernel, "a", cpu=0))
    level = free(kernel)
    stacks = sum(pgdat.stat[NodeStat.NR_KERNEL_STACK] for pgdat in kernel.nodes)
    task = kernel.tasks.spawn(kernel, "a", cpu=0)
    region(kernel, task, 1000)
    thread = kernel.tasks.clone_thread(kernel, task)
    child = kernel.tasks.fork(kernel, task)
    check(kernel)
    for each in (child, task):
        kernel.tasks.do_exit(kernel, each)
    assert [kernel.tasks.get(t.pid) for t in (task, thread, child)] == [None] * 3
    assert free(kernel) == level
    assert sum(pgdat.stat[NodeStat.NR_KERNEL_STACK] for pgdat in kernel.nodes) == stacks
    check(kernel)


def test_a_thread_that_exits_leaves_the_memory_to_the_others(kernel: Kernel) -> None:
    task = kernel.tasks.spawn(kernel, "a", cpu=0)
    vma = region(kernel, task, 100)
    thread = kernel.tasks.clone_thread(kernel, task)
    kernel.tasks.do_exit(kernel, thread)
    assert on_nodes(vma) == {0: 100}
    assert kernel.tasks.threads(task) == [task]
    check(kernel)


def test_a_child_shares_pages_until_one_writes(kernel: Kernel) -> None:
    parent = kernel.tasks.spawn(kernel, "a", cpu=0)
    vma = region(kernel, parent, 100)
    child = kernel.tasks.fork(kernel, parent)
    assert child.mm
    copy = child.mm.find_vma(vma.start)
    assert copy
    child.cpu = 6
    memory.touch(kernel, child, vma.start, vma.start + 40, write=True)
    assert (on_nodes(vma), on_nodes(copy)) == ({0: 100}, {0: 60, 3: 40})
    check(kernel)
    kernel.tasks.do_exit(kernel, parent)
    assert on_nodes(copy) == {0: 60, 3: 40}
    check(kernel)


def test_a_child_inherits_policy_and_a_fresh_spread_rotor(kernel: Kernel) -> None:
    parent = kernel.tasks.spawn(kernel, "a")
    set_mempolicy(kernel, parent, Mode.INTERLEAVE, 0b1010, 1025)
    parent.spread_page, parent.spread_rotor = True, 2
    child = kernel.tasks.fork(kernel, parent)
    assert child.policy == parent.policy
    assert child.policy is not parent.policy
    assert (child.spread_page, child.spread_rotor) == (True, -1)


def test_orphans_are_inits(kernel: Kernel) -> None:
    parent = kernel.tasks.spawn(kernel, "a")
    child = kernel.tasks.fork(kernel, parent)
    assert child.ppid == parent.pid
    kernel.tasks.do_exit(kernel, parent)
    assert child.ppid == 1
    assert child in kernel.tasks.init.children
    kernel.tasks.do_exit(kernel, child)
    assert child not in kernel.tasks.init.children


def test_a_real_process_is_adopted_with_its_threads(kernel: Kernel) -> None:
    task = kernel.tasks.adopt(kernel, 501, 500, "bash", 1000, 1000, [500, 501, 502])
    assert (task.pid, task.tgid, task.real, task.uid, task.mm) == (501, 500, True, 1000, None)
    assert [t.pid for t in kernel.tasks.threads(task)] == [500, 501, 502]
    leader = kernel.tasks.get(500)
    assert leader
    kernel.tasks.do_exit(kernel, leader)
    assert kernel.tasks.get(502) is None
    check(kernel)


def test_kernel_threads_have_pids_that_no_process_has(kernel: Kernel) -> None:
    kthreads = [task for task in kernel.tasks if task.kthread]
    assert {task.pid for task in kthreads if task.pid <= 4_194_304} == {2}
    assert {"kswapd0", "kswapd3", "migration/7"} <= {task.comm for task in kthreads}


def test_a_task_that_is_killed_while_it_is_made_leaves_nothing(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(kernel: Kernel, task: Task) -> None:
        raise TaskKilled(task)

    before = free(kernel)
    monkeypatch.setattr(binfmt, "exec_program", killed)
    with pytest.raises(OSError, match="no memory") as caught:
        kernel.tasks.spawn(kernel, "memtool")
    assert caught.value.errno == errno.ENOMEM
    assert free(kernel) == before
    check(kernel)
