# SPDX-License-Identifier: MIT
"""The cpuset hierarchy as cgroup v1 shows it, and under its legacy names: two tables over one object.

kernel/cgroup/cgroup-v1.c:cgroup1_base_files[], kernel/cgroup/cpuset.c:legacy_files[] and
fs/kernfs/dir.c (v6.1). What is written is read here (numbers, pids, the end at a NUL); lists
of CPUs and nodes are read by `kernel.cpuset`, as in the kernel.

Simplified: a file's mode and owner, changed by chmod and chown, are kept apart for the two names it has.
Simplified: the legacy mount shows /sbin/cpuset_release_agent while the hierarchy has no release agent.
"""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from numafs.kernel import cpuset
from numafs.kernel.cpuset import CS, Cpuset
from numafs.kernel.errors import EACCES, EEXIST, EINVAL, ENOTDIR, EPERM, refuse
from numafs.kernel.nodemask import list_text

from .attr import Attr, Caller
from .numbers import kstrtol, kstrtoul
from .tree import CGROUP, Dir, File, Node, may_access

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel

__all__ = ["CpusetDir", "Group", "cpuset_dir", "kernfs_name_hash"]

LEGACY_RELEASE_AGENT = "/sbin/cpuset_release_agent"
RELEASE_AGENT_MAX = 4095
_BLANKS = b" \t\n\v\f\r\xa0"


class Group(NamedTuple):
    """The object of every row: a cpuset, and the kernel it is of."""

    kernel: Kernel
    cs: Cpuset


class Row(NamedTuple):
    """A file, and where it is."""

    attr: Attr[Group]
    root_only: bool = False
    core: bool = False
    """A file of cgroups as such: its name has no prefix in either mount."""


# ---------------------------------------------------------------- numbers


_U64, _INT = 2**64 - 1, 2**32 - 1


def _number_row(
    name: str, get: Callable[[Group], int], put: Callable[[Group, bool], None], *, bits: int = _U64
) -> Attr[Group]:
    """A u64 file that holds 0 or 1 (cftype.read_u64, write_u64), by the `bits` of the number that are looked at."""

    def store(group: Group, data: bytes, caller: Caller) -> None:
        put(group, kstrtoul(data, 0) & bits != 0)

    return Attr(name, 0o644, lambda group: f"{int(get(group))}\n", store)


def _flag_row(name: str, flag: CS) -> Attr[Group]:
    """A flag of the cpuset; update_flag() takes the number as an int (cpuset_write_u64)."""
    return _number_row(
        name,
        lambda group: bool(group.cs.flags & flag),
        lambda group, on: cpuset.update_flag(group.kernel, group.cs, flag, on),
        bits=_INT,
    )


def set_notify_on_release(group: Group, on: bool) -> None:
    """cgroup_write_notify_on_release()."""
    group.cs.notify_on_release = on


def set_clone_children(group: Group, on: bool) -> None:
    """cgroup_clone_children_write()."""
    group.cs.clone_children = on


def set_memory_pressure_enabled(group: Group, on: bool) -> None:
    """cpuset_write_u64(FILE_MEMORY_PRESSURE_ENABLED)."""
    group.kernel.cpusets.memory_pressure_enabled = on


def relax_domain_level_store(group: Group, data: bytes, caller: Caller) -> None:
    """cpuset_write_s64()."""
    level = kstrtol(data.split(b"\0", 1)[0], 0)
    cpuset.update_relax_domain_level(group.kernel, group.cs, level)


# ---------------------------------------------------------------- lists


def _text(data: bytes) -> str:
    """What the kernel sees of a write: a string that ends at the first NUL."""
    return data.split(b"\0", 1)[0].decode("latin-1")


def cpus_store(group: Group, data: bytes, caller: Caller) -> None:
    """cpuset_write_resmask(FILE_CPULIST)."""
    cpuset.cpus_store(group.kernel, group.cs, _text(data))


def mems_store(group: Group, data: bytes, caller: Caller) -> None:
    """cpuset_write_resmask(FILE_MEMLIST)."""
    cpuset.mems_store(group.kernel, group.cs, _text(data))


# ---------------------------------------------------------------- members


def parse_pid(data: bytes) -> int:
    """A pid as cgroup_procs_write_start() reads it: whatever is wrong with it is EINVAL."""
    text = data.split(b"\0", 1)[0].strip(_BLANKS)
    try:
        pid = kstrtol(text, 0, 2**31 - 1)
    except OSError as error:
        raise EINVAL(str(error.strerror)) from None
    if pid < 0:
        raise EINVAL(f"{pid} is no pid")
    return pid


