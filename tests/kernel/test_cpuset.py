# SPDX-License-Identifier: MIT
"""cpusets: what may be written, in which order it is refused, and what it does to threads (cgroup v1)."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numafs.kernel import cpuset, mempolicy, sched
from numafs.kernel.check import check
from numafs.kernel.cpuset import CS, Cpuset
from numafs.kernel.kernel import Kernel
from numafs.kernel.mempolicy import Mode, mpol_to_str
from numafs.kernel.nodemask import list_text

from .groups import ALL_CPUS, attach, four_nodes, group, nodes, on_nodes, region


@pytest.fixture
def kernel() -> Kernel:
    return four_nodes()


def errno_of(action: Callable[[], object]) -> str:
    """Name of the errno that `action` is refused with; empty if it is not."""
    try:
        action()
    except OSError as refused:
        return errno.errorcode[refused.errno or 0]
    return ""


def mems(kernel: Kernel, cs: Cpuset, text: str) -> str:
    return errno_of(lambda: cpuset.mems_store(kernel, cs, text))


def cpus(kernel: Kernel, cs: Cpuset, text: str) -> str:
    return errno_of(lambda: cpuset.cpus_store(kernel, cs, text))


def flag(kernel: Kernel, cs: Cpuset, which: CS, on: bool) -> str:
    return errno_of(lambda: cpuset.update_flag(kernel, cs, which, on))


# ---------------------------------------------------------------- what may be configured


def test_the_root_has_what_the_machine_has_and_refuses_any_list(kernel: Kernel) -> None:
    root = kernel.cpusets.root
    assert (list_text(root.cpus_allowed), list_text(root.mems_allowed)) == ("0-7", "0-3")
    assert [mems(kernel, root, text) for text in ("0", "0-3", "garbage")] == ["EACCES"] * 3


def test_a_new_group_is_empty_and_balances(kernel: Kernel) -> None:
    cs = cpuset.mkdir(kernel, kernel.cpusets.root, "a")
    assert (cs.cpus_allowed, cs.mems_allowed, cs.flags, cs.relax_domain_level) == (0, 0, CS.SCHED_LOAD_BALANCE, -1)


@pytest.mark.parametrize(
    ("text", "number"),
    [("9", "EINVAL"), ("0-4", "EINVAL"), ("all", "EINVAL"), ("N", "EINVAL"), ("abc", "EINVAL"), ("2000", "ERANGE"),
     ("4294967296", "EOVERFLOW"), ("  2  ", ""), ("0,,1\n", ""), ("", "")],
)
def test_mems_are_judged_by_the_root(kernel: Kernel, text: str, number: str) -> None:
    assert mems(kernel, group(kernel, "a", "0-3", "0-1"), text) == number


def test_cpus_beyond_the_possible_ones_are_out_of_range(kernel: Kernel) -> None:
    cs = group(kernel, "a", "0-3", "0-1")
    assert [cpus(kernel, cs, text) for text in ("8", "0-9", "x", "all", "N")] == ["ERANGE", "ERANGE", "EINVAL", "", ""]


def test_a_child_keeps_its_parent_from_shrinking_and_is_kept_by_it(kernel: Kernel) -> None:
    a = group(kernel, "a", "0-3", "0-1")
    c = cpuset.mkdir(kernel, a, "c")
    assert mems(kernel, c, "2") == "EACCES"
    assert cpus(kernel, c, "4-5") == "EACCES"
    assert mems(kernel, c, "1") == ""
    assert mems(kernel, a, "0") == "EBUSY"
    assert mems(kernel, a, "") == "EBUSY"
    assert mems(kernel, a, "1-3") == ""


def test_the_first_nodes_of_a_grandchild_of_an_empty_group_are_refused(kernel: Kernel) -> None:
    empty = cpuset.mkdir(kernel, kernel.cpusets.root, "a")
    assert mems(kernel, cpuset.mkdir(kernel, empty, "b"), "0") == "EACCES"


def test_exclusive_nodes_are_the_siblings_to_respect(kernel: Kernel) -> None:
    a, b = group(kernel, "a", "0-1", "0"), group(kernel, "b", "2-3", "1")
    assert flag(kernel, a, CS.MEM_EXCLUSIVE, True) == ""
    assert (mems(kernel, b, "0"), mems(kernel, b, "0-1"), list_text(b.mems_allowed)) == ("EINVAL", "EINVAL", "1")
    assert flag(kernel, a, CS.MEM_EXCLUSIVE, False) == ""
    assert mems(kernel, b, "0-1") == ""
    assert flag(kernel, a, CS.MEM_EXCLUSIVE, True) == "EINVAL"
    assert flag(kernel, b, CS.MEM_HARDWALL, True) == ""


def test_an_exclusive_group_needs_an_exclusive_parent_and_keeps_it(kernel: Kernel) -> None:
    root = kernel.cpusets.root
    a = group(kernel, "a", "0-1", "0")
    c = cpuset.mkdir(kernel, a, "c")
    assert flag(kernel, c, CS.CPU_EXCLUSIVE, True) == "EACCES"
    assert flag(kernel, a, CS.CPU_EXCLUSIVE, True) == ""
    assert flag(kernel, c, CS.CPU_EXCLUSIVE, True) == ""
    assert flag(kernel, a, CS.CPU_EXCLUSIVE, False) == "EBUSY"
    assert flag(kernel, root, CS.CPU_EXCLUSIVE, False) == "EBUSY"
    assert flag(kernel, root, CS.MEM_EXCLUSIVE, False) == ""


def test_a_populated_group_may_not_become_empty_but_a_child_in_the_way_counts_first(kernel: Kernel) -> None:
    a = group(kernel, "a", "0-3", "0-1")
    task = kernel.tasks.spawn(kernel, "t", cpuset=a)
    assert (mems(kernel, a, ""), cpus(kernel, a, "")) == ("ENOSPC", "ENOSPC")
    b = group(kernel, "b", "0", "0", a)
    assert mems(kernel, a, "") == "EBUSY"
    attach(kernel, b, task)
    assert mems(kernel, b, "") == "ENOSPC"
    kernel.tasks.do_exit(kernel, task)
    assert (mems(kernel, b, ""), mems(kernel, a, "")) == ("", "")


def test_clone_children_copies_lists_only_and_only_where_nobody_is_exclusive(kernel: Kernel) -> None:
    x = group(kernel, "x", "0-1", "2-3", migrate=True)
    x.clone_children = True
    y = cpuset.mkdir(kernel, x, "y")
    assert (y.cpus_allowed, y.mems_allowed, y.clone_children) == (0b11, 0b1100, True)
    assert not y.flags & CS.MEMORY_MIGRATE
    cpuset.mems_store(kernel, y, "2")
    flag(kernel, kernel.cpusets.root, CS.MEM_EXCLUSIVE, True)
    flag(kernel, x, CS.MEM_EXCLUSIVE, True)
    flag(kernel, y, CS.MEM_EXCLUSIVE, True)
    assert cpuset.mkdir(kernel, x, "z").mems_allowed == 0


def test_spreading_and_release_are_inherited_at_creation(kernel: Kernel) -> None:
    a = cpuset.mkdir(kernel, kernel.cpusets.root, "a")
    cpuset.update_flag(kernel, a, CS.SPREAD_PAGE, True)
    a.notify_on_release = True
    b = cpuset.mkdir(kernel, a, "b")
    assert b.flags == CS.SPREAD_PAGE | CS.SCHED_LOAD_BALANCE
    assert b.notify_on_release


def test_relax_level_goes_one_beyond_the_deepest_domain(kernel: Kernel) -> None:
    a = cpuset.mkdir(kernel, kernel.cpusets.root, "a")
    assert sched.sched_domain_level_max(kernel) == 6
    accepted = [level for level in range(-3, 20) if not errno_of(
        lambda level=level: cpuset.update_relax_domain_level(kernel, a, level))]
    assert accepted == list(range(-1, 8))


# ---------------------------------------------------------------- directories


def test_names_and_removal(kernel: Kernel) -> None:
    root = kernel.cpusets.root
    a = cpuset.mkdir(kernel, root, "a")
    assert errno_of(lambda: cpuset.mkdir(kernel, root, "a")) == "EEXIST"
    assert errno_of(lambda: cpuset.mkdir(kernel, root, "a\nb")) == "EINVAL"
    b = cpuset.mkdir(kernel, a, "b " + "x" * 254)
    assert errno_of(lambda: cpuset.rmdir(kernel, a)) == "EBUSY"
    cpuset.rmdir(kernel, b)
    cpuset.rmdir(kernel, a)
    assert not root.children
    assert errno_of(lambda: cpuset.rmdir(kernel, root)) == "EBUSY"


def test_rename_stays_in_the_directory(kernel: Kernel) -> None:
    root = kernel.cpusets.root
    a, b = group(kernel, "a", "0", "0"), group(kernel, "b", "0", "0")
    task = kernel.tasks.spawn(kernel, "t", cpuset=a)
    assert errno_of(lambda: cpuset.rename(a, b, "a")) == "EIO"
    assert errno_of(lambda: cpuset.rename(a, root, "b")) == "EEXIST"
    assert errno_of(lambda: cpuset.rename(a, root, "a")) == ""
    assert errno_of(lambda: cpuset.rename(root, root, "x")) == "EBUSY"
    cpuset.rename(a, root, "new")
    assert cpuset.path(task.cpuset) == "/new"


# ---------------------------------------------------------------- attaching


def test_a_group_without_cpus_or_nodes_takes_nobody(kernel: Kernel) -> None:
    a = cpuset.mkdir(kernel, kernel.cpusets.root, "a")
    task = kernel.tasks.spawn(kernel, "t")
    refused = [errno_of(lambda: attach(kernel, a, task))]
    cpuset.cpus_store(kernel, a, "0-3")
    refused.append(errno_of(lambda: attach(kernel, a, task)))
    cpuset.mems_store(kernel, a, "1")
    refused.append(errno_of(lambda: attach(kernel, a, task)))
    assert refused == ["ENOSPC", "ENOSPC", ""]


def test_attaching_overwrites_affinity_and_nodes_and_the_root_gives_all_back(kernel: Kernel) -> None:
    a = group(kernel, "a", "2-3", "1")
    task = kernel.tasks.spawn(kernel, "t", cpu=0)
    attach(kernel, a, task)
    assert (task.cpus_allowed, task.cpu, task.mems_allowed) == (0b1100, 2, 0b10)
    attach(kernel, kernel.cpusets.root, task)
    assert (task.cpus_allowed, task.cpu, task.mems_allowed) == (ALL_CPUS, 2, 0b1111)


def test_who_may_be_moved_by_whom(kernel: Kernel) -> None:
    a = group(kernel, "a", "0", "0")
    mine = kernel.tasks.spawn(kernel, "mine", uid=1000)
    roots = kernel.tasks.spawn(kernel, "roots")
    assert errno_of(lambda: cpuset.attach(kernel, a, 99999, whole_process=False)) == "ESRCH"
    assert errno_of(lambda: cpuset.attach(kernel, a, 2, whole_process=False)) == "EINVAL"
    assert errno_of(lambda: cpuset.attach(kernel, a, roots.pid, whole_process=False, uid=1000)) == "EACCES"
    assert errno_of(
        lambda: cpuset.attach(kernel, a, roots.pid, whole_process=False, uid=0, writer_uid=1000)) == "EPERM"
    cpuset.attach(kernel, a, mine.pid, whole_process=False, uid=1000)
    assert cpuset.tasks(a) == [mine.pid]


def test_kernel_threads_that_are_not_bound_can_be_moved(kernel: Kernel) -> None:
    a = group(kernel, "a", "0", "0")
    by_name = {task.comm: task for task in kernel.tasks}
    moved = {
        name: not errno_of(lambda name=name: cpuset.attach(kernel, a, by_name[name].pid, whole_process=False))
        for name in ("kthreadd", "migration/0", "ksoftirqd/0", "kswapd0", "khugepaged", "rcu_preempt")
    }
    assert moved == {
        "kthreadd": False, "migration/0": False, "ksoftirqd/0": False, "kswapd0": True, "khugepaged": True,
        "rcu_preempt": True,
    }


def test_tasks_moves_a_thread_and_procs_a_process(kernel: Kernel) -> None:
    a, b = group(kernel, "a", "0", "0"), group(kernel, "b", "0", "0")
    leader = kernel.tasks.spawn(kernel, "t")
    threads = [kernel.tasks.clone_thread(kernel, leader) for _ in range(3)]
    cpuset.attach(kernel, a, threads[2].pid, whole_process=True)
    assert cpuset.tasks(a) == [leader.pid, *(t.pid for t in threads)]
    assert cpuset.procs(a) == [leader.pid]
    cpuset.attach(kernel, b, threads[1].pid, whole_process=False)
    assert (cpuset.tasks(b), cpuset.procs(b)) == ([threads[1].pid], [leader.pid])
    cpuset.attach(kernel, b, threads[0].pid, whole_process=True)
    assert (cpuset.tasks(a), len(cpuset.tasks(b))) == ([], 4)
    cpuset.attach(kernel, a, leader.pid, whole_process=False)
    assert (cpuset.procs(a), cpuset.procs(b)) == ([leader.pid], [leader.pid])
    check(kernel)


def test_a_child_starts_where_its_parent_is_and_leaves_when_it_exits(kernel: Kernel) -> None:
    a = group(kernel, "a", "2-3", "1")
    parent = kernel.tasks.spawn(kernel, "t", cpuset=a)
    child = kernel.tasks.fork(kernel, parent)
    assert (child.cpuset, child.cpus_allowed, child.mems_allowed) == (a, 0b1100, 0b10)
    kernel.tasks.do_exit(kernel, child)
    assert cpuset.tasks(a) == [parent.pid]
    assert errno_of(lambda: attach(kernel, a, child)) == "ESRCH"
    check(kernel)


def test_affinity_is_what_the_cpuset_leaves_of_it(kernel: Kernel) -> None:
    a = group(kernel, "a", "2-5", "1-2")
    task = kernel.tasks.spawn(kernel, "t", cpuset=a)
    assert errno_of(lambda: sched.sched_setaffinity(kernel, task, 0b1)) == "EINVAL"
    sched.sched_setaffinity(kernel, task, 0b1111)
    assert task.cpus_allowed == 0b1100
    cpuset.cpus_store(kernel, a, "4-5")
    assert (task.cpus_allowed, task.cpu) == (0b110000, 4)


# ---------------------------------------------------------------- release, pressure


def test_the_release_agent_runs_whenever_a_group_becomes_empty(kernel: Kernel) -> None:
    calls: list[tuple[str, str]] = []
    kernel.cpusets.release_agent = "/agent"
    kernel.cpusets.on_release = lambda agent, path: calls.append((agent, path))
    a = group(kernel, "a", "0", "0")
    task = kernel.tasks.spawn(kernel, "t")
    a.notify_on_release = True
    assert calls == []
    attach(kernel, a, task)
    attach(kernel, kernel.cpusets.root, task)
    assert calls == [("/agent", "/a")]
    attach(kernel, a, task)
    kernel.tasks.do_exit(kernel, task)
    assert calls == [("/agent", "/a")] * 2
    k = cpuset.mkdir(kernel, a, "k")
    k.notify_on_release = False
    cpuset.rmdir(kernel, k)
    assert calls == [("/agent", "/a")] * 3
    cpuset.rmdir(kernel, a)
    assert len(calls) == 3


def test_a_group_that_empties_releases_itself_but_not_a_parent_that_still_has_it(kernel: Kernel) -> None:
    calls: list[str] = []
    kernel.cpusets.release_agent = "/agent"
    kernel.cpusets.on_release = lambda agent, path: calls.append(path)
    a = group(kernel, "a", "0", "0")
    a.notify_on_release = True
    k = group(kernel, "k", "0", "0", a)
    task = kernel.tasks.spawn(kernel, "t", cpuset=k)
    attach(kernel, kernel.cpusets.root, task)
    assert calls == ["/a/k"]


def test_pressure_is_events_a_second_and_decays(kernel: Kernel) -> None:
    second = 1_000_000_000
    a = group(kernel, "a", "0", "0")
    task = kernel.tasks.spawn(kernel, "t", cpuset=a)
    kernel.clock.now = 100 * second
    cpuset.memory_pressure_bump(kernel, task)
    kernel.clock.now += second
    assert cpuset.fmeter_getrate(kernel, a) == 0
    kernel.cpusets.memory_pressure_enabled = True
    cpuset.memory_pressure_bump(kernel, task)
    kernel.clock.now += second
    assert cpuset.fmeter_getrate(kernel, a) == 67
    a.fmeter.value = 1255
    seen = []
    for _ in range(10):
        kernel.clock.now += second
        seen.append(cpuset.fmeter_getrate(kernel, a))
    assert seen == [1170, 1091, 1017, 948, 884, 824, 768, 716, 668, 623]


# ---------------------------------------------------------------- memory


MOVES = [
    ("0", "1", {0: 4}, {1: 4}),
    ("0-1", "2-3", {0: 4, 1: 6}, {2: 4, 3: 6}),
    ("0-1", "1-2", {0: 4, 1: 6}, {1: 4, 2: 6}),
    ("0-3", "0", {0: 1, 1: 2, 2: 3, 3: 4}, {0: 10}),
    ("0", "0-1", {0: 4}, {0: 4}),
    ("0-2", "3", {0: 1, 1: 2, 2: 3}, {3: 6}),
    ("0-3", "1-2", {0: 1, 1: 2, 2: 3, 3: 4}, {1: 3, 2: 7}),
    ("1-2", "0,3", {1: 4, 2: 5}, {0: 4, 3: 5}),
    ("0,2", "1-3", {0: 4, 2: 5}, {1: 4, 2: 5}),
    ("0-3", "0-2", {0: 1, 1: 2, 2: 3, 3: 4}, {0: 5, 1: 2, 2: 3}),
    ("1-3", "0-2", {1: 1, 2: 2, 3: 3}, {0: 1, 1: 2, 2: 3}),
    ("0-2", "1-3", {0: 1, 1: 2, 2: 3}, {1: 1, 2: 2, 3: 3}),
    ("0-1", "0,2", {0: 1, 1: 2}, {0: 1, 2: 2}),
    ("0-1", "1", {0: 1, 1: 2}, {1: 3}),
]


@pytest.mark.parametrize(("old", "new", "before", "after"), MOVES)
@pytest.mark.parametrize("how", ["in place", "by attaching"])
def test_pages_follow_by_position(how: str, old: str, new: str, before: dict[int, int], after: dict[int, int]) -> None:
    kernel = four_nodes()
    a = group(kernel, "a", "0-7", old, migrate=True)
    task = kernel.tasks.spawn(kernel, "t", cpuset=a)
    vmas = [region(kernel, task, 100 * n, nid) for nid, n in before.items()]
    assert on_nodes(vmas) == {nid: 100 * n for nid, n in before.items()}
    if how == "in place":
        cpuset.mems_store(kernel, a, new)
    else:
        attach(kernel, group(kernel, "b", "0-7", new, migrate=True), task)
    assert on_nodes(vmas) == {nid: 100 * n for nid, n in after.items()}
    assert task.mems_allowed == nodes(new)
    check(kernel)


def test_from_the_root_everything_is_collected_and_to_it_nothing_moves(kernel: Kernel) -> None:
    b = group(kernel, "b", "0-7", "2-3", migrate=True)
    cpuset.update_flag(kernel, kernel.cpusets.root, CS.MEMORY_MIGRATE, True)
    task = kernel.tasks.spawn(kernel, "t")
    vmas = [region(kernel, task, 100 * (nid + 1), nid) for nid in range(4)]
    attach(kernel, b, task)
    assert on_nodes(vmas) == {2: 400, 3: 600}
    attach(kernel, kernel.cpusets.root, task)
    assert on_nodes(vmas) == {2: 400, 3: 600}
    assert kernel.cpusets.root.old_mems == 0b1111


def test_without_memory_migrate_pages_stay_and_only_the_old_set_is_collected_later(kernel: Kernel) -> None:
    a = group(kernel, "a", "0-7", "0-1")
    task = kernel.tasks.spawn(kernel, "t", cpuset=a)
    vmas = [region(kernel, task, 100, 0), region(kernel, task, 200, 1)]
    seen = []
    for text in ("2-3", "3", "0-3", "3"):
        cpuset.mems_store(kernel, a, text)
        seen.append(on_nodes(vmas))
        cpuset.update_flag(kernel, a, CS.MEMORY_MIGRATE, True)
    assert seen == [{0: 100, 1: 200}, {0: 100, 1: 200}, {0: 100, 1: 200}, {3: 300}]


def test_only_the_leader_takes_the_memory_along(kernel: Kernel) -> None:
    b = group(kernel, "b", "0-7", "2", migrate=True)
    leader = kernel.tasks.spawn(kernel, "t", cpu=0)
    thread = kernel.tasks.clone_thread(kernel, leader)
    vma = region(kernel, leader, 100)
    cpuset.attach(kernel, b, thread.pid, whole_process=False)
    assert (on_nodes(vma), thread.mems_allowed, leader.mems_allowed) == ({0: 100}, 0b100, 0b1111)
    cpuset.attach(kernel, b, leader.pid, whole_process=False)
    assert on_nodes(vma) == {2: 100}


def test_changing_the_nodes_of_a_group_with_a_mere_thread_moves_the_whole_memory(kernel: Kernel) -> None:
    b = group(kernel, "b", "0-7", "0", migrate=True)
    leader = kernel.tasks.spawn(kernel, "t", cpu=0)
    thread = kernel.tasks.clone_thread(kernel, leader)
    vma = region(kernel, leader, 100)
    cpuset.attach(kernel, b, thread.pid, whole_process=False)
    cpuset.mems_store(kernel, b, "3")
    assert on_nodes(vma) == {3: 100}


def test_pages_shared_after_fork_move_with_either(kernel: Kernel) -> None:
    b = group(kernel, "b", "0-7", "3", migrate=True)
    parent = kernel.tasks.spawn(kernel, "t", cpu=0)
    vma = region(kernel, parent, 100)
    child = kernel.tasks.fork(kernel, parent)
    attach(kernel, b, child)
    assert on_nodes(vma) == {3: 100}
    check(kernel)


def test_policies_follow_the_cpuset_of_task_and_mappings(kernel: Kernel) -> None:
    c = group(kernel, "c", "0-7", "0-1", migrate=True)
    d = group(kernel, "d", "0-7", "2-3", migrate=True)
    task = kernel.tasks.spawn(kernel, "t", cpuset=c)
    mempolicy.set_mempolicy(kernel, task, Mode.BIND, 0b1, 1025)
    vma = region(kernel, task, 100)
    vma.policy = mempolicy.mpol_dup(task.policy) if task.policy else None
    seen = []
    for step in (lambda: attach(kernel, d, task), *(
        lambda text=text: cpuset.mems_store(kernel, d, text) for text in ("1-2", "0", "2-3"))):
        step()
        seen.append((mpol_to_str(task.policy), mpol_to_str(vma.policy), on_nodes(vma)))
    assert seen == [
        ("bind:2", "bind:2", {2: 100}), ("bind:1", "bind:1", {1: 100}), ("bind:0", "bind:0", {0: 100}),
        ("bind:2", "bind:2", {2: 100}),
    ]


def test_new_pages_of_the_default_policy_go_to_the_nearest_allowed_node(kernel: Kernel) -> None:
    expected = {(0, "2"): 2, (0, "1-2"): 1, (0, "1-3"): 1, (0, "2-3"): 3, (2, "0,3"): 0, (4, "0-1"): 1}
    seen = {}
    for cpu, text in expected:
        task = kernel.tasks.spawn(kernel, "t", cpu=cpu)
        cs = group(kernel, f"{cpu}-{text}", "0-7", text)
        attach(kernel, cs, task)
        seen[cpu, text] = next(iter(on_nodes(region(kernel, task, 10))))
    assert seen == expected


def test_a_full_destination_ends_the_migration_and_nobody_is_told() -> None:
    kernel = four_nodes(64, 16, 64, 64)
    a, b = group(kernel, "a", "0-7", "0"), group(kernel, "b", "0-7", "1", migrate=True)
    task = kernel.tasks.spawn(kernel, "t", cpuset=a)
    vma = region(kernel, task, 8000)
    attach(kernel, b, task)
    where = on_nodes(vma)
    assert where[0] + where[1] == 8000
    assert 3000 < where[1] < 4096
    assert task.mems_allowed == 0b10
    node1 = kernel.nodes[1].populated_zones[0]
    assert node1.free < node1.watermark[1]
    check(kernel)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 255), st.integers(0, 15)), max_size=12))
def test_in_any_history_a_groups_sets_are_within_its_parents(steps: list[tuple[int, int, int]]) -> None:
    kernel = four_nodes(16, 16, 16, 16)
    a = cpuset.mkdir(kernel, kernel.cpusets.root, "a")
    groups = [a, cpuset.mkdir(kernel, a, "b"), cpuset.mkdir(kernel, a, "c")]
    task = kernel.tasks.spawn(kernel, "t")
    for which, some_cpus, some_nodes in steps:
        if which == 3:
            target = groups[some_nodes % 3]
            errno_of(lambda target=target: attach(kernel, target, task))
            continue
        cpus(kernel, groups[which], list_text(some_cpus))
        mems(kernel, groups[which], list_text(some_nodes))
    for cs in groups:
        assert cs.parent is not None
        assert cs.effective_cpus & ~cs.parent.effective_cpus == 0
        assert cs.effective_mems & ~cs.parent.effective_mems == 0
        assert (cs.effective_cpus, cs.effective_mems) == (cs.cpus_allowed, cs.mems_allowed)
    assert task.mems_allowed == cpuset.cpuset_mems_allowed(kernel, task)
    assert task.cpus_allowed >> task.cpu & 1
