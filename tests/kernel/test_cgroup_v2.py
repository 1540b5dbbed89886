# SPDX-License-Identifier: MIT
"""cgroup v2: controllers, domains and threads, membership, limits; effective cpusets."""

from __future__ import annotations

import errno

import pytest

from numafs.kernel import cgroup, cgroup_v2, cpu, sched
from numafs.kernel.check import Inconsistent, check
from numafs.kernel.cpuset_hotplug import cpuset_update_active_cpus
from numafs.kernel.kernel import Kernel
from numafs.kernel.mbind import mbind
from numafs.kernel.mempolicy import Mode
from numafs.kernel.nodemask import list_text

from .groups import on_nodes, region
from .test_cpuset import errno_of
from .v2 import attach, control, cs_of, effective, four_nodes_v2, group, root, set_cpus, set_mems


@pytest.fixture
def kernel() -> Kernel:
    return four_nodes_v2("cpuset")


# ---------------------------------------------------------------- controllers


def test_a_group_has_a_cpuset_when_its_parent_gives_it_one() -> None:
    kernel = four_nodes_v2()
    a = group(kernel, "a")
    assert a.cpuset is None
    control(kernel, root(kernel), "+cpuset")
    assert effective(a) == ("0-7", "0-3")
    control(kernel, root(kernel), "-cpuset")
    assert a.cpuset is None
    check(kernel)


def test_a_controller_that_is_given_again_has_nothing_configured(kernel: Kernel) -> None:
    a = group(kernel, "a", "2-3", "1")
    control(kernel, root(kernel), "-cpuset")
    control(kernel, root(kernel), "+cpuset")
    assert (cs_of(a).cpus_allowed, cs_of(a).mems_allowed) == (0, 0)


def test_only_what_the_parent_gives_can_be_given_on(kernel: Kernel) -> None:
    a = group(kernel, "a")
    assert errno_of(lambda: control(kernel, a, "+memory")) == "ENOENT"
    assert errno_of(lambda: control(kernel, a, "+cpuset", "+memory")) == "ENOENT"
    assert a.subtree_control == frozenset()


def test_a_controller_that_a_child_gives_on_stays(kernel: Kernel) -> None:
    a = group(kernel, "a")
    control(kernel, a, "+cpuset")
    assert errno_of(lambda: control(kernel, root(kernel), "-cpuset")) == "EBUSY"


def test_tasks_follow_their_group_s_cpuset_when_it_comes_and_goes(kernel: Kernel) -> None:
    m = group(kernel, "m", mems="3")
    k = group(kernel, "k", parent=m)
    task = kernel.tasks.spawn(kernel, "t")
    attach(kernel, k, task)
    vma = region(kernel, task, 64)
    control(kernel, m, "+cpuset")
    set_mems(kernel, k, "1")
    assert (task.cpuset, task.mems_allowed, on_nodes(vma)) == (k.cpuset, 8, {3: 64})
    set_mems(kernel, m, "0-1")
    assert (task.mems_allowed, on_nodes(vma)) == (2, {1: 64})
    control(kernel, m, "-cpuset")
    assert (task.cpuset, task.mems_allowed) == (m.cpuset, 3)
    check(kernel)


# ---------------------------------------------------------------- effective


@pytest.mark.parametrize(("a", "b", "left"), [("1-2", "0", "1-2"), ("1-2", "2-3", "2"), ("0", "2-3", "0")])
def test_what_is_effective_is_what_the_parent_leaves_or_all_it_has(kernel: Kernel, a: str, b: str, left: str) -> None:
    above = group(kernel, "a", a, a)
    control(kernel, above, "+cpuset")
    below = group(kernel, "b", b, b, above)
    assert effective(below) == (left, left)


def test_a_change_reaches_all_below(kernel: Kernel) -> None:
    a = group(kernel, "a", mems="0-1")
    control(kernel, a, "+cpuset")
    b = group(kernel, "b", mems="2-3", parent=a)
    task = kernel.tasks.spawn(kernel, "t")
    attach(kernel, b, task)
    assert task.mems_allowed == 0b0011
    set_mems(kernel, a, "2")
    assert (effective(b)[1], task.mems_allowed) == ("2", 0b0100)


def test_possible_but_absent_ones_are_refused(kernel: Kernel) -> None:
    a = group(kernel, "a")
    assert [errno_of(lambda text=text: set_mems(kernel, a, text)) for text in ("9", "1024", "x")] == [
        "EINVAL", "ERANGE", "EINVAL",
    ]
    assert errno_of(lambda: set_cpus(kernel, a, "8")) == "ERANGE"


