# SPDX-License-Identifier: MIT
"""cpusets: on which CPUs and from which nodes the threads of a group may run and allocate.

kernel/cgroup/cpuset.c (v6.1), with the rules of cgroup v1, where `effective_cpus` and
`effective_mems` are what is configured. Those of v2 are in `cpuset_v2`, hot-plug is in
`cpuset_hotplug`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag
from typing import TYPE_CHECKING

from . import cgroup
from .cgroup import Cgroup, Hierarchy, may_attach, path, procs, rename, tasks
from .errors import EACCES, EBUSY, EINVAL, ENOSPC, ESRCH
from .fmeter import Fmeter
from .gfp import Gfp
from .mempolicy import mpol_rebind_mm, mpol_rebind_task
from .migrate import do_migrate_pages
from .nodemask import Mask, list_text, members, parse_list
from .printk import Level
from .sched import sched_domain_level_max, set_cpus_allowed

if TYPE_CHECKING:
    from .cgroup_v2 import Group
    from .kernel import Kernel
    from .mm import Mm, Task

__all__ = [
    "CS", "Cpuset", "CpusetHierarchy", "attach", "can_attach", "check_insane_mems_config", "configured_cpus",
    "configured_mems", "cpus_store", "cpuset_cpus_allowed", "cpuset_mems_allowed", "exit_task",
    "fmeter_getrate", "memory_pressure_bump", "mems_store", "mkdir", "node_allowed", "path", "procs",
    "rename", "rmdir", "tasks", "transfer_tasks", "update_flag", "update_relax_domain_level",
    "update_tasks_cpumask", "update_tasks_nodemask", "validate_change",
]

_BLANKS = " \t\n\v\f\r"


class CS(IntFlag):
    """Flags of a cpuset (cpuset_flagbits_t)."""

    CPU_EXCLUSIVE = 1
    MEM_EXCLUSIVE = 2
    MEM_HARDWALL = 4
    MEMORY_MIGRATE = 8
    SCHED_LOAD_BALANCE = 16
    SPREAD_PAGE = 32
    SPREAD_SLAB = 64


class Cpuset(Cgroup):
    """A group of the cpuset controller (struct cpuset)."""

    parent: Cpuset | None

    def __init__(
        self, name: str, parent: Cpuset | None, uid: int = 0, gid: int = 0, mode: int = 0o755, *,
        group: Group | None = None,
    ) -> None:
        super().__init__(name, parent, uid, gid, mode)
        self.group = group
        """The group of cgroup v2 that has it; None with v1, where it is a group itself.

        With v2 its members are the tasks that feel it, also those of groups below that have none.
        """
        self.v2_mode: bool = group is not None or (parent is not None and parent.v2_mode)
        """Do the rules of v2 hold: with v2, and with v1 that is mounted so (is_in_v2_mode)?"""
        inherited = parent.flags & (CS.SPREAD_PAGE | CS.SPREAD_SLAB) if parent else CS(0)
        self.flags: CS = CS.SCHED_LOAD_BALANCE | inherited
        self.cpus_allowed: Mask = 0
        self.mems_allowed: Mask = 0
        """What was configured."""
        self.effective_cpus: Mask = 0
        self.effective_mems: Mask = 0
        self.old_mems: Mask = 0
        """The nodes that its tasks were last told: where memory_migrate moves from, wherever the pages are."""
        self.subparts_cpus: Mask = 0
        """CPUs that its child partitions own (v2)."""
        self.partition = 0
        """partition_root_state (v2), a cpuset_partition.Prs."""
        self.prs_err = ""
        """Why it is no valid partition."""
        self.use_parent_ecpus = False
        """Are its effective CPUs its parent's, for want of its own (v2)?"""
        self.relax_domain_level = -1
        self.fmeter = Fmeter()

    def nested(self) -> Iterator[Cpuset]:
        """Its child cpusets."""
        for child in self.children.values():
            assert isinstance(child, Cpuset)
            yield child


