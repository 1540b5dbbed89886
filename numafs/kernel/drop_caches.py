# SPDX-License-Identifier: MIT
"""vm.drop_caches: throwing clean caches away. fs/drop_caches.c (v6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import EINVAL
from .filemap import fadvise_dontneed
from .printk import Level
from .shrinker import drop_slab
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task

__all__ = ["drop_caches"]

PAGECACHE, SLAB, QUIET = 1, 2, 4
LAST_PAGE = 1 << 52


def drop_caches(kernel: Kernel, task: Task | None, value: int) -> None:
    """Drop the page cache (1), dentries and inodes (2), or both (3); 4 only ends the kernel's remarks about it.

    fs/drop_caches.c:drop_caches_sysctl_handler() (v6.1). `task` is the writer.
    """
    if not 1 <= value <= 4:
        raise EINVAL(f"drop_caches takes 1..4, not {value}")
    if value & PAGECACHE:
        drop_pagecache(kernel)
        kernel.events.inc(VmEvent.DROP_PAGECACHE)
    if value & SLAB:
        drop_slab(kernel, task)
        kernel.events.inc(VmEvent.DROP_SLAB)
    if not kernel.drop_caches_quiet:
        comm, pid = (task.comm, task.pid) if task else ("swapper", 0)
        kernel.printk(f"{comm} ({pid}): drop_caches: {value}", Level.INFO)
    kernel.drop_caches_quiet |= bool(value & QUIET)


def drop_pagecache(kernel: Kernel) -> None:
    """Free each cached page that is clean and unmapped. fs/drop_caches.c:drop_pagecache_sb() (v6.1)."""
    for inode in [kernel.bdev, *kernel.fs.inodes()]:
        if inode.space.nrpages:
            fadvise_dontneed(kernel, inode, 0, LAST_PAGE)
