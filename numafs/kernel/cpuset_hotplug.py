# SPDX-License-Identifier: MIT
"""What CPUs and nodes that come and go do to cpusets.

With cgroup v1 a loss is for good, with v2 only what is effective changes.
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
from .cpuset_partition import (
    HOTPLUG,
    compute_effective_cpumask,
    disable,
    make_invalid,
    parent_error,
    populated_without,
    update_parent,
)
from .nodemask import Mask

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = ["cpuset_update_active_cpus"]


def cpuset_update_active_cpus(kernel: Kernel) -> None:
    """The set of on-line CPUs or of nodes with memory changed: the root follows, all others only shrink.

    Simplified: the kernel leaves this to a worker, and writers wait for it; here it has happened at once.
    """
    root = kernel.cpusets.root
    if root.v2_mode:
        root.cpus_allowed, root.mems_allowed = kernel.cpu_possible, kernel.node_possible
        _update_root_cpus(kernel, root)
    else:
        root.cpus_allowed = root.effective_cpus = kernel.cpu_online
        root.mems_allowed = kernel.node_states_memory
    if root.effective_mems != kernel.node_states_memory:
        root.effective_mems = kernel.node_states_memory
        update_tasks_nodemask(kernel, root)
    for cs in descendants(root):
        if cs.parent is None:
            continue
        if cs.v2_mode:
            _hotplug_update(kernel, cs, cs.parent)
        else:
            _hotplug_update_legacy(kernel, cs, cs.parent)


# ---------------------------------------------------------------- cgroup v2


def _update_root_cpus(kernel: Kernel, root: Cpuset) -> None:
    """The root has what is on line and no partition owns; if nothing is left the partitions have to fight again."""
    if not kernel.cpu_online & ~root.subparts_cpus:
        root.subparts_cpus = 0
    root.effective_cpus = kernel.cpu_online & ~root.subparts_cpus


def _hotplug_update(kernel: Kernel, cs: Cpuset, parent: Cpuset) -> None:
    """cpuset_hotplug_update_tasks(): what is configured stays; a partition may become invalid, or valid again."""
    cpus = compute_effective_cpumask(kernel, cs, parent) & ~cs.subparts_cpus
    if cs.partition:
        cpus = _update_partition(kernel, cs, parent, cpus)
    if not cpus and cs.partition <= 0:
        cpus = parent.effective_cpus
    mems = cs.mems_allowed & parent.effective_mems or parent.effective_mems
    cpus_updated, mems_updated = cpus != cs.effective_cpus, mems != cs.effective_mems
    if mems_updated:
        check_insane_mems_config(kernel, mems)
    cs.effective_cpus, cs.effective_mems = cpus, mems
    if cpus_updated:
        update_tasks_cpumask(kernel, cs)
    if mems_updated:
        update_tasks_nodemask(kernel, cs)


def _update_partition(kernel: Kernel, cs: Cpuset, parent: Cpuset, cpus: Mask) -> Mask:
    """Is it a valid partition now? Returns what CPUs it then has of its own.

    Simplified: one with tasks is valid again only when one of its CPUs is on line; in v6.1 any hot-plug makes it so.
    """
    if cs.partition < 0:
        if cpus or not populated_without(cs, None):
            update_parent(kernel, cs)
        return cpus
    if cs.subparts_cpus and not cpus and populated_without(cs, None):
        cs.subparts_cpus = 0
        cpus = compute_effective_cpumask(kernel, cs, parent)
    if parent.subparts_cpus and (cpus or not populated_without(cs, None)):
        return cpus
    disable(kernel, cs, parent)
    if cs.subparts_cpus:
        cs.subparts_cpus = 0
        cpus = compute_effective_cpumask(kernel, cs, parent)
    make_invalid(cs, parent_error(parent) or HOTPLUG)
    return cpus


# ---------------------------------------------------------------- cgroup v1


def _hotplug_update_legacy(kernel: Kernel, cs: Cpuset, parent: Cpuset) -> None:
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
