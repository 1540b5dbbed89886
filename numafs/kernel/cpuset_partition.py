# SPDX-License-Identifier: MIT
"""Partitions: groups of the default hierarchy that own their CPUs, which leave their parent's effective set.

kernel/cgroup/cpuset.c (v6.1): cpuset.cpus.partition, and the effective CPUs of a tree that has some. A
partition whose conditions fail stays one in name, `root invalid`, until they hold again.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from . import cgroup
from .cpuset import CS, Cpuset, update_tasks_cpumask, validate_change
from .nodemask import Mask

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = [
    "HOTPLUG", "Prs", "compute_effective_cpumask", "disable", "invalidate", "make_invalid", "parent_error", "parse",
    "populated_without", "text", "update_cpumasks_hier",
    "update_parent", "update_prstate", "update_sibling_cpumasks",
]


class Prs(IntEnum):
    """partition_root_state: negative while invalid."""

    INVALID_ISOLATED = -2
    INVALID_ROOT = -1
    MEMBER = 0
    ROOT = 1
    ISOLATED = 2


INVCPUS = "Invalid cpu list in cpuset.cpus"
INVPARENT = "Parent is an invalid partition root"
NOTPART = "Parent is not a partition root"
NOTEXCL = "Cpu list in cpuset.cpus not exclusive"
NOCPUS = "Parent unable to distribute cpu downstream"
HOTPLUG = "No cpu available due to hotplug"
CPUSEMPTY = "cpuset.cpus is empty"

_WORDS = {"member": Prs.MEMBER, "root": Prs.ROOT, "isolated": Prs.ISOLATED}


def text(cs: Cpuset) -> str:
    """What cpuset.cpus.partition shows (sched_partition_show)."""
    state = abs(cs.partition)
    word = next(word for word, prs in _WORDS.items() if prs == state)
    if cs.partition >= 0:
        return word
    return f"{word} invalid ({cs.prs_err})" if cs.prs_err else f"{word} invalid"


def parent_error(parent: Cpuset) -> str:
    """Why a child of `parent` cannot be a partition; empty if it can."""
    if parent.partition > 0:
        return ""
    return INVPARENT if parent.partition < 0 else NOTPART


def populated_without(cs: Cpuset, excluded: Cpuset | None) -> bool:
    """Does it need CPUs of its own for tasks, not counting `excluded` and valid child partitions?

    partition_is_populated().
    """
    assert cs.group is not None
    if cs.group.members:
        return True
    if excluded is None and not cs.subparts_cpus:
        return cgroup.populated(cs.group)
    return any(
        cgroup.populated(child.group or child)
        for child in cs.nested() if child is not excluded and child.partition <= 0
    )


# ---------------------------------------------------------------- a partition and its parent


def enable(kernel: Kernel, cs: Cpuset, parent: Cpuset) -> str:
    """Take the CPUs of a new partition from its parent; says why not (partcmd_enable)."""
    if error := parent_error(parent):
        return error
    if not cs.cpus_allowed & parent.cpus_allowed:
        return INVCPUS
    if not parent.effective_cpus & ~cs.cpus_allowed and populated_without(parent, cs):
        return NOCPUS
    _distribute(kernel, parent, cs.cpus_allowed, 0)
    return ""


def disable(kernel: Kernel, cs: Cpuset, parent: Cpuset) -> None:
    """Give its CPUs back (partcmd_disable)."""
    if parent.partition > 0 and cs.cpus_allowed and cs.partition >= 0:
        _distribute(kernel, parent, 0, cs.cpus_allowed & parent.subparts_cpus)


def invalidate(kernel: Kernel, cs: Cpuset) -> None:
    """A sibling has some of its CPUs: it is invalid until somebody makes it a member (partcmd_invalidate)."""
    if cs.partition <= 0:
        return
    assert cs.parent is not None
    make_invalid(cs, NOTEXCL)
    _distribute(kernel, cs.parent, 0, cs.cpus_allowed & cs.parent.subparts_cpus)


def update_parent(kernel: Kernel, cs: Cpuset, cpus: Mask | None = None) -> None:
    """A partition's CPUs become `cpus`, or its parent changed: is it still valid, or again? (partcmd_update).

    The order of the cases is that of update_parent_subparts_cpumask().
    """
    parent = cs.parent
    assert parent is not None
    if parent.partition <= 0:
        return
    if not (cs.cpus_allowed if cpus is None else cpus):
        return
    wanted = (cs.cpus_allowed if cpus is None else cpus) & parent.cpus_allowed
    adding = wanted & ~parent.subparts_cpus
    deleting = 0 if cpus is None else cs.cpus_allowed & ~cpus & parent.subparts_cpus
    exhausted = (
        adding and not parent.effective_cpus & ~adding and not deleting & kernel.cpu_online
        and populated_without(parent, cs)
    )
    if exhausted or cpus is None and cs.partition > 0 and not parent.subparts_cpus:
        adding = 0
        deleting = cs.cpus_allowed & parent.subparts_cpus if cs.partition > 0 or cpus is not None else 0
        make_invalid(cs, NOCPUS)
    elif cs.partition < 0:
        if not _make_exclusive(cs):
            return
        cs.partition = -cs.partition
    _distribute(kernel, parent, adding, deleting)


def make_invalid(cs: Cpuset, why: str) -> None:
    """It owns no CPUs any more, and is exclusive no more."""
    cs.prs_err = why
    cs.partition = -abs(cs.partition)
    cs.flags &= ~CS.CPU_EXCLUSIVE


def _make_exclusive(cs: Cpuset) -> bool:
    try:
        validate_change(cs, cs.cpus_allowed, cs.mems_allowed, cs.flags | CS.CPU_EXCLUSIVE)
    except OSError:
        return False
    cs.flags |= CS.CPU_EXCLUSIVE
    return True


def _distribute(kernel: Kernel, parent: Cpuset, adding: Mask, deleting: Mask) -> None:
    """Move CPUs between the parent's own and those of its partitions.

    Simplified: the parent gets back what it may have; v6.1 gives it also what its own parent has taken since.
    """
    if not adding and not deleting:
        return
    parent.subparts_cpus = (parent.subparts_cpus | adding) & ~deleting
    parent.effective_cpus = parent.effective_cpus & ~adding | deleting & _within(kernel, parent)
    update_tasks_cpumask(kernel, parent)


def _within(kernel: Kernel, cs: Cpuset) -> Mask:
    """The on-line CPUs that its parent lets it have or give away."""
    above = cs.parent
    if above is None:
        return kernel.cpu_online
    return kernel.cpu_online & (above.effective_cpus | above.subparts_cpus)


# ---------------------------------------------------------------- effective CPUs


def compute_effective_cpumask(kernel: Kernel, cs: Cpuset, parent: Cpuset) -> Mask:
    """What the parent leaves of the CPUs configured; a valid partition has them from those given away."""
    if parent.subparts_cpus and cs.partition > 0:
        return (parent.effective_cpus | parent.subparts_cpus) & cs.cpus_allowed & kernel.cpu_online
    return cs.cpus_allowed & parent.effective_cpus


def update_cpumasks_hier(kernel: Kernel, top: Cpuset, force: bool = False) -> None:
    """Effective CPUs of a group and of what is below it, and the states of the partitions there."""
    _update_cpumask(kernel, top, top, force)


def _update_cpumask(kernel: Kernel, cs: Cpuset, top: Cpuset, force: bool) -> None:
    parent = cs.parent
    assert parent is not None
    cpus = compute_effective_cpumask(kernel, cs, parent)
    gave_all = cs.partition > 0 and cs.cpus_allowed == cs.subparts_cpus
    if cpus or not gave_all:
        cs.use_parent_ecpus = not cpus
        cpus = cpus or parent.effective_cpus
        if not cs.partition and not force and cpus == cs.effective_cpus:
            return
    if cs is not top and cs.partition:
        if error := parent_error(parent):
            make_invalid(cs, error)
        else:
            update_parent(kernel, cs)
    if cs.subparts_cpus and cs.partition <= 0:
        cpus = (cpus | cs.subparts_cpus) & _within(kernel, cs)
        cs.subparts_cpus = 0
    cs.effective_cpus = cpus & ~cs.subparts_cpus
    update_tasks_cpumask(kernel, cs)
    for child in list(cs.nested()):
        _update_cpumask(kernel, child, top, force)


def update_sibling_cpumasks(kernel: Kernel, parent: Cpuset, cs: Cpuset) -> None:
    """The siblings that have their parent's CPUs for want of their own have what is left of these now."""
    for sibling in list(parent.nested()):
        if sibling is not cs and sibling.use_parent_ecpus:
            update_cpumasks_hier(kernel, sibling)