def test_a_populated_group_cannot_be_emptied_but_an_empty_one_has_tasks(kernel: Kernel) -> None:
    a = group(kernel, "a")
    task = kernel.tasks.spawn(kernel, "t")
    attach(kernel, a, task)
    set_cpus(kernel, a, "1")
    assert task.cpus_allowed == 2
    assert errno_of(lambda: set_cpus(kernel, a, "")) == "ENOSPC"


def test_memory_always_migrates(kernel: Kernel) -> None:
    m, n = group(kernel, "m", mems="0"), group(kernel, "n", mems="2")
    task = kernel.tasks.spawn(kernel, "t")
    attach(kernel, m, task)
    vma = region(kernel, task, 100)
    attach(kernel, n, task)
    assert on_nodes(vma) == {2: 100}
    set_mems(kernel, n, "1")
    assert on_nodes(vma) == {1: 100}
    attach(kernel, root(kernel), task)
    assert on_nodes(vma) == {1: 100}


def test_policies_of_mappings_follow_what_is_effective_where_nothing_is_configured(kernel: Kernel) -> None:
    above = group(kernel, "a", mems="0-1")
    control(kernel, above, "+cpuset")
    inside = group(kernel, "x", parent=above)
    task = kernel.tasks.spawn(kernel, "t", cpu=0)
    vma = region(kernel, task, 8)
    mbind(kernel, task, vma.start, vma.stop, Mode.INTERLEAVE, 0b1111, 65, 0)
    attach(kernel, inside, task)
    set_mems(kernel, above, "2-3")
    assert vma.policy is not None
    assert list_text(vma.policy.nodes) == "2-3"


def test_attaching_gives_the_group_s_cpus_to_whoever_had_an_affinity(kernel: Kernel) -> None:
    task = kernel.tasks.spawn(kernel, "t")
    sched.sched_setaffinity(kernel, task, 1)
    attach(kernel, group(kernel, "a"), task)
    assert task.cpus_allowed == 0xFF


def test_a_loss_of_cpus_is_not_for_good(kernel: Kernel) -> None:
    a = group(kernel, "a", "2-5", "0-3")
    control(kernel, a, "+cpuset")
    c = group(kernel, "c", "3", "0-1", a)
    task = kernel.tasks.spawn(kernel, "t")
    attach(kernel, c, task)
    cpu.cpu_down(kernel, 3)
    assert (effective(a)[0], effective(c)[0], list_text(task.cpus_allowed)) == ("2,4-5", "2,4-5", "2,4-5")
    assert task.cgroup is c
    check(kernel)
    cpu.cpu_up(kernel, 3)
    assert (effective(a)[0], effective(c)[0], list_text(task.cpus_allowed)) == ("2-5", "3", "3")


def test_a_node_without_memory_is_effective_nowhere_until_it_has_some_again(kernel: Kernel) -> None:
    a = group(kernel, "a", mems="2-3")
    control(kernel, a, "+cpuset")
    c = group(kernel, "c", mems="3", parent=a)
    task = kernel.tasks.spawn(kernel, "t")
    attach(kernel, c, task)
    node3 = kernel.nodes[3].populated_zones[0]
    pages, node3.present = node3.present, 0
    cpuset_update_active_cpus(kernel)
    assert [effective(g)[1] for g in (root(kernel), a, c)] == ["0-2", "2", "2"]
    assert (task.mems_allowed, task.cgroup, list_text(cs_of(c).mems_allowed)) == (0b100, c, "3")
    node3.present = pages
    cpuset_update_active_cpus(kernel)
    check(kernel)
    assert ([effective(g)[1] for g in (root(kernel), a, c)], task.mems_allowed) == (["0-3", "2-3", "3"], 0b1000)


# ---------------------------------------------------------------- domains and threads


def test_a_populated_group_that_gives_a_threaded_controller_is_a_thread_root(kernel: Kernel) -> None:
    a = group(kernel, "a")
    b = group(kernel, "b", parent=a)
    task = kernel.tasks.spawn(kernel, "t")
    attach(kernel, a, task)
    control(kernel, a, "+cpuset")
    assert (cgroup_v2.type_of(a), cgroup_v2.type_of(b)) == ("domain threaded", "domain invalid")
    assert errno_of(lambda: attach(kernel, b, task)) == "ENOTSUP"
    attach(kernel, root(kernel), task)
    assert (cgroup_v2.type_of(a), cgroup_v2.type_of(b)) == ("domain", "domain")


