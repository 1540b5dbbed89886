# SPDX-License-Identifier: MIT
"""data/: the machine's disks as files, read and written through the modelled page cache.

A real `cat` fills the page cache on behalf of the reader's task, a write dirties it. What is on
the disk and what the kernel remembers of it is `kernel.namei`'s; here are the bytes: files are
full of zeros until somebody writes, and what was written can be read back.

Simplified: bytes that a modelled task writes are not kept, they read as zeros.
Simplified: a real process that the model does not know acts as a task of the root cpuset on the first CPU.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from numafs.kernel import filemap
from numafs.kernel.errors import EACCES, ENOTDIR, refuse
from numafs.kernel.mm import Task
from numafs.kernel.nodemask import nth
from numafs.kernel.readahead import FileRaState

from .attr import Caller
from .tree import Dir, Flavour, Handle, Node, may_access

if TYPE_CHECKING:
    from numafs.kernel.inode import Inode
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.namei import Dentry

__all__ = ["DATA", "DataDir", "DataFile", "acting_task", "data_dir", "data_path", "opened"]

DATA = Flavour("data")
PREFIX = "/data"


# ---------------------------------------------------------------- who, and what


def acting_task(kernel: Kernel, caller: Caller) -> Task:
    """The task that `caller` is to the model; a process that nobody adopted gets one for the moment."""
    known = kernel.tasks.get(caller.pid)
    if known is not None:
        return known
    root = kernel.cpusets.root
    return Task(
        caller.pid, caller.pid, "", None, kernel.cpu_online, nth(kernel.cpu_online, 0), kernel.node_states_memory,
        root, uid=caller.uid, gid=caller.gid,
    )


def data_path(path: str) -> str:
    """The path below data/ of what a verb names: `f100`, `data/f100`, `/data/f100`, or where it is mounted."""
    if path.startswith(("/", "data/")):
        return re.sub(r"^(/|/.*?/)?data(/|$)", "", path)
    return path


@contextmanager
def opened(kernel: Kernel, task: Task, path: str, flags: int = os.O_RDONLY) -> Iterator[Inode]:
    """The inode that `task` opens, kept while it is in use; an error names the path."""
    try:
        inode = _open_inode(kernel, task, data_path(path), flags)
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from error
    kernel.fs.iget(inode)
    try:
        yield inode
    finally:
        release(kernel, inode)


def release(kernel: Kernel, inode: Inode) -> None:
    """One open file less."""
    inode.users -= 1
    kernel.fs.iput(inode)


def _open_inode(kernel: Kernel, task: Task, path: str, flags: int) -> Inode:
    try:
        inode = kernel.fs.lookup(task, path)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
        inode = kernel.fs.create(task, path)
    if inode.mode & 0o170000 == 0o040000:
        raise refuse(errno.EISDIR, "a directory")
    want = (4, 2, 6, 6)[flags & os.O_ACCMODE]
    if not _permitted(inode.mode, inode.uid, inode.gid, Caller(uid=task.uid, gid=task.gid), want):
        raise EACCES(f"mode {inode.mode:o}")
    return inode


def _permitted(mode: int, uid: int, gid: int, caller: Caller, want: int) -> bool:
    shift = 6 if caller.uid == uid else 3 if caller.gid == gid else 0
    return caller.uid == 0 or not want & ~(mode >> shift) & 7


# ---------------------------------------------------------------- bytes


class Contents:
    """The bytes that were written, in a sparse file for each inode that anybody wrote to."""

    def __init__(self) -> None:
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._written: set[int] = set()

    def _path(self, ino: int) -> Path:
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="numafs.")
        return Path(self._directory.name, str(ino))

    def read(self, ino: int, offset: int, length: int) -> bytes:
        """`length` bytes, zeros where nothing was written."""
        if ino not in self._written:
            return bytes(length)
        with self._path(ino).open("rb") as file:
            file.seek(offset)
            return file.read(length).ljust(length, b"\0")

    def write(self, ino: int, offset: int, data: bytes) -> None:
        """Keep `data`; zeros in a file without anything else need no keeping."""
        if ino not in self._written:
            if not data.strip(b"\0"):
                return
            self._path(ino).touch()
            self._written.add(ino)
        with self._path(ino).open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def truncate(self, ino: int, length: int) -> None:
        """Forget what is behind `length`."""
        if ino in self._written and self._path(ino).stat().st_size > length:
            os.truncate(self._path(ino), length)

    def forget(self, ino: int) -> None:
        """The file is gone."""
        if ino in self._written:
            self._written.remove(ino)
            self._path(ino).unlink()


# ---------------------------------------------------------------- nodes


class DataTree:
    """What all nodes of data/ share."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.contents = Contents()

    def node(self, entry: Dentry) -> DataFile | DataDir:
        """The node of a name; nodes keep nothing themselves."""
        return DataDir(self, entry) if entry.directory else DataFile(self, entry)

    def release(self, inode: Inode) -> None:
        """One open file less; with the last of a file without a name its bytes go."""
        release(self.kernel, inode)
        if not inode.nlink and not inode.users:
            self.contents.forget(inode.ino)


