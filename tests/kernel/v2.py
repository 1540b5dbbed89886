# SPDX-License-Identifier: MIT
"""Booted kernels with cgroup v2, for tests."""

from __future__ import annotations

from numafs.kernel import cgroup_v2, cpuset, cpuset_partition, cpuset_v2
from numafs.kernel.boot import boot
from numafs.kernel.cgroup_v2 import Group
from numafs.kernel.check import check
from numafs.kernel.cpuset import Cpuset
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task
from numafs.kernel.nodemask import list_text

from .machines import machine


def four_nodes_v2(*controllers: str) -> Kernel:
    """A booted ring of four nodes of 64 MiB with two CPUs each, whose root gives these controllers."""
    kernel = boot(machine(64, 64, 64, 64, cgroup="v2", thp="madvise"))
    control(kernel, root(kernel), *(f"+{name}" for name in controllers))
    return kernel


def root(kernel: Kernel) -> Group:
    """The root group."""
    assert kernel.cgrp_dfl_root is not None
    return kernel.cgrp_dfl_root.root


def control(kernel: Kernel, group: Group, *words: str) -> None:
    """Write `+cpuset -memory` to cgroup.subtree_control."""
    cgroup_v2.subtree_control(kernel, group, {word[1:]: word[0] == "+" for word in words})


def group(kernel: Kernel, name: str, cpus: str = "", mems: str = "", parent: Group | None = None) -> Group:
    """A new group; with lists, it has a cpuset."""
    made = cgroup_v2.mkdir(kernel, parent or root(kernel), name)
    if cpus:
        set_cpus(kernel, made, cpus)
    if mems:
        set_mems(kernel, made, mems)
    return made


def cs_of(group: Group) -> Cpuset:
    """Its own cpuset."""
    assert group.cpuset is not None
    return group.cpuset


def set_cpus(kernel: Kernel, group: Group, text: str) -> None:
    """Write cpuset.cpus; the model is consistent afterwards."""
    cpuset_v2.cpus_store(kernel, cs_of(group), text)
    check(kernel)


def set_mems(kernel: Kernel, group: Group, text: str) -> None:
    """Write cpuset.mems; the model is consistent afterwards."""
    cpuset.mems_store(kernel, cs_of(group), text)
    check(kernel)


def partition(kernel: Kernel, group: Group, word: str) -> str:
    """Write cpuset.cpus.partition; says what it reads then."""
    state = cpuset_partition.parse(word)
    assert state is not None
    cpuset_partition.update_prstate(kernel, cs_of(group), state)
    check(kernel)
    return cpuset_partition.text(cs_of(group))


def attach(kernel: Kernel, group: Group, task: Task, *, whole_process: bool = True) -> None:
    """Write the task's pid to cgroup.procs, or to cgroup.threads."""
    found = cgroup_v2.find_task(kernel, task.pid, whole_process=whole_process)
    cgroup_v2.attach(kernel, group, found, whole_process=whole_process)
    check(kernel)


def effective(group: Group) -> tuple[str, str]:
    """cpuset.cpus.effective and cpuset.mems.effective."""
    cs = cs_of(group)
    return list_text(cs.effective_cpus), list_text(cs.effective_mems)