def tasks_store(group: Group, data: bytes, caller: Caller) -> None:
    """Move one thread here; 0 is the thread that writes (cgroup1_tasks_write)."""
    pid = parse_pid(data) or caller.pid
    cpuset.attach(group.kernel, group.cs, pid, whole_process=False, uid=caller.uid)


def procs_store(group: Group, data: bytes, caller: Caller) -> None:
    """Move a process here; 0 is the process that writes (cgroup1_procs_write)."""
    pid = parse_pid(data) or caller.pid
    cpuset.attach(group.kernel, group.cs, pid, whole_process=True, uid=caller.uid)


def _lines(pids: list[int]) -> str:
    return "".join(f"{pid}\n" for pid in pids)


def release_agent_store(group: Group, data: bytes, caller: Caller) -> None:
    """cgroup_release_agent_write(): for CAP_SYS_ADMIN of who opened the file."""
    if caller.uid:
        raise EPERM(f"uid {caller.uid} may not choose what is run")
    text = data.split(b"\0", 1)[0].strip(_BLANKS)
    group.kernel.cpusets.release_agent = text.decode("utf-8", "surrogateescape")


# ---------------------------------------------------------------- the tables


def base_rows(legacy: bool) -> tuple[Row, ...]:
    """cgroup1_base_files[], in its order."""
    agent = LEGACY_RELEASE_AGENT if legacy else ""
    return (
        Row(Attr("cgroup.procs", 0o644, lambda g: _lines(cpuset.procs(g.cs)), procs_store), core=True),
        Row(_number_row("cgroup.clone_children", lambda g: g.cs.clone_children, set_clone_children), core=True),
        Row(Attr("cgroup.sane_behavior", 0o444, lambda g: "0\n"), root_only=True, core=True),
        Row(Attr("tasks", 0o644, lambda g: _lines(cpuset.tasks(g.cs)), tasks_store), core=True),
        Row(_number_row("notify_on_release", lambda g: g.cs.notify_on_release, set_notify_on_release), core=True),
        Row(
            Attr(
                "release_agent", 0o644, lambda g: f"{g.kernel.cpusets.release_agent or agent}\n", release_agent_store,
                limit=RELEASE_AGENT_MAX,
            ),
            root_only=True, core=True,
        ),
    )


def cpuset_rows(kernel: Kernel) -> tuple[Row, ...]:
    """kernel/cgroup/cpuset.c:legacy_files[], in its order; lists may be as long as the machine could need."""
    machine = kernel.machine
    return (
        Row(Attr("cpus", 0o644, lambda g: f"{list_text(g.cs.cpus_allowed)}\n", cpus_store,
                 limit=100 + 6 * machine.nr_cpus)),
        Row(Attr("mems", 0o644, lambda g: f"{list_text(g.cs.mems_allowed)}\n", mems_store,
                 limit=100 + 6 * machine.max_numnodes)),
        Row(Attr("effective_cpus", 0o444, lambda g: f"{list_text(g.cs.effective_cpus)}\n")),
        Row(Attr("effective_mems", 0o444, lambda g: f"{list_text(g.cs.effective_mems)}\n")),
        Row(_flag_row("cpu_exclusive", CS.CPU_EXCLUSIVE)),
        Row(_flag_row("mem_exclusive", CS.MEM_EXCLUSIVE)),
        Row(_flag_row("mem_hardwall", CS.MEM_HARDWALL)),
        Row(_flag_row("sched_load_balance", CS.SCHED_LOAD_BALANCE)),
        Row(Attr("sched_relax_domain_level", 0o644, lambda g: f"{g.cs.relax_domain_level}\n",
                 relax_domain_level_store)),
        Row(_flag_row("memory_migrate", CS.MEMORY_MIGRATE)),
        Row(Attr("memory_pressure", 0o444, lambda g: f"{cpuset.fmeter_getrate(g.kernel, g.cs)}\n")),
        Row(_flag_row("memory_spread_page", CS.SPREAD_PAGE)),
        Row(_flag_row("memory_spread_slab", CS.SPREAD_SLAB)),
        Row(
            _number_row(
                "memory_pressure_enabled", lambda g: g.kernel.cpusets.memory_pressure_enabled,
                set_memory_pressure_enabled,
            ),
            root_only=True,
        ),
    )


