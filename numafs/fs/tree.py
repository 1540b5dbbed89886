# SPDX-License-Identifier: MIT
"""Directories, files and links, and what each kind of file system says when it refuses.

A door asks a `Root` for the node at a path, then `stat`s it, lists it, reads the link or
opens it. What is in a file is its `Attr` row's business; what is here is what all files of
one kind share: which errno a refusal has, that a read at offset 0 renders the text anew and
later ones are slices of that text, how the offset of a write counts. fs/kernfs/{dir,file}.c,
fs/sysfs/file.c, fs/proc/{generic,inode,proc_sysctl}.c, kernel/cgroup/cgroup.c (v6.1).

Simplified: no times, no extended attributes.
"""

from __future__ import annotations

import errno
import os
import stat as st
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from numafs.kernel.errors import EACCES, EINVAL, ENOENT, ENOTDIR, refuse

from .attr import Attr, Caller

__all__ = [
    "CGROUP", "PLAIN", "PROC", "PROC_PID", "ROOT_CALLER", "SYSCTL", "SYSFS", "Dir", "File", "Flavour", "Following",
    "Handle", "Link", "Node", "OpenFile", "Root", "Stat", "may_access",
]

ROOT_CALLER = Caller()
WANTED = {os.O_RDONLY: 4, os.O_WRONLY: 2, os.O_RDWR: 6, os.O_ACCMODE: 6}
"""Permission bits that an access mode of open(2) needs."""


class Stat(NamedTuple):
    """What stat(2) shows; `mode` with the file's type."""

    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    ino: int


@dataclass(frozen=True)
class Flavour:
    """What the files of one kernel file system have in common: mostly how they say no."""

    name: str
    create: int = errno.EACCES
    """Errno of open(O_CREAT) of a new name."""
    mkdir: int = errno.EPERM
    rmdir: int = errno.EPERM
    unlink: int = errno.EPERM
    rename: int = errno.EPERM
    chmod: int = 0
    """Errno of chmod and chown by who may; 0 if they work and stick."""
    mode_binds_root: bool = False
    """Is root refused too what the mode forbids and what has no method (sysfs, sysctl)?"""
    no_show: int = errno.EINVAL
    no_store: int = errno.EINVAL
    overlong: int = 0
    """Errno of a write longer than the row's limit; 0 if it is cut there, as a short write."""
    only_at_start: bool = False
    """Sysctl: at an offset behind 0 reads are at the end and writes do nothing."""
    gone: int = errno.ENODEV
    """Errno of reading and writing what was open in a directory that no longer exists."""
    dir_nlink: int = 0
    """Link count of directories; 0 for 2 and the number of subdirectories."""


SYSFS = Flavour("sysfs", mode_binds_root=True)
CGROUP = Flavour("cgroup", overlong=errno.E2BIG)
PROC = Flavour("proc", create=errno.ENOENT, mkdir=errno.ENOENT, no_show=errno.EIO, no_store=errno.EIO)
PROC_PID = Flavour("proc", create=errno.ENOENT, mkdir=errno.ENOENT, chmod=errno.EPERM, gone=errno.ESRCH)
SYSCTL = Flavour(
    "sysctl", create=errno.ENOENT, mkdir=errno.ENOENT, chmod=errno.EPERM, mode_binds_root=True, only_at_start=True,
    dir_nlink=1,
)
PLAIN = Flavour("plain")
"""Directories that hold mounts, and files of the model's own."""


def may_access(node: Node, caller: Caller, want: int, *, mode_binds_root: bool = False) -> bool:
    """May `caller` do `want` (4 read, 2 write, 1 search) to `node`, by its mode and owner?"""
    if caller.uid == 0 and not mode_binds_root:
        return True
    mode = node.mode
    if caller.uid == node.uid:
        mode >>= 6
    elif caller.gid == node.gid:
        mode >>= 3
    return want & ~mode & 7 == 0


