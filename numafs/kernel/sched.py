# SPDX-License-Identifier: MIT
"""Where a task runs: its CPU and its affinity. Nothing is scheduled: a task is on its CPU whenever it acts.

kernel/sched/{core,topology}.c (v6.1).

Simplified: a task stays on its CPU as long as it may, and otherwise goes to the lowest CPU it may use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import numa_balancing
from .errors import EINVAL
from .nodemask import Mask, list_text, mask_of, nth

if TYPE_CHECKING:
    from numafs.machine.spec import Cpu

    from .kernel import Kernel
    from .mm import Task

__all__ = [
    "pick_cpu", "run_for", "sched_domain_level_max", "sched_setaffinity", "select_fallback_rq", "set_cpus_allowed",
]


def sched_setaffinity(kernel: Kernel, task: Task, mask: Mask) -> None:
    """sched_setaffinity(2): what the cpuset leaves of `mask`."""
    from .cpuset import cpuset_cpus_allowed

    if task.bound:
        raise EINVAL(f"kernel thread {task.pid} is bound to its CPU")
    allowed = cpuset_cpus_allowed(kernel, task)
    if not mask & allowed:
        raise EINVAL(f"none of CPUs {list_text(mask)} is among {list_text(allowed)}")
    if kernel.has("user_cpus_ptr"):
        task.user_cpus = mask
    set_cpus_allowed(kernel, task, mask & allowed)


def run_for(kernel: Kernel, task: Task, ns: int) -> None:
    """`task` runs for so long: the clock goes on, and its CPU time (update_curr, task_tick_fair)."""
    task.sum_exec_runtime += ns
    kernel.cpu_curr[task.cpu] = task
    kernel.clock.advance(ns)
    numa_balancing.task_tick_numa(kernel, task)


def set_cpus_allowed(kernel: Kernel, task: Task, mask: Mask) -> None:
    """Give `task` an affinity; it moves if its CPU is not in it (set_cpus_allowed_ptr).

    Newer kernels remember what the user chose, and keep to it as far as `mask` lets them (v6.18).
    """
    task.cpus_allowed = mask & task.user_cpus or mask
    _set_task_cpu(kernel, task)


def _set_task_cpu(kernel: Kernel, task: Task) -> None:
    cpu = pick_cpu(kernel, task)
    if cpu != task.cpu:
        numa_balancing.update_scan_period(kernel, task, cpu)
        task.cpu = cpu


def select_fallback_rq(kernel: Kernel, task: Task) -> None:
    """The CPU of `task` went away: it goes to another that it may use, or loses its affinity."""
    if not task.cpus_allowed & kernel.cpu_online:
        kernel.printk(f"process {task.pid} ({task.comm}) no longer affine to cpu{task.cpu}")
        task.cpus_allowed = (1 << len(kernel.cpu_to_node)) - 1
    _set_task_cpu(kernel, task)


def pick_cpu(kernel: Kernel, task: Task) -> int:
    """The CPU that `task` is on, if it may be there, else the lowest it may use."""
    usable = task.cpus_allowed & kernel.cpu_online or kernel.cpu_online
    if usable >> task.cpu & 1:
        return task.cpu
    return nth(usable, 0)


def sched_domain_level_max(kernel: Kernel) -> int:
    """The deepest scheduler domain: levels are built until one spans every CPU (build_sched_domains)."""
    online = kernel.cpu_online
    cpus = [cpu for cpu in kernel.machine.cpus if online >> cpu.cpu & 1]
    return max((_levels(kernel, cpu, cpus) for cpu in cpus), default=0)


def _levels(kernel: Kernel, cpu: Cpu, cpus: list[Cpu]) -> int:
    """Number of the first of SMT, CLS, MC, DIE, NODE and the NUMA distances that spans all `cpus` from `cpu`."""
    spans = [
        mask_of(c.cpu for c in cpus if _core(c) == _core(cpu)),
        _sharing(cpu, 2),
        _sharing(cpu, 3),
        *[mask_of(c.cpu for c in cpus if c.node == cpu.node)] * 2,
    ]
    distance = kernel.nodes[cpu.node].distance
    nodes = {c.node for c in cpus}
    for limit in sorted({d for nid in nodes for d in (kernel.nodes[nid].distance[n] for n in nodes)} - {10}):
        spans.append(mask_of(c.cpu for c in cpus if distance[c.node] <= limit))
    every = mask_of(c.cpu for c in cpus)
    return next((level for level, span in enumerate(spans) if not every & ~span), len(spans) - 1)


def _sharing(cpu: Cpu, level: int) -> Mask:
    """CPUs behind the same cache of this level."""
    shared = [cache.shared_cpus for cache in cpu.caches if cache.level == level and cache.type != "Instruction"]
    return mask_of(shared[0]) if shared else 1 << cpu.cpu


def _core(cpu: Cpu) -> tuple[int, int, int, int]:
    return cpu.node, cpu.socket, cpu.die, cpu.core
