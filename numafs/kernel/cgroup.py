# SPDX-License-Identifier: MIT
"""Control groups as such: the tree of directories, who is in which, and the release agent.

kernel/cgroup/{cgroup,cgroup-v1}.c (v6.1). What a group of the cpuset controller holds, and
what its changes do, is in `cpuset`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from .errors import EACCES, EBUSY, EEXIST, EINVAL, EIO, EPERM
from .printk import Level

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task

__all__ = [
    "Cgroup", "G", "Hierarchy", "check_for_release", "descendants", "exit_task", "may_attach", "may_schedule", "move",
    "path", "populated", "procs", "remove", "rename", "tasks", "valid_name",
]

FILES = 17
"""Files of a group of the cpuset controller."""
FIRST_INO = 22
"""Behind the root directory and its 20 files."""

G = TypeVar("G", bound="Cgroup")


class Cgroup:
    """A group: a directory with its owner, its children and its member threads (struct cgroup)."""

    def __init__(self, name: str, parent: Cgroup | None, uid: int = 0, gid: int = 0, mode: int = 0o755) -> None:
        self.name = name
        self.parent = parent
        self.children: dict[str, Cgroup] = {}
        self.uid = uid
        self.gid = gid
        self.mode = mode
        self.members: dict[Task, None] = {}
        """Its threads, in order of arrival."""
        self.notify_on_release: bool = parent.notify_on_release if parent else False
        self.clone_children: bool = parent.clone_children if parent else False
        self.dead = False
        """Removed; somebody may still hold it open."""
        self.ino = 1
        """Inode number of its directory; those of its files follow it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {path(self)}>"


class Hierarchy(Generic[G]):
    """A tree of groups and its release agent."""

    def __init__(self, root: G) -> None:
        self.root = root
        self.release_agent = ""
        """Program to be run with the path of a group that became empty; empty: none."""
        self._next_ino = FIRST_INO
        self.on_release: Callable[[str, str], None] | None = None
        """Told the agent and the group's path whenever the kernel would run the agent."""

    def new_ino(self) -> int:
        """The number of a new directory, and with it those of its files; no number comes twice (__kernfs_new_node)."""
        number = self._next_ino
        self._next_ino += 1 + FILES
        return number

    def lookup(self, where: str) -> G | None:
        """The group at a path below the root."""
        group: Cgroup | None = self.root
        for name in where.split("/"):
            if name and group is not None:
                group = group.children.get(name)
        return group  # type: ignore[return-value]  # children are of the kind their root is


def path(group: Cgroup) -> str:
    """`/a/b`, as /proc/PID/cpuset shows it; `/` for the root."""
    if group.parent is None:
        return "/"
    return f"{path(group.parent).rstrip('/')}/{group.name}"


def descendants(group: G) -> Iterator[G]:
    """`group` and all groups below it, parents first (css_for_each_descendant_pre)."""
    yield group
    for child in list(group.children.values()):
        yield from descendants(child)  # type: ignore[misc]  # children are of the kind their parent is


def populated(group: Cgroup) -> bool:
    """Is there a live thread in it or below it?"""
    return bool(group.members) or any(populated(child) for child in group.children.values())


def tasks(group: Cgroup) -> list[int]:
    """The file `tasks` of cgroup v1: ids of its threads, ascending."""
    return sorted(task.pid for task in group.members)


def procs(group: Cgroup) -> list[int]:
    """The file `cgroup.procs` of cgroup v1: the processes that have a thread in it, ascending."""
    return sorted({task.tgid for task in group.members})


# ---------------------------------------------------------------- directories


def valid_name(parent: Cgroup, name: str) -> None:
    """May a group of this name be made in `parent`? Everything goes but what garbles /proc/PID/cgroup."""
    if "\n" in name:
        raise EINVAL("newline in a group's name")
    if name in parent.children:
        raise EEXIST(f"{name} exists in {path(parent)}")


def rename(group: Cgroup, new_parent: Cgroup, name: str) -> None:
    """Rename a group inside its directory (cgroup1_rename)."""
    if "\n" in name:
        raise EINVAL("newline in a group's name")
    if group.parent is None:
        raise EBUSY("the root is not renamed")
    if group.parent is not new_parent:
        raise EIO("a group does not leave its parent")
    if name == group.name:
        return
    valid_name(new_parent, name)
    del new_parent.children[group.name]
    group.name = name
    new_parent.children[name] = group


def remove(kernel: Kernel, hierarchy: Hierarchy[G], group: G) -> None:
    """Remove a group that nobody is in (cgroup_destroy_locked)."""
    parent = group.parent
    if parent is None:
        raise EBUSY("the root is a mount point")
    if group.children:
        raise EBUSY(f"{path(group)} has child groups")
    if group.members:
        raise EBUSY(f"{path(group)} has tasks")
    group.dead = True
    del parent.children[group.name]
    check_for_release(kernel, hierarchy, parent)


# ---------------------------------------------------------------- membership


def may_attach(task: Task, uid: int, writer_uid: int | None) -> None:
    """May who opened `tasks` as `uid` move `task`? And who writes have it scheduled?

    cgroup-v1.c:__cgroup1_procs_write() and commoncap.c:cap_task_setscheduler() (v6.1).
    Simplified: a task's saved uid is its real one, and root has every capability.
    """
    if uid not in (0, task.uid):
        raise EACCES(f"the file was opened by uid {uid}, task {task.pid} is uid {task.uid}")
    if writer_uid is not None:
        may_schedule(task, writer_uid)


def may_schedule(task: Task, uid: int) -> None:
    """May `uid` say where `task` runs? (cap_task_setscheduler)."""
    if uid not in (0, task.uid):
        raise EPERM(f"uid {uid} may not schedule task {task.pid} of uid {task.uid}")


def move(kernel: Kernel, hierarchy: Hierarchy[G], task: Task, old: G, new: G) -> None:
    """Make a thread a member of another group; the old one may have become empty (css_set_move_task)."""
    del old.members[task]
    new.members[task] = None
    _left(kernel, hierarchy, old)


def exit_task(kernel: Kernel, hierarchy: Hierarchy[G], task: Task, group: G) -> None:
    """A thread exits: it leaves its group at once, before anybody reaps it (cgroup_exit)."""
    group.members.pop(task, None)
    _left(kernel, hierarchy, group)


def _left(kernel: Kernel, hierarchy: Hierarchy[G], group: G) -> None:
    """The groups that a thread's leaving made empty, from below (cgroup_update_populated)."""
    up: Cgroup | None = group
    while up is not None and not populated(up):
        check_for_release(kernel, hierarchy, up)
        up = up.parent


def check_for_release(kernel: Kernel, hierarchy: Hierarchy[G], group: Cgroup) -> None:
    """Have the release agent run for a group that is empty and wants it: that is a hook's affair.

    Simplified: a line in the kernel log says so, where the kernel is silent.
    """
    if not group.notify_on_release or group.children or group.dead or populated(group):
        return
    if not hierarchy.release_agent:
        return
    kernel.printk(f"cgroup: release agent: {hierarchy.release_agent} {path(group)}", Level.INFO)
    if hierarchy.on_release:
        hierarchy.on_release(hierarchy.release_agent, path(group))