class Node:
    """What has a name in the tree. Its own parts may be changed by chmod and chown, and last as long as it does."""

    flavour: Flavour
    type = st.S_IFREG
    parent: Dir | None = None
    sizeless = False
    """Is it a file whose size says nothing of what can be read?"""
    on_disk = False
    """Does looking it up make the kernel remember something?"""

    def __init__(self, flavour: Flavour, mode: int, uid: int = 0, gid: int = 0) -> None:
        self.flavour = flavour
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.ino = 0
        """Inode number, 0 if the door may choose."""

    @property
    def size(self) -> int:
        """st_size."""
        return 0

    @property
    def nlink(self) -> int:
        """st_nlink."""
        return 1

    def stat(self) -> Stat:
        """What stat(2) shows of it."""
        return Stat(self.type | self.mode, self.nlink, self.uid, self.gid, self.size, self.ino)

    def chmod(self, mode: int, caller: Caller = ROOT_CALLER) -> None:
        """Change its permission bits."""
        self._check_owner(caller)
        self.mode = mode & 0o7777

    def chown(self, uid: int, gid: int, caller: Caller = ROOT_CALLER) -> None:
        """Change its owner and group; -1 leaves one as it is."""
        self._check_owner(caller)
        self.uid = self.uid if uid == -1 else uid
        self.gid = self.gid if gid == -1 else gid

    def _check_owner(self, caller: Caller) -> None:
        if caller.uid not in (0, self.uid):
            raise refuse(errno.EPERM, "not the owner")
        if self.flavour.chmod:
            raise refuse(self.flavour.chmod, f"attributes of {self.flavour.name} files are fixed")

    def seen_by(self, caller: Caller) -> None:
        """`caller` looked its name up."""

    def truncate(self, length: int) -> None:
        """Nothing happens: these files have no length."""

    def open(self, caller: Caller, flags: int = os.O_RDONLY) -> Handle:
        """A handle to read and write it; raises what open(2) would."""
        raise EINVAL("not a file")


class Handle:
    """An open file. The base class can do nothing: a kind of file overrides what it can."""

    def read(self, offset: int, size: int, caller: Caller | None = None) -> bytes:
        """Up to `size` bytes at `offset`; `caller` is the thread that reads."""
        raise EINVAL("not readable")

    def write(self, offset: int, data: bytes, caller: Caller | None = None) -> int:
        """One write(2); returns how many bytes it took."""
        raise EINVAL("not writable")

    def truncate(self, length: int) -> None:
        """ftruncate(2): nothing happens."""

    def fsync(self) -> None:
        """fsync(2): nothing to do."""

    def release(self) -> None:
        """The last descriptor was closed."""


class File(Node):
    """A file that one `Attr` row describes, of one object."""

    def __init__(self, flavour: Flavour, attr: Attr[Any], obj: Any, uid: int = 0, gid: int = 0) -> None:
        super().__init__(flavour, attr.mode, uid, gid)
        self.attr = attr
        self.obj = obj
        self.sizeless = not attr.steady

    @property
    def size(self) -> int:
        """st_size: what the row says."""
        return self.attr.size

    def open(self, caller: Caller, flags: int = os.O_RDONLY) -> OpenFile:
        """Open it, if its mode lets `caller`."""
        want = WANTED[flags & os.O_ACCMODE]
        flavour = self.flavour
        if not may_access(self, caller, want, mode_binds_root=flavour.mode_binds_root):
            raise EACCES(f"mode {self.mode:o} of {self.attr.name}")
        if flavour is SYSFS and (want & 4 and not self.attr.show or want & 2 and not self.attr.store):
            raise EACCES(f"{self.attr.name} has no such method")
        return OpenFile(self, caller)

    def text(self) -> str:
        """The whole text, as a reader gets it."""
        if self.attr.show is None:
            raise refuse(self.flavour.no_show, f"{self.attr.name} cannot be read")
        return self.attr.show(self.obj)


class OpenFile(Handle):
    """An open `File`: the text of one moment, and the credentials of who opened it."""

    __slots__ = ("file", "opener", "snapshot")

    def __init__(self, file: File, opener: Caller) -> None:
        self.file = file
        self.opener = opener
        self.snapshot: bytes | None = None

    def read(self, offset: int, size: int, caller: Caller | None = None) -> bytes:
        """A slice of the text, which is made anew at offset 0."""
        file = self.file
        if offset and file.flavour.only_at_start:
            return b""
        text = self.snapshot
        if not offset or text is None:
            self._check_alive()
            text = self.snapshot = file.text().encode("utf-8", "surrogateescape")
        return text[offset : offset + size]

    def write(self, offset: int, data: bytes, caller: Caller | None = None) -> int:
        """Hand `data` to the row's store, on behalf of thread `caller` with the opener's credentials."""
        self._check_alive()
        if not data:
            return 0
        attr, flavour = self.file.attr, self.file.flavour
        if attr.store is None:
            raise refuse(flavour.no_store, f"{attr.name} cannot be written")
        if flavour.only_at_start and offset:
            return len(data)
        if len(data) > attr.limit:
            if flavour.overlong:
                raise refuse(flavour.overlong, f"{len(data)} bytes, at most {attr.limit}")
            data = data[: attr.limit]
        attr.store(self.file.obj, data, self._writer(caller))
        return len(data)

    def _writer(self, caller: Caller | None) -> Caller:
        opener = self.opener
        if caller is None or caller.pid == opener.pid:
            return opener
        return Caller(caller.pid, opener.uid, opener.gid, opener.umask)

    def _check_alive(self) -> None:
        parent = self.file.parent
        if parent is not None and parent.gone:
            raise refuse(self.file.flavour.gone, f"{self.file.attr.name}: its directory is gone")


