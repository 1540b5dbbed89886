# SPDX-License-Identifier: MIT
"""The default hierarchy (cgroup v2): which controllers a group gives its children, domains and threads, limits.

kernel/cgroup/{cgroup,freezer}.c (v6.1). Every task is in one group; of each controller it feels the
nearest group above that has it. What the cpuset controller does there is in `cpuset_v2`.

Simplified: controllers but cpuset and memory can be switched on and off, and do nothing.
Simplified: a frozen task still does what it is told to; a group is frozen at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from . import cgroup, cpuset, cpuset_v2, memcontrol
from .cgroup import Cgroup, Hierarchy, descendants, path, populated
from .errors import EAGAIN, EBUSY, EINVAL, ENOENT, EOPNOTSUPP, ESRCH

if TYPE_CHECKING:
    from .cpuset import Cpuset
    from .kernel import Kernel
    from .memcontrol import MemCgroup
    from .mm import Task

__all__ = [
    "CONTROLLERS", "INT_MAX", "DefaultHierarchy", "Group", "attach", "common_ancestor", "control", "effective_cpuset",
    "enable_threaded", "exit_task", "find_task", "frozen", "kill", "migrate_vet_dst", "mkdir", "nr_descendants",
    "procs", "rmdir", "subtree_control", "threads", "type_of",
]

CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
"""In the order in which they are listed."""
THREADED = frozenset({"cpuset", "cpu", "pids"})
"""Controllers that tell the threads of a process apart (cgrp_dfl_threaded_ss)."""
INT_MAX = 2**31 - 1


class Group(Cgroup):
    """A group of the default hierarchy."""

    parent: Group | None

    def __init__(self, name: str, parent: Group | None, uid: int = 0, gid: int = 0, mode: int = 0o755) -> None:
        super().__init__(name, parent, uid, gid, mode)
        self.subtree_control: frozenset[str] = frozenset()
        """Controllers that its children have."""
        self.domain: Group = self
        """The group whose resources its threads use (dom_cgrp); itself unless it is threaded."""
        self.max_depth = INT_MAX
        self.max_descendants = INT_MAX
        self.freeze = False
        self.cpuset: Cpuset | None = None
        """Its own, while its parent gives it the controller."""
        self.memcg: MemCgroup | None = None
        """So too."""

    def nested(self) -> Iterator[Group]:
        """Its child groups."""
        for child in list(self.children.values()):
            assert isinstance(child, Group)
            yield child

    def above(self) -> Iterator[Group]:
        """Itself and its ancestors, upwards."""
        group: Group | None = self
        while group is not None:
            yield group
            group = group.parent

    @property
    def threaded(self) -> bool:
        """cgroup_is_threaded()."""
        return self.domain is not self


class DefaultHierarchy(Hierarchy[Group]):
    """The hierarchy of all controllers that no cgroup v1 has (cgrp_dfl_root)."""

    def __init__(self) -> None:
        super().__init__(Group("", None))


def control(group: Group) -> frozenset[str]:
    """The file cgroup.controllers: what may be given to its children (cgroup_control)."""
    if group.parent is None:
        return frozenset(CONTROLLERS)
    given = group.parent.subtree_control
    return given & THREADED if group.threaded else given


def effective_cpuset(group: Group) -> Cpuset:
    """The cpuset that the group's tasks feel (cgroup_e_css)."""
    return next(above.cpuset for above in group.above() if above.cpuset is not None)


def nr_descendants(group: Group) -> int:
    """How many groups are below."""
    return sum(1 for _ in descendants(group)) - 1


# ---------------------------------------------------------------- domains and threads


def is_thread_root(group: Group) -> bool:
    """Is it a domain with threaded groups in it, or with threads that share controllers with children?"""
    if group.threaded:
        return False
    if any(child.threaded for child in group.nested()):
        return True
    return bool(group.members) and bool(group.subtree_control & THREADED)


def can_be_thread_root(group: Group) -> bool:
    """Could threaded groups be in it?"""
    if group.parent is None:
        return True
    if group.threaded or any(not child.threaded and populated(child) for child in group.nested()):
        return False
    return not group.subtree_control - THREADED


def is_valid_domain(group: Group) -> bool:
    """Can it have tasks with resources of their own? Not below a thread root, but the root (cgroup_is_valid_domain)."""
    if group.threaded:
        return False
    return not any(
        above.threaded or above.parent is not None and is_thread_root(above)
        for above in group.above() if above is not group
    )


def type_of(group: Group) -> str:
    """The file cgroup.type."""
    if group.threaded:
        return "threaded"
    if not is_valid_domain(group):
        return "domain invalid"
    return "domain threaded" if is_thread_root(group) else "domain"


