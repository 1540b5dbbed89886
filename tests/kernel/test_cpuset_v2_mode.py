# SPDX-License-Identifier: MIT
"""cgroup v1 mounted with -o cpuset_v2_mode: lists are wishes, and what is effective comes and goes."""

from __future__ import annotations

import errno

import pytest

from numafs.kernel import cpuset
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.cpu import cpu_down, cpu_up
from numafs.kernel.cpuset import CS, Cpuset
from numafs.kernel.kernel import Kernel

from .machines import machine


@pytest.fixture
def kernel() -> Kernel:
    return boot(machine(64, 64, 64, 64, cpuset_v2_mode=True))


def group(kernel: Kernel, name: str, parent: Cpuset | None = None, cpus: str = "", mems: str = "") -> Cpuset:
    made = cpuset.mkdir(kernel, parent or kernel.cpusets.root, name)
    if cpus:
        cpuset.cpus_store(kernel, made, cpus)
    if mems:
        cpuset.mems_store(kernel, made, mems)
    return made


def test_a_group_need_not_fit_into_its_parent(kernel: Kernel):
    a = group(kernel, "a", cpus="1-2", mems="1")
    b = group(kernel, "b", a, cpus="2-3", mems="2")
    assert (b.effective_cpus, b.effective_mems) == (0b100, 0b010)
    cpuset.cpus_store(kernel, a, "0")
    assert b.effective_cpus == 0b001
    check(kernel)


def test_a_group_with_nothing_configured_has_what_its_parent_has_and_takes_tasks(kernel: Kernel):
    a = group(kernel, "a", cpus="1-2", mems="1-2")
    b = group(kernel, "b", a)
    task = kernel.tasks.spawn(kernel, "t")
    cpuset.attach(kernel, b, task.pid, whole_process=True)
    assert (task.cpus_allowed, task.mems_allowed) == (0b110, 0b110)
    assert (b.cpus_allowed, b.mems_allowed) == (0, 0)
    check(kernel)


def test_lists_of_a_group_with_tasks_cannot_be_cleared_and_exclusive_siblings_do_not_overlap(kernel: Kernel):
    a, b = group(kernel, "a", cpus="1", mems="1"), group(kernel, "b", cpus="1-2", mems="1")
    cpuset.attach(kernel, a, kernel.tasks.spawn(kernel, "t").pid, whole_process=True)
    for refused, number in (
        (lambda: cpuset.cpus_store(kernel, a, ""), errno.ENOSPC),
        (lambda: cpuset.update_flag(kernel, b, CS.CPU_EXCLUSIVE, True), errno.EINVAL),
        (lambda: cpuset.cpus_store(kernel, kernel.cpusets.root, "1"), errno.EACCES),
    ):
        with pytest.raises(OSError) as caught:
            refused()
        assert caught.value.errno == number


def test_a_cpu_that_goes_and_comes_again_leaves_the_lists_alone(kernel: Kernel):
    a = group(kernel, "a", cpus="2-5", mems="0")
    c = group(kernel, "c", a, cpus="3", mems="0")
    task = kernel.tasks.spawn(kernel, "t")
    cpuset.attach(kernel, c, task.pid, whole_process=True)
    cpu_down(kernel, 3)
    assert (c.cpus_allowed, c.effective_cpus) == (0b1000, 0b110100)
    assert task.cpuset is c
    assert task.cpus_allowed == 0b110100
    cpu_up(kernel, 3)
    assert (c.effective_cpus, task.cpus_allowed) == (0b1000, 0b1000)
    check(kernel)
