# SPDX-License-Identifier: MIT
"""cpusets in the default hierarchy: what is configured is a wish, what is effective is what the parent leaves of it.

kernel/cgroup/cpuset.c (v6.1), with the rules of cgroup v2. Partitions are in `cpuset_partition`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from . import cpuset_partition as partition
from .cpuset import (
    CS,
    Cpuset,
    configured_cpus,
    update_tasks_nodemask,
    validate_change,
)
from .cpuset_partition import Prs, compute_effective_cpumask, update_cpumasks_hier, update_sibling_cpumasks

if TYPE_CHECKING:
    from .cgroup_v2 import Group
    from .kernel import Kernel
    from .nodemask import Mask

__all__ = ["cpus_store", "css_offline", "css_online", "update_nodemasks_hier"]


def css_online(kernel: Kernel, group: Group, parent: Cpuset) -> Cpuset:
    """The group gets a cpuset, with nothing configured; in v2 memory always migrates (cpuset_css_online)."""
    cs = Cpuset(group.name, parent, group.uid, group.gid, group.mode, group=group)
    cs.flags |= CS.MEMORY_MIGRATE
    cs.effective_cpus, cs.effective_mems = parent.effective_cpus, parent.effective_mems
    cs.use_parent_ecpus = True
    parent.children[group.name] = cs
    group.cpuset = cs
    return cs


def css_offline(kernel: Kernel, cs: Cpuset) -> None:
    """The cpuset is no more; a valid partition gives its CPUs back first (cpuset_css_offline)."""
    assert cs.parent is not None
    if cs.partition > 0:
        partition.update_prstate(kernel, cs, Prs.MEMBER)
    del cs.parent.children[cs.name]
    cs.dead = True


def cpus_store(kernel: Kernel, cs: Cpuset, text: str) -> None:
    """cpuset.cpus: any possible CPUs; partitions that they overlap become invalid (update_cpumask)."""
    cpus = configured_cpus(kernel, cs, text)
    if cpus == cs.cpus_allowed:
        return
    parent = cs.parent
    assert parent is not None
    if _shares_exclusive_cpus(cs, cpus):
        for cp in list(parent.nested()):
            if cp is cs or cpus & cp.cpus_allowed:
                partition.invalidate(kernel, cp)
    elif cs.partition:
        partition.update_parent(kernel, cs, cpus)
    cs.cpus_allowed = cpus
    if cs.subparts_cpus:
        effective = compute_effective_cpumask(kernel, cs, parent)
        taken = not effective & ~cs.subparts_cpus and partition.populated_without(cs, None)
        cs.subparts_cpus = 0 if cs.partition <= 0 or taken else cs.subparts_cpus & cpus
    update_cpumasks_hier(kernel, cs)
    if cs.partition:
        update_sibling_cpumasks(kernel, parent, cs)


def _shares_exclusive_cpus(cs: Cpuset, cpus: Mask) -> bool:
    """Would it have CPUs that it or a sibling must have alone? That is allowed, at the partitions' expense."""
    try:
        validate_change(cs, cpus, cs.mems_allowed, cs.flags)
    except OSError as refused:
        if refused.errno != errno.EINVAL:
            raise
        return True
    return False


def update_nodemasks_hier(kernel: Kernel, cs: Cpuset) -> None:
    """Nodes of a group and of what is below it; where nothing changes nobody below is asked."""
    assert cs.parent is not None
    mems = effective_mems(cs, cs.parent)
    if mems == cs.effective_mems:
        return
    cs.effective_mems = mems
    update_tasks_nodemask(kernel, cs)
    for child in list(cs.nested()):
        update_nodemasks_hier(kernel, child)


def effective_mems(cs: Cpuset, parent: Cpuset) -> Mask:
    """What the parent leaves of the nodes configured, else all it has."""
    return cs.mems_allowed & parent.effective_mems or parent.effective_mems
