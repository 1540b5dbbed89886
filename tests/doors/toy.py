# SPDX-License-Identifier: MIT
"""A small tree that has one file of each kind, for tests of the door."""

from __future__ import annotations

from dataclasses import dataclass, field

from numafs.fs.attr import Attr, Caller
from numafs.fs.tree import CGROUP, SYSFS, Dir, Link, Root
from numafs.kernel.errors import EINVAL

__all__ = ["toy_tree"]


@dataclass
class Value:
    """What the toy tree's files show."""

    text: str = "1\n"
    reads: int = 0
    writers: list[Caller] = field(default_factory=list)


def show(value: Value) -> str:
    return value.text


def count(value: Value) -> str:
    value.reads += 1
    return f"{value.reads}\n" * 3000


def store(value: Value, data: bytes, caller: Caller) -> None:
    if data == b"no\n":
        raise EINVAL("because it says no")
    value.text = data.decode()
    value.writers.append(caller)


def who(value: Value) -> str:
    return "".join(f"{caller.pid} {caller.uid}\n" for caller in value.writers)


def bug(value: Value) -> str:
    raise RuntimeError("a bug")


ROWS = (
    Attr[Value]("value", 0o644, show, store),
    Attr[Value]("count", 0o444, count),
    Attr[Value]("secret", 0o200, None, store),
    Attr[Value]("who", 0o444, who),
    Attr[Value]("bug", 0o444, bug),
)


class Group(Dir):
    """A directory in which directories can be made, as a cgroup's."""

    def mkdir(self, name: str, mode: int, caller: Caller) -> None:
        made = Group(CGROUP, mode, caller.uid, caller.gid)
        made.add_files(ROWS, Value())
        self.add(name, made)

    def rmdir(self, name: str, caller: Caller) -> None:
        self.lookup(name)
        self.forget(name)

    def rename(self, name: str, parent: Dir, new_name: str, caller: Caller) -> None:
        parent.children[new_name] = self.children.pop(name)


def toy_tree() -> Root:
    """sys/node with ROWS, link to it, a directory of groups and the same one at a second path."""
    root = Root()
    node = root.dir("sys/node", SYSFS)
    node.add_files(ROWS, Value())
    root.add("link", Link("sys/node/value"))
    groups = Group(CGROUP)
    root.add("groups", groups)
    root.add("again", groups)
    return root
