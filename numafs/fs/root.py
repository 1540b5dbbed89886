# SPDX-License-Identifier: MIT
"""The whole tree of a machine: every file below its real path, so that tools with a root option find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cgroup_v1 import cpuset_dir
from .cgroup_v2 import unified_dir
from .data import data_dir
from .dev_kmsg import DevKmsg
from .procfs import proc_dir
from .sysfs_bus import add_buses, add_pci
from .sysfs_cpu import cpu_dir
from .sysfs_memory import memory_dir
from .sysfs_mm import memory_tiers_dir, mm_dir
from .sysfs_node import node_dir
from .sysfs_slab import slab_dir
from .tasks_ctl import numafs_dir
from .tree import PLAIN, SYSFS, Dir, Root

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel

__all__ = ["build"]


def build(kernel: Kernel) -> Root:
    """The tree of `kernel`'s files; data/, which may have many, is made when somebody looks into it."""
    root = Root()
    root.add("sys", sysfs(kernel))
    root.add("proc", proc_dir(kernel))
    dev = root.dir("dev", PLAIN)
    dev.add("kmsg", DevKmsg(kernel))
    if kernel.machine.cgroup == "v1":
        dev.add("cpuset", cpuset_dir(kernel, noprefix=True))
    root.add("numafs", numafs_dir(kernel))
    root.find = lambda name: root.add("data", data_dir(kernel)) if name == "data" else None
    root.more = lambda: () if "data" in root.children else ("data",)
    return root


def sysfs(kernel: Kernel) -> Dir:
    """The directory /sys."""
    top = Dir(SYSFS, 0o555)
    system = top.dir("devices/system", mode=0o755)
    system.add("node", node_dir(kernel))
    system.add("cpu", cpu_dir(kernel))
    system.add("memory", memory_dir(kernel))
    tiers = memory_tiers_dir(kernel)
    top.dir("devices/virtual", mode=0o755).add("memory_tiering", tiers)
    buses = top.dir("bus", mode=0o755)
    add_buses(buses, system, tiers)
    add_pci(buses, top.dir("devices"), kernel)
    top.dir("kernel", mode=0o755).add("mm", mm_dir(kernel))
    top.dir("kernel").add("slab", slab_dir(kernel))
    add_cgroup(top.dir("fs", mode=0o755), kernel)
    return top


def add_cgroup(fs: Dir, kernel: Kernel) -> None:
    """fs/cgroup: the hierarchy that has the cpuset controller."""
    if kernel.machine.cgroup == "v1":
        fs.dir("cgroup", PLAIN).add("cpuset", cpuset_dir(kernel, noprefix=False))
    elif kernel.machine.cgroup == "v2":
        fs.dir("cgroup", PLAIN).add("unified", unified_dir(kernel))
