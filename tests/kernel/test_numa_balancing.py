# SPDX-License-Identifier: MIT
"""NUMA balancing: scans by CPU time, hint faults, and which pages they move."""

from __future__ import annotations

import pytest

from numafs.kernel import madvise, mbind, memory, mempolicy, mmap, page_writeback, sched
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.mempolicy import MPOL_F_NUMA_BALANCING, Mode
from numafs.kernel.mm import Task, Vma
from numafs.kernel.numa_balancing import NUMA_NO_NODE
from numafs.kernel.page import PG
from numafs.kernel.vmstat import NumaStat, VmEvent

from .groups import four_nodes, on_nodes, region

SECOND = 1_000_000_000


@pytest.fixture
def kernel() -> Kernel:
    return four_nodes()


@pytest.fixture
def task(kernel: Kernel) -> Task:
    """A task that stays on node 0."""
    return kernel.tasks.spawn(kernel, "busy", cpu=0)


def work(kernel: Kernel, task: Task, vma: Vma, seconds: float, write: bool = True) -> None:
    """`task` uses its memory again and again."""
    for _ in range(int(seconds * 10)):
        sched.run_for(kernel, task, SECOND // 10)
        memory.touch(kernel, task, vma.start, vma.stop, write)


def counts(kernel: Kernel) -> tuple[int, int, int, int]:
    """numa_pte_updates, numa_hint_faults, numa_hint_faults_local, numa_pages_migrated."""
    events = kernel.events
    return (events[VmEvent.NUMA_PTE_UPDATES], events[VmEvent.NUMA_HINT_FAULTS],
            events[VmEvent.NUMA_HINT_FAULTS_LOCAL], events[VmEvent.NUMA_PAGES_MIGRATED])


# ---------------------------------------------------------------- one task


def test_remote_pages_come_to_the_only_task_that_uses_them(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 2000, nid=2)
    work(kernel, task, vma, 1.5)
    assert on_nodes(vma) == {0: 2000}
    assert counts(kernel) == (2000, 2000, 0, 2000)
    assert kernel.events[VmEvent.PGMIGRATE_SUCCESS] == 2000
    assert task.numa.pages_migrated == 2000
    check(kernel)


def test_nothing_is_scanned_in_the_first_second_of_cpu_time(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 2000, nid=2)
    kernel.clock.advance(60 * SECOND)
    work(kernel, task, vma, 0.9)
    assert counts(kernel) == (0, 0, 0, 0)


def test_switched_off_nothing_is_scanned(kernel: Kernel, task: Task) -> None:
    kernel.vm.set(kernel, "numa_balancing", 0)
    vma = region(kernel, task, 2000, nid=2)
    work(kernel, task, vma, 5)
    assert on_nodes(vma) == {2: 2000}
    assert counts(kernel) == (0, 0, 0, 0)


def test_local_pages_of_a_single_thread_are_left_alone(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 2000)
    work(kernel, task, vma, 5)
    assert counts(kernel) == (0, 0, 0, 0)


def test_untouched_pages_stay_inaccessible_where_they_are(kernel: Kernel, task: Task) -> None:
    used, idle = region(kernel, task, 1000, nid=2), region(kernel, task, 1000, nid=2)
    work(kernel, task, used, 3)
    assert (on_nodes(used), on_nodes(idle)) == ({0: 1000}, {2: 1000})
    assert counts(kernel) == (2000, 1000, 0, 1000)
    assert all(run.flags & PG.PROT_NONE for run, _ in idle.runs())
    check(kernel)


def test_a_touch_of_a_part_faults_on_that_part(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 1000, nid=2)
    sched.run_for(kernel, task, 2 * SECOND)
    memory.touch(kernel, task, vma.start + 100, vma.start + 200, write=False)
    assert on_nodes(vma) == {0: 100, 2: 900}
    assert counts(kernel) == (1000, 100, 0, 100)
    check(kernel)


def test_moved_pages_are_counted_where_they_were_allocated(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 2000, nid=2)
    before = kernel.nodes[0].numa_stat(NumaStat.NUMA_HIT), kernel.nodes[0].numa_stat(NumaStat.NUMA_LOCAL)
    work(kernel, task, vma, 1.5)
    after = kernel.nodes[0].numa_stat(NumaStat.NUMA_HIT), kernel.nodes[0].numa_stat(NumaStat.NUMA_LOCAL)
    assert (after[0] - before[0], after[1] - before[1]) == (2000, 2000)


def test_interleaved_memory_of_a_lifted_policy_comes_home_lane_by_lane(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, None, 4000)
    mbind.mbind(kernel, task, vma.start, vma.stop, Mode.INTERLEAVE, 0b1111, 1025, 0)
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    mbind.mbind(kernel, task, vma.start, vma.stop, Mode.DEFAULT, None, 0, 0)
    work(kernel, task, vma, 1.5)
    assert on_nodes(vma) == {0: 4000}
    assert counts(kernel) == (3000, 3000, 0, 3000)
    assert sum(1 for _ in vma.runs()) <= 8
    check(kernel)


def test_a_node_that_is_nearly_full_takes_no_more(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 4000, nid=2)
    filler = kernel.tasks.spawn(kernel, "filler", cpu=1)
    zone = kernel.nodes[0].populated_zones[-1]
    region(kernel, filler, zone.free - zone.watermark[2] - 1000)
    work(kernel, task, vma, 3)
    moved = on_nodes(vma).get(0, 0)
    assert 0 < moved < 2000
    assert task.numa.locality[2] > 0
    assert zone.free >= zone.watermark[2] - zone.pcp_batch
    check(kernel)


def test_huge_pages_move_whole(task: Task) -> None:
    kernel = four_nodes(128, 128, 128, 128)
    task = kernel.tasks.spawn(kernel, "busy", cpu=0)
    vma = mmap.mmap(kernel, task, 0x100000000, 2048)
    madvise.madvise(kernel, task, vma.start, vma.stop, "hugepage")
    mempolicy.set_mempolicy(kernel, task, Mode.BIND, 0b100, 65)
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    mempolicy.set_mempolicy(kernel, task, Mode.DEFAULT, None, 0)
    work(kernel, task, vma, 1.5)
    assert on_nodes(vma) == {0: 2048}
    assert counts(kernel) == (2048, 4, 0, 2048)
    assert kernel.events[VmEvent.NUMA_HUGE_PTE_UPDATES] == 4
    assert kernel.events[VmEvent.THP_MIGRATION_SUCCESS] == 4
    assert all(run.flags & PG.THP for run, _ in vma.runs())
    check(kernel)


# ---------------------------------------------------------------- how often


def test_a_pass_over_remote_memory_doubles_the_period(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 2000, nid=2)
    work(kernel, task, vma, 1.5)
    assert (task.numa.scan_period_ms, task.numa.preferred_nid) == (2000, NUMA_NO_NODE)
    more = region(kernel, task, 2000, nid=1)
    work(kernel, task, more, 4)
    assert (task.numa.scan_period_ms, task.numa.preferred_nid) == (4000, 0)


def test_a_scan_goes_on_where_the_last_one_ended(kernel: Kernel, task: Task) -> None:
    kernel.numa_tunables.scan_size_mb = 4
    vma = region(kernel, task, 3072, nid=2)
    moved = []
    while len(moved) < 200 and on_nodes(vma) != {0: 3072}:
        work(kernel, task, vma, 0.1)
        moved.append(on_nodes(vma).get(0, 0))
    assert sorted(set(moved)) == [0, 1024, 2048, 3072]
    check(kernel)


# ---------------------------------------------------------------- policies and kinds of memory


@pytest.mark.parametrize(("mode", "nodes", "moves"), [
    (Mode.PREFERRED, 0b100, False), (Mode.BIND, 0b100, False), (Mode.BIND, 0b101, False), (Mode.LOCAL, None, False),
    (Mode.BIND | MPOL_F_NUMA_BALANCING, 0b101, True), (Mode.BIND | MPOL_F_NUMA_BALANCING, 0b110, False),
])
def test_only_a_policy_that_balances_lets_pages_move(
    kernel: Kernel, task: Task, mode: int, nodes: int | None, moves: bool
) -> None:
    vma = region(kernel, task, 1000, nid=2)
    mempolicy.set_mempolicy(kernel, task, mode, nodes, 65 if nodes else 0)
    work(kernel, task, vma, 3)
    assert on_nodes(vma) == ({0: 1000} if moves else {2: 1000})
    check(kernel)


def test_shared_memory_without_a_policy_is_not_scanned(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, None, 1000, shared=True)
    mempolicy.set_mempolicy(kernel, task, Mode.BIND, 0b100, 65)
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    mempolicy.set_mempolicy(kernel, task, Mode.DEFAULT, None, 0)
    work(kernel, task, vma, 3)
    assert on_nodes(vma) == {2: 1000}
    assert counts(kernel) == (0, 0, 0, 0)


def file_on_node_2(kernel: Kernel, task: Task, *, shared: bool, write: bool = True) -> Vma:
    """A mapped file whose pages another task brought in."""
    inode = kernel.fs.create(task, "file")
    inode.size_bytes = 500 * 4096
    vma = mmap.mmap(kernel, task, None, 500, file=inode, shared=shared, write=write)
    mempolicy.set_mempolicy(kernel, task, Mode.BIND, 0b100, 65)
    memory.touch(kernel, task, vma.start, vma.stop, write=False)
    mempolicy.set_mempolicy(kernel, task, Mode.DEFAULT, None, 0)
    return vma


@pytest.mark.parametrize(("shared", "write", "moves"), [(True, True, True), (False, True, False), (True, False, False)])
def test_of_files_only_shared_writable_mappings_are_scanned(
    kernel: Kernel, task: Task, shared: bool, write: bool, moves: bool
) -> None:
    vma = file_on_node_2(kernel, task, shared=shared, write=write)
    work(kernel, task, vma, 3, write=False)
    assert on_nodes(vma) == ({0: 500} if moves else {2: 500})
    check(kernel)


def test_dirty_file_pages_stay_until_they_are_written(kernel: Kernel, task: Task) -> None:
    vma = file_on_node_2(kernel, task, shared=True)
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    sched.run_for(kernel, task, SECOND + SECOND // 2)
    memory.touch(kernel, task, vma.start, vma.stop, write=False)
    assert on_nodes(vma) == {2: 500}
    page_writeback.sync(kernel)
    work(kernel, task, vma, 10, write=False)
    assert on_nodes(vma) == {0: 500}
    check(kernel)


def test_pages_that_a_fork_shares_are_not_scanned(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 1000, nid=2)
    kernel.tasks.fork(kernel, task)
    work(kernel, task, vma, 3, write=False)
    assert on_nodes(vma) == {2: 1000}
    assert counts(kernel) == (0, 0, 0, 0)


# ---------------------------------------------------------------- several tasks


def threads(kernel: Kernel, first: Task) -> Task:
    """Another thread, which stays on node 1."""
    second = kernel.tasks.clone_thread(kernel, first)
    sched.set_cpus_allowed(kernel, second, 0b100)
    return second


def test_local_pages_of_threads_are_scanned_and_counted_as_local(kernel: Kernel, task: Task) -> None:
    threads(kernel, task)
    vma = region(kernel, task, 1000)
    work(kernel, task, vma, 1.5)
    assert on_nodes(vma) == {0: 1000}
    _, faults, local, migrated = counts(kernel)
    assert (faults, local, migrated) == (1000, 1000, 0)


def test_a_page_of_two_threads_moves_at_the_second_fault_in_a_row(kernel: Kernel, task: Task) -> None:
    other = threads(kernel, task)
    vma = region(kernel, task, 1000, nid=2)
    work(kernel, task, vma, 1.5)  # nobody had faulted on it before: at once
    assert on_nodes(vma) == {0: 1000}
    for thread in (task, other):
        thread.numa.preferred_nid, thread.numa.scan_seq = 0, 9
    moves = []
    for _ in range(4):
        before = kernel.events[VmEvent.NUMA_HINT_FAULTS]
        while kernel.events[VmEvent.NUMA_HINT_FAULTS] == before:
            work(kernel, other, vma, 0.1)
        moves.append(on_nodes(vma))
    assert moves[0] == {0: 1000}
    assert moves[-1] == {1: 1000}
    check(kernel)


def test_threads_that_share_pages_become_a_group(kernel: Kernel, task: Task) -> None:
    other = threads(kernel, task)
    vma = region(kernel, task, 1000)
    for _ in range(100):
        work(kernel, task, vma, 0.1)
        work(kernel, other, vma, 0.3)
    group = task.numa.group
    assert group is not None
    assert group is other.numa.group
    assert (group.gid, group.nr_tasks) == (task.pid, 2)
    assert group.total_faults == task.numa.total_faults + other.numa.total_faults
    kernel.tasks.do_exit(kernel, other)
    assert (group.nr_tasks, group.total_faults) == (1, task.numa.total_faults)
    check(kernel)


def test_a_child_faults_on_what_was_inaccessible_when_it_was_forked(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 1000, nid=2)
    idle = region(kernel, task, 10, nid=2)
    work(kernel, task, idle, 1.5)
    child = kernel.tasks.fork(kernel, task)
    before = kernel.events[VmEvent.NUMA_HINT_FAULTS]
    memory.touch(kernel, child, vma.start, vma.stop, write=False)
    assert kernel.events[VmEvent.NUMA_HINT_FAULTS] - before == 1000
    check(kernel)
