# SPDX-License-Identifier: MIT
"""The default hierarchy, cgroup v2: core files, and those of a controller where the parent gives it.

kernel/cgroup/{cgroup,freezer}.c, kernel/cgroup/cpuset.c:dfl_files[] (v6.1).

Simplified: there are no files of controllers but cpuset and memory, and none of pressure and CPU time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from numafs.kernel import cgroup, cgroup_v2, cpuset, cpuset_partition, cpuset_v2
from numafs.kernel.cgroup_v2 import CONTROLLERS, INT_MAX, Group
from numafs.kernel.cpuset import Cpuset
from numafs.kernel.errors import EACCES, EEXIST, EINVAL, ENOENT, ENOTDIR, ERANGE
from numafs.kernel.memcontrol import MemCgroup
from numafs.kernel.nodemask import list_text

from .attr import Attr, Caller
from .cgroup_memory import Memory, memory_files
from .cgroup_v1 import kernfs_name_hash, parse_pid
from .numbers import kstrtol
from .tree import CGROUP, Dir, Node, may_access

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel

__all__ = ["GroupDir", "unified_dir"]

_BLANKS = b" \t\n\v\f\r\xa0"


class Css(NamedTuple):
    """The object of the cpuset's rows."""

    kernel: Kernel
    cs: Cpuset


def _stripped(data: bytes) -> bytes:
    """What the kernel sees of a write: a string that ends at the first NUL, without blanks at its ends."""
    return data.split(b"\0", 1)[0].strip(_BLANKS)


def _names(controllers: frozenset[str]) -> str:
    """Controllers in the kernel's order, or nothing at all."""
    listed = " ".join(name for name in CONTROLLERS if name in controllers)
    return f"{listed}\n" if listed else ""


def _lines(pids: list[int]) -> str:
    return "".join(f"{pid}\n" for pid in pids)


# ---------------------------------------------------------------- core files


def subtree_control_store(node: GroupDir, data: bytes, caller: Caller) -> None:
    """Words +NAME and -NAME; the last one for a name counts (cgroup_subtree_control_write)."""
    changes: dict[str, bool] = {}
    for word in _stripped(data).decode("latin-1").split(" "):
        if not word:
            continue
        if word[0] not in "+-" or word[1:] not in CONTROLLERS:
            raise EINVAL(f"{word!r} is neither +NAME nor -NAME of a controller")
        changes[word[1:]] = word[0] == "+"
    cgroup_v2.subtree_control(node.kernel, node.group, changes)


def type_store(node: GroupDir, data: bytes, caller: Caller) -> None:
    """cgroup_type_write(): a group can become threaded, nothing else."""
    if _stripped(data) != b"threaded":
        raise EINVAL("only `threaded` can be written")
    cgroup_v2.enable_threaded(node.kernel, node.group)


def procs_store(node: GroupDir, data: bytes, caller: Caller) -> None:
    """Move a process here; 0 is the one that writes (cgroup_procs_write)."""
    _attach(node, data, caller, whole_process=True)


def threads_store(node: GroupDir, data: bytes, caller: Caller) -> None:
    """Move a thread here, inside its domain; 0 is the one that writes (cgroup_threads_write)."""
    _attach(node, data, caller, whole_process=False)


def _attach(node: GroupDir, data: bytes, caller: Caller, *, whole_process: bool) -> None:
    task = cgroup_v2.find_task(node.kernel, parse_pid(data) or caller.pid, whole_process=whole_process)
    common = node.at(cgroup_v2.common_ancestor(task, node.group))
    if not may_access(common.children["cgroup.procs"], caller, os.W_OK):
        raise EACCES(f"uid {caller.uid} may not write cgroup.procs of {cgroup.path(common.group)}")
    cgroup_v2.attach(node.kernel, node.group, task, whole_process=whole_process, uid=caller.uid)


def events_show(node: GroupDir) -> str:
    """cgroup_events_show()."""
    group = node.group
    return f"populated {cgroup.populated(group):d}\nfrozen {cgroup_v2.frozen(group):d}\n"


def stat_show(node: GroupDir) -> str:
    """cgroup_stat_show(); a removed group does not linger."""
    return f"nr_descendants {cgroup_v2.nr_descendants(node.group)}\nnr_dying_descendants 0\n"


def _limit(value: int) -> str:
    return "max\n" if value == INT_MAX else f"{value}\n"