class Named(Node):
    """A name on the disk. Its attributes are the inode's while the kernel remembers it, else the disk's."""

    on_disk = True
    tree: DataTree
    entry: Dentry

    @property
    def path(self) -> str:
        """Below data/."""
        return self.entry.path.removeprefix(PREFIX).removeprefix("/")

    @property
    def _inode(self) -> Dentry | Inode:
        return self.entry.inode or self.entry

    @property
    def size(self) -> int:
        """st_size."""
        return self._inode.size_bytes

    @property
    def mode(self) -> int:
        """Permission bits."""
        return self._inode.mode & 0o7777

    @mode.setter
    def mode(self, mode: int) -> None:
        self._inode.mode = self._inode.mode & ~0o7777 | mode

    @property
    def uid(self) -> int:
        """Owner."""
        return self._inode.uid

    @uid.setter
    def uid(self, uid: int) -> None:
        self._inode.uid = uid

    @property
    def gid(self) -> int:
        """Group."""
        return self._inode.gid

    @gid.setter
    def gid(self, gid: int) -> None:
        self._inode.gid = gid

    def seen_by(self, caller: Caller) -> None:
        """The kernel remembers the name and the inode from now on."""
        self.tree.kernel.fs.lookup(acting_task(self.tree.kernel, caller), self.path)


class DataFile(Named):
    """A file of data/."""

    def __init__(self, tree: DataTree, entry: Dentry) -> None:
        self.tree, self.entry = tree, entry
        super().__init__(DATA, self.mode, self.uid, self.gid)
        self.ino = entry.ino

    def open(self, caller: Caller, flags: int = os.O_RDONLY) -> Handle:
        """Open it, if its mode lets `caller`."""
        if not may_access(self, caller, (4, 2, 6, 6)[flags & os.O_ACCMODE]):
            raise EACCES(f"mode {self.mode:o} of {self.path}")
        kernel = self.tree.kernel
        return OpenData(self.tree, kernel.fs.lookup(acting_task(kernel, caller), self.path), caller)

    def truncate(self, length: int) -> None:
        """truncate(2)."""
        inode = self.tree.kernel.fs.lookup(None, self.path)
        filemap.truncate(self.tree.kernel, inode, length)
        self.tree.contents.truncate(inode.ino, length)


