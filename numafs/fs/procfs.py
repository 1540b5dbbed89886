# SPDX-License-Identifier: MIT
"""/proc: put together from its parts, with the small files about the kernel itself.

fs/proc/{root,version,cmdline}.c, fs/filesystems.c, fs/proc_namespace.c, kernel/cgroup/cgroup-v1.c (v6.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numafs.kernel.cgroup import descendants
from numafs.kernel.errors import ENOENT

from .attr import Attr, Caller
from .proc_cpu import CPU, irq_dir
from .proc_mm import MM
from .proc_mounts import mounts_show
from .proc_pid import pids
from .proc_sys import sys_dir
from .proc_zones import ZONES
from .tree import PROC, Dir, Link

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Task

__all__ = ["proc_dir"]

OTHER_CONTROLLERS = (
    "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls", "perf_event", "net_prio", "hugetlb", "pids",
    "rdma", "misc",
)


def cgroups_show(kernel: Kernel) -> str:
    """kernel/cgroup/cgroup-v1.c:proc_cgroupstats_show() (v6.1).

    With v1 the cpuset controller is in hierarchy 1, all others, and with v2 it too, in the default one.
    """
    dfl = kernel.cgrp_dfl_root
    cpusets = sum(1 for _ in descendants(dfl.root if dfl else kernel.cpusets.root))
    rest = "".join(f"{name}\t0\t{cpusets if dfl else 1}\t1\n" for name in OTHER_CONTROLLERS)
    hierarchy = 0 if dfl else 1
    return f"#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t{hierarchy}\t{cpusets}\t1\n{rest}"


NODEV = ("sysfs", "tmpfs", "bdev", "proc", "cgroup", "cgroup2", "cpuset", "devtmpfs", "ramfs", "hugetlbfs", "devpts")


def filesystems_show(kernel: Kernel) -> str:
    """fs/filesystems.c:filesystems_proc_show() (v6.1)."""
    return "".join(f"nodev\t{name}\n" for name in NODEV) + "\text4\n"


def version_show(kernel: Kernel) -> str:
    """The release of the machine's kernel."""
    release = kernel.machine.kernel_release
    return f"Linux version {release} (numafs@numafs) (a model) #1 SMP PREEMPT_DYNAMIC\n"


def cmdline_show(kernel: Kernel) -> str:
    """What a boot loader would have said."""
    return f"BOOT_IMAGE=/boot/vmlinuz-{kernel.machine.kernel_release} quiet\n"


ROWS: tuple[Attr[Kernel], ...] = (
    Attr("cgroups", 0o444, cgroups_show),
    Attr("cmdline", 0o444, cmdline_show),
    Attr("filesystems", 0o444, filesystems_show),
    Attr("mounts", 0o444, mounts_show),
    Attr("version", 0o444, version_show),
)


def proc_dir(kernel: Kernel) -> Dir:
    """The directory /proc."""
    processes = pids(kernel)
    top = Dir(PROC, 0o555, find=processes.find, more=processes.names)
    for rows in (ROWS, CPU, MM, ZONES):
        top.add_files(rows, kernel)
    top.add("irq", irq_dir(kernel))
    top.add("sys", sys_dir(kernel))

    def who(caller: Caller) -> Task:
        """The caller, whom the model comes to know by this if it can."""
        task = kernel.tasks.find(caller.pid)
        if task is None:
            raise ENOENT(f"the model knows no process {caller.pid}")
        return task

    top.add("self", Link(lambda caller: str(who(caller).tgid), PROC))
    top.add("thread-self", Link(lambda caller: f"{who(caller).tgid}/task/{who(caller).pid}", PROC))
    return top