def _parse_limit(data: bytes) -> int:
    text = _stripped(data)
    if text == b"max":
        return INT_MAX
    value = kstrtol(text, 0, INT_MAX)
    if value < 0:
        raise ERANGE(f"{value} is negative")
    return value


def max_depth_store(node: GroupDir, data: bytes, caller: Caller) -> None:
    """cgroup_max_depth_write()."""
    node.group.max_depth = _parse_limit(data)


def max_descendants_store(node: GroupDir, data: bytes, caller: Caller) -> None:
    """cgroup_max_descendants_write()."""
    node.group.max_descendants = _parse_limit(data)


def freeze_store(node: GroupDir, data: bytes, caller: Caller) -> None:
    """cgroup_freeze_write()."""
    value = kstrtol(_stripped(data), 0, INT_MAX)
    if value not in (0, 1):
        raise ERANGE(f"{value} is neither 0 nor 1")
    node.group.freeze = bool(value)


def kill_store(node: GroupDir, data: bytes, caller: Caller) -> None:
    """cgroup_kill_write()."""
    value = kstrtol(_stripped(data), 0, INT_MAX)
    if value != 1:
        raise ERANGE(f"{value} is not 1")
    cgroup_v2.kill(node.kernel, node.group)


BASE_FILES: tuple[Attr[GroupDir], ...] = (
    Attr("cgroup.procs", 0o644, lambda node: _lines(cgroup_v2.procs(node.group)), procs_store),
    Attr("cgroup.threads", 0o644, lambda node: _lines(cgroup_v2.threads(node.group)), threads_store),
    Attr("cgroup.controllers", 0o444, lambda node: _names(cgroup_v2.control(node.group))),
    Attr("cgroup.subtree_control", 0o644, lambda node: _names(node.group.subtree_control), subtree_control_store),
    Attr("cgroup.max.descendants", 0o644, lambda node: _limit(node.group.max_descendants), max_descendants_store),
    Attr("cgroup.max.depth", 0o644, lambda node: _limit(node.group.max_depth), max_depth_store),
    Attr("cgroup.stat", 0o444, stat_show),
)
"""cgroup_base_files[] of every group."""

CHILD_FILES: tuple[Attr[GroupDir], ...] = (
    Attr("cgroup.type", 0o644, lambda node: f"{cgroup_v2.type_of(node.group)}\n", type_store),
    Attr("cgroup.events", 0o444, events_show),
    Attr("cgroup.freeze", 0o644, lambda node: f"{node.group.freeze:d}\n", freeze_store),
    Attr("cgroup.kill", 0o200, None, kill_store),
)
"""Those that the root has not (CFTYPE_NOT_ON_ROOT)."""


# ---------------------------------------------------------------- files of the cpuset controller


def cpus_store(css: Css, data: bytes, caller: Caller) -> None:
    """cpuset_write_resmask(FILE_CPULIST)."""
    cpuset_v2.cpus_store(css.kernel, css.cs, data.split(b"\0", 1)[0].decode("latin-1"))


def mems_store(css: Css, data: bytes, caller: Caller) -> None:
    """cpuset_write_resmask(FILE_MEMLIST)."""
    cpuset.mems_store(css.kernel, css.cs, data.split(b"\0", 1)[0].decode("latin-1"))


def partition_store(css: Css, data: bytes, caller: Caller) -> None:
    """sched_partition_write()."""
    state = cpuset_partition.parse(_stripped(data).decode("latin-1"))
    if state is None:
        raise EINVAL("not one of member, root, isolated")
    cpuset_partition.update_prstate(css.kernel, css.cs, state)


def cpuset_files(kernel: Kernel, *, root: bool) -> tuple[Attr[Css], ...]:
    """kernel/cgroup/cpuset.c:dfl_files[]; lists may be as long as the machine could need."""
    machine = kernel.machine
    effective = (
        Attr[Css]("cpuset.cpus.effective", 0o444, lambda css: f"{list_text(css.cs.effective_cpus)}\n"),
        Attr[Css]("cpuset.mems.effective", 0o444, lambda css: f"{list_text(css.cs.effective_mems)}\n"),
    )
    if root:
        return effective
    return (
        Attr("cpuset.cpus", 0o644, lambda css: f"{list_text(css.cs.cpus_allowed)}\n", cpus_store,
             limit=100 + 6 * machine.nr_cpus),
        Attr("cpuset.mems", 0o644, lambda css: f"{list_text(css.cs.mems_allowed)}\n", mems_store,
             limit=100 + 6 * machine.max_numnodes),
        *effective,
        Attr("cpuset.cpus.partition", 0o644, lambda css: f"{cpuset_partition.text(css.cs)}\n", partition_store),
    )