class OpenData(Handle):
    """An open file of data/, with its read-ahead."""

    __slots__ = ("inode", "opener", "ra", "tree")

    def __init__(self, tree: DataTree, inode: Inode, opener: Caller) -> None:
        self.tree = tree
        self.inode = inode
        self.opener = opener
        self.ra = FileRaState()
        tree.kernel.fs.iget(inode)

    def read(self, offset: int, size: int, caller: Caller | None = None) -> bytes:
        """read(2): on behalf of the thread that reads."""
        kernel = self.tree.kernel
        task = acting_task(kernel, caller or self.opener)
        length = filemap.generic_file_read(kernel, task, self.inode, offset, size, self.ra)
        return self.tree.contents.read(self.inode.ino, offset, length)

    def write(self, offset: int, data: bytes, caller: Caller | None = None) -> int:
        """write(2): on behalf of the thread that writes."""
        kernel = self.tree.kernel
        task = acting_task(kernel, caller or self.opener)
        length = filemap.generic_perform_write(kernel, task, self.inode, offset, len(data))
        self.tree.contents.write(self.inode.ino, offset, data[:length])
        return length

    def truncate(self, length: int) -> None:
        """ftruncate(2)."""
        filemap.truncate(self.tree.kernel, self.inode, length)
        self.tree.contents.truncate(self.inode.ino, length)

    def fsync(self) -> None:
        """fsync(2)."""
        filemap.fsync(self.tree.kernel, self.inode)

    def release(self) -> None:
        """The last descriptor was closed."""
        self.tree.release(self.inode)


class DataDir(Named, Dir):
    """A directory of data/."""

    def __init__(self, tree: DataTree, entry: Dentry) -> None:
        self.tree, self.entry = tree, entry
        Dir.__init__(self, DATA, self.mode, self.uid, self.gid, find=self._find)
        self.ino = entry.ino

    def _find(self, name: str) -> Node | None:
        entry = self.entry.children.get(name)
        return None if entry is None else self.tree.node(entry)

    def names(self) -> Iterator[str]:
        """What is in it; listing does not read the inodes."""
        return iter(sorted(self.entry.children))

    @property
    def nlink(self) -> int:
        """st_nlink: two, and one for each subdirectory."""
        return 2 + sum(child.directory for child in self.entry.children.values())

    def _below(self, name: str) -> str:
        return f"{self.path}/{name}"

    def create(self, name: str, mode: int, caller: Caller) -> Node:
        """open(2) with O_CREAT."""
        kernel = self.tree.kernel
        kernel.fs.create(acting_task(kernel, caller), self._below(name), mode)
        return self.lookup(name)

    def mkdir(self, name: str, mode: int, caller: Caller) -> None:
        """mkdir(2)."""
        kernel = self.tree.kernel
        kernel.fs.mkdir(acting_task(kernel, caller), self._below(name), mode)

    def rmdir(self, name: str, caller: Caller) -> None:
        """rmdir(2)."""
        kernel = self.tree.kernel
        kernel.fs.rmdir(acting_task(kernel, caller), self._below(name))

    def unlink(self, name: str, caller: Caller) -> None:
        """unlink(2)."""
        kernel, child = self.tree.kernel, self.lookup(name)
        inode = kernel.fs.lookup(None, self._below(name)) if isinstance(child, DataFile) else None
        kernel.fs.unlink(acting_task(kernel, caller), self._below(name))
        if inode is not None and not inode.users:
            self.tree.contents.forget(inode.ino)

    def rename(self, name: str, parent: Dir, new_name: str, caller: Caller) -> None:
        """rename(2), in the place of what has the new name."""
        if not isinstance(parent, DataDir):
            raise refuse(errno.EXDEV, "not in data/")
        kernel, old = self.tree.kernel, self.lookup(name)
        replaced = parent.entry.children.get(new_name)
        if replaced is not None and isinstance(old, DataDir) and not replaced.directory:
            raise ENOTDIR(new_name)
        kernel.fs.rename(acting_task(kernel, caller), self._below(name), parent._below(new_name))
        if replaced is not None and not (replaced.inode and replaced.inode.users):
            self.tree.contents.forget(replaced.ino)


def data_dir(kernel: Kernel) -> DataDir:
    """The directory data/."""
    return DataDir(DataTree(kernel), kernel.fs.root)