class CpusetHierarchy(Hierarchy[Cpuset]):
    """The one hierarchy of cpusets."""

    def __init__(self, kernel: Kernel) -> None:
        dfl = kernel.cgrp_dfl_root
        root = Cpuset("", None, group=dfl.root if dfl else None)
        root.flags |= CS.CPU_EXCLUSIVE | CS.MEM_EXCLUSIVE
        root.cpus_allowed = root.effective_cpus = kernel.cpu_online
        root.mems_allowed = root.effective_mems = kernel.node_states_memory
        root.v2_mode |= kernel.machine.cpuset_v2_mode
        if root.v2_mode:
            root.cpus_allowed, root.mems_allowed = kernel.cpu_possible, kernel.node_possible
        if dfl is not None:
            dfl.root.cpuset = root
            root.partition = 1
        root.old_mems = (1 << kernel.machine.max_numnodes) - 1
        super().__init__(root)
        self.memory_pressure_enabled = False
        self.insane_mems_reported = False


# ---------------------------------------------------------------- directories


def mkdir(kernel: Kernel, parent: Cpuset, name: str, uid: int = 0, gid: int = 0, mode: int = 0o755) -> Cpuset:
    """Make a group; with clone_children it starts with the parent's CPUs and nodes (cpuset_css_online)."""
    cgroup.valid_name(parent, name)
    cs = Cpuset(name, parent, uid, gid, mode)
    if cs.v2_mode:
        cs.effective_cpus, cs.effective_mems, cs.use_parent_ecpus = parent.effective_cpus, parent.effective_mems, True
    exclusive = any(sibling.flags & (CS.CPU_EXCLUSIVE | CS.MEM_EXCLUSIVE) for sibling in parent.nested())
    if cs.clone_children and not exclusive:
        cs.cpus_allowed, cs.mems_allowed = parent.cpus_allowed, parent.mems_allowed
        cs.effective_cpus, cs.effective_mems = parent.cpus_allowed, parent.mems_allowed
    cs.ino = kernel.cpusets.new_ino()
    parent.children[name] = cs
    return cs


def rmdir(kernel: Kernel, cs: Cpuset) -> None:
    """Remove a group without tasks and children."""
    cgroup.remove(kernel, kernel.cpusets, cs)


# ---------------------------------------------------------------- what is configured


def cpus_store(kernel: Kernel, cs: Cpuset, text: str) -> None:
    """cpuset.cpus: the CPUs of the group's threads, whose affinity becomes these (update_cpumask)."""
    cpus = configured_cpus(kernel, cs, text)
    if cpus == cs.cpus_allowed:
        return
    validate_change(cs, cpus, cs.mems_allowed, cs.flags)
    cs.cpus_allowed = cpus
    if cs.v2_mode:
        from .cpuset_partition import update_cpumasks_hier

        update_cpumasks_hier(kernel, cs)
        return
    cs.effective_cpus = cpus
    update_tasks_cpumask(kernel, cs)


def mems_store(kernel: Kernel, cs: Cpuset, text: str) -> None:
    """cpuset.mems: the nodes of the group's threads; with memory_migrate their pages follow (update_nodemask)."""
    mems = configured_mems(kernel, cs, text)
    if mems == cs.mems_allowed:
        return
    validate_change(cs, cs.cpus_allowed, mems, cs.flags)
    check_insane_mems_config(kernel, mems)
    cs.mems_allowed = mems
    if cs.v2_mode:
        from .cpuset_v2 import update_nodemasks_hier

        update_nodemasks_hier(kernel, cs)
        return
    cs.effective_mems = mems
    update_tasks_nodemask(kernel, cs)


def configured_cpus(kernel: Kernel, cs: Cpuset, text: str) -> Mask:
    """The CPUs in `text`, if they may be written to `cs` at all."""
    return _configured(kernel, cs, text, kernel.cpusets.root.cpus_allowed, len(kernel.cpu_to_node))


