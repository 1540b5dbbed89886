# SPDX-License-Identifier: MIT
"""A file of the tree is one row: name, mode, show, store.

`show(obj)` returns the whole text, `store(obj, data, caller)` is given one write(2) and says
no by raising OSError; neither knows of FUSE. The numbers' grammars are the kernel's:
lib/kstrtox.c, lib/bitmap.c and kernel/sysctl.c (v6.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Attr", "Caller"]

T = TypeVar("T")


@dataclass(frozen=True)
class Caller:
    """Who is at the door: the thread that asks, and the credentials of whoever opened the file."""

    pid: int = 0
    """Thread id of the caller; 0 where nobody real is behind the call."""
    uid: int = 0
    gid: int = 0
    umask: int = 0o022


@dataclass(frozen=True)
class Attr(Generic[T]):
    """One file of an object of type T. `size` is what stat shows: 4096 in sysfs, 0 in proc and cgroup.

    `show` absent: unreadable. `store` absent: unwritable; what either refusal is called is the file system's choice.
    """

    name: str
    mode: int
    show: Callable[[T], str] | None = None
    store: Callable[[T, bytes, Caller], None] | None = None
    size: int = 0
    limit: int = 4096
    """The longest write that `store` sees."""
    steady: bool = False
    """Its text is always as long as it was, so long as its numbers fit their columns."""