class Link(Node):
    """A symbolic link; a target that depends on the reader (`self`) is a function."""

    type = st.S_IFLNK

    def __init__(self, target: str | Callable[[Caller], str], flavour: Flavour = SYSFS) -> None:
        super().__init__(flavour, 0o777)
        self.target = target

    @property
    def size(self) -> int:
        """st_size: sysfs and proc do not tell."""
        return 0

    def readlink(self, caller: Caller = ROOT_CALLER) -> str:
        """Where it leads."""
        return self.target if isinstance(self.target, str) else self.target(caller)


class Dir(Node):
    """A directory: children that are always there, and those that `find` and `more` know.

    `find(name)` gives the child of that name or None, `more()` the names; both follow the model,
    and must give the same node each time if its attributes or its being open matter.
    """

    type = st.S_IFDIR

    def __init__(
        self, flavour: Flavour, mode: int = 0o755, uid: int = 0, gid: int = 0, *,
        find: Callable[[str], Node | None] | None = None, more: Callable[[], Iterable[str]] | None = None,
    ) -> None:
        super().__init__(flavour, mode, uid, gid)
        self.children: dict[str, Node] = {}
        self.find = find
        self.more = more
        self.alive: Callable[[], bool] | None = None
        """Asked where the model may take the directory away without telling."""
        self.dead = False

    @property
    def gone(self) -> bool:
        """Was it removed? What is still open in it then cannot be read any more."""
        return self.dead or self.alive is not None and not self.alive()

    def add(self, name: str, child: Node) -> Node:
        """Enter a child; returns it."""
        child.parent = self
        self.children[name] = child
        return child

    def add_files(self, rows: Iterable[Attr[Any]], obj: Any) -> None:
        """Enter a file for each row, of object `obj`, with this directory's flavour and owner."""
        for row in rows:
            self.add(row.name, File(self.flavour, row, obj, self.uid, self.gid))

    def dir(self, path: str, flavour: Flavour | None = None, mode: int | None = None) -> Dir:
        """The directory at a path below this one, made where it is missing, in the image of this one."""
        at = self
        for name in path.split("/"):
            child = at.children.get(name)
            if child is None:
                child = Dir(flavour or at.flavour, at.mode if mode is None else mode)
                child.alive = at.alive
                at.add(name, child)
            if not isinstance(child, Dir):
                raise ENOTDIR(name)
            at = child
        return at

    def forget(self, name: str) -> None:
        """Take a child out; a directory is gone with all that is in it."""
        child = self.children.pop(name)
        if isinstance(child, Dir):
            child.die()

    def die(self) -> None:
        """The directory and all that is in it no longer exist."""
        self.dead = True
        for child in self.children.values():
            if isinstance(child, Dir):
                child.die()

    def lookup(self, name: str) -> Node:
        """The child of that name; raises ENOENT."""
        child = self.children.get(name)
        if child is None and self.find is not None:
            child = self.find(name)
            if child is not None:
                child.parent = self
        if child is None:
            raise ENOENT(name)
        return child

    def names(self) -> Iterator[str]:
        """The names of its children."""
        yield from self.children
        if self.more is not None:
            yield from self.more()

    @property
    def nlink(self) -> int:
        """st_nlink: two and one for each subdirectory, where the file system counts them."""
        if self.flavour.dir_nlink:
            return self.flavour.dir_nlink
        return 2 + sum(isinstance(child, Dir) for child in self.children.values()) + self._more_dirs()

    def _more_dirs(self) -> int:
        if self.more is None:
            return 0
        return sum(isinstance(self.lookup(name), Dir) for name in self.more())

    def truncate(self, length: int) -> None:
        """truncate(2) of a directory."""
        raise refuse(errno.EISDIR, "a directory")

    def open(self, caller: Caller, flags: int = os.O_RDONLY) -> Handle:
        """Directories are listed, not opened."""
        raise refuse(errno.EISDIR, "a directory")

    def create(self, name: str, mode: int, caller: Caller) -> Node:
        """open(O_CREAT) of a new name; returns the new file."""
        raise refuse(self.flavour.create, f"no files can be made in {self.flavour.name}")

    def mkdir(self, name: str, mode: int, caller: Caller) -> None:
        """mkdir(2)."""
        raise refuse(self.flavour.mkdir, f"no directories can be made in {self.flavour.name}")

    def rmdir(self, name: str, caller: Caller) -> None:
        """rmdir(2)."""
        if not isinstance(self.lookup(name), Dir):
            raise ENOTDIR(name)
        raise refuse(self.flavour.rmdir, f"directories of {self.flavour.name} cannot be removed")

    def unlink(self, name: str, caller: Caller) -> None:
        """unlink(2)."""
        if isinstance(self.lookup(name), Dir):
            raise refuse(errno.EISDIR, name)
        raise refuse(self.flavour.unlink, f"files of {self.flavour.name} cannot be removed")

    def rename(self, name: str, parent: Dir, new_name: str, caller: Caller) -> None:
        """rename(2) of the child `name` to `new_name` in `parent`."""
        self.lookup(name)
        raise refuse(self.flavour.rename, f"names of {self.flavour.name} are fixed")

    def symlink(self, name: str, target: str, caller: Caller) -> None:
        """symlink(2), link(2) and mknod(2) of what is no file."""
        raise refuse(errno.EPERM, f"{self.flavour.name} has no such thing")


