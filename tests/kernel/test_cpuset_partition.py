# SPDX-License-Identifier: MIT
"""Partitions: who owns which CPUs, and why a partition is invalid."""

from __future__ import annotations

import pytest

from numafs.kernel import cgroup_v2, cpu, cpuset_partition, sched
from numafs.kernel.cgroup_v2 import Group
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.nodemask import list_text

from .test_cpuset import errno_of
from .v2 import attach, control, cs_of, effective, four_nodes_v2, group, partition, root, set_cpus


@pytest.fixture
def kernel() -> Kernel:
    return four_nodes_v2("cpuset")


def of_root(kernel: Kernel) -> str:
    return effective(root(kernel))[0]


def state(group: Group) -> str:
    return cpuset_partition.text(cs_of(group))


def test_a_partition_s_cpus_leave_its_parent_and_siblings(kernel: Kernel) -> None:
    a, b = group(kernel, "a", "2-3"), group(kernel, "b")
    task, other = kernel.tasks.spawn(kernel, "t"), kernel.tasks.spawn(kernel, "o")
    attach(kernel, b, task)
    assert partition(kernel, a, "root") == "root"
    assert (of_root(kernel), effective(a)[0], effective(b)[0]) == ("0-1,4-7", "2-3", "0-1,4-7")
    assert (task.cpus_allowed, other.cpus_allowed) == (0b11110011, 0b11110011)
    assert partition(kernel, a, "isolated") == "isolated"
    assert partition(kernel, a, "member") == "member"
    assert (of_root(kernel), task.cpus_allowed) == ("0-7", 0xFF)


def test_without_cpus_it_is_invalid(kernel: Kernel) -> None:
    a = group(kernel, "a")
    assert partition(kernel, a, "root") == "root invalid (cpuset.cpus is empty)"
    assert partition(kernel, a, "isolated") == "isolated invalid (cpuset.cpus is empty)"


def test_an_overlap_with_a_sibling_invalidates_until_somebody_begins_anew(kernel: Kernel) -> None:
    a, b = group(kernel, "a", "2-3"), group(kernel, "b")
    partition(kernel, a, "root")
    set_cpus(kernel, b, "3-4")
    why = "root invalid (Cpu list in cpuset.cpus not exclusive)"
    assert (state(a), of_root(kernel)) == (why, "0-7")
    set_cpus(kernel, b, "4-5")
    assert partition(kernel, a, "root") == why
    partition(kernel, a, "member")
    assert (partition(kernel, a, "root"), of_root(kernel)) == ("root", "0-1,4-7")
    assert (partition(kernel, b, "root"), of_root(kernel)) == ("root", "0-1,6-7")
    set_cpus(kernel, b, "3")
    assert (state(a), state(b), of_root(kernel)) == (why, why, "0-7")


def test_a_partition_below_needs_its_parent_to_be_one(kernel: Kernel) -> None:
    a = group(kernel, "a", "2-3")
    control(kernel, a, "+cpuset")
    c = group(kernel, "c", "3", parent=a)
    assert partition(kernel, c, "root") == "root invalid (Parent is not a partition root)"
    assert partition(kernel, a, "root") == "root"
    assert (state(c), effective(a)[0], effective(c)[0]) == ("root", "2", "3")
    partition(kernel, a, "member")
    assert (state(c), effective(a)[0], of_root(kernel)) == (
        "root invalid (Parent is not a partition root)", "2-3", "0-7",
    )


def test_all_cpus_can_be_given_away_only_where_no_task_needs_them(kernel: Kernel) -> None:
    a = group(kernel, "a", "2-3")
    control(kernel, a, "+cpuset")
    c = group(kernel, "c", "3", parent=a)
    task = kernel.tasks.spawn(kernel, "t")
    partition(kernel, a, "root")
    partition(kernel, c, "root")
    set_cpus(kernel, c, "2-3")
    assert (effective(a)[0], effective(c)[0]) == ("", "2-3")
    assert errno_of(lambda: attach(kernel, a, task)) == "ENOSPC"
    set_cpus(kernel, c, "3")
    attach(kernel, a, task)
    set_cpus(kernel, c, "2-3")
    assert state(c) == "root invalid (Parent unable to distribute cpu downstream)"
    assert (effective(a)[0], effective(c)[0]) == ("2-3", "2-3")


def test_the_root_keeps_a_cpu_for_its_tasks(kernel: Kernel) -> None:
    a = group(kernel, "a", "0-7")
    assert partition(kernel, a, "root") == "root invalid (Parent unable to distribute cpu downstream)"
    assert of_root(kernel) == "0-7"


def test_a_partition_is_invalid_while_its_only_cpu_is_off_line(kernel: Kernel) -> None:
    a = group(kernel, "a", "3")
    partition(kernel, a, "root")
    attach(kernel, a, kernel.tasks.spawn(kernel, "t"))
    cpu.cpu_down(kernel, 3)
    check(kernel)
    assert (state(a), effective(a)[0]) == ("root invalid (No cpu available due to hotplug)", "0-2,4-7")
    cpu.cpu_up(kernel, 3)
    check(kernel)
    assert (state(a), effective(a)[0], of_root(kernel)) == ("root", "3", "0-2,4-7")


def test_an_empty_partition_may_lose_its_cpus(kernel: Kernel) -> None:
    a = group(kernel, "a", "3")
    partition(kernel, a, "root")
    cpu.cpu_down(kernel, 3)
    assert (state(a), effective(a)[0]) == ("root", "")
    cpu.cpu_up(kernel, 3)
    assert (state(a), effective(a)[0], of_root(kernel)) == ("root", "3", "0-2,4-7")


def test_a_partition_that_is_removed_or_loses_its_controller_gives_its_cpus_back(kernel: Kernel) -> None:
    a, b = group(kernel, "a", "3"), group(kernel, "b", "5")
    partition(kernel, a, "root")
    partition(kernel, b, "root")
    cgroup_v2.rmdir(kernel, a)
    assert of_root(kernel) == "0-4,6-7"
    control(kernel, root(kernel), "-cpuset")
    check(kernel)
    assert of_root(kernel) == "0-7"


def test_a_partition_that_ends_gives_the_parents_tasks_all_again_and_leaves_its_own(kernel: Kernel) -> None:
    a = group(kernel, "a", cpus="2-3", mems="1")
    partition(kernel, a, "root")
    mine, other = kernel.tasks.spawn(kernel, "mine"), kernel.tasks.spawn(kernel, "other")
    attach(kernel, a, mine)
    for task, bit in ((mine, 2), (other, 0)):
        sched.sched_setaffinity(kernel, task, 1 << bit)
    partition(kernel, a, "member")
    assert (list_text(mine.cpus_allowed), list_text(other.cpus_allowed)) == ("2", "0-7")


def test_who_comes_to_the_root_may_run_everywhere_even_on_a_partitions_cpus(kernel: Kernel) -> None:
    a = group(kernel, "a", cpus="2-3", mems="1")
    partition(kernel, a, "root")
    task = kernel.tasks.spawn(kernel, "t")
    attach(kernel, a, task)
    attach(kernel, root(kernel), task)
    assert list_text(task.cpus_allowed) == "0-7"