def enable_threaded(kernel: Kernel, group: Group) -> None:
    """Make a group threaded, for good (cgroup_enable_threaded)."""
    if group.threaded:
        return
    assert group.parent is not None
    if populated(group) or group.subtree_control - THREADED:
        raise EOPNOTSUPP(f"{path(group)} has tasks or domain controllers")
    domain = group.parent.domain
    if not is_valid_domain(domain) or not can_be_thread_root(domain):
        raise EOPNOTSUPP(f"{path(domain)} cannot be a thread root")
    for below in descendants(group):
        if below is group or below.threaded:
            below.domain = domain
    apply_control(kernel, group)


# ---------------------------------------------------------------- controllers


def subtree_control(kernel: Kernel, group: Group, changes: dict[str, bool]) -> None:
    """Switch controllers for the children on or off, all of them or none (cgroup_subtree_control_write)."""
    enable = frozenset(name for name, on in changes.items() if on) - group.subtree_control
    disable = frozenset(name for name, on in changes.items() if not on) & group.subtree_control
    if missing := enable - control(group):
        raise ENOENT(f"{path(group)} has no {' '.join(sorted(missing))}")
    for child in group.nested():
        if used := disable & child.subtree_control:
            raise EBUSY(f"{path(child)} gives {' '.join(sorted(used))} to its children")
    vet_enable(group, enable)
    before = group.subtree_control
    group.subtree_control = before | enable - disable
    group.subtree_control -= disable
    try:
        apply_control(kernel, group)
    except OSError:
        group.subtree_control = before
        apply_control(kernel, group)
        raise


def vet_enable(group: Group, enable: frozenset[str]) -> None:
    """May these be switched on here? (cgroup_vet_subtree_control_enable)."""
    if not enable:
        return
    if not is_valid_domain(group.domain):
        raise EOPNOTSUPP(f"{path(group)} is no valid domain")
    if group.parent is None:
        return
    if enable - THREADED:
        if is_thread_root(group) or group.threaded:
            raise EOPNOTSUPP(f"{path(group)} has threads, {' '.join(sorted(enable - THREADED))} is for domains")
    elif can_be_thread_root(group) or group.threaded:
        return
    if group.members:
        raise EBUSY(f"{path(group)} has tasks, which would compete with its children")


def apply_control(kernel: Kernel, group: Group) -> None:
    """Give and take cpusets below `group` as its subtree_control says, and let its tasks follow (cgroup_apply_control).

    Raises ENOSPC if tasks would come where there is no CPU.
    """
    going: list[tuple[Group, Cpuset]] = []
    for below in descendants(group):
        if below.parent is None:
            continue
        if "cpuset" not in control(below):
            if below.cpuset is not None:
                going.append((below, below.cpuset))
                below.cpuset = None
        elif below.cpuset is None:
            cpuset_v2.css_online(kernel, below, effective_cpuset(below.parent))
        apply_memory(below)
    moving = [task for below in descendants(group) for task in below.members
              if task.cpuset is not effective_cpuset(below)]
    try:
        for task in moving:
            cpuset.can_attach(effective_cpuset(_group(task)))
    except OSError:
        for below, cs in going:
            below.cpuset = cs
        raise
    transfer(kernel, moving)
    for _, cs in reversed(going):
        cpuset_v2.css_offline(kernel, cs)


def apply_memory(group: Group) -> None:
    """Give the group limits of its own, or take them; pages stay charged to whom they were (mem_cgroup_css_online)."""
    if "memory" not in control(group):
        offline_memory(group)
    elif group.memcg is None and group.parent is not None:
        group.memcg = memcontrol.MemCgroup(group, group.parent.memcg)


def offline_memory(group: Group) -> None:
    """Its own limits are gone, if it had any."""
    if group.memcg is not None:
        group.memcg.dead = True
        group.memcg = None


def transfer(kernel: Kernel, moving: Iterable[Task]) -> None:
    """Let tasks feel the cpusets of their groups; those that come from one to another move together."""
    together: dict[tuple[Cpuset, Cpuset], list[Task]] = {}
    for task in moving:
        new = effective_cpuset(_group(task))
        if new is not task.cpuset:
            together.setdefault((task.cpuset, new), []).append(task)
    for (_, new), tasks in together.items():
        cpuset.transfer_tasks(kernel, tasks, new)


def _group(task: Task) -> Group:
    assert task.cgroup is not None
    return task.cgroup


# ---------------------------------------------------------------- directories


def mkdir(kernel: Kernel, parent: Group, name: str, uid: int = 0, gid: int = 0, mode: int = 0o755) -> Group:
    """Make a group (cgroup_mkdir)."""
    cgroup.valid_name(parent, name)
    for depth, above in enumerate(parent.above()):
        if nr_descendants(above) >= above.max_descendants or depth >= above.max_depth:
            raise EAGAIN(f"{path(above)} may not have more groups, or deeper ones")
    group = Group(name, parent, uid, gid, mode)
    group.ino = _hierarchy(kernel).new_ino()
    parent.children[name] = group
    if "cpuset" in control(group):
        cpuset_v2.css_online(kernel, group, effective_cpuset(parent))
    apply_memory(group)
    return group


