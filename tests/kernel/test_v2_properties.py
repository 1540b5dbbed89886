# SPDX-License-Identifier: MIT
"""Random histories of cgroup v2: whatever is written, refused or killed, the model stays consistent."""

from __future__ import annotations

from random import Random

import pytest

from numafs.kernel import cgroup_v2, cpu, cpuset, cpuset_partition, cpuset_v2, memcontrol, memory, mmap, swap
from numafs.kernel.cgroup_v2 import Group
from numafs.kernel.check import check
from numafs.kernel.cpuset import CS
from numafs.kernel.errors import TaskKilled
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task
from numafs.kernel.nodemask import list_text
from numafs.kernel.swap import SwapArea

from .v2 import control, four_nodes_v2, root

STEPS = 60


class History:
    """A kernel, and what can be done to its groups and tasks."""

    def __init__(self, seed: int) -> None:
        self.kernel: Kernel = four_nodes_v2("cpuset")
        self.random = Random(seed)
        self.tasks: list[Task] = []
        if seed % 2:
            swap.swapon(self.kernel, SwapArea("/swap", 4096, -2, False))

    def groups(self) -> list[Group]:
        return [group for group in cgroup_v2.descendants(root(self.kernel)) if isinstance(group, Group)]

    def any_group(self) -> Group:
        return self.random.choice(self.groups())

    def with_cpuset(self) -> Group | None:
        found = [group for group in self.groups() if group.cpuset is not None and group.parent is not None]
        return self.random.choice(found) if found else None

    def some(self, of: int) -> str:
        return list_text(self.random.getrandbits(of) & self.random.getrandbits(of))

    # ---------------------------------------------------------------- steps

    def mkdir(self) -> None:
        if len(self.groups()) < 8:
            cgroup_v2.mkdir(self.kernel, self.any_group(), self.random.choice("abc"))

    def rmdir(self) -> None:
        cgroup_v2.rmdir(self.kernel, self.any_group())

    def switch(self) -> None:
        word = self.random.choice("++-") + self.random.choice(("cpuset", "cpuset", "memory", "pids"))
        control(self.kernel, self.any_group(), word)

    def threaded(self) -> None:
        group = self.any_group()
        if group.parent is not None and not self.random.randrange(4):
            cgroup_v2.enable_threaded(self.kernel, group)

    def cpus(self) -> None:
        if (group := self.with_cpuset()) and group.cpuset:
            cpuset_v2.cpus_store(self.kernel, group.cpuset, self.some(8))

    def mems(self) -> None:
        if (group := self.with_cpuset()) and group.cpuset:
            cpuset.mems_store(self.kernel, group.cpuset, self.some(4))

    def partition(self) -> None:
        if (group := self.with_cpuset()) and group.cpuset:
            state = cpuset_partition.parse(self.random.choice(("root", "root", "isolated", "member")))
            assert state is not None
            cpuset_partition.update_prstate(self.kernel, group.cpuset, state)

    def hotplug(self) -> None:
        number = self.random.randrange(1, 8)
        act = cpu.cpu_down if self.kernel.cpu_online >> number & 1 else cpu.cpu_up
        act(self.kernel, number)

    def spawn(self) -> None:
        if len(self.tasks) < 6:
            self.tasks.append(self.kernel.tasks.spawn(self.kernel, "t"))

    def clone(self) -> None:
        if self.tasks and len(self.tasks) < 6:
            self.tasks.append(self.kernel.tasks.clone_thread(self.kernel, self.random.choice(self.tasks)))

    def attach(self) -> None:
        if not self.tasks:
            return
        whole = self.random.random() < 0.7
        pid = self.random.choice(self.tasks).pid
        task = cgroup_v2.find_task(self.kernel, pid, whole_process=whole)
        cgroup_v2.attach(self.kernel, self.any_group(), task, whole_process=whole)

    def touch(self) -> None:
        if not self.tasks:
            return
        task = self.random.choice(self.tasks)
        vma = mmap.mmap(self.kernel, task, None, self.random.choice((16, 600, 1500)))
        try:
            memory.touch(self.kernel, task, vma.start, vma.stop, write=True)
        except TaskKilled:
            self.kernel.tasks.do_exit(self.kernel, self.kernel.tasks.get(task.tgid) or task)

    def limit(self) -> None:
        found = [group.memcg for group in self.groups() if group.memcg]
        if found:
            write = self.random.choice((memcontrol.memory_max_write, memcontrol.memory_high_write))
            pages = self.random.choice((0, 300, 1000, memcontrol.PAGE_COUNTER_MAX))
            write(self.kernel, self.random.choice(found), pages)

    def reclaim(self) -> None:
        found = [group.memcg for group in self.groups() if group.memcg]
        memcontrol.memory_reclaim(self.kernel, self.random.choice([None, *found]), self.random.choice((1, 100)))

    def kill(self) -> None:
        if not self.random.randrange(4):
            cgroup_v2.kill(self.kernel, self.any_group())

    STEPS = (
        mkdir, mkdir, rmdir, switch, switch, threaded, cpus, cpus, mems, mems, partition, partition, hotplug, spawn,
        spawn, clone, attach, attach, attach, touch, touch, limit, reclaim, kill,
    )

    def step(self) -> str:
        act = self.random.choice(self.STEPS)
        try:
            act(self)
        except OSError:
            return f"{act.__name__}: refused"
        self.tasks = [task for task in self.tasks if not task.exited]
        return act.__name__


def consistent(kernel: Kernel) -> None:
    """What the checker does not know of: partitions."""
    check(kernel)
    for group in cgroup_v2.descendants(root(kernel)):
        assert isinstance(group, Group)
        cs = group.cpuset
        if cs is None or cs.parent is None:
            continue
        assert bool(cs.flags & CS.CPU_EXCLUSIVE) == (cs.partition > 0), cs
        for task in cs.members:
            assert task.cpus_allowed, (task.comm, cs)
            assert not cs.effective_cpus or not task.cpus_allowed & ~cs.effective_cpus, (task.comm, cs)


@pytest.mark.parametrize("seed", range(12))
def test_a_random_history_stays_consistent(seed: int) -> None:
    history = History(seed)
    done = []
    for _ in range(STEPS):
        done.append(history.step())
        try:
            consistent(history.kernel)
        except Exception as error:
            raise AssertionError(f"after {done}: {error}") from error
    assert any("refused" not in word for word in done)
