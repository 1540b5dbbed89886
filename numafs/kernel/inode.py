# SPDX-License-Identifier: MIT
"""What the kernel keeps of a file: struct inode with its struct address_space. include/linux/fs.h (v6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .page import Kind, Space

if TYPE_CHECKING:
    from .mempolicy import SharedPolicy

__all__ = ["Inode"]


class Inode:
    """A file (struct inode with its address_space): regular, shared memory, or hugetlb."""

    __slots__ = (
        "dirtied_when", "gid", "ino", "mode", "nlink", "path", "ra_marks", "shared_policy", "size_bytes", "space",
        "uid", "users",
    )

    def __init__(
        self, path: str, size_bytes: int = 0, *, ino: int = 0, kind: Kind = Kind.FILE, mode: int = 0o100644,
        uid: int = 0, gid: int = 0,
    ) -> None:
        self.path = path
        """As numa_maps shows it, unescaped: `/data/f100`."""
        self.size_bytes = size_bytes
        self.ino = ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.nlink = 1
        self.users = 0
        """Mappings and open files: while there are any, neither an unlink nor a shrinker frees it."""
        self.space = Space(kind, self)
        self.shared_policy: SharedPolicy | None = None
        self.ra_marks: set[int] = set()
        """Pages with PG_readahead: reading one starts the next read-ahead."""
        self.dirtied_when = 0
        """When its oldest dirty page became dirty, by the clock."""

    def __repr__(self) -> str:
        return f"<inode {self.ino} {self.path}>"
