# SPDX-License-Identifier: MIT
"""One machine's tree as a door serves it: what a VFS does before a file system is asked.

Paths are resolved and permissions checked here, open files get their numbers here, and what is
refused is logged with its reason, because a writer sees only the errno. One operation at a
time: a door calls from one thread, everybody else takes `lock`. fs/{namei,open}.c (v6.1).

Simplified: all times of a file are those of the mount until somebody sets them.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary
from zlib import crc32

from numafs.fs.attr import Caller
from numafs.fs.tree import (
    CGROUP,
    PLAIN,
    PROC,
    ROOT_CALLER,
    SYSCTL,
    SYSFS,
    Dir,
    Handle,
    Link,
    Node,
    Root,
    Stat,
    may_access,
)
from numafs.kernel.errors import EACCES, EINVAL, ENOTDIR, EOPNOTSUPP, EPERM, refuse

__all__ = ["Entry", "Open", "Service", "reason"]

log = logging.getLogger("numafs.door")

LONG = 3600.0
"""Seconds for which a name may be remembered that is not made or removed through the mount."""
ENDLESS = 1 << 40
"""Longer than any text."""
REMEMBERED = (SYSFS, SYSCTL, PROC)
XATTR_NAMESPACES = ("user.", "trusted.", "security.")


@dataclass(slots=True)
class Open:
    """An open file."""

    path: str
    node: Node
    handle: Handle


@dataclass(frozen=True, slots=True)
class Entry:
    """What stat(2) shows, and for how many seconds the name and the attributes may be remembered."""

    stat: Stat
    ino: int
    times_ns: tuple[int, int]
    """Of last access and last change."""
    entry_timeout: float
    attr_timeout: float


def reason(error: OSError) -> str:
    """`EINVAL: node 9 is not on line`, of an error that the model raised."""
    number = error.errno or 0
    name = errno.errorcode.get(number, str(number))
    text = (error.strerror or "").removeprefix(os.strerror(number)).removeprefix(": ")
    return f"{name}: {text}" if text else name


class Service:
    """The operations on one tree. `before` is called ahead of each, `before_open` ahead of
    each open, `after` when an operation went well."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.lock = threading.RLock()
        self.before: list[Callable[[], None]] = []
        self.before_open: list[Callable[[], None]] = []
        self.after: list[Callable[[], None]] = []
        self._open: dict[int, Open] = {}
        self._known: dict[str, Node] = {}
        self._next = 1
        self._mounted_ns = time.time_ns()
        self._times: WeakKeyDictionary[Node, tuple[int, int]] = WeakKeyDictionary()
        self._xattrs: WeakKeyDictionary[Node, dict[str, bytes]] = WeakKeyDictionary()

    def begin(self) -> None:
        """What is due before an operation: time, exits of real processes."""
        for action in self.before:
            action()

    def _begin_open(self) -> None:
        for action in self.before_open:
            action()

    def end(self) -> None:
        """What follows an operation: the checker, where it is on."""
        for action in self.after:
            action()

    # -- paths ------------------------------------------------------------------------------

    def resolve(self, path: str, caller: Caller) -> Node:
        """The node at a path whose directories `caller` may search."""
        if caller.uid == 0:
            return self._lookup(path)
        node: Node = self.root
        for name in filter(None, path.split("/")):
            if not isinstance(node, Dir):
                raise ENOTDIR(path)
            _permit(node, caller, 1)
            node = node.lookup(name)
        return node

    def _lookup(self, path: str) -> Node:
        """The node at a path; what sysfs and proc have is remembered until something is written."""
        node = self._known.get(path)
        if node is None:
            node = self.root.resolve(path)
            if node.flavour in REMEMBERED:
                self._known[path] = node
        return node

    def forget(self) -> None:
        """Something may have come or gone: look up anew what was remembered."""
        self._known.clear()

    def _parent(self, path: str, caller: Caller) -> tuple[Dir, str]:
        """The directory in which `caller` may make or remove the last name of a path."""
        above, _, name = path.rpartition("/")
        node = self.resolve(above, caller)
        if not isinstance(node, Dir):
            raise ENOTDIR(above)
        _permit(node, caller, 3)
        return node, name

    def _lasting(self, path: str, node: Node) -> tuple[float, float]:
        """For how long a name and attributes may be remembered.

        Names of sysfs and proc are not made through the mount, so remembering one that is gone does no harm: whoever
        opens it is told. Elsewhere (cgroups have two paths) mkdir would say EEXIST for a forgotten name.
        """
        if node.sizeless:
            return 0.0, 0.0
        if node.flavour in (SYSCTL, PROC) or path.count("/") == 1:
            return LONG, LONG
        if node.flavour is SYSFS:
            return LONG, 0.0
        return (LONG, LONG) if type(node) is Dir and node.find is None else (0.0, 0.0)

    # -- operations without an open file ------------------------------------------------------

    def getattr(self, path: str) -> Entry:
        """lstat(2)."""
        return self.entry(path, self._lookup(path))

    def lookup(self, path: str, caller: Callable[[], Caller] = lambda: ROOT_CALLER) -> Entry:
        """A name is looked up, to be opened perhaps: then sendfile(2) reads as far as the size said here.

        FUSE reads for it through the page cache, which ends at the size that the kernel knows; a short read makes
        that smaller. So a file whose text may have any length is as long as can be, and looked up again each time.
        """
        node = self._lookup(path)
        if node.on_disk:
            node.seen_by(caller())
        entry = self.entry(path, node)
        if node.sizeless:
            return replace(entry, stat=entry.stat._replace(size=ENDLESS))
        return entry

    def entry(self, path: str, node: Node) -> Entry:
        """What lstat(2) shows of a node that is at `path`."""
        entry_timeout, attr_timeout = self._lasting(path, node)
        times = self._times.get(node, (self._mounted_ns, self._mounted_ns))
        return Entry(node.stat(), node.ino or self.ino(path), times, entry_timeout, attr_timeout)

    def ino(self, path: str) -> int:
        """An inode number for a node without one of its own: always the same at the same path."""
        return (1 << 32) + crc32(os.fsencode(path))

    def readlink(self, path: str, caller: Caller) -> str:
        """readlink(2)."""
        node = self.resolve(path, caller)
        if not isinstance(node, Link):
            raise EINVAL(f"{path} is no link")
        return node.readlink(caller)

    def opendir(self, path: str, caller: Caller) -> int:
        """open(2) of a directory."""
        self._begin_open()
        node = self.resolve(path, caller)
        if not isinstance(node, Dir):
            raise ENOTDIR(path)
        _permit(node, caller, 4)
        return self._enter(Open(path, node, Handle()))

    def readdir(self, number: int) -> list[tuple[str, int, int]]:
        """Name, type and inode number of what is in an open directory: nothing if it was removed."""
        opened = self._open[number]
        node, base = opened.node, opened.path.rstrip("/")
        if not isinstance(node, Dir):
            raise ENOTDIR(opened.path)
        if node.gone:
            return []
        out = [(".", node.type, node.ino or self.ino(opened.path)), ("..", node.type, self.ino(base + "/.."))]
        for name in list(node.names()):
            child = node.lookup(name)
            out.append((name, child.type, child.ino or self.ino(f"{base}/{name}")))
        return out

    def access(self, path: str, mask: int, caller: Caller) -> None:
        """access(2)."""
        _permit(self.resolve(path, caller), caller, mask & 7)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        """mkdir(2); the caller's umask is off `mode` already."""
        parent, name = self._parent(path, caller)
        parent.mkdir(name, mode & 0o7777, caller)

    def rmdir(self, path: str, caller: Caller) -> None:
        """rmdir(2)."""
        parent, name = self._parent(path, caller)
        parent.rmdir(name, caller)

    def unlink(self, path: str, caller: Caller) -> None:
        """unlink(2)."""
        parent, name = self._parent(path, caller)
        parent.unlink(name, caller)

    def rename(self, old: str, new: str, flags: int, caller: Caller) -> None:
        """renameat2(2)."""
        parent, name = self._parent(old, caller)
        new_parent, new_name = self._parent(new, caller)
        if flags:
            raise EINVAL(f"rename flags {flags:#x}")
        parent.rename(name, new_parent, new_name, caller)

    def mknod(self, path: str, mode: int, caller: Caller) -> None:
        """mknod(2)."""
        parent, name = self._parent(path, caller)
        if stat.S_ISREG(mode):
            parent.create(name, mode & 0o7777, caller)
        else:
            parent.symlink(name, "", caller)

    def symlink(self, path: str, target: str, caller: Caller) -> None:
        """symlink(2) and link(2)."""
        parent, name = self._parent(path, caller)
        parent.symlink(name, target, caller)

    def chmod(self, path: str, mode: int, caller: Caller) -> None:
        """chmod(2)."""
        self.resolve(path, caller).chmod(mode & 0o7777, caller)

    def chown(self, path: str, uid: int, gid: int, caller: Caller) -> None:
        """chown(2); -1 leaves one as it is."""
        if caller.uid and (uid not in (-1, caller.uid) or gid not in (-1, caller.gid)):
            raise EPERM("only root gives files away")
        self.resolve(path, caller).chown(uid, gid, caller)

    def truncate(self, path: str, length: int, caller: Caller) -> None:
        """truncate(2)."""
        node = self.resolve(path, caller)
        _permit(node, caller, 2)
        node.truncate(length)

    def utimens(self, path: str, times_ns: tuple[int, int], caller: Caller) -> None:
        """utimensat(2)."""
        node = self.resolve(path, caller)
        if caller.uid not in (0, node.uid):
            raise EPERM("not the owner")
        self._times[node] = times_ns

    # -- extended attributes: cgroups have them (kernel/cgroup/cgroup.c:cgroup_kf_ops) ---------

    def setxattr(self, path: str, name: str, value: bytes, caller: Caller) -> None:
        """setxattr(2)."""
        node = self._with_xattrs(path, name, caller)
        _permit(node, caller, 2)
        self._xattrs.setdefault(node, {})[name] = value

    def getxattr(self, path: str, name: str, caller: Caller) -> bytes:
        """getxattr(2)."""
        node = self._with_xattrs(path, name, caller)
        value = self._xattrs.get(node, {}).get(name)
        if value is None:
            raise refuse(errno.ENODATA, name)
        return value

    def listxattr(self, path: str, caller: Caller) -> list[str]:
        """listxattr(2)."""
        return list(self._xattrs.get(self.resolve(path, caller), ()))

    def removexattr(self, path: str, name: str, caller: Caller) -> None:
        """removexattr(2)."""
        self.getxattr(path, name, caller)
        node = self.resolve(path, caller)
        _permit(node, caller, 2)
        del self._xattrs[node][name]

    def _with_xattrs(self, path: str, name: str, caller: Caller) -> Node:
        node = self.resolve(path, caller)
        if node.flavour is not CGROUP or not name.startswith(XATTR_NAMESPACES):
            raise EOPNOTSUPP(f"no attribute {name} in {node.flavour.name}")
        return node

    # -- open files -----------------------------------------------------------------------------

    def open(self, path: str, flags: int, caller: Caller) -> int:
        """open(2) of what exists; the number of the open file."""
        self._begin_open()
        node = self.resolve(path, caller)
        if flags & os.O_DIRECT and node.flavour is not PLAIN:
            raise EINVAL(f"no direct I/O in {node.flavour.name}")
        handle = node.open(caller, flags)
        if flags & os.O_TRUNC:
            node.truncate(0)
        return self._enter(Open(path, node, handle))

    def create(self, path: str, mode: int, flags: int, caller: Caller) -> int:
        """open(2) with O_CREAT of a new name."""
        parent, name = self._parent(path, caller)
        node = parent.create(name, mode & 0o7777, caller)
        return self._enter(Open(path, node, node.open(caller, flags)))

    def _enter(self, opened: Open) -> int:
        number = self._next
        self._next += 1
        self._open[number] = opened
        return number

    def opened(self, number: int) -> Open:
        """The open file of that number."""
        return self._open[number]

    def read(self, number: int, size: int, offset: int, caller: Caller) -> bytes:
        """pread(2)."""
        return self._open[number].handle.read(offset, size, caller)

    def write(self, number: int, data: bytes, offset: int, caller: Caller) -> int:
        """pwrite(2)."""
        self._known.clear()
        return self._open[number].handle.write(offset, data, caller)

    def ftruncate(self, number: int, length: int) -> None:
        """ftruncate(2)."""
        self._open[number].handle.truncate(length)

    def fsync(self, number: int) -> None:
        """fsync(2)."""
        self._open[number].handle.fsync()

    def release(self, number: int) -> None:
        """The last descriptor of an open file was closed."""
        self._open.pop(number).handle.release()


def _permit(node: Node, caller: Caller, want: int) -> None:
    """inode_permission(): may the caller read (4), write (2), search (1)?"""
    if not may_access(node, caller, want):
        raise EACCES(f"mode {node.mode:o}, owner {node.uid}:{node.gid}")
