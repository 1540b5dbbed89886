# SPDX-License-Identifier: MIT
"""Booted kernels with cpusets and tasks in them, for tests."""

from __future__ import annotations

from collections import Counter

from numafs.kernel import cpuset, mbind, memory, mmap
from numafs.kernel.boot import boot
from numafs.kernel.cpuset import CS, Cpuset
from numafs.kernel.kernel import Kernel
from numafs.kernel.mempolicy import Mode
from numafs.kernel.mm import Task, Vma
from numafs.kernel.nodemask import parse_list

from .machines import machine

ALL_CPUS = 0xFF


def four_nodes(*sizes_mib: int, thp: str = "madvise") -> Kernel:
    """A booted ring of four nodes with two CPUs each, by default of 64 MiB."""
    return boot(machine(*(sizes_mib or (64, 64, 64, 64)), thp=thp))


def group(
    kernel: Kernel, name: str, cpus: str, mems: str, parent: Cpuset | None = None, *, migrate: bool = False
) -> Cpuset:
    """A new cpuset below the root or `parent`."""
    cs = cpuset.mkdir(kernel, parent or kernel.cpusets.root, name)
    cpuset.cpus_store(kernel, cs, cpus)
    cpuset.mems_store(kernel, cs, mems)
    if migrate:
        cpuset.update_flag(kernel, cs, CS.MEMORY_MIGRATE, True)
    return cs


def attach(kernel: Kernel, cs: Cpuset, task: Task) -> None:
    """Write the task's pid to the group's `cgroup.procs`."""
    cpuset.attach(kernel, cs, task.pid, whole_process=True)


def region(kernel: Kernel, task: Task, pages: int, nid: int | None = None) -> Vma:
    """Anonymous memory of `task`, written: on a node (its policy is default again afterwards) or where it falls."""
    vma = mmap.mmap(kernel, task, 0x100000000 + 0x1000000 * len(task.mm.vmas if task.mm else ()), pages)
    if nid is not None:
        mbind.mbind(kernel, task, vma.start, vma.stop, Mode.BIND, 1 << nid, 1025, 0)
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    if nid is not None:
        mbind.mbind(kernel, task, vma.start, vma.stop, Mode.DEFAULT, None, 0, 0)
    return vma


def on_nodes(vmas: Vma | list[Vma]) -> dict[int, int]:
    """Pages by node."""
    count: Counter[int] = Counter()
    for vma in [vmas] if isinstance(vmas, Vma) else vmas:
        for run, n in vma.runs():
            count[run.zone.pgdat.nid] += n
    return dict(sorted(count.items()))


def nodes(text: str) -> int:
    """A mask."""
    return parse_list(text, 1024)