class CssFiles(Dir):
    """The files of one controller in a group: they are gone when the controller is, though the group is there."""

    def __init__(self, group: Group, css: Cpuset | MemCgroup | None, rows: Iterable[Attr[Any]], obj: object) -> None:
        super().__init__(CGROUP, uid=group.uid, gid=group.gid)
        self.css = css
        self.alive = lambda: css is None or not css.dead
        self.add_files(rows, obj)


# ---------------------------------------------------------------- directories


class GroupDir(Dir):
    """The directory of one group."""

    kernel: Kernel
    group: Group

    def __init__(self, kernel: Kernel, group: Group, parent: GroupDir | None = None) -> None:
        self.kernel = kernel
        self.group: Group = group
        self._nested: dict[Group, GroupDir] = {}
        self._css: dict[str, CssFiles] = {}
        super().__init__(CGROUP, 0o555 if parent is None else group.mode, group.uid, group.gid)
        self.parent = parent
        self.ino = group.ino
        self.alive = lambda: not group.dead
        self.add_files(BASE_FILES if parent is None else (*BASE_FILES, *CHILD_FILES), self)

    def at(self, group: Group) -> GroupDir:
        """The directory of a group above, or of this one."""
        above = self
        while above.group is not group:
            assert isinstance(above.parent, GroupDir)
            above = above.parent
        return above

    def _controller_files(self) -> dict[str, Node]:
        """Files of the controllers that the group has now."""
        return {**self._cpuset_files(), **self._memory_files()}

    def _cpuset_files(self) -> dict[str, Node]:
        cs = self.group.cpuset
        if cs is None:
            return {}
        if "cpuset" not in self._css or self._css["cpuset"].css is not cs:
            rows = cpuset_files(self.kernel, root=self.group.parent is None)
            self._css["cpuset"] = CssFiles(self.group, cs, rows, Css(self.kernel, cs))
        return self._css["cpuset"].children

    def _memory_files(self) -> dict[str, Node]:
        memcg, root = self.group.memcg, self.group.parent is None
        if memcg is None and not root:
            return {}
        if "memory" not in self._css or self._css["memory"].css is not memcg:
            self._css["memory"] = CssFiles(self.group, memcg, memory_files(root=root), Memory(self.kernel, memcg))
        return self._css["memory"].children

    def lookup(self, name: str) -> Node:
        """The file or group of that name."""
        node = self.children.get(name) or self._controller_files().get(name)
        if node is None and isinstance(child := self.group.children.get(name), Group):
            node = self._dir_of(child)
        if node is None:
            raise ENOENT(name)
        return node

    def _dir_of(self, child: Group) -> GroupDir:
        node = self._nested.get(child)
        if node is None:
            node = self._nested[child] = GroupDir(self.kernel, child, self)
        return node

    def names(self) -> Iterator[str]:
        """Files and groups, by the hash of their names."""
        everything = [*self.children, *self._controller_files(), *self.group.children]
        return iter(sorted(everything, key=lambda name: (kernfs_name_hash(name), name)))

    @property
    def nlink(self) -> int:
        """st_nlink: two, and one for each group."""
        return 2 + len(self.group.children)

    def mkdir(self, name: str, mode: int, caller: Caller) -> None:
        """Make a group, which belongs to the caller (cgroup_mkdir)."""
        if name in self.children or name in self._controller_files() or name in self.group.children:
            raise EEXIST(name)
        self._check_writable(caller)
        cgroup_v2.mkdir(self.kernel, self.group, name, caller.uid, caller.gid, mode & 0o1777)

    def rmdir(self, name: str, caller: Caller) -> None:
        """Remove a group (cgroup_rmdir)."""
        child = self.lookup(name)
        self._check_writable(caller)
        if not isinstance(child, GroupDir):
            raise ENOTDIR(name)
        cgroup_v2.rmdir(self.kernel, child.group)
        self._nested.pop(child.group, None)

    def _check_writable(self, caller: Caller) -> None:
        if not may_access(self, caller, os.W_OK | os.X_OK):
            raise EACCES(f"uid {caller.uid} may not change {cgroup.path(self.group)}")


def unified_dir(kernel: Kernel) -> GroupDir:
    """The mount of cgroup2."""
    assert kernel.cgrp_dfl_root is not None
    return GroupDir(kernel, kernel.cgrp_dfl_root.root)