# ---------------------------------------------------------------- what is written


def update_prstate(kernel: Kernel, cs: Cpuset, new: Prs) -> None:
    """cpuset.cpus.partition: never refused; what cannot be is invalid, with a reason.

    Simplified: an isolated partition is one without load balancing, and there is no load to balance.
    """
    old = cs.partition
    if old == new:
        return
    if new and old < 0:
        cs.partition = -new
        return
    parent = cs.parent
    assert parent is not None
    error = ""
    if not old:
        error = _become_partition(kernel, cs, parent)
    elif not new:
        _become_member(kernel, cs, parent)
    if not error and not (old and new):
        update_tasks_cpumask(kernel, parent)
        update_sibling_cpumasks(kernel, parent, cs)
    cs.prs_err = error
    cs.partition = -new if error else int(new)
    if error:
        cs.flags &= ~CS.CPU_EXCLUSIVE
    if cs.children:
        update_cpumasks_hier(kernel, cs, not new)


def _become_partition(kernel: Kernel, cs: Cpuset, parent: Cpuset) -> str:
    if not cs.cpus_allowed:
        return CPUSEMPTY
    if not _make_exclusive(cs):
        return NOTEXCL
    return enable(kernel, cs, parent)


def _become_member(kernel: Kernel, cs: Cpuset, parent: Cpuset) -> None:
    disable(kernel, cs, parent)
    if cs.subparts_cpus:
        cs.subparts_cpus = 0
        cs.effective_cpus = compute_effective_cpumask(kernel, cs, parent)
    cs.flags &= ~CS.CPU_EXCLUSIVE


def parse(word: str) -> Prs | None:
    """The state that a word stands for."""
    return _WORDS.get(word)
