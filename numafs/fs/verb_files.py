# SPDX-License-Identifier: MIT
"""Task verbs on the files of data/: reading and writing through the page cache, and asking what is cached."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from numafs.kernel import filemap, memory, mmap, page_writeback
from numafs.kernel.page import stretches

from .data import opened
from .verb_grammar import Verb, doing
from .verb_memory import counts_text

if TYPE_CHECKING:
    from numafs.kernel.filemap import Inode
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Task

__all__ = ["VERBS"]


def read(kernel: Kernel, task: Task, path: str, off: int = 0, len: int | None = None) -> str:
    """read(2) a file, to its end if no length is given."""
    with opened(kernel, task, path) as inode, doing("read"):
        done = filemap.generic_file_read(kernel, task, inode, off, inode.size_bytes if len is None else len)
    return f"read {_pages(kernel, done)} pages\n"


def write(kernel: Kernel, task: Task, path: str, size: int, *, sync: bool = False) -> str:
    """write(2) a file from its start; it is made if it is not there."""
    with opened(kernel, task, path, os.O_WRONLY | os.O_CREAT) as inode:
        with doing("write"):
            done = filemap.generic_perform_write(kernel, task, inode, 0, size)
        if sync:
            with doing("fsync"):
                filemap.fsync(kernel, inode)
    return f"wrote {_pages(kernel, done)} pages\n"


def cached(kernel: Kernel, task: Task, path: str, *, mib: bool = False) -> str:
    """mincore(2): how much of a file is in memory."""
    with opened(kernel, task, path) as inode:
        there, of = filemap.resident(inode), _pages(kernel, inode.size_bytes)
    return f"~{_mib(there)}MiB of {_mib(of)}MiB\n" if mib else f"{there}/{of} pages\n"


def wherefile(kernel: Kernel, task: Task, path: str, *, mib: bool = False) -> str:
    """On which nodes a file's pages are: it maps the file, looks at each page that is there, asks move_pages(2)."""
    with opened(kernel, task, path) as inode:
        pages = _pages(kernel, inode.size_bytes)
        if not pages:
            return "none\n"
        vma = mmap.mmap(kernel, task, None, pages, file=inode, shared=True, write=False)
        start, stop = vma.start, vma.stop
        try:
            for a, b in _resident(inode, pages):
                memory.touch(kernel, task, start + a, start + b, False)
            count = filemap.pages_by_node(inode.space, 0, pages)
        finally:
            mmap.munmap(kernel, task, start, stop)
    return counts_text(count, mib)


def _resident(inode: Inode, pages: int) -> list[tuple[int, int]]:
    """Stretches of a file that are in memory."""
    return stretches([run.indexes() for run, _, _ in inode.space.find(0, pages) if run.resident], 0, pages)


def dropfile(kernel: Kernel, task: Task, path: str) -> str:
    """Write a file's dirty pages, then posix_fadvise(POSIX_FADV_DONTNEED) all of it."""
    with opened(kernel, task, path) as inode:
        filemap.fsync(kernel, inode)
        filemap.fadvise_dontneed(kernel, inode, 0, _pages(kernel, inode.size_bytes))
    return ""


def sync(kernel: Kernel, task: Task) -> str:
    """sync(2): write every dirty page."""
    page_writeback.sync(kernel)
    return ""


def _pages(kernel: Kernel, length: int) -> int:
    """Bytes as pages, the last one counted whole."""
    return -(-length // kernel.machine.page_size)


def _mib(pages: int) -> int:
    return (pages + 128) // 256


VERBS = (
    Verb("read", "PATH [OFF] [LEN]", "read a file of data/, or LEN bytes from OFF", read),
    Verb("write", "PATH SIZE [sync]", "write SIZE bytes from a file's start; it is made if missing", write),
    Verb("cached", "PATH [--mib]", "say how many pages of a file are in memory", cached),
    Verb("wherefile", "PATH [--mib]", "say on which nodes they are", wherefile),
    Verb("dropfile", "PATH", "write back and drop a file's pages", dropfile),
    Verb("sync", "", "write back every dirty page of the machine", sync),
)