def rmdir(kernel: Kernel, group: Group) -> None:
    """Remove a group without tasks and children; a partition gives its CPUs back.

    Simplified: they are back at once, the kernel leaves it to a worker.
    """
    cgroup.remove(kernel, _hierarchy(kernel), group)
    offline_memory(group)
    if group.cpuset is not None:
        cpuset_v2.css_offline(kernel, group.cpuset)


def _hierarchy(kernel: Kernel) -> DefaultHierarchy:
    assert kernel.cgrp_dfl_root is not None
    return kernel.cgrp_dfl_root


# ---------------------------------------------------------------- members


def procs(group: Group) -> list[int]:
    """The file cgroup.procs: processes in order of arrival; a thread root also has those of its threaded groups."""
    if group.threaded:
        raise EOPNOTSUPP(f"{path(group)} is threaded")
    return [task.pid for below in descendants(group) if below.domain is group
            for task in below.members if task.pid == task.tgid]


def threads(group: Group) -> list[int]:
    """The file cgroup.threads: threads in order of arrival."""
    return [task.pid for task in group.members]


def find_task(kernel: Kernel, pid: int, *, whole_process: bool) -> Task:
    """The task that is to be moved: of a whole process its leader (cgroup_procs_write_start)."""
    task = kernel.tasks.find(pid)
    if task is None or task.exited:
        raise ESRCH(f"no task {pid}")
    if whole_process:
        task = kernel.tasks.get(task.tgid) or task
    if task.bound:
        raise EINVAL(f"kernel thread {pid} ({task.comm}) is bound to its CPU")
    return task


def common_ancestor(task: Task, group: Group) -> Group:
    """The nearest group above both where `task` is and `group`: who moves it must have rights there."""
    above = set(group.above())
    return next(candidate for candidate in _group(task).above() if candidate in above)


def migrate_vet_dst(task: Task, group: Group, *, whole_process: bool) -> None:
    """May `group` have tasks, and this one? (cgroup_attach_permissions, cgroup_migrate_vet_dst)."""
    if not is_valid_domain(group.domain):
        raise EOPNOTSUPP(f"{path(group)} is no valid domain")
    if not can_be_thread_root(group) and not group.threaded and group.subtree_control:
        raise EBUSY(f"{path(group)} gives {' '.join(sorted(group.subtree_control))} to its children")
    if not whole_process and _group(task).domain is not group.domain:
        raise EOPNOTSUPP(f"thread {task.pid} would leave its domain {path(_group(task).domain)}")


def attach(
    kernel: Kernel, group: Group, task: Task, *, whole_process: bool, uid: int = 0, writer_uid: int | None = None
) -> None:
    """Move a thread or its whole process to `group`, where migrate_vet_dst() allows it (cgroup_attach_task)."""
    migrate_vet_dst(task, group, whole_process=whole_process)
    threads = kernel.tasks.threads(task) if whole_process else [task]
    moving = [thread for thread in threads if thread.cgroup is not group]
    new = effective_cpuset(group)
    if any(thread.cpuset is not new for thread in moving):
        cpuset.can_attach(new)
        cgroup.may_schedule(task, uid if writer_uid is None else writer_uid)
    for thread in moving:
        cgroup.move(kernel, _hierarchy(kernel), thread, _group(thread), group)
        thread.cgroup = group
    transfer(kernel, moving)


def exit_task(kernel: Kernel, task: Task) -> None:
    """A thread exits: it is in no group any more, though /proc shows where it was."""
    if task.cgroup is not None:
        cgroup.exit_task(kernel, _hierarchy(kernel), task, task.cgroup)


# ---------------------------------------------------------------- freezing and killing


def frozen(group: Group) -> bool:
    """Do all its tasks stand still? Kernel threads never do."""
    if not any(above.freeze for above in group.above()):
        return False
    return not any(task.kthread for below in descendants(group) for task in below.members)


def kill(kernel: Kernel, group: Group) -> None:
    """SIGKILL to every process in the group and below (cgroup_kill)."""
    if group.threaded:
        raise EOPNOTSUPP(f"{path(group)} is threaded")
    doomed = [task for below in descendants(group) for task in below.members
              if task.pid == task.tgid and not task.kthread and task is not kernel.tasks.init]
    for task in doomed:
        if task.exited:
            continue
        if not task.real:
            kernel.tasks.do_exit(kernel, task)
        elif kernel.on_kill is not None:
            kernel.on_kill(task)