def configured_mems(kernel: Kernel, cs: Cpuset, text: str) -> Mask:
    """The nodes in `text`, if they may be written to `cs` at all."""
    return _configured(kernel, cs, text, kernel.cpusets.root.mems_allowed, kernel.machine.max_numnodes)


def _configured(kernel: Kernel, cs: Cpuset, text: str, possible: Mask, bits: int) -> Mask:
    """The list in `text`, if it may be written to a group at all."""
    text = text.strip(_BLANKS)
    if cs is kernel.cpusets.root:
        raise EACCES("the root's CPUs and nodes are the machine's")
    mask = parse_list(text, bits) if text else 0
    if mask & ~possible:
        raise EINVAL(f"{list_text(mask & ~possible)} is not among the machine's {list_text(possible)}")
    return mask


def update_flag(kernel: Kernel, cs: Cpuset, flag: CS, on: bool) -> None:
    """Set or clear a flag; its threads learn of the spread flags at once."""
    flags = cs.flags | flag if on else cs.flags & ~flag
    validate_change(cs, cs.cpus_allowed, cs.mems_allowed, flags)
    cs.flags = flags
    if flag & (CS.SPREAD_PAGE | CS.SPREAD_SLAB):
        for task in cs.members:
            update_task_spread_flags(cs, task)


def update_relax_domain_level(kernel: Kernel, cs: Cpuset, level: int) -> None:
    """cpuset.sched_relax_domain_level: remembered; there is no scheduler to relax."""
    if not -1 <= level <= sched_domain_level_max(kernel) + 1:
        raise EINVAL(f"relax level {level} is not between -1 and {sched_domain_level_max(kernel) + 1}")
    cs.relax_domain_level = level


def validate_change(cs: Cpuset, cpus: Mask, mems: Mask, flags: CS) -> None:
    """Would the tree be a legal one with this configuration of `cs`? The order decides the errno.

    Simplified: there are no deadline tasks.
    """
    if not cs.v2_mode:
        validate_change_legacy(cs, cpus, mems, flags)
    parent = cs.parent
    if parent is None:
        return
    if (cs.cpus_allowed and not cpus or cs.mems_allowed and not mems) and cgroup.populated(cs.group or cs):
        raise ENOSPC("there are tasks in it or below")
    for sibling in parent.nested():
        if sibling is cs:
            continue
        exclusive = flags | sibling.flags
        if exclusive & CS.CPU_EXCLUSIVE and cpus & sibling.cpus_allowed:
            raise EINVAL(f"CPUs {list_text(cpus & sibling.cpus_allowed)} are those of {path(sibling)}, exclusively")
        if exclusive & CS.MEM_EXCLUSIVE and mems & sibling.mems_allowed:
            raise EINVAL(f"nodes {list_text(mems & sibling.mems_allowed)} are those of {path(sibling)}, exclusively")


def validate_change_legacy(cs: Cpuset, cpus: Mask, mems: Mask, flags: CS) -> None:
    """With v1 groups lie within their parents."""
    for child in cs.nested():
        if not is_cpuset_subset(child.cpus_allowed, child.mems_allowed, child.flags, cpus, mems, flags):
            raise EBUSY(f"child {path(child)} would not fit")
    parent = cs.parent
    if parent and not is_cpuset_subset(cpus, mems, flags, parent.cpus_allowed, parent.mems_allowed, parent.flags):
        raise EACCES(f"does not fit the parent {path(parent)}")


def is_cpuset_subset(cpus: Mask, mems: Mask, flags: CS, in_cpus: Mask, in_mems: Mask, in_flags: CS) -> bool:
    """Does one configuration fit into the other?"""
    exclusive = CS.CPU_EXCLUSIVE | CS.MEM_EXCLUSIVE
    return not (cpus & ~in_cpus or mems & ~in_mems or flags & exclusive & ~in_flags)


