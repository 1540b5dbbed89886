# SPDX-License-Identifier: MIT
"""What CPUs and nodes that come and go do to cpusets: with cgroup v1, a loss is for good.

kernel/cgroup/cpuset.c:cpuset_hotplug_workfn() (v6.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cgroup import descendants
from .cpuset import (
    Cpuset,
    check_insane_mems_config,
    transfer_tasks,
    update_tasks_cpumask,
    update_tasks_nodemask,
)

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = ["cpuset_update_active_cpus"]


def cpuset_update_active_cpus(kernel: Kernel) -> None:
    """The set of on-line CPUs or of nodes with memory changed: the root follows, all others only shrink.

    Simplified: the kernel leaves this to a worker, and writers wait for it; here it has happened at once.
    """
    root = kernel.cpusets.root
    root.cpus_allowed = root.effective_cpus = kernel.cpu_online
    if root.mems_allowed != kernel.node_states_memory:
        root.mems_allowed = root.effective_mems = kernel.node_states_memory
        update_tasks_nodemask(kernel, root)
    for cs in descendants(root):
        if cs.parent is not None:
            _hotplug_update_tasks(kernel, cs, cs.parent)


def _hotplug_update_tasks(kernel: Kernel, cs: Cpuset, parent: Cpuset) -> None:
    """hotplug_update_tasks_legacy(): what is left of a group's CPUs and nodes; without any its tasks go up."""
    cpus = cs.cpus_allowed & parent.effective_cpus
    mems = cs.mems_allowed & parent.effective_mems
    cpus_updated, mems_updated = cpus != cs.effective_cpus, mems != cs.effective_mems
    if not cpus_updated and not mems_updated:
        return
    if mems_updated:
        check_insane_mems_config(kernel, mems)
    cs.cpus_allowed = cs.effective_cpus = cpus
    cs.mems_allowed = cs.effective_mems = mems
    if cpus_updated and cpus:
        update_tasks_cpumask(kernel, cs)
    if mems_updated and mems:
        update_tasks_nodemask(kernel, cs)
    if not cpus or not mems:
        _remove_tasks_in_empty_cpuset(kernel, cs)


def _remove_tasks_in_empty_cpuset(kernel: Kernel, cs: Cpuset) -> None:
    """Move them, one by one, to the nearest ancestor that has both CPUs and nodes."""
    parent = cs.parent
    while parent is not None and parent.parent and not (parent.cpus_allowed and parent.mems_allowed):
        parent = parent.parent
    if parent is None:
        return
    for task in list(cs.members):
        transfer_tasks(kernel, [task], parent)
