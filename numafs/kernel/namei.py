# SPDX-License-Identifier: MIT
"""The tree of the disks' files below data/: names, inodes, and the caches that remember them.

fs/{namei,dcache,inode}.c and fs/ext4 (v6.1). What is on the disk is a `Dentry` and stays; what the kernel
remembers of it (an `Inode`, slab objects for both) comes with the first look-up, on behalf of a task, and goes
when a shrinker takes it.

Simplified: names that do not exist are not remembered (negative dentries). Directory blocks and inode tables
are not read through the block device's page cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import dcache, filemap
from .dcache import Dentry
from .errors import EEXIST, EINVAL, ENOENT, ENOTDIR, EPERM, refuse
from .inode import Inode

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task

__all__ = ["ROOT", "Dentry", "Filesystem"]

ROOT = "/data"
"""Where the disks are mounted, for the paths that numa_maps shows."""
FIRST_INO = 12
"""ext4: 1 to 10 are reserved, 11 is lost+found."""
EISDIR, ENOTEMPTY = 21, 39


class Filesystem:
    """All disks' files, as one tree; paths are relative to data/."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.cache = dcache.DentryCache(kernel)
        self._root: Dentry | None = None
        self._next_ino = FIRST_INO
        self._shmem_ino = 1
        self._hugetlb_ino = 0
        self.unlinked: dict[Inode, None] = {}
        """Inodes without a name that a mapping or an open file keeps: shared memory, deleted files."""
        self.foreign: dict[tuple[str, int], Inode] = {}
        """Files of the host that real programs have mapped, by device and inode number."""

    # ------------------------------------------------------------ the disk

    @property
    def root(self) -> Dentry:
        """The directory data/ itself; the tree is made when it is first asked for."""
        if self._root is None:
            self._root = Dentry("", None, 2, directory=True)
            for disk in self.kernel.machine.disks:
                for file in disk.files:
                    self._make(file.path, file.size_bytes, file.directory)
        return self._root

    def _make(self, path: str, size_bytes: int, directory: bool) -> None:
        entry = self.root
        *parents, name = [part for part in path.split("/") if part]
        for part in parents:
            entry = entry.children.get(part) or self._add(entry, part, directory=True)
        if name not in entry.children:
            self._add(entry, name, directory=directory).size_bytes = size_bytes

    def _add(self, parent: Dentry, name: str, *, directory: bool) -> Dentry:
        entry = Dentry(name, parent, self._next_ino, directory=directory)
        self._next_ino += 1
        parent.children[name] = entry
        return entry

    def next_shmem_ino(self) -> int:
        """tmpfs numbers its inodes as they are made; interleaving begins at the inode's number."""
        self._shmem_ino += 1
        return self._shmem_ino

    def next_hugetlb_ino(self) -> int:
        """hugetlbfs has numbers of its own."""
        self._hugetlb_ino += 1
        return self._hugetlb_ino

    # ------------------------------------------------------------ looking up

    def lookup(self, task: Task | None, path: str) -> Inode:
        """The inode of a path, which is remembered from now on (path_lookupat)."""
        return self.cache.dget(task, self.walk(task, path))

    def walk(self, task: Task | None, path: str) -> Dentry:
        """The name that a path leads to; every directory on the way is remembered."""
        entry = self.root
        for part in path.split("/"):
            if part in ("", "."):
                continue
            if not entry.directory:
                raise ENOTDIR(f"{entry.path} is a file")
            self.cache.dget(task, entry)
            found = entry.parent or entry if part == ".." else entry.children.get(part)
            if found is None:
                raise ENOENT(f"no {part!r} in {entry.path or '/'}")
            entry = found
        return entry

    def listdir(self, task: Task | None, path: str) -> list[str]:
        """Names in a directory, sorted; listing reads none of the inodes."""
        entry = self.walk(task, path)
        if not entry.directory:
            raise ENOTDIR(f"{path!r} is a file")
        self.cache.dget(task, entry)
        return sorted(entry.children)

    def inodes(self) -> Iterator[Inode]:
        """Every inode that the kernel remembers and that may have pages."""
        yield from self.cache.inodes
        yield from self.unlinked
        yield from self.foreign.values()

    # ------------------------------------------------------------ changing

    def _parent(self, task: Task | None, path: str) -> tuple[Dentry, str]:
        head, _, name = path.rstrip("/").rpartition("/")
        parent = self.walk(task, head)
        if not parent.directory:
            raise ENOTDIR(f"{head!r} is a file")
        if name in ("", ".", ".."):
            raise EINVAL(f"no name to make or remove in {path!r}")
        return parent, name

    def _new(self, task: Task | None, path: str, directory: bool, mode: int) -> Inode:
        parent, name = self._parent(task, path)
        if name in parent.children:
            raise EEXIST(f"{path!r} exists")
        entry = self._add(parent, name, directory=directory)
        entry.mode = (entry.mode & ~0o7777) | (mode & 0o7777)
        if task is not None:
            entry.uid, entry.gid = task.uid, task.gid
        return self.cache.dget(task, entry)

    def create(self, task: Task | None, path: str, mode: int = 0o644) -> Inode:
        """A new, empty file."""
        return self._new(task, path, False, mode)

    def mkdir(self, task: Task | None, path: str, mode: int = 0o755) -> Inode:
        """A new, empty directory."""
        return self._new(task, path, True, mode)

    def unlink(self, task: Task | None, path: str) -> None:
        """Remove a file; its pages go when nobody has it open or mapped any more."""
        entry = self.walk(task, path)
        if entry.directory:
            raise refuse(EISDIR, f"{path!r} is a directory")
        self._remove(entry)

    def rmdir(self, task: Task | None, path: str) -> None:
        """Remove an empty directory."""
        entry = self.walk(task, path)
        if not entry.directory:
            raise ENOTDIR(f"{path!r} is a file")
        if entry.parent is None:
            raise EPERM("data/ itself stays")
        if entry.children:
            raise refuse(ENOTEMPTY, f"{path!r} has entries")
        self._remove(entry)

    def _remove(self, entry: Dentry) -> None:
        assert entry.parent is not None
        del entry.parent.children[entry.name]
        inode = entry.inode
        self.cache.forget(entry)
        if inode is not None:
            inode.nlink = 0
            inode.path += " (deleted)"
            self.unlinked[inode] = None
            self.iput(inode)

    def rename(self, task: Task | None, old: str, new: str) -> None:
        """Give a file or directory another name, in the place of what had it."""
        entry = self.walk(task, old)
        parent, name = self._parent(task, new)
        above: Dentry | None = parent
        while above is not None:
            if above is entry:
                raise EINVAL(f"{new!r} is inside {old!r}")
            above = above.parent
        if entry.parent is None:
            raise EPERM("data/ itself stays")
        there = parent.children.get(name)
        if there is entry:
            return
        if there is not None:
            (self.rmdir if entry.directory else self.unlink)(task, new)
        del entry.parent.children[entry.name]
        self.cache.move(entry, parent)
        entry.name, entry.parent = name, parent
        parent.children[name] = entry
        if entry.inode is not None:
            entry.inode.path = entry.path

    # ------------------------------------------------------------ references

    def iget(self, inode: Inode) -> None:
        """One more mapping or open file has it."""
        inode.users += 1

    def iput(self, inode: Inode) -> None:
        """A mapping or an open file is gone: a file without a name goes with the last (fs/inode.c:iput_final()).

        The caller has taken its share off `users`.
        """
        if inode.users or inode.nlink:
            return
        filemap.truncate(self.kernel, inode, 0)
        self.unlinked.pop(inode, None)
