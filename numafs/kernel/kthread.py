# SPDX-License-Identifier: MIT
"""The kernel threads of a booted machine: names, and which are bound to their CPUs.

kernel/kthread.c (v6.1).

Simplified: they do nothing as tasks, and their stacks are part of what the kernel holds at boot. But for kthreadd,
their pids are above those of modelled tasks, so that none is in the way of a real process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .mm import Task
from .nodemask import Mask, members, nth

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = ["KTHREADD", "kernel_threads"]

KTHREADD = 2
FIRST_KTHREAD = 8_388_608
"""Twice the kernel's PID_MAX_LIMIT."""
PER_CPU = ("cpuhp/{}", "migration/{}", "ksoftirqd/{}", "kworker/{}:0")
PER_NODE = ("kswapd{}", "kcompactd{}")
ONCE = ("rcu_preempt", "kauditd", "khungtaskd", "oom_reaper", "ksmd", "khugepaged")


def kernel_threads(kernel: Kernel) -> Iterator[Task]:
    """kthreadd and its children; PF_NO_SETAFFINITY ones are `bound`."""
    everywhere = (1 << len(kernel.cpu_to_node)) - 1
    yield _kthread(kernel, KTHREADD, "kthreadd", everywhere, bound=True)
    pid = FIRST_KTHREAD
    for name, cpus, bound in _kinds(kernel, everywhere):
        yield _kthread(kernel, pid, name, cpus, bound=bound)
        pid += 1


def _kinds(kernel: Kernel, everywhere: Mask) -> Iterator[tuple[str, Mask, bool]]:
    for name in ONCE:
        yield name, everywhere, False
    for cpu in members(kernel.cpu_present):
        for pattern in PER_CPU:
            yield pattern.format(cpu), 1 << cpu, True
    for nid in members(kernel.node_states_memory):
        for pattern in PER_NODE:
            yield pattern.format(nid), everywhere, False


def _kthread(kernel: Kernel, pid: int, comm: str, cpus: Mask, *, bound: bool) -> Task:
    usable = cpus & kernel.cpu_online or kernel.cpu_online
    return Task(
        pid, pid, comm, None, cpus, nth(usable, 0), kernel.node_states_memory, kernel.cpusets.root,
        ppid=0 if pid == KTHREADD else KTHREADD, kthread=True, bound=bound,
        cgroup=kernel.cgrp_dfl_root.root if kernel.cgrp_dfl_root else None,
    )