def check_insane_mems_config(kernel: Kernel, mems: Mask) -> None:
    """Warn, once, of nodes that have movable memory only: the kernel's own pages have no place there."""
    hierarchy = kernel.cpusets
    movable = kernel.machine.zone_types.index("Movable")
    nodes = [kernel.nodes[nid] for nid in members(mems)]
    if hierarchy.insane_mems_reported or not nodes:
        return
    if all(not any(zone.populated for zone in pgdat.zones[:movable]) for pgdat in nodes):
        hierarchy.insane_mems_reported = True
        nmask = list_text(mems)
        kernel.printk(
            f"Unsupported (movable nodes only) cpuset configuration detected (nmask={nmask})!\n"
            "Cpuset allocations might fail even with a lot of memory available.", Level.INFO,
        )


# ---------------------------------------------------------------- what it means for the threads


def guarantee_online_mems(kernel: Kernel, cs: Cpuset) -> Mask:
    """The nodes with memory of the nearest group that has any."""
    while not cs.effective_mems & kernel.node_states_memory and cs.parent:
        cs = cs.parent
    return cs.effective_mems & kernel.node_states_memory


def cpuset_cpus_allowed(kernel: Kernel, task: Task) -> Mask:
    """The on-line CPUs of the nearest group that has any."""
    cs = task.cpuset
    while not cs.effective_cpus & kernel.cpu_online and cs.parent:
        cs = cs.parent
    return cs.effective_cpus & kernel.cpu_online or kernel.cpu_online


def cpuset_mems_allowed(kernel: Kernel, task: Task) -> Mask:
    """The nodes that a task's group lets it have."""
    return guarantee_online_mems(kernel, task.cpuset)


def update_tasks_cpumask(kernel: Kernel, cs: Cpuset) -> None:
    """Overwrite the affinity of the group's threads, except where it is fixed."""
    for task in list(cs.members):
        if not task.bound:
            set_cpus_allowed(kernel, task, _cpus_for(kernel, cs))


def _cpus_for(kernel: Kernel, cs: Cpuset) -> Mask:
    """The affinity of a thread in `cs`: in the root every possible CPU, on line or not, that no partition owns.

    Where nothing is left, as below a partition whose CPUs went off line, it is that of the nearest group that has some.
    """
    while cs.parent is not None and not cs.effective_cpus:
        cs = cs.parent
    return cs.effective_cpus if cs.parent is not None else kernel.cpu_possible & ~cs.subparts_cpus


def update_tasks_nodemask(kernel: Kernel, cs: Cpuset) -> None:
    """The group's nodes changed: its threads' mems_allowed and policies follow, and with memory_migrate their pages.

    Thread by thread, as the kernel does it: the memory of a process of n threads is migrated n times.
    """
    mems = guarantee_online_mems(kernel, cs)
    for task in list(cs.members):
        kernel.tasks.look(task)
        change_task_nodemask(task, mems)
        if task.mm is None:
            continue
        mpol_rebind_mm(task.mm, cs.effective_mems)
        if cs.flags & CS.MEMORY_MIGRATE:
            cpuset_migrate_mm(kernel, task.mm, cs.old_mems, mems)
    cs.old_mems = mems


def change_task_nodemask(task: Task, mems: Mask) -> None:
    """cpuset_change_task_nodemask()."""
    mpol_rebind_task(task, mems)
    task.mems_allowed = mems


def cpuset_migrate_mm(kernel: Kernel, mm: Mm, old: Mask, new: Mask) -> None:
    """Move an address space's pages to their places in `new`; nobody is told if it fails.

    The kernel's worker does it, who is in no cpuset, before the write returns.
    """
    if old != new:
        do_migrate_pages(kernel, None, mm, old, new, move_all=True)


def update_task_spread_flags(cs: Cpuset, task: Task) -> None:
    """cpuset_update_task_spread_flag()."""
    task.spread_page = bool(cs.flags & CS.SPREAD_PAGE)
    task.spread_slab = bool(cs.flags & CS.SPREAD_SLAB)


# ---------------------------------------------------------------- attaching