def rows(kernel: Kernel, noprefix: bool) -> tuple[Row, ...]:
    """All files of the root under the names of one of the two mounts."""
    prefix = "" if noprefix else "cpuset."
    return tuple(
        row if row.core else row._replace(attr=dataclasses.replace(row.attr, name=prefix + row.attr.name))
        for row in (*base_rows(noprefix), *cpuset_rows(kernel))
    )


# ---------------------------------------------------------------- directories


def kernfs_name_hash(name: str) -> int:
    """Where a name stands in its directory's listing: fs/kernfs/dir.c:kernfs_name_hash() (v6.1), 64 bits."""
    value = 0
    for byte in name.encode("utf-8", "surrogateescape"):
        value = (value + (byte << 4) + (byte >> 4)) * 11 & 0xFFFF_FFFF_FFFF_FFFF
    value = (value * 0x61C8_8646_80B5_83EB & 0xFFFF_FFFF_FFFF_FFFF) >> 32 & 0x7FFF_FFFF
    return min(value if value >= 2 else value + 2, 0x7FFF_FFFE)


class CpusetDir(Dir):
    """The directory of one cpuset in one of the two mounts."""

    def __init__(self, kernel: Kernel, cs: Cpuset, table: tuple[Row, ...]) -> None:
        self.cs = cs
        self.kernel = kernel
        self.table = table
        self._nested: dict[Cpuset, CpusetDir] = {}
        super().__init__(CGROUP, 0o555 if cs.parent is None else cs.mode, cs.uid, cs.gid, find=self._find)
        self.ino = cs.ino
        self.alive = lambda: not cs.dead
        group = Group(kernel, cs)
        shown = [row.attr for row in table if cs.parent is None or not row.root_only]
        for number, attr in enumerate(shown, cs.ino + 1):
            self.add(attr.name, File(CGROUP, attr, group, cs.uid, cs.gid)).ino = number

    def _find(self, name: str) -> Node | None:
        child = self.cs.children.get(name)
        if not isinstance(child, Cpuset):
            return None
        return self._dir_of(child)

    def _dir_of(self, child: Cpuset) -> CpusetDir:
        node = self._nested.get(child)
        if node is None:
            node = self._nested[child] = CpusetDir(self.kernel, child, self.table)
            node.parent = self
        return node

    def names(self) -> Iterator[str]:
        """Files and groups, by the hash of their names."""
        return iter(sorted([*self.children, *self.cs.children], key=lambda name: (kernfs_name_hash(name), name)))

    @property
    def nlink(self) -> int:
        """st_nlink: two, and one for each group."""
        return 2 + len(self.cs.children)

    def mkdir(self, name: str, mode: int, caller: Caller) -> None:
        """Make a group, which belongs to the caller (cgroup_mkdir)."""
        if name in self.children or name in self.cs.children:
            raise EEXIST(name)
        self._check_writable(caller)
        cpuset.mkdir(self.kernel, self.cs, name, caller.uid, caller.gid, mode & 0o1777)

    def rmdir(self, name: str, caller: Caller) -> None:
        """Remove a group (cgroup_rmdir)."""
        child = self.lookup(name)
        self._check_writable(caller)
        if not isinstance(child, CpusetDir):
            raise ENOTDIR(name)
        cpuset.rmdir(self.kernel, child.cs)
        self._nested.pop(child.cs, None)

    def rename(self, name: str, parent: Dir, new_name: str, caller: Caller) -> None:
        """Rename a group, inside this directory only (cgroup1_rename)."""
        child = self.lookup(name)
        self._check_writable(caller)
        if not isinstance(parent, CpusetDir) or parent.table is not self.table:
            raise refuse(errno.EXDEV, "another file system")
        if not isinstance(child, CpusetDir) or new_name in parent.children:
            raise ENOTDIR(f"{name} to {new_name}")
        cpuset.rename(child.cs, parent.cs, new_name)

    def _check_writable(self, caller: Caller) -> None:
        if not may_access(self, caller, os.W_OK | os.X_OK):
            raise EACCES(f"uid {caller.uid} may not change {cpuset.path(self.cs)}")


def cpuset_dir(kernel: Kernel, noprefix: bool) -> CpusetDir:
    """The mount of the hierarchy: `cpuset.mems`, or with `noprefix` (the cpuset file system) `mems`."""
    return CpusetDir(kernel, kernel.cpusets.root, rows(kernel, noprefix))