def test_domain_controllers_and_tasks_exclude_each_other() -> None:
    kernel = four_nodes_v2("memory")
    a = group(kernel, "a")
    task = kernel.tasks.spawn(kernel, "t")
    attach(kernel, a, task)
    assert errno_of(lambda: control(kernel, a, "+memory")) == "EBUSY"
    attach(kernel, root(kernel), task)
    control(kernel, a, "+memory")
    assert errno_of(lambda: attach(kernel, a, task)) == "EBUSY"


def test_threads_of_a_process_may_be_in_groups_of_one_domain(kernel: Kernel) -> None:
    a = group(kernel, "a")
    b = group(kernel, "b", parent=a)
    cgroup_v2.enable_threaded(kernel, b)
    control(kernel, a, "+cpuset")
    set_cpus(kernel, b, "5")
    task = kernel.tasks.spawn(kernel, "t")
    thread = kernel.tasks.clone_thread(kernel, task)
    assert errno_of(lambda: attach(kernel, b, thread, whole_process=False)) == "ENOTSUP"
    attach(kernel, a, task)
    attach(kernel, b, thread, whole_process=False)
    assert (thread.cpus_allowed, task.cpus_allowed) == (1 << 5, 0xFF)
    assert (cgroup_v2.threads(b), cgroup_v2.procs(a)) == ([thread.pid], [task.pid])
    assert errno_of(lambda: cgroup_v2.procs(b)) == "ENOTSUP"
    assert (cgroup_v2.type_of(a), cgroup_v2.type_of(b)) == ("domain threaded", "threaded")


def test_what_cannot_become_threaded_is_told(kernel: Kernel) -> None:
    a = group(kernel, "a")
    attach(kernel, a, kernel.tasks.spawn(kernel, "t"))
    assert errno_of(lambda: cgroup_v2.enable_threaded(kernel, a)) == "ENOTSUP"


# ---------------------------------------------------------------- groups


def test_processes_are_listed_as_they_came_and_children_are_born_in_the_group(kernel: Kernel) -> None:
    a = group(kernel, "a")
    tasks = [kernel.tasks.spawn(kernel, "t") for _ in range(3)]
    for task in reversed(tasks):
        attach(kernel, a, task)
    child = kernel.tasks.fork(kernel, tasks[1])
    assert cgroup_v2.procs(a) == [task.pid for task in [*reversed(tasks), child]]


def test_kernel_threads_of_a_cpu_and_unknown_pids_are_refused(kernel: Kernel) -> None:
    for pid, name in ((2, "EINVAL"), (999999, "ESRCH")):
        with pytest.raises(OSError) as refused:
            cgroup_v2.find_task(kernel, pid, whole_process=True)
        assert errno.errorcode[refused.value.errno or 0] == name


def test_limits_of_number_and_depth(kernel: Kernel) -> None:
    a = group(kernel, "a")
    a.max_descendants = 0
    assert errno_of(lambda: group(kernel, "x", parent=a)) == "EAGAIN"
    a.max_descendants, a.max_depth = 9, 1
    b = group(kernel, "b", parent=a)
    assert errno_of(lambda: group(kernel, "x", parent=b)) == "EAGAIN"
    assert cgroup_v2.nr_descendants(root(kernel)) == 2


def test_only_an_empty_group_is_removed(kernel: Kernel) -> None:
    a = group(kernel, "a")
    task = kernel.tasks.spawn(kernel, "t")
    attach(kernel, a, task)
    assert errno_of(lambda: cgroup_v2.rmdir(kernel, a)) == "EBUSY"
    cgroup_v2.kill(kernel, a)
    assert (task.exited, cgroup.populated(a)) == (True, False)
    cgroup_v2.rmdir(kernel, a)
    assert not root(kernel).children
    check(kernel)


def test_a_frozen_group_is_so_with_all_below(kernel: Kernel) -> None:
    a = group(kernel, "a")
    b = group(kernel, "b", parent=a)
    a.freeze = True
    assert (cgroup_v2.frozen(b), b.freeze, cgroup_v2.frozen(root(kernel))) == (True, False, False)


def test_the_checker_sees_a_cpuset_that_has_what_its_parent_has_not(kernel: Kernel) -> None:
    a = group(kernel, "a", "1", "1")
    cs_of(a).effective_mems = 0b10000
    with pytest.raises(Inconsistent, match="has nodes that its parent has not"):
        check(kernel)