def attach(
    kernel: Kernel, cs: Cpuset, pid: int, *, whole_process: bool, uid: int = 0, writer_uid: int | None = None
) -> None:
    """A pid was written to `tasks` (one thread) or to `cgroup.procs` (its whole process).

    `uid` opened the file, `writer_uid` writes to it (None: the same).
    kernel/cgroup/cgroup-v1.c:__cgroup1_procs_write() (v6.1).
    """
    task = kernel.tasks.find(pid)
    if task is None or task.exited:
        raise ESRCH(f"no task {pid}")
    if task.bound:
        raise EINVAL(f"kernel thread {pid} ({task.comm}) is bound to its CPU")
    may_attach(task, uid, None)
    threads = kernel.tasks.threads(task) if whole_process else [task]
    moving = [thread for thread in threads if thread.cpuset is not cs]
    if not moving:
        return
    can_attach(cs)
    may_attach(task, uid, writer_uid)
    transfer_tasks(kernel, moving, cs)


def can_attach(cs: Cpuset) -> None:
    """Can a task live there? With v2 there always is a node (cpuset_can_attach)."""
    if not cs.effective_cpus or not cs.v2_mode and not cs.mems_allowed:
        raise ENOSPC(f"{path(cs)} has no {'mems' if cs.effective_cpus else 'cpus'}")


def transfer_tasks(kernel: Kernel, moving: list[Task], cs: Cpuset) -> None:
    """The threads are members of `cs` from now on; the memory goes with thread-group leaders only (cpuset_attach)."""
    old = moving[0].cpuset
    for task in moving:
        kernel.tasks.look(task)
    moving = [task for task in moving if not task.exited]
    for task in moving:
        cgroup.move(kernel, kernel.cpusets, task, task.cpuset, cs)
        task.cpuset = cs
    mems = guarantee_online_mems(kernel, cs)
    for task in moving:
        # In the root, those of partitions too, until somebody changes one.
        set_cpus_allowed(kernel, task, _cpus_for(kernel, cs) if cs.parent else kernel.cpu_possible)
        change_task_nodemask(task, mems)
        update_task_spread_flags(cs, task)
    for leader in moving:
        if leader.pid != leader.tgid or leader.mm is None:
            continue
        mpol_rebind_mm(leader.mm, cs.effective_mems)
        if cs.flags & CS.MEMORY_MIGRATE:
            cpuset_migrate_mm(kernel, leader.mm, old.old_mems, cs.effective_mems)
    cs.old_mems = cs.effective_mems


def exit_task(kernel: Kernel, task: Task) -> None:
    """A thread exits: it is in no group any more, though /proc shows where it was."""
    cgroup.exit_task(kernel, kernel.cpusets, task, task.cpuset)


# ---------------------------------------------------------------- asked by the allocator


def node_allowed(task: Task | None, nid: int, gfp: Gfp) -> bool:
    """May a page of node `nid` be allocated for `task`? (__cpuset_node_allowed)

    User pages never leave mems_allowed; the kernel's own may go as far as the nearest hardwall.
    """
    if task is None or task.mems_allowed >> nid & 1:
        return True
    if task.killed:
        return True
    if gfp & Gfp.HARDWALL:
        return False
    if task.exited:
        return True
    return bool(nearest_hardwall_ancestor(task.cpuset).mems_allowed >> nid & 1)


def nearest_hardwall_ancestor(cs: Cpuset) -> Cpuset:
    """The nearest group, itself included, that is mem_exclusive or mem_hardwall; else the root."""
    while not cs.flags & (CS.MEM_EXCLUSIVE | CS.MEM_HARDWALL) and cs.parent:
        cs = cs.parent
    return cs


def memory_pressure_bump(kernel: Kernel, task: Task) -> None:
    """`task` enters direct reclaim (cpuset_memory_pressure_bump)."""
    if kernel.cpusets.memory_pressure_enabled:
        task.cpuset.fmeter.mark(kernel.clock.now // 1_000_000_000)


def fmeter_getrate(kernel: Kernel, cs: Cpuset) -> int:
    """cpuset.memory_pressure."""
    return cs.fmeter.rate(kernel.clock.now // 1_000_000_000)
