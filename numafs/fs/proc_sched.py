# SPDX-License-Identifier: MIT
"""/proc/PID/sched: CPU time, and what NUMA balancing knows of a task. kernel/sched/debug.c (v6.1).

Simplified: nothing is scheduled, so loads, switches and virtual time are those of a task alone on its CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Task

__all__ = ["proc_sched_show_task"]

SCHED_LOAD = 1024
NICE_0_LOAD = SCHED_LOAD << 10
LOAD_AVG_MAX = 47742


def proc_sched_show_task(kernel: Kernel, task: Task) -> str:
    """kernel/sched/debug.c:proc_sched_show_task() (v6.1)."""
    head = f"{task.comm} ({task.pid}, #threads: {len(kernel.tasks.threads(task))})\n" + "-" * 67 + "\n"
    return head + "".join(_lines(kernel, task)) + "".join(_sched_show_numa(kernel, task))


def _lines(kernel: Kernel, task: Task) -> Iterator[str]:
    yield _nanoseconds("se.exec_start", kernel.clock.now)
    yield _nanoseconds("se.vruntime", task.sum_exec_runtime)
    yield _nanoseconds("se.sum_exec_runtime", task.sum_exec_runtime)
    values = {
        "se.nr_migrations": 0, "nr_switches": 0, "nr_voluntary_switches": 0, "nr_involuntary_switches": 0,
        "se.load.weight": NICE_0_LOAD, "se.avg.load_sum": LOAD_AVG_MAX, "se.avg.runnable_sum": LOAD_AVG_MAX << 10,
        "se.avg.util_sum": LOAD_AVG_MAX << 10, "se.avg.load_avg": SCHED_LOAD, "se.avg.runnable_avg": SCHED_LOAD,
        "se.avg.util_avg": SCHED_LOAD, "se.avg.last_update_time": kernel.clock.now, "se.avg.util_est.ewma": 0,
        "se.avg.util_est.enqueued": 0, "policy": 0, "prio": 120, "clock-delta": 0,
    }
    for name, value in values.items():
        yield _line(name, value)


def _sched_show_numa(kernel: Kernel, task: Task) -> Iterator[str]:
    """kernel/sched/debug.c:sched_show_numa(), kernel/sched/fair.c:show_numa_stats() (v6.1)."""
    numa = task.numa
    if task.mm is not None:
        yield _line("mm->numa_scan_seq", task.mm.numa_scan_seq)
    yield _line("numa_pages_migrated", numa.pages_migrated)
    yield _line("numa_preferred_nid", numa.preferred_nid)
    yield _line("total_numa_faults", numa.total_faults)
    group = numa.group
    yield f"current_node={kernel.cpu_to_node[task.cpu]}, numa_group_id={group.gid if group else 0}\n"
    for pgdat in kernel.online_nodes:
        shared, private = numa.faults.of(pgdat.nid) if numa.faults else (0, 0)
        group_shared, group_private = group.faults.of(pgdat.nid) if group else (0, 0)
        yield (
            f"numa_faults node={pgdat.nid} task_private={private} task_shared={shared} "
            f"group_private={group_private} group_shared={group_shared}\n"
        )


def _line(name: str, value: int) -> str:
    return f"{name:<45}:{value:21d}\n"


def _nanoseconds(name: str, ns: int) -> str:
    return f"{name:<45}:{ns // 1_000_000:14d}.{ns % 1_000_000:06d}\n"
