# SPDX-License-Identifier: MIT
"""Who dies when memory runs out, and what the kernel says."""

from __future__ import annotations

import pytest

from numafs.kernel.boot import boot
from numafs.kernel.errors import TaskKilled
from numafs.kernel.gfp import GFP_HIGHUSER_MOVABLE, Gfp
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task
from numafs.kernel.oom_kill import oom_badness
from numafs.kernel.page_alloc import Placement, alloc_pages
from numafs.kernel.vmstat import VmEvent

from .machines import allocate_anon, machine


def booted() -> Kernel:
    return boot(machine(64, 64))


def spawn(kernel: Kernel, name: str, cpu: int = 0) -> Task:
    return kernel.tasks.spawn(kernel, name, cpu=cpu)


def exhaust(kernel: Kernel, task: Task, where: Placement) -> None:
    while True:
        allocate_anon(kernel, task, 1000, where)


def test_a_bound_task_that_fills_its_node_is_killed_and_the_log_says_why():
    kernel = booted()
    task = spawn(kernel, "eater")
    with pytest.raises(TaskKilled):
        exhaust(kernel, task, Placement(1, nodemask=0b10))
    assert task.killed
    assert kernel.events[VmEvent.OOM_KILL] == 1
    invoked, why, killed = next(line for line in kernel.kmsg if "invoked" in line), *kernel.kmsg[-2:]
    assert invoked == (
        "eater invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0, "
        "oom_score_adj=0"
    )
    assert why == (
        "oom-kill:constraint=CONSTRAINT_MEMORY_POLICY,nodemask=1,cpuset=/,mems_allowed=0-1,global_oom,"
        f"task_memcg=/,task=eater,pid={task.pid},uid=0"
    )
    assert killed.startswith(f"Out of memory: Killed process {task.pid} (eater) total-vm:")


def test_the_largest_task_dies_for_a_small_one_which_goes_on():
    kernel = booted()
    large, small = spawn(kernel, "large"), spawn(kernel, "small")
    small.oom_score_adj = -1000
    allocate_anon(kernel, large, 8000, Placement(1, nodemask=0b10))
    allocate_anon(kernel, small, 15000, Placement(1, nodemask=0b10))
    assert large.exited
    assert not small.killed


def test_oom_score_adj_moves_the_choice():
    kernel = booted()
    task = spawn(kernel, "task")
    plain = oom_badness(kernel, task, 10_000)
    task.oom_score_adj = 500
    assert oom_badness(kernel, task, 10_000) == plain + 5000
    task.oom_score_adj = -1000
    assert oom_badness(kernel, task, 10_000) is None


def test_init_and_kernel_threads_are_never_chosen():
    kernel = booted()
    assert all(oom_badness(kernel, task, 1000) is None for task in kernel.tasks)


def test_a_task_bound_elsewhere_is_no_victim():
    kernel = booted()
    other, task = spawn(kernel, "other"), spawn(kernel, "task")
    allocate_anon(kernel, other, 9000, Placement(0))
    other.mems_allowed = 0b01
    task.mems_allowed = 0b10
    with pytest.raises(TaskKilled):
        exhaust(kernel, task, Placement(1))
    assert not other.killed
    assert "constraint=CONSTRAINT_CPUSET,nodemask=(null)" in kernel.kmsg[-2]


def test_requests_for_one_node_only_fail_instead_of_killing():
    kernel = booted()
    task = spawn(kernel, "task")
    with pytest.raises(OSError):
        while True:
            allocate_anon(kernel, task, 1000, Placement(1), GFP_HIGHUSER_MOVABLE | Gfp.THISNODE)
    assert kernel.events[VmEvent.OOM_KILL] == 0


def test_the_allocating_task_can_be_made_the_victim():
    kernel = booted()
    kernel.vm.set(kernel, "vm.oom_kill_allocating_task", 1)
    large, small = spawn(kernel, "large"), spawn(kernel, "small")
    allocate_anon(kernel, large, 12000, Placement(1, nodemask=0b10))
    with pytest.raises(TaskKilled):
        exhaust(kernel, small, Placement(1, nodemask=0b10))
    assert not large.killed


def test_a_killed_task_gets_no_more_pages_once_memory_is_low():
    kernel = booted()
    task = spawn(kernel, "task")
    with pytest.raises(TaskKilled):
        exhaust(kernel, task, Placement(1, nodemask=0b10))
    with pytest.raises(TaskKilled):
        alloc_pages(kernel, task, GFP_HIGHUSER_MOVABLE, Placement(1, nodemask=0b10), 1000)
