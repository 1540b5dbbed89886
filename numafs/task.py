# SPDX-License-Identifier: MIT
"""A modelled task, driven from Python with the verbs that `numafs task` and the ctl files know.

Every verb can be said with `do`; those with an answer worth more than text have a method of their
own. Sizes are bytes or words such as `300M`; nodes are words such as `0-2`, as in the files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .fs import verbs

if TYPE_CHECKING:
    from .kernel import mm
    from .kernel.kernel import Kernel

__all__ = ["Task"]

Word = str | int


class Task:
    """A process of the model. `numafs.fs.verbs.help_text()` says what can be done with it."""

    def __init__(self, kernel: Kernel, **options: Word) -> None:
        """A new task; options as of `numafs task`: `node`, `cpu`, `policy`, `cpuset`, `oom`, `name`."""
        self.kernel = kernel
        self._task = verbs.create_task(kernel, line(("idle",), options))

    @classmethod
    def of(cls, kernel: Kernel, pid: int) -> Task:
        """A task that exists already; KeyError if it does not."""
        found = kernel.tasks.get(pid)
        if found is None:
            raise KeyError(pid)
        task = cls.__new__(cls)
        task.kernel, task._task = kernel, found
        return task

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._task.pid

    @property
    def alive(self) -> bool:
        """Has it not ended?"""
        return not self._task.exited

    @property
    def record(self) -> mm.Task:
        """What the kernel keeps of it."""
        return self._task

    def do(self, *words: Word, **options: Word | bool) -> str:
        """A verb, what follows it, and its options: `task.do("alloc", "1M", touch=True)`; returns the reply.

        Raises OSError, whose text says what failed.
        """
        return verbs.run_verb(self.kernel, self._task, line(words, options))

    # ------------------------------------------------------------ memory

    def alloc(self, size: Word, **options: Word | bool) -> int:
        """A new region (`touch`, `read`, `shared`, `lock`, `thp`, `huge`, `mbind`); returns its number."""
        return region(self.do("alloc", size, **options))

    def mmapfile(self, path: str, size: Word, **options: Word | bool) -> int:
        """A file of data/ as a new region (`shared`, `touch`, `read`); returns its number."""
        return region(self.do("mmapfile", path, size, **options))

    def touch(self, r: int, *part: Word) -> None:
        """Store to each page of a region, or of (offset, length) in it."""
        self.do("touch", r, *part)

    def load(self, r: int, *part: Word) -> None:
        """Load from each page of a region, or of (offset, length) in it."""
        self.do("load", r, *part)

    def free(self, r: int) -> None:
        """Unmap a region."""
        self.do("free", r)

    def where(self, r: int | None = None) -> dict[int, int]:
        """Pages by node, of all regions or of one."""
        reply = self.do("where") if r is None else self.do("where", region=r)
        return {int(nid): int(pages) for nid, pages in re.findall(r"N(\d+)=(\d+)", reply)}

    # ------------------------------------------------------------ policy and migration

    def policy(self, spec: str) -> None:
        """set_mempolicy(2): `bind:0-1`, `interleave:0-3`, `default`."""
        self.do("policy", spec)

    def mbind(self, r: int, spec: str, *how: str) -> None:
        """mbind(2) of a region; `how`: `move`, `moveall`, `strict`."""
        self.do("mbind", r, spec, *how)

    def migrate(self, old: str, new: str, pid: int | None = None) -> int:
        """migrate_pages(2) of itself or another task; returns how many pages could not be moved."""
        left = re.search(r"\d+", self.do("migrate", self.pid if pid is None else pid, old, new))
        return int(left[0]) if left else 0

    # ------------------------------------------------------------ files

    def read(self, path: str, **options: Word | bool) -> str:
        """Read a file of data/ through the page cache."""
        return self.do("read", path, **options)

    def write(self, path: str, size: Word, **options: Word | bool) -> str:
        """Write a file of data/ through the page cache."""
        return self.do("write", path, size, **options)

    # ------------------------------------------------------------ life

    def attach(self, cpuset: str) -> None:
        """Enter a cpuset: `/a/b`."""
        self.do("attach", cpuset)

    def fork(self) -> Task:
        """A child that shares the memory until one of them writes."""
        return Task.of(self.kernel, int(self.do("fork")))

    def exit(self) -> None:
        """End."""
        self.do("exit")

    def __repr__(self) -> str:
        return f"<task {self.pid} {self._task.comm}>"


def line(words: tuple[Word, ...], options: dict[str, Word] | dict[str, Word | bool]) -> str:
    """`("alloc", "1M")` and `{"touch": True}` as `alloc 1M --touch`."""
    said = [str(word) for word in words]
    for name, value in options.items():
        if value is True:
            said.append(f"--{name}")
        elif value is not False:
            said += [f"--{name}", str(value)]
    return " ".join(said)


def region(reply: str) -> int:
    """3 for `r3`."""
    found = re.match(r"r(\d+)", reply)
    assert found, f"no region in {reply!r}"
    return int(found[1])