class Following:
    """Numbered directories that come and go with the model: `node0`, `cpu7`, `4194305`.

    `numbers()` are those that exist now, `has(n)` says whether n does, `make(n)` builds the directory when it is
    first looked at; it stays the same while it exists.
    """

    def __init__(
        self, prefix: str, numbers: Callable[[], Iterable[int]], has: Callable[[int], bool], make: Callable[[int], Node]
    ) -> None:
        self.prefix = prefix
        self.numbers = numbers
        self.has = has
        self.make = make
        self.cache: dict[int, Node] = {}

    def find(self, name: str) -> Node | None:
        """The node of that name, if it exists now."""
        digits = name[len(self.prefix) :]
        if not name.startswith(self.prefix) or not digits.isdecimal() or str(int(digits)) != digits:
            return None
        number = int(digits)
        if not self.has(number):
            self.cache.pop(number, None)
            return None
        node = self.cache.get(number)
        if node is None:
            node = self.cache[number] = self.make(number)
            if isinstance(node, Dir) and node.alive is None:
                node.alive = lambda: self.has(number) and self.cache.get(number) is node
        return node

    def names(self) -> Iterator[str]:
        """The names that exist now."""
        return (f"{self.prefix}{number}" for number in self.numbers())


class Root(Dir):
    """The top of the tree, which finds what is at a path."""

    def __init__(self) -> None:
        super().__init__(PLAIN, 0o755)

    @property
    def nlink(self) -> int:
        """st_nlink: everything at the top is a directory, and is not made to be counted."""
        return 2 + sum(1 for _ in self.names())

    def resolve(self, path: str) -> Node:
        """The node at `path`, written from the top with or without a leading slash; links are not followed."""
        node: Node = self
        for name in path.split("/"):
            if not name:
                continue
            if not isinstance(node, Dir):
                raise ENOTDIR(path)
            node = node.lookup(name)
        return node

    def resolve_parent(self, path: str) -> tuple[Dir, str]:
        """The directory that holds (or would hold) `path`, and the name in it."""
        above, _, name = path.rstrip("/").rpartition("/")
        node = self.resolve(above)
        if not isinstance(node, Dir):
            raise ENOTDIR(above)
        return node, name

    def follow(self, path: str, caller: Caller = ROOT_CALLER) -> Node:
        """The node at `path`, with every link on the way followed, as a program that opens it would."""
        parts = [name for name in path.split("/") if name]
        trail: list[Node] = [self]
        links = 0
        while parts:
            name = parts.pop(0)
            if name == "." or name == "..":
                trail = trail[:-1] if name == ".." and len(trail) > 1 else trail
                continue
            at = trail[-1]
            if not isinstance(at, Dir):
                raise ENOTDIR(path)
            node = at.lookup(name)
            if not isinstance(node, Link):
                trail.append(node)
                continue
            links += 1
            if links > 40:
                raise refuse(errno.ELOOP, path)
            parts[:0] = [step for step in node.readlink(caller).split("/") if step]
        return trail[-1]

    def open_path(self, path: str, flags: int = os.O_RDONLY, caller: Caller = ROOT_CALLER) -> Handle:
        """Open what is at `path`."""
        return self.follow(path, caller).open(caller, flags)

    def read_text(self, path: str, caller: Caller = ROOT_CALLER) -> str:
        """The whole of a file, as `cat` would show it."""
        handle = self.open_path(path, os.O_RDONLY, caller)
        try:
            return handle.read(0, 1 << 30, caller).decode("utf-8", "surrogateescape")
        finally:
            handle.release()

    def write_text(self, path: str, text: str, caller: Caller = ROOT_CALLER) -> None:
        """One write(2) of `text`, as `echo` would do."""
        handle = self.open_path(path, os.O_WRONLY, caller)
        try:
            handle.write(0, text.encode("utf-8", "surrogateescape"), caller)
        finally:
            handle.release()
